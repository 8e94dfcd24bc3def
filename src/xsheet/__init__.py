"""xsheet: curated clips, phase-timed actions checked against measured motion, and a talking avatar trained on them.

workflow    the whole path, in reading order
schemas/    the data contract: records, time, ids, tables, settings, errors
curate/     raw video to measurements, verdicts, canonical clips, signals
annotate/   clips to phase-timed actions, in layers
audit/      layers to findings, a gate, a report, agreement, the review page
model/      the video diffusion transformer and its encoders
train/      feature cache, training stages, samples, evaluation, export
export/     a set for other trainers
sets/       compare, merge, select and pack sets
demo/       a synthetic corpus with known truth
runtime/    one task over many items, on this machine or on Ray
pages/      what the HTML reports share
cli/        the command line
doctor      what this machine has and what is missing
torchvision_compat  import torchvision beside a build of torch without CUDA
"""

__version__ = "0.1.0"
