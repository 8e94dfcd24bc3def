"""Chance as a function of identity: (seed, epoch, clip) says what a clip gets, never a stream that moves on.

So worker counts, micro-batches, restarts and the order of clips change nothing. Each kind of draw has a generator of
its own: another crop does not change the noise. Numbers come from Philox, a counter-based generator whose key is a
hash, and are the same on every device because they are drawn on the CPU.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from xsheet.model.flow import FlowSettings, sample_sigma
from xsheet.schemas.settings import StrictModel

RandomPurpose = Literal["order", "crop", "flip", "noise", "sigma", "drop", "lips", "gates"]


class SampleKey(NamedTuple):
    """One look at one clip: what every draw depends on, beside the seed."""

    epoch: int
    clip_id: str


class ConditionDropoutSettings(StrictModel):
    """How often a condition is left out, so that guidance has something to move away from.

    The three cases exclude one another, so sound is missing in .15 of all showings. The paper gives no numbers: ours.
    """

    text: float = Field(default=0.1, ge=0, le=1, description="share of showings without text alone")
    audio: float = Field(default=0.1, ge=0, le=1, description="share of showings without sound alone")
    both: float = Field(default=0.05, ge=0, le=1, description="share of showings with neither")

    @model_validator(mode="after")
    def _check_total(self) -> Self:
        if self.text + self.audio + self.both > 1:
            raise ValueError("text, audio and both are shares of one whole, and come to more than 1")
        return self


class DroppedConditions(NamedTuple):
    """Which conditions are left out, bool (B,) each: the arguments of condition.drop."""

    text_B: Tensor
    audio_B: Tensor


def generator(seed: int, purpose: RandomPurpose, sample_key: SampleKey) -> np.random.Generator:
    """The generator of one draw."""
    name = f"{seed}\0{purpose}\0{sample_key.epoch}\0{sample_key.clip_id}".encode()
    key = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))


def permutation(count: int, *, seed: int, epoch: int) -> list[int]:
    """The order of `count` clips in an epoch."""
    order: list[int] = generator(seed, "order", SampleKey(epoch, "")).permutation(count).tolist()
    return order


def crop_index(sample_key: SampleKey, *, seed: int, count: int) -> int:
    """Which of the cached crops is shown, 0..choices - 1."""
    return int(generator(seed, "crop", sample_key).integers(count))


def is_mirrored(sample_key: SampleKey, *, seed: int, probability: float) -> bool:
    """Whether the picture is mirrored; `share` of the showings are."""
    return bool(generator(seed, "flip", sample_key).random() < probability)


def noise(sample_keys: Sequence[SampleKey], *, seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise (B, *shape), float32, on the CPU."""
    drawn = np.empty((len(sample_keys), *shape), np.float32)
    for row, showing in zip(drawn, sample_keys, strict=True):
        generator(seed, "noise", showing).standard_normal(dtype=np.float32, out=row)
    return torch.from_numpy(drawn)


def sigma(sample_keys: Sequence[SampleKey], *, seed: int, settings: FlowSettings) -> Tensor:
    """σ of each clip, (B,) float32 in [0, 1], of the density that flow.py defines."""
    rng = torch.Generator()  # flow.py alone knows the density, and draws with torch
    drawn: list[Tensor] = []
    for showing in sample_keys:
        rng.manual_seed(int(generator(seed, "sigma", showing).integers(2**63)))
        drawn.append(sample_sigma(1, settings=settings, rng=rng))
    return torch.cat(drawn)


def mouth_only(sample_keys: Sequence[SampleKey], *, seed: int, probability: float) -> Tensor:
    """Of which clips the mouth alone counts, bool (B,)."""
    return torch.tensor([generator(seed, "lips", showing).random() < probability for showing in sample_keys])


def dropped_conditions(
    sample_keys: Sequence[SampleKey], *, seed: int, settings: ConditionDropoutSettings
) -> DroppedConditions:
    """What each clip is shown without."""
    u = torch.tensor([generator(seed, "drop", showing).random() for showing in sample_keys], dtype=torch.float64)
    neither = u < settings.both
    text = (u >= settings.both) & (u < settings.both + settings.text)
    audio = (u >= settings.both + settings.text) & (u < settings.both + settings.text + settings.audio)
    return DroppedConditions(text | neither, audio | neither)
