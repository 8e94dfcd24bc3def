"""Training: from an accepted layer to a trained model, its samples and its evaluation.

settings       one TrainSettings per run: a section per part, an ordered list of stages
stages         settings of one stage; which parameters it trains
data/          cached features of clips, datasets, batches, seeded randomness
loop/          the training loop: model, loss, step, optimizer, checkpoints
run            a run: cache → stages → weights
launch         workers: in this process, or Ray Train
pretrained     a trained avatar as initial weights
stage_summary  summary of a finished stage
evaluate/      validation during training, evaluation of a trained model
sample/        sampling from a trained model
prior/         the motion prior: audio and a script to motion curves, and a preview of them
script_page/   a local page to write a script over its audio and sample it
export         a trained model as a folder for other tools
exported/      files of an export besides the weights; load an export
"""

if __name__ == "train":
    raise ImportError("expected 'xsheet.train', got a bare 'import train'; write 'from xsheet import train'")
