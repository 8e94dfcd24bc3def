"""AdamW, the learning rate of a step, and the moving average of the weights."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from xsheet.schemas.settings import StrictModel
from xsheet.train.loop.gradients import local


class OptimSettings(StrictModel):
    """How weights move. Optimizer and lr are ActAvatar's; the rest is unpublished and ours."""

    lr: float = Field(default=5e-6, gt=0, lt=1, description="after the warm-up")
    warmup_steps: int = Field(default=500, ge=0, description="lr grows linearly from 0")
    end: Literal["constant", "cosine"] = Field(default="constant", description="cosine: down to end_share at the end")
    end_share: float = Field(default=0.1, ge=0, le=1, description="of lr at the last step, when cosine")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="memory of AdamW's mean; torch's default")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="memory of its square; torch's default")
    eps: float = Field(default=1e-8, gt=0, description="torch's default")
    weight_decay: float = Field(default=0.01, ge=0, lt=1, description="per lr, of weights with two axes or more")
    clip_norm: float = Field(default=1.0, gt=0, description="global norm of a step's gradient is cut to this")
    ema: float | None = Field(default=0.9999, gt=0, lt=1, description="memory of the averaged weights; null = none")


def lr_at(step: int, *, settings: OptimSettings, steps: int) -> float:
    """Learning rate of a step (from 0) of a stage of `steps`."""
    grown = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    if settings.end == "constant":
        return settings.lr * grown
    done = min(1.0, step / max(1, steps - 1))
    share = settings.end_share + (1 - settings.end_share) * (1 + math.cos(math.pi * done)) / 2
    return settings.lr * grown * share


def optimizer(trained: Iterable[nn.Parameter], settings: OptimSettings) -> torch.optim.AdamW:
    """AdamW over these parameters; vectors (norms, biases) do not decay.

    Its fused form is one pass over the weights, but on a CPU the last elements of a tensor are rounded otherwise than
    the rest (6 of 4,800 differed when tensors of 24 were cut in half): shards of another size would get other bits.
    """
    parameters = list(trained)
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    on_cpu = all(p.device.type == "cpu" for p in parameters)
    form = {"foreach": True} if on_cpu else {"fused": True}
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps, **form)


class Ema:
    """Moving average of the trained weights, float32, sharded as they are; the frozen ones need none."""

    def __init__(self, trained: Mapping[str, nn.Parameter], *, memory: float) -> None:
        self._trained, self._memory = trained, memory
        self.weights = {key: parameter.detach().clone() for key, parameter in trained.items()}

    def update(self, step: int) -> None:
        """After a step (from 0). The memory grows with the steps, else the first weights would stay for 1 / (1 - m)."""
        memory = min(self._memory, (1 + step) / (10 + step))
        for key, average in self.weights.items():
            local(average).lerp_(local(self._trained[key].detach()), 1 - memory)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The model with the averaged weights, for samples and validation; the trained ones come back after it."""
        kept: dict[str, Tensor] = {key: parameter.detach().clone() for key, parameter in self._trained.items()}
        self._into(self.weights)
        try:
            yield
        finally:
            self._into(kept)

    def _into(self, weights: Mapping[str, Tensor]) -> None:
        for key, parameter in self._trained.items():
            local(parameter.detach()).copy_(local(weights[key]))
