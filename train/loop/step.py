"""Prepare a model for training; one step: gradients of micro-batches, finiteness check, then update or skip."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.settings import StrictModel
from xsheet.train.data.batch import Batch
from xsheet.train.loop.frozen import offload_frozen_layers
from xsheet.train.loop.gradients import TreeSum, local_squared_norm, pop_gradients, set_gradients, sum_in_tree_order
from xsheet.train.loop.loss import LossTerms, StageLoss
from xsheet.train.loop.model import TrainableModel
from xsheet.train.loop.process_group import ProcessGroup


class ComputeSettings(StrictModel):
    """How a step is computed; fields change the result by rounding only."""

    micro_batch_size: int = Field(default=1, ge=1, description="clips that a worker computes at once")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="bfloat16",
        description="type of matrix products and activations; weights, sums and the loss are float32",
    )
    gradient_checkpointing: bool = Field(
        default=True, description="recompute the activations of a block in the backward pass, to save memory"
    )
    offload_frozen: bool = Field(
        default=False,
        description="frozen linear layers of the blocks stay in main memory, but for the block that computes; needs "
        "gradient_checkpointing and one device",
    )
    torch_compile: bool = Field(
        default=False, description="compile each block with torch.compile; saves time after about 100 steps"
    )
    gradient_sum: Literal["tree", "running"] = Field(
        default="tree", description="running: less memory, but results depend on the number of workers in the last bits"
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="CPU threads of a worker; results depend on it in the last bits; null = torch's default",
    )
    peak_tflops: float | None = Field(
        default=None,
        gt=0,
        description="peak TFLOP/s of one device in that dtype, for MFU; null = by the name of the device, if known",
    )

    @model_validator(mode="after")
    def _check_offload(self) -> Self:
        if self.offload_frozen and not self.gradient_checkpointing:
            raise ValueError(
                "expected gradient_checkpointing with offload_frozen, got it off: backward keeps what forward reads"
            )
        return self

    def autocast(self, device: torch.device) -> torch.autocast:
        """Context in which matrix products and activations are computed in `dtype`."""
        return torch.autocast(device.type, getattr(torch, self.dtype), enabled=self.dtype != "float32")


def prepare_model(model: TrainableModel, *, compute: ComputeSettings, process_group: ProcessGroup) -> None:
    """Prepare a model in place: device, activation checkpointing, compilation, sharding.

    Afterwards its parameters are other objects with the same names. Weights are gathered in float32 and cast by
    autocast, as in one process without sharding, so rounding is the same everywhere. That moves 60 instead of 40 GB per
    step at 5 billion weights, .13 s on NVLink beside a step of seconds.
    """
    if compute.offload_frozen and process_group.is_distributed:
        raise ConfigError(
            where="compute.offload_frozen", expected="one worker", got=f"{process_group.size}",
            hint="several workers share the weights among them: remove it",
        )  # fmt: skip
    blocks, offloaded = model.transformer.blocks, frozenset[Tensor]()
    if compute.offload_frozen:
        offloaded = offload_frozen_layers(model.transformer, device=process_group.device)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor not in offloaded:
            tensor.data = tensor.data.to(process_group.device)
    if compute.gradient_checkpointing:
        model.transformer.enable_gradient_checkpointing()
    if compute.torch_compile:
        for block in blocks:
            block.compile()  # one by one: the blocks are alike, so the first compilation serves all
    if process_group.is_distributed:
        mesh = init_device_mesh(process_group.device.type, (process_group.size,))
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        sum_in_tree_order(model)
    else:
        for block in blocks:
            block.register_forward_pre_hook(_sum_gradients_per_block)


def _sum_gradients_per_block(block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Views of the inputs that blocks share, so that backward sums their gradients block by block, as FSDP's hooks do.

    Otherwise gradients are added in another order, and one process gets other bits than several. FSDP on one process
    would do the same, but copies all weights twice per step: a fifth of the step at the tiny size with two threads.
    """
    del block
    viewed: tuple[Any, ...] = _as_views(inputs)
    return viewed


def _as_views(value: Any) -> Any:
    if isinstance(value, tuple):
        parts = [_as_views(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value.view_as(value) if isinstance(value, Tensor) and value.requires_grad else value


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """Result of a step. Losses are those of this worker's clips."""

    terms: tuple[LossTerms, ...]
    grad_norm: float  # of the gradient before it was cut; not finite in a skipped step
    skipped_clips: tuple[str, ...]  # clips that are to blame, of all workers; () if the weights moved


class TrainStep:
    """Model, loss, optimizer and processes of every step."""

    def __init__(
        self,
        model: TrainableModel,
        *,
        loss: StageLoss,
        optimizer: torch.optim.Optimizer,
        compute: ComputeSettings,
        process_group: ProcessGroup,
    ) -> None:
        self._model, self._loss, self._optimizer = model, loss, optimizer
        self._compute, self._process_group = compute, process_group
        self._parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]

    def run(
        self, micro_batches: Sequence[Batch], *, batch_size: int, seed: int, lr: float, max_grad_norm: float
    ) -> StepResult:
        """Train on this worker's micro-batches of a step with `clips` clips over all workers.

        The loss is the mean over those clips, so the size of micro-batches does not matter. If the loss or the norm is
        not finite, all processes skip the step before the optimizer, so its moments and the weights stay unchanged. The
        check is one number on the device, read once per step.

        Raises:
            RunError: the device has too little memory.
        """
        with explain_out_of_memory(
            where=f"step on {self._process_group.device}",
            contents=f"weights, moments and micro-batches of {self._compute.micro_batch_size}",
            hint=f"{_memory_hint(self._compute)}; the run resumes from its last checkpoint",
        ):
            terms, gradients = self._gradients(micro_batches, batch_size=batch_size, seed=seed)
        bad = torch.cat([~torch.isfinite(losses.total_B) for losses in terms])
        verdict = torch.stack([local_squared_norm(gradients), bad.sum().double()])
        square, bad_clips = self._process_group.all_reduce_sum(verdict).tolist()
        norm = float(torch.tensor(square, dtype=torch.float64).sqrt().float())  # see local_squared_norm
        if bad_clips or not math.isfinite(norm):
            ids = [clip for batch in micro_batches for clip in batch.clip_ids]
            return StepResult(
                terms=terms,
                grad_norm=norm,
                skipped_clips=self._non_finite_clips(ids, bad.tolist(), any_bad=bad_clips > 0),
            )
        self._update_weights(gradients, scale=min(1.0, max_grad_norm / max(norm, 1e-30)), lr=lr)
        return StepResult(terms=terms, grad_norm=norm, skipped_clips=())

    def _gradients(
        self, micro_batches: Sequence[Batch], *, batch_size: int, seed: int
    ) -> tuple[tuple[LossTerms, ...], list[Tensor]]:
        device, total = self._process_group.device, TreeSum()
        terms = []
        for batch in micro_batches:
            with self._compute.autocast(device):
                losses = self._loss(self._model, batch.to(device), seed=seed)
            (losses.total_B.sum() / batch_size).backward()  # type: ignore[no-untyped-call]
            terms.append(_detach(losses))
            if self._compute.gradient_sum == "tree":
                total.add(pop_gradients(self._parameters))
        if self._compute.gradient_sum == "running":
            total.add(pop_gradients(self._parameters))
        return tuple(terms), total.total()

    def _update_weights(self, gradients: list[Tensor], *, scale: float, lr: float) -> None:
        if scale < 1:
            for gradient in gradients:
                gradient.mul_(scale)
        set_gradients(self._parameters, gradients)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _non_finite_clips(self, clip_ids: list[str], bad: list[bool], *, any_bad: bool) -> tuple[str, ...]:
        """Clips whose loss is not finite; if only the gradient is not finite, all clips of the step."""
        mine = [clip for clip, is_bad in zip(clip_ids, bad, strict=True) if is_bad or not any_bad]
        return tuple(clip for ids in self._process_group.all_gather(mine) if isinstance(ids, list) for clip in ids)


def _detach(terms: LossTerms) -> LossTerms:
    return LossTerms(
        total_B=terms.total_B.detach(), terms=terms.terms, sigma_B=terms.sigma_B, in_phases_B=terms.in_phases_B
    )


def _memory_hint(compute: ComputeSettings) -> str:
    """Setting that saves most memory."""
    if compute.micro_batch_size > 1:
        return f"set compute.micro_batch_size below {compute.micro_batch_size}"
    if not compute.gradient_checkpointing:
        return "set compute.gradient_checkpointing to true"
    return "use more workers or smaller clips"


@contextmanager
def explain_out_of_memory(*, where: str, contents: str, hint: str) -> Iterator[None]:
    """Raise RunError if the block runs out of memory of the device."""
    try:
        yield
    except RuntimeError as error:
        # Of a CPU, torch says it in words only.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise RunError(where=where, expected=f"memory for {contents}", got="too little", hint=hint) from error
        raise
