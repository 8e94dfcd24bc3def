"""The loop of training. It knows no stage: what learns, by which loss and from which clips, is given to it."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import Field

from xsheet.model.config import ActAvatarConfig
from xsheet.schemas.errors import RunError
from xsheet.schemas.settings import StrictModel
from xsheet.train.data.batch import Batch
from xsheet.train.loop.checkpoint import Checkpoints
from xsheet.train.loop.loss import Loss
from xsheet.train.loop.metrics import Journal, Meter, clip_flops, line, memory_gib, peak_flops
from xsheet.train.loop.optim import OptimSettings, lr_at
from xsheet.train.loop.process_group import World
from xsheet.train.loop.state import Learning, Position, Progress, read, write
from xsheet.train.loop.step import ComputeSettings, Stepped, Stepper

log = logging.getLogger(__name__)

_TAIL = 20  # losses that a checkpoint keeps


class LoopSettings(StrictModel):
    """When the loop speaks and saves; no field changes what is learned."""

    log_every: int = Field(default=10, ge=1, description="steps between two lines")
    save_every: int = Field(default=500, ge=1, description="steps between two checkpoints")
    observe_every: int = Field(default=1000, ge=1, description="steps between two validations, with sample videos")
    keep: int = Field(default=2, ge=2, description="checkpoints that stay, besides those that a pointer names")
    max_skipped: int = Field(default=10, ge=1, description="steps skipped in a row that end the run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What decides, with data and first weights, what a stage learns."""

    steps: int
    clips: int  # per step, of all workers
    seed: int
    optim: OptimSettings
    identity: Mapping[str, Any]  # all of it as plain values: a checkpoint of another identity is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """One worker's share of a step."""

    micros: tuple[Batch, ...]
    after: Position  # where the next step begins


class Feed(Protocol):
    """Where batches come from. Worker r of W gets micro-batches r, W + r, 2W + r ... of every step."""

    def portions(self, start: Position) -> Iterator[Portion]:
        """This worker's shares of one step after another, without end."""
        ...


Observer = Callable[[int, Learning], Mapping[str, float]]
"""What looks at the model now and then (validation, samples): step -> numbers for the journal. All workers call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A stage's loop, ready to run."""

    learning: Learning
    loss: Loss
    feed: Feed
    course: Course
    compute: ComputeSettings
    settings: LoopSettings
    folder: Path  # checkpoints/, metrics.jsonl, tensorboard/ and skipped.jsonl are made in it
    world: World
    observe: Observer | None = None
    clock: Callable[[], float] = time.perf_counter

    def run(self) -> Progress:
        """Go on from the newest checkpoint, or begin, and end with a checkpoint of the last step.

        Raises:
            ConfigError, ContractError: the checkpoint in the folder is of another configuration or format.
            RunError: out of memory, a checkpoint that cannot be written, or too many skipped steps in a row.
        """
        checkpoints = Checkpoints(self.folder / "checkpoints", keep=self.settings.keep, together=self.world)
        newest = checkpoints.recover()
        progress = Progress() if newest is None else read(self.learning, newest, identity=self.course.identity)
        if progress.step and self.world.first:
            log.info("going on from step %d, %s", progress.step, newest)
        journal = Journal(self.folder, world=self.world, step=progress.step)
        portions = self.feed.portions(progress.position)
        with closing(journal):
            return self._steps(portions, progress, checkpoints, journal)

    def _steps(
        self, portions: Iterator[Portion], progress: Progress, checkpoints: Checkpoints, journal: Journal
    ) -> Progress:
        course, learning = self.course, self.learning
        stepper = Stepper(
            learning.learner, loss=self.loss, optimizer=learning.optimizer, compute=self.compute, world=self.world
        )
        pace, skipped_in_a_row = _Pace(self), 0
        for step in range(progress.step, course.steps):
            with pace.waiting():
                portion = next(portions)
            lr = lr_at(step, settings=course.optim, steps=course.steps)
            stepped = stepper.step(
                portion.micros, clips=course.clips, seed=course.seed, lr=lr, clip_norm=course.optim.clip_norm
            )
            pace.add(stepped, portion.micros)
            if not stepped.skipped and learning.ema is not None:
                learning.ema.update(step)
            skipped_in_a_row = self._judged(stepped, step, skipped_in_a_row)
            skipped = progress.skipped + bool(stepped.skipped)
            progress = replace(progress, step=step + 1, position=portion.after, skipped=skipped)
            progress = self._told(progress, pace, journal, lr=lr, norm=stepped.norm)
            with pace.paused():
                self._looked(progress.step, journal)
                self._saved(progress, checkpoints)
        return progress

    def _judged(self, stepped: Stepped, step: int, in_a_row: int) -> int:
        """Skipped steps in a row, this one counted; each is written down with the clips that are to blame."""
        if not stepped.skipped:
            return 0
        log.warning("skipped step=%d norm=%s clips=%s", step, stepped.norm, ",".join(stepped.skipped))
        if self.world.first:
            with (self.folder / "skipped.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "clips": stepped.skipped}) + "\n")
        if in_a_row + 1 >= self.settings.max_skipped:
            raise RunError(
                where=f"step {step}",
                expected=f"fewer than {self.settings.max_skipped} steps in a row without a finite loss and gradient",
                came=f"the last one with {', '.join(stepped.skipped[:3])}",
                todo="look at skipped.jsonl; one clip again and again: remove it, ever new ones: lower optim.lr",
            )
        return in_a_row + 1

    def _told(self, progress: Progress, pace: "_Pace", journal: Journal, *, lr: float, norm: float) -> Progress:
        """At its steps: the line and the journal; the progress keeps the tail of the losses."""
        step = progress.step
        if not self._is_due(step, self.settings.log_every):
            return progress
        numbers = pace.read() | {"lr": lr, "norm": norm, "skipped": float(progress.skipped)}
        if self.world.first:
            log.info(line(step, self.course.steps, numbers, left_s=pace.left_s(self.course.steps - step)))
        journal.write(step, numbers)
        return replace(progress, losses=(*progress.losses, *([numbers["loss"]] if "loss" in numbers else []))[-_TAIL:])

    def _looked(self, step: int, journal: Journal) -> None:
        if self.observe is not None and self._is_due(step, self.settings.observe_every):
            journal.write(step, self.observe(step, self.learning))

    def _saved(self, progress: Progress, checkpoints: Checkpoints) -> None:
        def write_here(folder: Path) -> None:
            write(self.learning, folder, progress=progress, identity=self.course.identity, world=self.world)

        if self._is_due(progress.step, self.settings.save_every):
            checkpoints.save(progress.step, write_here)

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.course.steps


class _Pace:
    """How fast it goes, between two lines; and the losses of that time."""

    def __init__(self, loop: Loop) -> None:
        self._clock, self._world = loop.clock, loop.world
        self._meter = Meter(loop.world)
        self._size: ActAvatarConfig = loop.learning.learner.transformer.size
        weights = sum(p.numel() for p in loop.learning.learner.parameters())
        self._trained_share = sum(p.numel() for p in loop.learning.trained.values()) / weights
        self._peak = _peak(loop.compute, loop.world)
        self._first, self._steps = self._clock(), 0
        self.begin()

    def begin(self) -> None:
        """Forget the time so far."""
        self._began, self._waited, self._paused = self._clock(), 0.0, 0.0
        self._tokens, self._flops = 0, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in here is time in which nothing is computed."""
        began = self._clock()
        yield
        self._waited += self._clock() - began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time in here is none of the steps'."""
        began = self._clock()
        yield
        self._paused += self._clock() - began

    def add(self, stepped: Stepped, micros: Sequence[Batch]) -> None:
        """What a step did. The step has read its verdict from the device, so its time is over."""
        self._steps += 1
        for said, batch in zip(stepped.terms, micros, strict=True):
            self._meter.add(said)
            clips, _, frames, height, width = batch.x0_BCFHW.shape
            flops = clip_flops(self._size, frames=frames, height=height, width=width)
            self._tokens += clips * flops.tokens
            self._flops += clips * flops.training(self._trained_share)

    def left_s(self, steps: int) -> float:
        """How long so many steps will take, with validations and checkpoints, if they go as the steps so far."""
        return (self._clock() - self._first) / self._steps * steps

    def read(self) -> dict[str, float]:
        """Means over all workers since the last line; work is theirs together, MFU is that of one device."""
        seconds = max(self._clock() - self._began - self._paused, 1e-9)
        device = self._world.device
        done = self._world.summed(torch.tensor([self._tokens, self._flops], dtype=torch.float64, device=device))
        tokens, flops = (done / seconds).tolist()
        numbers = self._meter.read() | {
            "tokens_per_s": tokens,
            "tflops": flops / 1e12,
            "wait_share": self._waited / seconds,
            "memory_gib": memory_gib(device),
        }
        if self._peak is not None:
            numbers["mfu"] = flops / (self._peak * self._world.size)
        self.begin()
        return numbers


def _peak(compute: ComputeSettings, world: World) -> float | None:
    if compute.peak_tflops is not None:
        return compute.peak_tflops * 1e12
    if world.device.type != "cuda" or compute.dtype != "bfloat16":
        return None
    return peak_flops(torch.cuda.get_device_name(world.device))
