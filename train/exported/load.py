"""The model of an exported folder, with its encoders."""

import json
from pathlib import Path

from xsheet.model import weights
from xsheet.model.transformer import ActAvatarTransformer
from xsheet.model.variants import variant_of
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import read_json
from xsheet.train.data.cache.files import cached_text
from xsheet.train.data.encoders import open_encoders
from xsheet.train.loop.lora import LORA_FILE, LORA_FOLDER
from xsheet.train.loop.model import TrainableModel
from xsheet.train.run import build_text_encoder
from xsheet.train.sample.sampler import TrainedModel, last_finished_stage, load_trained, run_settings
from xsheet.train.settings import TrainSettings

FORMAT = 2
DESCRIPTION_FILE = "training.json"


def is_exported(folder: Path) -> bool:
    """Whether a folder is an export; a run has no such file."""
    return (folder / DESCRIPTION_FILE).is_file()


def check_stage(folder: Path, stage: str | None) -> str:
    """Name of the stage whose weights to use in a run or an export; None takes the last finished one.

    Raises:
        ConfigError: no finished run and no export, or none with that stage.
    """
    if not is_exported(folder):
        settings = run_settings(folder)
        return last_finished_stage(folder, settings) if stage is None else settings.stage(stage).name
    exported = _description(folder)[0]
    if stage not in (None, exported):
        raise ConfigError(
            where="--stage", expected=f"{exported}, the stage of this export", got=repr(stage), hint="omit --stage"
        )
    return exported


def load_run_or_export(folder: Path, *, stage: str | None, device: str) -> TrainedModel:
    """The model of a run, or of an export; `stage` None takes the last finished one.

    Raises:
        ConfigError: no finished run and no export, or weights that do not belong together.
    """
    name = check_stage(folder, stage)
    return (
        load_exported(folder, device=device) if is_exported(folder) else load_trained(folder, stage=name, device=device)
    )


def load_exported(
    folder: Path, *, transformer: ActAvatarTransformer | None = None, device: str = "cpu"
) -> TrainedModel:
    """The model of an export; low-rank updates that lie beside the weights are added.

    Args:
        folder: written by `xsheet train export`.
        transformer: loaded from its folder `avatar` already.
        device: of model and encoders.

    Raises:
        ConfigError: no export of this version, or weights that do not belong together.
    """
    stage, settings = _description(folder)
    kind = settings.config_and_class[1]
    if transformer is None:
        transformer = weights.load(folder / "avatar", model_class=kind)
    if (folder / LORA_FOLDER / LORA_FILE).is_file() and not hasattr(transformer, "peft_config"):
        weights.index_tensors(folder / LORA_FOLDER / LORA_FILE)  # refuses a damaged file in a sentence
        transformer.load_lora_adapter(folder / LORA_FOLDER, weight_name=LORA_FILE)
    encoders = open_encoders(settings.cache, device=device)
    text = build_text_encoder(settings)
    if text is not None:
        weights.load_part(text, folder / "text" / "weights.safetensors", keys=text.state_dict())
    null_text = cached_text(encoders.text.tokenize("").ids_M, encoders.text)
    model = TrainableModel(
        transformer,
        text=text,
        null_text=null_text if encoders.text.trainable else null_text.float(),
        variant=variant_of(settings.variant),
    )
    return TrainedModel(settings=settings, stage=stage, model=model.to(device).eval(), encoders=encoders)


def _description(folder: Path) -> tuple[str, TrainSettings]:
    file = folder / DESCRIPTION_FILE
    try:
        about = read_json(file)
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}")
        return about["stage"], TrainSettings.model_validate_json(json.dumps(about["settings"]))
    except (OSError, ValueError, KeyError, TypeError) as error:  # pydantic's error is a ValueError
        raise ConfigError(
            where=str(file), expected=f"the description of an export, format {FORMAT}",
            got=" ".join(str(error).split())[:200], hint="export the run again with this version",
        ) from error  # fmt: skip
