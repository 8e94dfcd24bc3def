"""The training loop; it knows no stage and no model variant by name.

loop            the loop: steps, logs, validation, checkpoints
model           what is trained: transformer, text encoder, variant
loss            squared error of the velocity
step            prepare a model (sharding, recomputation, compilation); one step: gradients, update
optim           AdamW, learning rate, moving average of the weights
lora            low-rank updates, and their files
frozen          the backbone beside such updates, in smaller types or in main memory
gradients       gradient sums in an order that does not depend on the number of workers
process_group   the processes that train together
state           what a checkpoint holds
shards          tensors of a checkpoint: safetensors and a JSON index
checkpoint      folders of checkpoints, committed atomically
stage_weights   weights from stage to stage
metrics         means, log lines, metrics.jsonl, TensorBoard, trackers
"""
