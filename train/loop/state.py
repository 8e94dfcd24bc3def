"""What a checkpoint holds: weights, moments, averages, and where in the data the run stands.

Tensors go through torch's distributed checkpoint: each process writes its own shards, and any number of processes
reads them back. There is no state of chance to keep, since every draw follows from (seed, epoch, clip). A checkpoint
is for going on with one's own run: torch keeps its index as a pickle, so open none of a stranger's. Weights travel as
safetensors.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.manifest import versions
from xsheet.schemas.tables import write_text
from xsheet.train.loop.model import Learner
from xsheet.train.loop.optim import Ema
from xsheet.train.loop.process_group import World

FORMAT = 1
"""Of the folder; a change of what it holds is a new number."""

# Moments are keyed by the parameter's name, so that they find their way into another sharding.
_OPTIONS = StateDictOptions(flatten_optimizer_state_dict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the next clip is taken from: so many of the epoch's order were shown already."""

    epoch: int = 0
    shown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage is."""

    step: int = 0  # done, skipped ones too
    position: Position = Position()
    skipped: int = 0  # steps that moved no weight
    losses: tuple[float, ...] = ()  # of the last log lines, to see whether a resumed run goes on where it was


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """Everything of a stage that changes while it runs."""

    learner: Learner
    trained: Mapping[str, nn.Parameter]  # by key of the learner
    optimizer: torch.optim.Optimizer
    ema: Ema | None


def write(learning: Learning, folder: Path, *, progress: Progress, identity: Mapping[str, Any], world: World) -> None:
    """This process' share of a checkpoint; all processes must call it."""
    with warnings.catch_warnings():
        _quiet()
        state_dict_saver.save(_tensors(learning), checkpoint_id=folder)
    if world.first:
        about = {
            "format": FORMAT,
            "identity": identity,
            "progress": asdict(progress),
            "workers": world.size,
            "versions": versions(("xsheet", "torch", "diffusers", "peft")),
        }
        write_text(folder / "checkpoint.json", json.dumps(about, indent=2) + "\n")


def read(learning: Learning, folder: Path, *, identity: Mapping[str, Any]) -> Progress:
    """Put a checkpoint's state into what was built for it, and say how far it is.

    Raises:
        ContractError: of another format, or its description cannot be read.
        ConfigError: of another configuration; what differs is named.
    """
    progress = _described(folder, identity)
    state = _tensors(learning)
    with warnings.catch_warnings():
        _quiet()
        state_dict_loader.load(state, checkpoint_id=folder)
        set_model_state_dict(learning.learner, state["model"])
        set_optimizer_state_dict(learning.learner, learning.optimizer, state["optimizer"], options=_OPTIONS)
    return progress


def _tensors(learning: Learning) -> dict[str, Any]:
    return {
        "model": get_model_state_dict(learning.learner),
        "optimizer": get_optimizer_state_dict(learning.learner, learning.optimizer, options=_OPTIONS),
        "ema": learning.ema.weights if learning.ema is not None else {},  # read back in place
    }


def _described(folder: Path, identity: Mapping[str, Any]) -> Progress:
    file = folder / "checkpoint.json"
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        form, theirs, told = about["format"], about["identity"], about["progress"]
        progress = (
            Progress(
                step=told["step"],
                position=Position(**told["position"]),
                skipped=told["skipped"],
                losses=tuple(told["losses"]),
            )
            if form == FORMAT
            else Progress()
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        came, todo = f"{type(error).__name__}: {error}", "remove that folder to go on from the one before"
        raise ContractError(where=str(file), expected="a description", came=came, todo=todo) from error
    if form != FORMAT:
        todo = "finish that run with the version of xsheet that began it, or start anew in another folder"
        raise ContractError(where=str(file), expected=f"format {FORMAT}", came=f"format {form}", todo=todo)
    differs = _differences(theirs, json.loads(json.dumps(identity)))
    if differs:
        expected = ", ".join(f"{key} {ours}" for key, (_, ours) in differs.items())
        came = ", ".join(f"{key} {their}" for key, (their, _) in differs.items())
        todo = "take the checkpoint's values back, or start anew in another folder"
        raise ConfigError(where=str(file), expected=expected, came=came, todo=todo)
    return progress


def _differences(theirs: Any, ours: Any, at: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key -> their value and ours; None where one side has no such key."""
    if not (isinstance(theirs, dict) and isinstance(ours, dict)):
        return {} if theirs == ours else {at: (theirs, ours)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(theirs.keys() | ours.keys()):
        found |= _differences(theirs.get(key), ours.get(key), f"{at}.{key}" if at else str(key))
    return found


def _quiet() -> None:
    # Both are said on every save of a run without torch.distributed, which is our workers=0.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
