"""One step: micro-batches to gradients, gradients judged, weights moved; or the step is skipped on every worker."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from xsheet.schemas.errors import RunError
from xsheet.schemas.settings import StrictModel
from xsheet.train.data.batch import Batch
from xsheet.train.loop.gradients import TreeSum, given, squared_norm, taken
from xsheet.train.loop.loss import Loss, LossTerms
from xsheet.train.loop.model import Learner
from xsheet.train.loop.process_group import World


class ComputeSettings(StrictModel):
    """How a step is computed; no field changes what is learned but by rounding."""

    micro_batch: int = Field(default=1, ge=1, description="clips that are computed at once by a worker")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="bfloat16", description="of matrix products and activations; weights, sums and the loss are float32"
    )
    checkpointing: bool = Field(default=True, description="activations of a block are computed again, not kept")
    compiled: bool = Field(default=False, description="each block through torch.compile; pays after about 100 steps")
    add: Literal["tree", "running"] = Field(
        default="tree", description="running: less memory, but other bits with another number of workers"
    )
    threads: int | None = Field(
        default=None, ge=1, description="of a worker on a CPU; other bits with another number; null = as torch finds"
    )
    peak_tflops: float | None = Field(
        default=None, gt=0, description="of one device in that dtype, for MFU; null = by the device's name, if known"
    )

    def autocast(self, device: torch.device) -> torch.autocast:
        """Computes in `dtype` what may be."""
        return torch.autocast(device.type, getattr(torch, self.dtype), enabled=self.dtype != "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What a step did. Losses are those of this worker's clips."""

    terms: tuple[LossTerms, ...]
    norm: float  # of the gradient before it was cut; not finite in a skipped step
    skipped: tuple[str, ...]  # clips that are to blame, of all workers; () if the weights moved


class Stepper:
    """What steps have in common: who learns, by which loss, with whom."""

    def __init__(
        self, learner: Learner, *, loss: Loss, optimizer: torch.optim.Optimizer, compute: ComputeSettings, world: World
    ) -> None:
        self._learner, self._loss, self._optimizer = learner, loss, optimizer
        self._compute, self._world = compute, world
        self._trained: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]

    def step(self, micros: Sequence[Batch], *, clips: int, seed: int, lr: float, clip_norm: float) -> Stepped:
        """Learn from this worker's micro-batches of a step of `clips` clips in all.

        The loss is the mean over those clips, so cutting them otherwise into micro-batches changes nothing. A loss or
        norm that is not finite skips the step in all processes before the optimizer sees it: its moments, like the
        weights, stay as they are. The verdict is one number on the device, read once per step.

        Raises:
            RunError: the device has too little memory.
        """
        with needing_memory(
            where=f"step on {self._world.device}",
            holds=f"weights, moments and micro-batches of {self._compute.micro_batch}",
            todo=f"{_less_memory(self._compute)}; the run then goes on from its last checkpoint",
        ):
            terms, gradients = self._gradients(micros, clips=clips, seed=seed)
        bad = torch.cat([~torch.isfinite(said.total_B) for said in terms])
        verdict = torch.stack([squared_norm(gradients), bad.sum().double()])
        square, bad_clips = self._world.summed(verdict).tolist()
        norm = float(torch.tensor(square, dtype=torch.float64).sqrt().float())  # see squared_norm
        if bad_clips or not math.isfinite(norm):
            ids = [clip for batch in micros for clip in batch.clip_ids]
            return Stepped(terms=terms, norm=norm, skipped=self._blamed(ids, bad.tolist(), any_bad=bad_clips > 0))
        self._move(gradients, scale=min(1.0, clip_norm / max(norm, 1e-30)), lr=lr)
        return Stepped(terms=terms, norm=norm, skipped=())

    def _gradients(
        self, micros: Sequence[Batch], *, clips: int, seed: int
    ) -> tuple[tuple[LossTerms, ...], list[Tensor]]:
        device, total = self._world.device, TreeSum()
        terms = []
        for batch in micros:
            with self._compute.autocast(device):
                said = self._loss(self._learner, batch.to(device), seed=seed)
            (said.total_B.sum() / clips).backward()  # type: ignore[no-untyped-call]
            terms.append(_detached(said))
            if self._compute.add == "tree":
                total.add(taken(self._trained))
        if self._compute.add == "running":
            total.add(taken(self._trained))
        return tuple(terms), total.total()

    def _move(self, gradients: list[Tensor], *, scale: float, lr: float) -> None:
        if scale < 1:
            for gradient in gradients:
                gradient.mul_(scale)
        given(self._trained, gradients)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _blamed(self, clip_ids: list[str], bad: list[bool], *, any_bad: bool) -> tuple[str, ...]:
        """Clips whose loss is not finite; where only the gradient is not, all clips of the step are under suspicion."""
        mine = [clip for clip, is_bad in zip(clip_ids, bad, strict=True) if is_bad or not any_bad]
        return tuple(clip for ids in self._world.gathered(mine) if isinstance(ids, list) for clip in ids)


def _detached(said: LossTerms) -> LossTerms:
    return LossTerms(total_B=said.total_B.detach(), terms=said.terms, sigma_B=said.sigma_B, inside_B=said.inside_B)


def _less_memory(compute: ComputeSettings) -> str:
    """The setting that lowers it most."""
    if compute.micro_batch > 1:
        return f"set compute.micro_batch below {compute.micro_batch}"
    if not compute.checkpointing:
        return "set compute.checkpointing to true"
    return "use more workers or smaller clips"


@contextmanager
def needing_memory(*, where: str, holds: str, todo: str) -> Iterator[None]:
    """RunError where the device has too little memory for what is computed in here."""
    try:
        yield
    except RuntimeError as error:
        # Of a CPU, torch says it in words only.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise RunError(where=where, expected=f"memory for {holds}", came="too little", todo=todo) from error
        raise
