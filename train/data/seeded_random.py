"""Random numbers as a function of (seed, epoch, clip); no generator carries state from step to step.

So the number of workers, micro-batches, restarts and the order of clips do not matter. Each kind of draw has a separate
generator: another crop does not change the noise. Numbers come from Philox, a counter-based generator whose key is a
hash, and are the same on every device because they are drawn on the CPU.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from xsheet.model.flow import FlowSettings, sample_sigma
from xsheet.schemas.settings import StrictModel


class SampleKey(NamedTuple):
    """One use of one clip in training: with the seed, it decides every draw."""

    epoch: int  # how often the clip was shown before; the epoch, where every epoch shows it once
    clip_id: str


class ConditionDropoutSettings(StrictModel):
    """Probabilities of dropping conditions in training, which guidance needs.

    The three cases are exclusive, so audio is missing in .15 of all samples. The paper gives no numbers; these are
    ours.
    """

    text: float = Field(default=0.1, ge=0, le=1, description="probability of dropping only the text")
    audio: float = Field(default=0.1, ge=0, le=1, description="probability of dropping only the audio")
    both: float = Field(default=0.05, ge=0, le=1, description="probability of dropping text and audio")

    @model_validator(mode="after")
    def _check_total(self) -> Self:
        if self.text + self.audio + self.both > 1:
            raise ValueError(
                f"expected shares text + audio + both of at most 1, got {self.text + self.audio + self.both:g}"
            )
        return self


class DroppedConditions(NamedTuple):
    """Dropped conditions, bool (B,) each; see xsheet.model.conditioning.drop_conditions."""

    text_B: Tensor
    audio_B: Tensor


def generator(seed: int, purpose: str, sample_key: SampleKey) -> np.random.Generator:
    """The generator of one draw. The purpose is part of its key: another name gives other numbers."""
    name = f"{seed}\0{purpose}\0{sample_key.epoch}\0{sample_key.clip_id}".encode()
    key = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))


def generators(sample_keys: Sequence[SampleKey], purpose: str, *, seed: int) -> list[np.random.Generator]:
    """One generator per clip, for the draws of a model variant."""
    return [generator(seed, purpose, sample_key) for sample_key in sample_keys]


def permutation(count: int, *, seed: int, epoch: int) -> list[int]:
    """The order of `count` clips in an epoch."""
    order: list[int] = generator(seed, "order", SampleKey(epoch, "")).permutation(count).tolist()
    return order


def crop_index(sample_key: SampleKey, *, seed: int, count: int) -> int:
    """Index of the crop, 0..count - 1."""
    return int(generator(seed, "crop", sample_key).integers(count))


def is_mirrored(sample_key: SampleKey, *, seed: int, probability: float) -> bool:
    """Whether the picture is mirrored, with this probability."""
    return bool(generator(seed, "flip", sample_key).random() < probability)


def noise(sample_keys: Sequence[SampleKey], *, seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise (B, *shape), float32, on the CPU."""
    drawn = np.empty((len(sample_keys), *shape), np.float32)
    for row, sample_key in zip(drawn, sample_keys, strict=True):
        generator(seed, "noise", sample_key).standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(drawn)


def sigma(sample_keys: Sequence[SampleKey], *, seed: int, settings: FlowSettings) -> Tensor:
    """σ of each clip, (B,) float32 in [0, 1]; xsheet.model.flow defines its density."""
    rng = torch.Generator()  # flow.py alone knows the density, and draws with torch
    drawn: list[Tensor] = []
    for sample_key in sample_keys:
        rng.manual_seed(int(generator(seed, "sigma", sample_key).integers(2**63)))
        drawn.append(sample_sigma(1, settings=settings, rng=rng))
    return torch.cat(drawn)


def dropped_conditions(
    sample_keys: Sequence[SampleKey], *, seed: int, settings: ConditionDropoutSettings
) -> DroppedConditions:
    """Draw the dropped conditions of each clip."""
    u = torch.tensor([generator(seed, "drop", sample_key).random() for sample_key in sample_keys], dtype=torch.float64)
    neither = u < settings.both
    text = (u >= settings.both) & (u < settings.both + settings.text)
    audio = (u >= settings.both + settings.text) & (u < settings.both + settings.text + settings.audio)
    return DroppedConditions(text | neither, audio | neither)
