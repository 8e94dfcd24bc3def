"""Metrics of a run: summed on the device, then logged, written to metrics.jsonl, TensorBoard and a tracker.

A tracker is trackio or Weights & Biases, through its library; both have the same interface. Storage and login are
settings of these libraries (WANDB_MODE=offline, TRACKIO_DIR, ...).
"""

import importlib
import json
import logging
import math
import re
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from xsheet.model.config import ActAvatarConfig
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import decode_json, write_text
from xsheet.schemas.ids import content_key
from xsheet.schemas.settings import StrictModel
from xsheet.train.loop.loss import LossTerms
from xsheet.train.loop.process_group import ProcessGroup

log = logging.getLogger(__name__)

SIGMA_BANDS = (0.25, 0.5, 0.75, 0.9)
"""Edges between the bands of σ; a mean over all σ would hide the loss of fine detail, such as lips."""
_BANDS = ("0-.25", ".25-.5", ".5-.75", ".75-.9", ".9-1")


class MetricsAccumulator:
    """Means over all clips of all workers since the last call; clips with non-finite loss are left out."""

    def __init__(self, process_group: ProcessGroup) -> None:
        self._process_group = process_group
        self._sums: dict[str, Tensor] = {}

    def update(self, terms: LossTerms) -> None:
        """Add the clips of one micro-batch; does not synchronise with the device."""
        numbers = {"loss": terms.total_B} | {f"loss/{name}": values for name, values in terms.terms.items()}
        band_B = torch.bucketize(terms.sigma_B, torch.tensor(SIGMA_BANDS, device=terms.sigma_B.device), right=True)
        numbers |= {f"loss/sigma {name}": terms.total_B.where(band_B == i, torch.nan) for i, name in enumerate(_BANDS)}
        numbers["loss/inside phases"] = terms.in_phases_B
        for name, values_B in numbers.items():
            finite_B = torch.isfinite(values_B)
            both = torch.stack([values_B.where(finite_B, 0).double().sum(), finite_B.sum().double()])
            self._sums[name] = self._sums[name] + both if name in self._sums else both

    def compute(self) -> dict[str, float]:
        """Mean by name, then reset; all workers must call it."""
        names = sorted(self._sums)
        if not names:
            return {}
        both = self._process_group.all_reduce_sum(torch.stack([self._sums[name] for name in names])).tolist()
        self._sums = {}
        return {name: total / count for name, (total, count) in zip(names, both, strict=True) if count}


TrackerLibrary = Literal["trackio", "wandb"]


class TrackerSettings(StrictModel):
    """An experiment tracker."""

    library: TrackerLibrary = Field(
        description="experiment tracker; install it first: pip install trackio, or pip install wandb"
    )
    project: str = Field(
        default="xsheet",
        max_length=100,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_. -]*$",
        description="project name of the runs",
    )  # trackio makes a file name of it


class _Library(Protocol):
    def init(self, **options: Any) -> Any: ...
    def log(self, metrics: Mapping[str, float], *, step: int) -> Any: ...
    def finish(self) -> Any: ...


class Tracker:
    """One run of a tracker; a resumed stage continues the run of its folder."""

    def __init__(self, settings: TrackerSettings, folder: Path, *, config: Mapping[str, Any]) -> None:
        """Start or continue the run `RUN/STAGE`.

        Raises:
            ConfigError: the library is not installed.
        """
        self._library = _import(settings.library)
        at = folder.absolute()
        options = {"project": settings.project, "name": f"{at.parent.name}-{at.name}", "config": dict(config)}
        self._library.init(**options, resume="allow", **_run_id(settings.library, at))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        self._library.log(dict(numbers), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._library.finish()


def _import(library: TrackerLibrary) -> _Library:
    try:
        return cast(_Library, importlib.import_module(library))
    except ImportError as error:
        raise ConfigError(
            where="loop.tracker.library", expected=f"{library} to be installed", got=str(error),
            hint=f"pip install {library}, or remove the setting",
        ) from error  # fmt: skip


def _run_id(library: TrackerLibrary, folder: Path) -> dict[str, str]:
    """Trackio continues a run by its name; Weights & Biases by an id, which has to be unique in the project."""
    return {} if library == "trackio" else {"id": content_key(str(folder))[:16]}


class MetricsLog:
    """metrics.jsonl, TensorBoard files and the tracker's run of one stage; the main process writes them."""

    def __init__(
        self,
        folder: Path,
        *,
        process_group: ProcessGroup,
        step: int,
        tracker: TrackerSettings | None = None,
        config: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Open the files.

        Args:
            folder: of the stage.
            process_group: its main process writes.
            step: what was done before; lines of later steps, which a killed run left, are removed.
            tracker: experiment tracker, if any.
            config: settings that the tracker shows.

        Raises:
            ConfigError: the tracker's library is not installed.
        """
        self._file = folder / "metrics.jsonl" if process_group.is_main else None
        self._board: SummaryWriter | None = None
        self._tracker: Tracker | None = None
        if self._file is not None:
            self._tracker = Tracker(tracker, folder, config=config) if tracker is not None else None
            _truncate_after(self._file, step)
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write one line for a step; non-finite numbers are left out."""
        if self._file is None or self._board is None:
            return
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | finite) + "\n")
        for name, value in finite.items():
            self._board.add_scalar(name, value, step)
        if self._tracker is not None:
            self._tracker.log(step, finite)

    def close(self) -> None:
        """Flush everything to disk."""
        if self._board is not None:
            self._board.close()
        if self._tracker is not None:
            self._tracker.close()


def log_line(step: int, steps: int, numbers: Mapping[str, float], *, eta_s: float) -> str:
    """The log line of a step."""
    shown = [f"step {step}/{steps}  {timedelta(seconds=round(eta_s))} left"]
    for name, pattern in _LINE_FORMATS.items():
        if name in numbers:
            shown.append(pattern.format(numbers[name]))
    return "  ".join(shown)


_LINE_FORMATS = {
    "loss": "loss {:.4f}",
    "loss/inside phases": "in phases {:.4f}",
    "norm": "norm {:.3f}",
    "lr": "lr {:.2e}",
    "tokens_per_s": "{:,.0f} tokens/s",
    "tflops": "{:.3g} TFLOP/s",
    "mfu": "MFU {:.1%}",
    "peak_memory_gib": "{:.2f} GiB",
    "wait_share": "waited {:.1%}",
    "skipped": "skipped {:.0f}",
}


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory of the device, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _truncate_after(file: Path, step: int) -> None:
    """Keep the lines up to a step. A kill can leave half a line at the end."""
    if not file.is_file():
        return
    kept = []
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if decode_json(text)["step"] <= step:
                kept.append(text)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    write_text(file, "".join(text + "\n" for text in kept))


_PEAK_TFLOPS_BF16 = {"H200": 989, "H100": 989, "H800": 989, "H20": 148, "A100": 312, "A800": 312, "L40S": 362}
"""Dense bfloat16 of the data sheets, by what torch calls the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFlops:
    """Of one clip forward: matrix products with weights, and those of attention, which have none."""

    tokens: int
    linear_flops: float
    attention_flops: float

    def training_flops(self, trainable_fraction: float) -> float:
        """Forward and backward. Attention costs 3 times its forward, frozen weights 2 times, trained ones 3 times."""
        return 3 * self.attention_flops + (2 + trainable_fraction) * self.linear_flops


def clip_flops(model_config: ActAvatarConfig, *, frames: int, height: int, width: int) -> ClipFlops:
    """Of a latent of F x H x W cells through the blocks; embeddings at both ends (below 1 %) are left out."""
    tokens = frames * (height // model_config.patch_size[1]) * (width // model_config.patch_size[2])
    dim, text, sound = model_config.hidden_dim, model_config.text_tokens, frames * model_config.audio_tokens
    video_weights = (
        4 * dim * dim + 2 * dim * dim + 2 * dim * model_config.ffn_dim + 2 * dim * dim
    )  # self, text, ffn, sound
    linear = 2 * (tokens * video_weights + text * 2 * dim * dim + sound * 2 * dim * model_config.audio_dim)
    attention = 4 * dim * tokens * (tokens + text + model_config.audio_tokens)
    return ClipFlops(
        tokens=tokens,
        linear_flops=model_config.num_layers * linear,
        attention_flops=model_config.num_layers * attention,
    )


def peak_flops(device_name: str) -> float | None:
    """Dense bfloat16 operations per second of a device by its name; None for one that the table does not know."""
    found = [peak for name, peak in _PEAK_TFLOPS_BF16.items() if name in re.split(r"[\s-]", device_name)]
    return found[0] * 1e12 if found else None
