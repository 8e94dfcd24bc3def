"""Export a trained model as a folder that other tools load.

OUT/README.md            model card with figures, for the Hugging Face Hub
OUT/transformer/         the backbone alone: plain diffusers loads it; the same output without phases and audio
OUT/avatar/              the whole transformer: backbone, phases and audio
OUT/lora/                low-rank updates of the backbone, unless merged: for diffusers and PEFT, and for ComfyUI
OUT/text/                the text encoder where it was trained too: weights.safetensors
OUT/pipeline.py          diffusers' custom pipeline of the folder, with model_index.json
OUT/training.json        settings of the run and its stage
"""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import diffusers
from safetensors.torch import save_file

from xsheet.model import weights
from xsheet.runtime.lock import LOCK_FILE, new_folder_lock
from xsheet.schemas.files import atomic_path, write_text
from xsheet.train.exported.card import write_card
from xsheet.train.exported.load import DESCRIPTION_FILE, FORMAT
from xsheet.train.loop.lora import LORA_FILE, LORA_FOLDER, convert_lora_to_comfyui
from xsheet.train.sample.sampler import TrainedModel, load_trained

COMFYUI_FILE = "comfyui.safetensors"
CONTENT = (
    "transformer", "avatar", "text", LORA_FOLDER, "pipeline.py", "model_index.json", "README.md", DESCRIPTION_FILE,
    ".*.tmp*",
)  # fmt: skip
"""Names of what is written."""


def export(run: Path, out: Path, *, stage: str | None = None, merge_lora: bool = False) -> Path:
    """Write the weights of a finished stage, averaged if it kept the average; returns `out`.

    Low-rank updates of that stage are written beside the weights, or merged into them; those of earlier stages are
    merged.

    Raises:
        ConfigError: no finished stage, or something is in `out` already.
        RunError: another command writes to `out`.
    """
    with new_folder_lock(out, content=CONTENT):
        _export(run, out, stage=stage, merge_lora=merge_lora)
        shutil.rmtree(out / LOCK_FILE.parent)  # the folder is for others to load
    return out


def _export(run: Path, out: Path, *, stage: str | None, merge_lora: bool) -> None:
    trained = load_trained(run, stage=stage, with_lora=merge_lora)
    weights.export_backbone(trained.model.transformer, out / "transformer")
    weights.save(trained.model.transformer, out / "avatar")
    if trained.model.text is not None:
        (out / "text").mkdir()
        tensors = {key: tensor.contiguous() for key, tensor in trained.model.text.state_dict().items()}
        with atomic_path(out / "text" / "weights.safetensors") as temporary:
            save_file(tensors, temporary)
    if not merge_lora and trained.settings.stage(trained.stage).lora is not None:
        _export_lora(run / trained.stage / LORA_FOLDER / LORA_FILE, out / LORA_FOLDER, trained)
    _write_pipeline(out, trained)
    write_card(out, trained=trained, stage_folder=run / trained.stage)
    description = {"format": FORMAT, "stage": trained.stage, "settings": trained.settings.model_dump(mode="json")}
    write_text(out / DESCRIPTION_FILE, json.dumps(description, indent=2) + "\n")  # last: with it the folder is whole


def _export_lora(source: Path, folder: Path, trained: TrainedModel) -> None:
    folder.mkdir()
    shutil.copyfile(source, folder / LORA_FILE)
    blocks = trained.model.transformer.model_config.num_layers
    convert_lora_to_comfyui(source, folder / COMFYUI_FILE, blocks=blocks)


def _write_pipeline(out: Path, trained: TrainedModel) -> None:
    """Files by which `DiffusionPipeline.from_pretrained` finds the pipeline and the class of its transformer."""
    package = files("xsheet.train.exported")
    for name, folder in (("pipeline.py", out), ("avatar.py", out / "avatar")):
        write_text(folder / name, (package / name).read_text(encoding="utf-8"))
    index = {
        "_class_name": ["pipeline", "AvatarPipeline"],
        "_diffusers_version": diffusers.__version__,
        "avatar": ["avatar", type(trained.model.transformer).__name__],
    }
    write_text(out / "model_index.json", json.dumps(index, indent=2) + "\n")
