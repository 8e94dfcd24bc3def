"""Forms: the files of each kind of export, one module each. A docstring states the reader's rules and their source.

plain            `folder`: NAME.mp4 and NAME.txt
hugging_face     `hf`: a VideoFolder with metadata.parquet
card             its dataset card
croissant        its Croissant description
tar_shards       `webdataset`: tar files
musubi           `musubi`: TOML and JSONL of musubi-tuner
diffsynth        `diffsynth`: metadata.csv of DiffSynth-Studio
ltx              `ltx`: JSONL of the LTX trainer
diffusion_pipe   `diffusion-pipe`: captions beside videos and dataset.toml
simpletuner      `simpletuner`: captions beside videos and multidatabackend.json
finetrainers     `finetrainers`: videos.txt and prompts.txt
tie              `tie`: JSONL of starts, ends and texts
"""
