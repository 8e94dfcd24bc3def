"""Content of a checkpoint: weights, optimizer moments, averages, and the position in the data.

Tensors go through torch's distributed checkpoint: each process writes its own shards, and any number of processes can
read them (shards.py: safetensors and JSON, no pickle). There is no generator state to store, because every random
number follows from (seed, epoch, clip).
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.files import decode_json, read_json, write_text
from xsheet.schemas.sets import versions
from xsheet.train.loop.model import TrainableModel
from xsheet.train.loop.optim import Ema
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.shards import add_hashes, checked_file, load_state_dict, save_state_dict

FORMAT = 3
"""Of the folder; a change of what it holds is a new number."""
DESCRIPTION_FILE = "checkpoint.json"

# Moments are keyed by the parameter's name, so that they find their way into another sharding.
_OPTIONS = StateDictOptions(flatten_optimizer_state_dict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPosition:
    """Position in the data: epoch, and clips of it that were used."""

    epoch: int = 0
    clips_drawn: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainProgress:
    """Progress of a stage."""

    step: int = 0  # done, skipped ones too
    position: DataPosition = DataPosition()
    skipped_steps: int = 0  # steps that moved no weight
    losses: tuple[float, ...] = ()  # of the last log lines, to check that a resumed run continues correctly


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """Everything of a stage that changes during training."""

    model: TrainableModel
    trainable_parameters: Mapping[str, nn.Parameter]  # by key of the learner
    optimizer: torch.optim.Optimizer
    ema: Ema | None


def write_checkpoint(
    train_state: TrainState,
    folder: Path,
    *,
    progress: TrainProgress,
    identity: Mapping[str, Any],
    process_group: ProcessGroup,
) -> None:
    """Write this process' share of a checkpoint; all processes must call it."""
    with warnings.catch_warnings():
        _ignore_known_warnings()
        save_state_dict(_state_dict(train_state), folder)
    if process_group.is_main:
        about = {
            "format": FORMAT,
            "identity": identity,
            "progress": asdict(progress),
            "workers": process_group.size,
            "versions": versions(("xsheet", "torch", "diffusers", "peft")),
        }
        write_text(folder / DESCRIPTION_FILE, json.dumps(about, indent=2) + "\n")
        add_hashes(folder, DESCRIPTION_FILE)


def read_checkpoint(train_state: TrainState, folder: Path, *, identity: Mapping[str, Any]) -> TrainProgress:
    """Load a checkpoint into `train_state` and return its progress.

    Raises:
        ContractError: damaged, or of another format.
        ConfigError: of another configuration; what differs is named.
    """
    progress = _read_description(folder, identity)
    state = _state_dict(train_state)
    with warnings.catch_warnings():
        _ignore_known_warnings()
        load_state_dict(state, folder)
        set_model_state_dict(train_state.model, state["model"], options=StateDictOptions(strict=False))
        set_optimizer_state_dict(train_state.model, train_state.optimizer, state["optimizer"], options=_OPTIONS)
    return progress


def _state_dict(train_state: TrainState) -> dict[str, Any]:
    weights = get_model_state_dict(train_state.model)
    return {
        "model": {key: weights[key] for key in train_state.trainable_parameters},  # frozen ones come from their files
        "optimizer": get_optimizer_state_dict(train_state.model, train_state.optimizer, options=_OPTIONS),
        "ema": train_state.ema.weights if train_state.ema is not None else {},  # read back in place
    }


def _read_description(folder: Path, identity: Mapping[str, Any]) -> TrainProgress:
    file = folder / DESCRIPTION_FILE
    try:
        about = read_json(file)
        form, theirs, saved = about["format"], about["identity"], about["progress"]
        progress = (
            TrainProgress(
                step=saved["step"],
                position=DataPosition(**saved["position"]),
                skipped_steps=saved["skipped_steps"],
                losses=tuple(saved["losses"]),
            )
            if form == FORMAT
            else TrainProgress()
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        got, hint = f"{type(error).__name__}: {error}", "remove that folder to resume from the one before"
        raise ContractError(where=str(file), expected="a description", got=got, hint=hint) from error
    if form != FORMAT:
        hint = "finish that run with the version of xsheet that began it, or start a new run in another folder"
        raise ContractError(where=str(file), expected=f"format {FORMAT}", got=f"format {form}", hint=hint)
    checked_file(folder, DESCRIPTION_FILE)
    differs = _dict_differences(theirs, decode_json(json.dumps(identity)))
    if differs:
        expected = ", ".join(f"{key} {ours}" for key, (_, ours) in differs.items())
        got = ", ".join(f"{key} {their}" for key, (their, _) in differs.items())
        hint = "set the values of the checkpoint again, or start a new run in another folder"
        raise ConfigError(where=str(file), expected=expected, got=got, hint=hint)
    return progress


def _dict_differences(theirs: Any, ours: Any, at: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key -> their value and ours; None where one side has no such key."""
    if not (isinstance(theirs, dict) and isinstance(ours, dict)):
        return {} if theirs == ours else {at: (theirs, ours)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(theirs.keys() | ours.keys()):
        found |= _dict_differences(theirs.get(key), ours.get(key), f"{at}.{key}" if at else str(key))
    return found


def _ignore_known_warnings() -> None:
    # Both appear on every save of a run without torch.distributed, our workers=0.
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
