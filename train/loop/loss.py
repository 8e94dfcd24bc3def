"""What is minimised, clip by clip, with the numbers that the log shows of it.

B batch, F latent frames, H x W latent cells, K phases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor

from xsheet.model.flow import FlowSettings, add_noise, squared_error
from xsheet.model.variants.fantasy_talking import mouth_loss
from xsheet.schemas.settings import StrictModel
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.seeded_random import ConditionDropoutSettings
from xsheet.train.loop.model import TrainableModel
from xsheet.train.variants import gate_states


class LossSettings(StrictModel):
    """Noise and dropped conditions of a training clip, and what of its picture counts."""

    flow: FlowSettings = Field(default=FlowSettings(), description="how much noise")
    condition_dropout: ConditionDropoutSettings = Field(
        default=ConditionDropoutSettings(), description="conditions left out"
    )
    mouth_only_probability: float = Field(
        default=0, ge=0, le=1, description="share of showings of which the mouth alone counts; FantasyTalking's is .8"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """Losses of the clips of a batch; all float32. Only `total_B` carries gradients."""

    total_B: Tensor  # what is minimised, one number per clip
    terms: Mapping[str, Tensor]  # parts by name, (B,) each; NaN where a clip has none
    sigma_B: Tensor  # how much noise each clip had
    in_phases_B: Tensor  # mean squared error in latent frames inside a phase window; NaN where a clip has none


class StageLoss(Protocol):
    """A stage's loss; chance comes from the seed and the batch's showings, never from a stream."""

    def __call__(self, model: TrainableModel, batch: Batch, *, seed: int) -> LossTerms:
        """Losses of the clips of a batch, which do not depend on what else is in it."""
        ...


class VelocityLoss:
    """Mean squared error of the velocity over latent frames from 1 on: the paper's only loss, in both stages.

    With `lips_only`, the mean over the mouth for some of the showings.
    """

    def __init__(self, settings: LossSettings) -> None:
        self._settings = settings

    def __call__(self, model: TrainableModel, batch: Batch, *, seed: int) -> LossTerms:
        """Noise and σ are drawn on the CPU, the same on every device."""
        device, settings = batch.latent_BCFHW.device, self._settings
        sigma_B = seeded_random.sigma(batch.sample_keys, seed=seed, settings=settings.flow).to(device)
        noise = seeded_random.noise(batch.sample_keys, seed=seed, shape=batch.latent_BCFHW.shape[1:]).to(device)
        dropped = seeded_random.dropped_conditions(batch.sample_keys, seed=seed, settings=settings.condition_dropout)
        given = add_noise(batch.latent_BCFHW, noise_BCFHW=noise, sigma_B=sigma_B)
        gates_B2 = gate_states(batch.sample_keys, seed=seed)
        velocity = model(given.x_BCFHW, given.timestep_BF, batch, dropped, gates_B2)
        error_BFHW = squared_error(velocity, given.target_BCFHW)
        lips_only_B = seeded_random.mouth_only(
            batch.sample_keys, seed=seed, probability=settings.mouth_only_probability
        ).to(device)
        total_B = mouth_loss(error_BFHW, mouth_BFHW=batch.mouth_BFHW, mouth_only_B=lips_only_B)
        lips_B = mouth_loss(error_BFHW.detach(), mouth_BFHW=batch.mouth_BFHW, mouth_only_B=torch.ones_like(lips_only_B))
        has_mouth_B = batch.mouth_BFHW[:, 1:].sum((1, 2, 3)) > 0
        return LossTerms(
            total_B=total_B,
            terms={"velocity": error_BFHW.detach().mean((1, 2, 3)), "mouth": lips_B.where(has_mouth_B, torch.nan)},
            sigma_B=sigma_B,
            in_phases_B=error_inside_phases(error_BFHW.detach(), batch.window_BK2),
        )


def error_inside_phases(error_BFHW: Tensor, window_BK2: Tensor) -> Tensor:
    """Mean of the error over latent frames (from 1 on) that a phase window touches, (B,); NaN without such a frame."""
    last_F = 4.0 * torch.arange(1, error_BFHW.shape[1] + 1, device=error_BFHW.device)
    start_BK1, end_BK1 = window_BK2.unsqueeze(-1).unbind(2)
    touched_BF = ((last_F >= start_BK1) & (last_F - 3 < end_BK1) & (end_BK1 > start_BK1)).any(1)
    error_BF = error_BFHW.mean((2, 3))
    return error_BF.where(touched_BF, 0).sum(1) / touched_BF.sum(1)
