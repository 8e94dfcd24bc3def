"""What is minimised, clip by clip, with the numbers that the log shows of it.

B batch, F latent frames, H x W latent cells, K phases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor

from xsheet.model.flow import FlowSettings, noised, squared_error
from xsheet.model.variants.fantasy_talking import lip_loss
from xsheet.schemas.settings import StrictModel
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.seeded_random import DropSettings
from xsheet.train.loop.model import Learner
from xsheet.train.variants import gates


class LossSettings(StrictModel):
    """Noise and dropped conditions of a training clip, and what of its picture counts."""

    flow: FlowSettings = Field(default=FlowSettings(), description="how much noise")
    drop: DropSettings = Field(default=DropSettings(), description="conditions left out")
    lips_only: float = Field(
        default=0, ge=0, le=1, description="share of showings of which the mouth alone counts; FantasyTalking's is .8"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """Losses of the clips of a batch; all float32. Only `total_B` carries gradients."""

    total_B: Tensor  # what is minimised, one number per clip
    terms: Mapping[str, Tensor]  # parts by name, (B,) each; NaN where a clip has none
    sigma_B: Tensor  # how much noise each clip had
    inside_B: Tensor  # mean squared error in latent frames inside a phase window; NaN where a clip has none


class Loss(Protocol):
    """A stage's loss; chance comes from the seed and the batch's showings, never from a stream."""

    def __call__(self, learner: Learner, batch: Batch, *, seed: int) -> LossTerms:
        """Losses of the clips of a batch, which do not depend on what else is in it."""
        ...


class VelocityLoss:
    """Mean squared error of the velocity over latent frames from 1 on: the paper's only loss, in both stages.

    With `lips_only`, the mean over the mouth for some of the showings.
    """

    def __init__(self, settings: LossSettings) -> None:
        self._settings = settings

    def __call__(self, learner: Learner, batch: Batch, *, seed: int) -> LossTerms:
        """Noise and σ are drawn on the CPU, the same on every device."""
        device, settings = batch.x0_BCFHW.device, self._settings
        sigma_B = seeded_random.sigma(batch.showings, seed=seed, settings=settings.flow).to(device)
        noise = seeded_random.noise(batch.showings, seed=seed, shape=batch.x0_BCFHW.shape[1:]).to(device)
        dropped = seeded_random.dropped(batch.showings, seed=seed, settings=settings.drop)
        given = noised(batch.x0_BCFHW, noise_BCFHW=noise, sigma_B=sigma_B)
        gates_B2 = gates(batch.showings, seed=seed)
        velocity = learner(given.x_BCFHW, given.timestep_BF, batch, dropped, gates_B2)
        error_BFHW = squared_error(velocity, given.target_BCFHW)
        lips_only_B = seeded_random.lips_only(batch.showings, seed=seed, share=settings.lips_only).to(device)
        total_B = lip_loss(error_BFHW, mouth_BFHW=batch.mouth_BFHW, lips_only_B=lips_only_B)
        lips_B = lip_loss(error_BFHW.detach(), mouth_BFHW=batch.mouth_BFHW, lips_only_B=torch.ones_like(lips_only_B))
        has_mouth_B = batch.mouth_BFHW[:, 1:].sum((1, 2, 3)) > 0
        return LossTerms(
            total_B=total_B,
            terms={"velocity": error_BFHW.detach().mean((1, 2, 3)), "mouth": lips_B.where(has_mouth_B, torch.nan)},
            sigma_B=sigma_B,
            inside_B=inside_phases(error_BFHW.detach(), batch.window_BK2),
        )


def inside_phases(error_BFHW: Tensor, window_BK2: Tensor) -> Tensor:
    """Mean of the error over latent frames (from 1 on) that a phase window touches, (B,); NaN without such a frame."""
    last_F = 4.0 * torch.arange(1, error_BFHW.shape[1] + 1, device=error_BFHW.device)
    start_BK1, end_BK1 = window_BK2.unsqueeze(-1).unbind(2)
    touched_BF = ((last_F >= start_BK1) & (last_F - 3 < end_BK1) & (end_BK1 > start_BK1)).any(1)
    error_BF = error_BFHW.mean((2, 3))
    return error_BF.where(touched_BF, 0).sum(1) / touched_BF.sum(1)
