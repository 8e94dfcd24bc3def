"""Export a trained model as a folder that other tools load.

OUT/transformer/         the base alone: plain diffusers loads it, and says the same without phases and sound
OUT/avatar/              the whole transformer, base, phases and sound: xsheet.model.weights.load
OUT/text/                the text encoder where it was learned along: weights.safetensors
OUT/training.json        settings of the run and the stage that it is of
"""

import json
from pathlib import Path

from safetensors.torch import save_file

from xsheet.model import weights
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.tables import atomic_path, write_text
from xsheet.train.sample.sampler import load_trained

FORMAT = 1


def export(run: Path, out: Path, *, stage: str | None = None) -> Path:
    """Write the weights of a finished stage, averaged if it kept the average; returns `out`.

    Raises:
        ConfigError: no finished stage, or something is in `out` already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            where=str(out), expected="a new or empty folder", got="one with files", hint="choose another folder"
        )
    trained = load_trained(run, stage=stage)
    weights.export_backbone(trained.model.transformer, out / "transformer")
    weights.save(trained.model.transformer, out / "avatar")
    if trained.model.text is not None:
        (out / "text").mkdir()
        tensors = {key: tensor.contiguous() for key, tensor in trained.model.text.state_dict().items()}
        with atomic_path(out / "text" / "weights.safetensors") as temporary:
            save_file(tensors, temporary)
    description = {"format": FORMAT, "stage": trained.stage, "settings": trained.settings.model_dump(mode="json")}
    write_text(out / "training.json", json.dumps(description, indent=2) + "\n")  # last: with it the folder is whole
    return out
