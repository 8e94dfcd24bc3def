"""AdamW, the learning rate of a step, and the moving average of the weights."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from xsheet.schemas.settings import StrictModel
from xsheet.train.loop.gradients import local_shard


class OptimSettings(StrictModel):
    """Optimizer settings. AdamW and lr are ActAvatar's; the rest is unpublished and ours."""

    lr: float = Field(default=5e-6, gt=0, lt=1, description="learning rate after the warm-up")
    warmup_steps: int = Field(default=500, ge=0, description="steps in which lr grows linearly from 0")
    lr_schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="constant, or cosine: down to final_lr_fraction at the end"
    )
    final_lr_fraction: float = Field(default=0.1, ge=0, le=1, description="lr at the last step / lr; for cosine")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of AdamW's first moment; torch's default")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="decay of AdamW's second moment; torch's default")
    eps: float = Field(default=1e-8, gt=0, description="epsilon of AdamW; torch's default")
    weight_decay: float = Field(
        default=0.01, ge=0, lt=1, description="decoupled weight decay, of weights with two axes or more"
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="maximum global norm of the gradient of a step; larger ones are clipped"
    )
    ema_decay: float | None = Field(
        default=0.9999, gt=0, lt=1, description="decay of the averaged weights (EMA); null = none"
    )


def learning_rate(step: int, *, settings: OptimSettings, steps: int) -> float:
    """Learning rate of a step (from 0) of a stage of `steps`."""
    grown = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    if settings.lr_schedule == "constant":
        return settings.lr * grown
    done = min(1.0, step / max(1, steps - 1))
    share = settings.final_lr_fraction + (1 - settings.final_lr_fraction) * (1 + math.cos(math.pi * done)) / 2
    return settings.lr * grown * share


def build_optimizer(trainable: Iterable[nn.Parameter], settings: OptimSettings) -> torch.optim.AdamW:
    """AdamW over these parameters; vectors (norms, biases) do not decay.

    Its fused form is one pass over the weights, but on a CPU the last elements of a tensor are rounded otherwise than
    the rest (6 of 4,800 differed when tensors of 24 were cut in half): shards of another size would get other bits.
    """
    parameters = list(trainable)
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    on_cpu = all(p.device.type == "cpu" for p in parameters)
    form = {"foreach": True} if on_cpu else {"fused": True}
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps, **form)


class Ema:
    """Moving average of the trained weights, float32, sharded like them; frozen weights need none."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.weights = {key: parameter.detach().clone() for key, parameter in parameters.items()}

    def update(self, step: int) -> None:
        """After a step (from 0). The memory grows with the steps, else the first weights would stay for 1 / (1 - m)."""
        memory = min(self._decay, (1 + step) / (10 + step))
        for key, average in self.weights.items():
            local_shard(average).lerp_(local_shard(self._parameters[key].detach()), 1 - memory)

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """The model with averaged weights, for samples and validation; restores the trained ones after."""
        kept: dict[str, Tensor] = {key: parameter.detach().clone() for key, parameter in self._parameters.items()}
        self._copy_to_model(self.weights)
        try:
            yield
        finally:
            self._copy_to_model(kept)

    def _copy_to_model(self, weights: Mapping[str, Tensor]) -> None:
        for key, parameter in self._parameters.items():
            local_shard(parameter.detach()).copy_(local_shard(weights[key]))
