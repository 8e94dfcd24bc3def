"""Text: what the model reads of an annotation, and the wording of actions.

wording        kind and clause of an action class; cleaning of a model's words
block_text     caption, base block and sentence of a block
training_text  the training string: base block and timed blocks
requested_text the same for a script that a person wrote, at exactly its times
token_spans    phase of every token of a training string
mirror         text and signals of the horizontally flipped clip
export_sft     a layer as JSONL for fine-tuning a vision-language model
"""
