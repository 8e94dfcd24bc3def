"""From stage to stage: where the first weights of a stage come from, and what it leaves to the next.

    OUT/stage1/weights.safetensors    exactly what the stage changed, as it was at the last step
    OUT/stage1/average.safetensors    the same, averaged over the steps (EMA); for samples and export

Keys are the learner's. Nothing is taken or left out in silence: each key is the base's, an earlier stage's or new.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from xsheet.model.weights import load_part
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.tables import remove_leftovers, replacing
from xsheet.train.loop.lora import merged, plain_key
from xsheet.train.loop.model import Learner, part_keys
from xsheet.train.loop.process_group import World
from xsheet.train.loop.state import Learning
from xsheet.train.stages import StageSettings, keys_handed_on

log = logging.getLogger(__name__)

WEIGHTS, AVERAGE = "weights.safetensors", "average.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """Where each key of a learner got its first weights; every key stands in exactly one group."""

    groups: Mapping[str, frozenset[str]]  # "base", "stage1", ..., "new"

    def lines(self, parts: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
        """Keys by part and origin, for people."""
        return tuple(
            f"{part}: "
            + ", ".join(
                f"{len(keys & group)} keys {_from(name)}" for name, group in self.groups.items() if keys & group
            )
            for part, keys in parts.items()
            if keys
        )


def take_over(
    learner: Learner, *, has_base: bool, earlier: Sequence[tuple[str, StageSettings, Path]], average: bool = False
) -> Handover:
    """Put what earlier stages left into a learner that was just made, and say where every key comes from.

    Args:
        learner: as made: pretrained where `has_base`, fresh elsewhere.
        has_base: whether the base's weights are pretrained.
        earlier: names, settings and folders of the earlier stages, in order.
        average: take the averaged weights.

    Raises:
        ConfigError: a stage left nothing yet, or other keys than its settings say.
    """
    origin = dict.fromkeys(learner.state_dict(), "new")
    if has_base:
        origin |= dict.fromkeys(part_keys(learner)["base"], "base")
    for name, settings, folder in earlier:
        file, keys = folder / (AVERAGE if average else WEIGHTS), keys_handed_on(learner, settings)
        if not file.is_file():
            raise ConfigError(where=str(file), expected=f"the weights of {name}", came="none", todo=f"run {name} first")
        load_part(learner, file, keys=keys)  # type: ignore[arg-type]  # it takes any module with these keys
        origin |= dict.fromkeys(keys, name)
    names = ("base", *(name for name, _, _ in earlier), "new")
    return Handover(groups={name: frozenset(key for key, at in origin.items() if at == name) for name in names})


def check_start(learner: Learner, handover: Handover, stage: StageSettings, *, name: str) -> None:
    """Say where the weights come from, and refuse a stage whose frozen parts never learned anything.

    New sound and new phases are silent, so they may stay as they are; a new base or text encoder is noise.

    Raises:
        ConfigError: such a part is new, and the stage does not train it.
    """
    parts = part_keys(learner)
    for line in handover.lines(parts):
        log.info("%s begins with %s", name, line)
    for part in ("base", "text"):
        if parts[part] & handover.groups["new"] and part not in stage.trains:
            raise ConfigError(
                where=f"{name}.trains",
                expected=f"{part} with weights that were learned before, or among what {name} trains",
                came=f"new weights that would stay as they are drawn (trains: {', '.join(stage.trains)})",
                todo="give the folder of a pretrained base (model.base)" if part == "base" else f"add {part} to trains",
            )


def hand_on(learning: Learning, folder: Path, *, stage: StageSettings, keys: frozenset[str], world: World) -> None:
    """Write what the stage changed, whole, as plain weights; all processes must call it, the first one writes."""
    state = {key: tensor for key, tensor in learning.learner.state_dict().items() if plain_key(key) in keys}
    raw = _whole(state, world=world)
    average = raw | _whole(learning.ema.weights, world=world) if learning.ema is not None else None
    if world.first:
        remove_leftovers(folder)  # of a run killed while it wrote here: as large as the model
    for name, weights in ((WEIGHTS, raw), (AVERAGE, average)):
        if weights is not None and world.first:
            plain = merged(weights, stage.lora) if stage.lora is not None else weights
            with replacing(folder / name) as temporary:
                save_file({key: plain[key].contiguous() for key in sorted(keys)}, temporary)


def _whole(tensors: Mapping[str, Tensor], *, world: World) -> dict[str, Tensor]:
    """Gathered one by one, kept by the first process on its CPU; the others get an empty dict."""
    whole: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        full: Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if world.first:
            whole[key] = full.detach().cpu()
    return whole


def _from(group: str) -> str:
    return "new" if group == "new" else f"from {group}"
