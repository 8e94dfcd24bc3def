"""The training loop. Model, loss, data and stage settings are its inputs."""

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
from xsheet.train.loop.checkpoint import CheckpointStore
from xsheet.train.loop.loss import StageLoss
from xsheet.train.loop.metrics import (
    MetricsAccumulator,
    MetricsLog,
    TrackerSettings,
    clip_flops,
    log_line,
    peak_flops,
    peak_memory_gib,
)
from xsheet.train.loop.optim import OptimSettings, learning_rate
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.state import DataPosition, TrainProgress, TrainState, read_checkpoint, write_checkpoint
from xsheet.train.loop.step import ComputeSettings, StepResult, TrainStep

log = logging.getLogger(__name__)

_KEPT_LOSSES = 20  # losses that a checkpoint keeps


class LoopSettings(StrictModel):
    """Intervals of logs, checkpoints and validation; no field changes the result."""

    log_every: int = Field(default=10, ge=1, description="steps between two log lines")
    save_every: int = Field(default=500, ge=1, description="steps between two checkpoints")
    validate_every: int = Field(default=1000, ge=1, description="steps between two validations, with sample videos")
    keep_checkpoints: int = Field(
        default=2, ge=2, description="number of newest checkpoints to keep, besides those that a pointer names"
    )
    max_consecutive_skips: int = Field(
        default=10, ge=1, description="number of consecutive skipped steps that ends the run"
    )
    tracker: TrackerSettings | None = Field(
        default=None, description="experiment tracker beside TensorBoard, e.g. `--set loop.tracker.library=trackio`"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """Everything that determines the result of a stage, besides data and initial weights."""

    steps: int
    batch_size: int  # per step, of all workers
    seed: int
    optim: OptimSettings
    interval_strength: Callable[[int], float]  # step -> strength of the interval binding
    identity: Mapping[str, Any]  # all of it as plain values: a checkpoint of another identity is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShare:
    """One worker's share of a step."""

    micro_batches: tuple[Batch, ...]
    next_position: DataPosition  # where the next step begins


class StepLoader(Protocol):
    """Source of batches. Worker r of W gets micro-batches r, W + r, 2W + r ... of every step."""

    def step_shares(self, start: DataPosition) -> Iterator[StepShare]:
        """This worker's share of every step, endlessly."""
        ...


ValidateFn = Callable[[int, TrainState], Mapping[str, float]]
"""Validation function: step -> metrics to log. All workers call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainLoop:
    """The loop of one stage."""

    state: TrainState
    loss: StageLoss
    loader: StepLoader
    spec: StageSpec
    compute: ComputeSettings
    settings: LoopSettings
    folder: Path  # checkpoints/, metrics.jsonl, tensorboard/ and skipped.jsonl are made in it
    process_group: ProcessGroup
    validate: ValidateFn | None = None
    clock: Callable[[], float] = time.perf_counter

    def run(self) -> TrainProgress:
        """Resume from the newest checkpoint, or start, and end with a checkpoint of the last step.

        Raises:
            ConfigError, ContractError: the checkpoint in the folder is of another configuration or format.
            RunError: out of memory, a checkpoint that cannot be written, or too many skipped steps in a row.
        """
        checkpoints = CheckpointStore(
            self.folder / "checkpoints", keep=self.settings.keep_checkpoints, process_group=self.process_group
        )
        newest = checkpoints.recover()
        progress = (
            TrainProgress() if newest is None else read_checkpoint(self.state, newest, identity=self.spec.identity)
        )
        if progress.step and self.process_group.is_main:
            log.info("resuming from step %d, %s", progress.step, newest)
        metrics_log = MetricsLog(
            self.folder,
            process_group=self.process_group,
            step=progress.step,
            tracker=self.settings.tracker,
            config=self.spec.identity,
        )
        step_shares = self.loader.step_shares(progress.position)
        with closing(metrics_log):
            return self._run_steps(step_shares, progress, checkpoints, metrics_log)

    def _run_steps(
        self,
        step_shares: Iterator[StepShare],
        progress: TrainProgress,
        checkpoints: CheckpointStore,
        metrics_log: MetricsLog,
    ) -> TrainProgress:
        spec, state = self.spec, self.state
        train_step = TrainStep(
            state.model,
            loss=self.loss,
            optimizer=state.optimizer,
            compute=self.compute,
            process_group=self.process_group,
        )
        throughput, skipped_in_a_row = _Throughput(self), 0
        for step in range(progress.step, spec.steps):
            with throughput.data_wait():
                share = next(step_shares)
            lr = learning_rate(step, settings=spec.optim, steps=spec.steps)
            state.model.transformer.interval_strength = spec.interval_strength(step)
            result = train_step.run(
                share.micro_batches,
                batch_size=spec.batch_size,
                seed=spec.seed,
                lr=lr,
                max_grad_norm=spec.optim.max_grad_norm,
            )
            throughput.update(result, share.micro_batches)
            if not result.skipped_clips and state.ema is not None:
                state.ema.update(step)
            skipped_in_a_row = self._check_finite(result, step, skipped_in_a_row)
            skipped = progress.skipped_steps + bool(result.skipped_clips)
            progress = replace(progress, step=step + 1, position=share.next_position, skipped_steps=skipped)
            progress = self._log(progress, throughput, metrics_log, lr=lr, grad_norm=result.grad_norm)
            with throughput.pause():
                self._validate(progress.step, metrics_log)
                self._save(progress, checkpoints)
        return progress

    def _check_finite(self, result: StepResult, step: int, in_a_row: int) -> int:
        """Number of consecutive skipped steps; logs each with the clips that caused it."""
        if not result.skipped_clips:
            return 0
        log.warning("skipped step=%d norm=%s clips=%s", step, result.grad_norm, ",".join(result.skipped_clips))
        if self.process_group.is_main:
            with (self.folder / "skipped.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "clips": result.skipped_clips}) + "\n")
        if in_a_row + 1 >= self.settings.max_consecutive_skips:
            raise RunError(
                where=f"step {step}",
                expected=(
                    f"fewer than {self.settings.max_consecutive_skips} steps in a row without a finite loss "
                    f"and gradient"
                ),
                got=f"the last one with {', '.join(result.skipped_clips[:3])}",
                hint="see skipped.jsonl: if the same clip recurs, exclude it; if clips vary, lower optim.lr",
            )
        return in_a_row + 1

    def _log(
        self,
        progress: TrainProgress,
        throughput: "_Throughput",
        metrics_log: MetricsLog,
        *,
        lr: float,
        grad_norm: float,
    ) -> TrainProgress:
        """At its interval: a log line and a metrics line; the progress keeps the latest losses."""
        step = progress.step
        if not self._is_due(step, self.settings.log_every):
            return progress
        numbers = throughput.compute() | {"lr": lr, "norm": grad_norm, "skipped": float(progress.skipped_steps)}
        if self.process_group.is_main:
            log.info(log_line(step, self.spec.steps, numbers, eta_s=throughput.eta_s(self.spec.steps - step)))
        metrics_log.write(step, numbers)
        return replace(
            progress, losses=(*progress.losses, *([numbers["loss"]] if "loss" in numbers else []))[-_KEPT_LOSSES:]
        )

    def _validate(self, step: int, metrics_log: MetricsLog) -> None:
        if self.validate is not None and self._is_due(step, self.settings.validate_every):
            metrics_log.write(step, self.validate(step, self.state))

    def _save(self, progress: TrainProgress, checkpoints: CheckpointStore) -> None:
        def write_here(folder: Path) -> None:
            write_checkpoint(
                self.state, folder, progress=progress, identity=self.spec.identity, process_group=self.process_group
            )

        if self._is_due(progress.step, self.settings.save_every):
            checkpoints.save(progress.step, write_here)

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.spec.steps


class _Throughput:
    """Throughput and mean losses between two log lines."""

    def __init__(self, loop: TrainLoop) -> None:
        self._clock, self._process_group = loop.clock, loop.process_group
        self._metrics = MetricsAccumulator(loop.process_group)
        self._model_config: ActAvatarConfig = loop.state.model.transformer.model_config
        weights = sum(p.numel() for p in loop.state.model.parameters())
        self._trainable_fraction = sum(p.numel() for p in loop.state.trainable_parameters.values()) / weights
        self._peak_flops = _peak_flops(loop.compute, loop.process_group)
        self._run_start, self._steps = self._clock(), 0
        self.reset()

    def reset(self) -> None:
        """Restart the interval."""
        self._interval_start, self._data_wait_s, self._pause_s = self._clock(), 0.0, 0.0
        self._tokens, self._flops = 0, 0.0

    @contextmanager
    def data_wait(self) -> Iterator[None]:
        """Measure time spent waiting for data."""
        began = self._clock()
        yield
        self._data_wait_s += self._clock() - began

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Exclude this time from the throughput."""
        began = self._clock()
        yield
        self._pause_s += self._clock() - began

    def update(self, result: StepResult, micro_batches: Sequence[Batch]) -> None:
        """Add a step. The step has synchronised with the device, so its time is complete."""
        self._steps += 1
        for losses, batch in zip(result.terms, micro_batches, strict=True):
            self._metrics.update(losses)
            clips, _, frames, height, width = batch.latent_BCFHW.shape
            flops = clip_flops(self._model_config, frames=frames, height=height, width=width)
            self._tokens += clips * flops.tokens
            self._flops += clips * flops.training_flops(self._trainable_fraction)

    def eta_s(self, steps: int) -> float:
        """Estimated seconds for so many steps, validations and checkpoints included."""
        return (self._clock() - self._run_start) / self._steps * steps

    def compute(self) -> dict[str, float]:
        """Means over all workers since the last line; MFU is per device."""
        seconds = max(self._clock() - self._interval_start - self._pause_s, 1e-9)
        device = self._process_group.device
        done = self._process_group.all_reduce_sum(
            torch.tensor([self._tokens, self._flops], dtype=torch.float64, device=device)
        )
        tokens, flops = (done / seconds).tolist()
        numbers = self._metrics.compute() | {
            "tokens_per_s": tokens,
            "tflops": flops / 1e12,
            "wait_share": self._data_wait_s / seconds,
            "peak_memory_gib": peak_memory_gib(device),
        }
        if self._peak_flops is not None:
            numbers["mfu"] = flops / (self._peak_flops * self._process_group.size)
        self.reset()
        return numbers


def _peak_flops(compute: ComputeSettings, process_group: ProcessGroup) -> float | None:
    if compute.peak_tflops is not None:
        return compute.peak_tflops * 1e12
    if process_group.device.type != "cuda" or compute.dtype != "bfloat16":
        return None
    return peak_flops(torch.cuda.get_device_name(process_group.device))
