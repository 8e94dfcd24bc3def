"""Loss of a batch per clip, with the terms that are logged.

B batch, F latent frames, H x W latent cells, K phases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor

from xsheet.model.flow import FlowSettings, add_noise, squared_error
from xsheet.schemas.settings import StrictModel
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.seeded_random import ConditionDropoutSettings
from xsheet.train.loop.model import TrainableModel


class LossSettings(StrictModel):
    """Noise and dropped conditions of a training clip."""

    flow: FlowSettings = Field(default=FlowSettings(), description="distribution of σ")
    condition_dropout: ConditionDropoutSettings = Field(
        default=ConditionDropoutSettings(), description="probabilities of dropping conditions"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """Losses of the clips of a batch, float32. Only `total_B` carries gradients."""

    total_B: Tensor  # what is minimised, one number per clip
    terms: Mapping[str, Tensor]  # parts by name, (B,) each; NaN where a clip has none
    sigma_B: Tensor  # how much noise each clip had
    in_phases_B: Tensor  # mean squared error in latent frames inside a phase window; NaN where a clip has none


class StageLoss(Protocol):
    """The loss of a stage; randomness follows from the seed and the sample keys."""

    def __call__(self, model: TrainableModel, batch: Batch, *, seed: int) -> LossTerms:
        """Losses of the clips of a batch, each independent of the others."""
        ...


class VelocityLoss:
    """Squared error of the velocity over latent frames from 1 on, averaged as the model's variant says.

    The plain model takes the mean over all cells: the paper's only loss, in all stages.
    """

    def __init__(self, settings: LossSettings) -> None:
        self._settings = settings

    def __call__(self, model: TrainableModel, batch: Batch, *, seed: int) -> LossTerms:
        """Noise and σ are drawn on the CPU, the same on every device."""
        device, settings = batch.latent_BCFHW.device, self._settings
        sigma_B = seeded_random.sigma(batch.sample_keys, seed=seed, settings=settings.flow).to(device)
        noise = seeded_random.noise(batch.sample_keys, seed=seed, shape=batch.latent_BCFHW.shape[1:]).to(device)
        dropped = seeded_random.dropped_conditions(batch.sample_keys, seed=seed, settings=settings.condition_dropout)
        noised = add_noise(batch.latent_BCFHW, noise_BCFHW=noise, sigma_B=sigma_B)
        draws = model.variant.draw(partial(seeded_random.generators, batch.sample_keys, seed=seed))
        velocity = model(noised.x_BCFHW, noised.timestep_BF, batch, dropped, draws)
        error_BFHW = squared_error(velocity, noised.target_BCFHW)
        detached_BFHW = error_BFHW.detach()
        return LossTerms(
            total_B=model.variant.clip_loss(error_BFHW, batch, draws),
            terms={
                "velocity": detached_BFHW.mean((1, 2, 3)),
                "mouth": error_in_mouth(detached_BFHW, batch.mouth_BFHW),
            },
            sigma_B=sigma_B,
            in_phases_B=error_inside_phases(error_BFHW.detach(), batch.window_BK2),
        )


def error_in_mouth(error_BFHW: Tensor, mouth_BFHW: Tensor) -> Tensor:
    """Mean of the error over the mouth, (B,), in latent frames from 1 on; NaN where no mouth was measured."""
    mouth = mouth_BFHW[:, 1:].to(error_BFHW.dtype)
    return (error_BFHW * mouth).sum((1, 2, 3)) / mouth.sum((1, 2, 3))


def error_inside_phases(error_BFHW: Tensor, window_BK2: Tensor) -> Tensor:
    """Mean of the error over latent frames (from 1 on) that a phase window touches, (B,); NaN without such a frame."""
    last_F = 4.0 * torch.arange(1, error_BFHW.shape[1] + 1, device=error_BFHW.device)
    start_BK1, end_BK1 = window_BK2.unsqueeze(-1).unbind(2)
    touched_BF = ((last_F >= start_BK1) & (last_F - 3 < end_BK1) & (end_BK1 > start_BK1)).any(1)
    error_BF = error_BFHW.mean((2, 3))
    return error_BF.where(touched_BF, 0).sum(1) / touched_BF.sum(1)
