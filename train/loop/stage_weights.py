"""Weights between stages: where a stage's initial weights come from, and what it saves.

    OUT/STAGE/weights.safetensors    the weights that the stage changed, at the last step
    OUT/STAGE/average.safetensors    the same, averaged over the steps (EMA); for samples and export
    OUT/STAGE/lora/                  low-rank updates alone, if the stage trains some; above they are merged

Keys are those of TrainableModel. The origin of each key is explicit: pretrained, an earlier stage, or new.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from xsheet.model.weights import load_part
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import atomic_path, remove_temporary_files
from xsheet.train.loop.lora import LORA_FOLDER, merge_lora, merged_key, save_lora
from xsheet.train.loop.model import TrainableModel, part_keys
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.state import TrainState
from xsheet.train.stages import StageSettings, stage_weight_keys

log = logging.getLogger(__name__)

WEIGHTS_FILE, EMA_WEIGHTS_FILE = "weights.safetensors", "average.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOrigins:
    """Origin of each key's initial weights; every key is in exactly one group."""

    keys_by_origin: Mapping[str, frozenset[str]]  # "backbone" or "avatar", the names of earlier stages, "new"

    def summary_lines(self, parts: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
        """Keys by part and origin, for people."""
        return tuple(
            f"{part}: "
            + ", ".join(
                f"{len(keys & group)} keys {_origin_label(name)}"
                for name, group in self.keys_by_origin.items()
                if keys & group
            )
            for part, keys in parts.items()
            if keys
        )


def load_previous(
    model: TrainableModel,
    *,
    pretrained: Mapping[str, frozenset[str]],
    previous_stages: Sequence[tuple[StageSettings, Path]],
    use_ema: bool = False,
) -> WeightOrigins:
    """Load the weights of earlier stages into a new model, and return the origin of every key.

    Args:
        model: as made, with pretrained weights at the keys of `pretrained`, new ones elsewhere.
        pretrained: keys by the origin of their weights, e.g. "backbone".
        previous_stages: settings and folders of the earlier stages, in order.
        use_ema: take the averaged weights.

    Raises:
        ConfigError: a stage has no weights yet, or other keys than its settings imply.
    """
    origin = dict.fromkeys(model.state_dict(), "new")
    for name, keys in pretrained.items():
        origin |= dict.fromkeys(keys, name)
    for settings, folder in previous_stages:
        name = settings.name
        file, keys = folder / (EMA_WEIGHTS_FILE if use_ema else WEIGHTS_FILE), stage_weight_keys(model, settings)
        if not file.is_file():
            raise ConfigError(where=str(file), expected=f"the weights of {name}", got="none", hint=f"run {name} first")
        load_part(model, file, keys=keys)
        origin |= dict.fromkeys(keys, name)
    names = (*pretrained, *(settings.name for settings, _ in previous_stages), "new")
    return WeightOrigins(
        keys_by_origin={name: frozenset(key for key, at in origin.items() if at == name) for name in names}
    )


def check_initial_weights(model: TrainableModel, origins: WeightOrigins, stage: StageSettings) -> None:
    """Log the origin of the weights, and refuse a stage that would freeze untrained ones.

    New audio and phase weights have no effect before training, so they may stay frozen; a new backbone or text encoder
    is random.

    Raises:
        ConfigError: the backbone or text encoder is new, and the stage does not train it.
    """
    parts = part_keys(model)
    for line in origins.summary_lines(parts):
        log.info("%s begins with %s", stage.name, line)
    for part in ("backbone", "text"):
        if parts[part] & origins.keys_by_origin["new"] and part not in stage.trainable_parts:
            raise ConfigError(
                where=f"{stage.name}.trainable_parts",
                expected=f"{part} with trained weights, or {part} among {stage.name}.trainable_parts",
                got=f"randomly initialised weights that stay frozen (trainable: {', '.join(stage.trainable_parts)})",
                hint="set pretrained_backbone to the folder of a pretrained transformer"
                if part == "backbone"
                else f"add {part} to trainable_parts",
            )


def save_stage(
    train_state: TrainState,
    folder: Path,
    *,
    stage: StageSettings,
    keys: frozenset[str],
    process_group: ProcessGroup,
    originals: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """Write the weights that the stage changed; all processes must call it, the main one writes.

    `originals` are weights that updates are merged into where the model keeps them in a smaller type.
    """
    state = {key: tensor for key, tensor in train_state.model.state_dict().items() if merged_key(key) in keys}
    raw = _gather_to_main(state, process_group=process_group) | dict(originals)
    average = (
        raw | _gather_to_main(train_state.ema.weights, process_group=process_group)
        if train_state.ema is not None
        else None
    )
    if process_group.is_main:
        remove_temporary_files(folder)  # of a run killed while it wrote here: as large as the model
    for name, weights in ((WEIGHTS_FILE, raw), (EMA_WEIGHTS_FILE, average)):
        if weights is not None and process_group.is_main:
            plain = merge_lora(weights, stage.lora) if stage.lora is not None else weights
            with atomic_path(folder / name) as temporary:
                save_file({key: plain[key].contiguous() for key in sorted(keys)}, temporary)
    if stage.lora is not None and process_group.is_main:
        save_lora(raw if average is None else average, stage.lora, folder / LORA_FOLDER)


def _gather_to_main(tensors: Mapping[str, Tensor], *, process_group: ProcessGroup) -> dict[str, Tensor]:
    """Gather tensors one by one on the main process' CPU; empty on the others."""
    whole: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        full: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if process_group.is_main:
            whole[key] = full.detach().cpu()
    return whole


def _origin_label(group: str) -> str:
    return "new" if group == "new" else f"from {group}"
