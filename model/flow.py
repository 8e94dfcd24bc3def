"""Flow matching: x = (1 - σ) clean + σ noise; the model predicts noise - clean; Euler steps to σ = 0 sample a clip.

Latent 0 is the first picture: never noised (timestep 0), not in the loss, not changed by the sampler. Randomness is
always an argument. σ and timesteps stay float32: in bfloat16 a timestep near 1000 moves in steps of 4.
B batch, C latent channels, F latent frames, H x W latent cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from xsheet.schemas.settings import StrictModel

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(noised latent (B, C, F, H, W), timestep (B, F)) -> velocity of the same shape as the latent."""

TIMESTEP_SCALE = 1000
"""Wan's timestep of pure noise."""


class FlowSettings(StrictModel):
    """Distribution of the noise level in training. The shift is Wan2.2-TI2V-5B's; ActAvatar gives no density."""

    density: Literal["uniform", "logit_normal"] = Field(default="uniform", description="density of σ before the shift")
    shift: float = Field(default=5, ge=1, le=20, description="factor on the odds of σ; 1 = no shift")
    logit_mean: float = Field(default=0, ge=-3, le=3, description="mean of logit σ before the shift; for logit_normal")
    logit_std: float = Field(
        default=1, gt=0, le=3, description="standard deviation of logit σ before the shift; for logit_normal"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisedLatent:
    """A training input and its target velocity."""

    x_BCFHW: Tensor
    timestep_BF: Tensor
    target_BCFHW: Tensor


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Multiply the odds σ / (1 - σ) by the shift; 0 and 1 are unchanged."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sample_sigma(count: int, *, settings: FlowSettings, rng: Generator) -> Tensor:
    """Draw `count` values of σ in [0, 1], float32, on the generator's device."""
    if settings.density == "uniform":
        sigma = torch.rand(count, generator=rng, device=rng.device)
    else:
        normal = torch.randn(count, generator=rng, device=rng.device)
        sigma = (settings.logit_mean + settings.logit_std * normal).sigmoid()
    return shift_sigma(sigma, settings.shift)


def add_noise(clean_BCFHW: Tensor, *, noise_BCFHW: Tensor, sigma_B: Tensor) -> NoisedLatent:
    """Add noise to every latent frame but the first; ValueError if there is only one."""
    if clean_BCFHW.shape[2] < 2:
        raise ValueError(f"expected at least 2 latent frames, got {clean_BCFHW.shape[2]}: a picture alone has no loss")
    sigma_BF = _sigma_per_latent_frame(sigma_B, clean_BCFHW.shape[2])
    sigma = sigma_BF[:, None, :, None, None]
    x = torch.lerp(clean_BCFHW.float(), noise_BCFHW.float(), sigma)
    return NoisedLatent(
        x_BCFHW=x, timestep_BF=TIMESTEP_SCALE * sigma_BF, target_BCFHW=noise_BCFHW.float() - clean_BCFHW.float()
    )


def squared_error(velocity_BCFHW: Tensor, target_BCFHW: Tensor) -> Tensor:
    """Return the squared error, averaged over channels, without latent frame 0, (B, F - 1, H, W)."""
    return (velocity_BCFHW[:, :, 1:].float() - target_BCFHW[:, :, 1:].float()).square().mean(1)


def precondition(network: Velocity) -> Velocity:
    """Wrap a network that predicts only the change from the first picture, with EDM's preconditioning for this flow.

    After Karras et al. 2022, arXiv 2206.00364. Relative to a still clip, v is a x + b F(b x), with
    b = 1 / sqrt(σ² + (1 - σ)²) and a = (2 σ - 1) b², for latents whose change from latent 0 has unit variance.
    At σ = 1, F is the negated clean change; at σ = 0, the noise. So a narrow network need neither pass noise through
    nor copy the background.
    """

    def velocity(x_BCFHW: Tensor, timestep_BF: Tensor) -> Tensor:
        sigma = (timestep_BF / TIMESTEP_SCALE)[:, None, :, None, None].to(x_BCFHW.dtype)
        inverse = sigma.square() + (1 - sigma).square()
        scale = inverse.rsqrt()
        first = x_BCFHW[:, :, :1]
        rest = first.expand_as(x_BCFHW[:, :, 1:])
        still = torch.cat([torch.zeros_like(first), rest], dim=2)  # latent 0 is passed unchanged
        moving = x_BCFHW - (1 - sigma) * still
        return (2 * sigma - 1) / inverse * moving + scale * network(scale * moving, timestep_BF) - still

    return velocity


def sigma_schedule(steps: int, *, shift: float) -> list[float]:
    """Return `steps` + 1 values from 1 down to 0, spaced like the uniform training density."""
    return shift_sigma(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Latent frames that came before, as a condition of the frames that follow them.

    Down to `sigma` they are given at the noise level of the others, below it they are sampled like the others. A little
    noise keeps errors of earlier windows from adding up (as in LongCat-Video-Avatar), and the model needs no training
    with noise levels that differ between latent frames.
    """

    latent_BCKHW: Tensor  # of latents 1 to K
    sigma: float


@torch.no_grad()
def euler_sample(
    velocity: Velocity,
    *,
    first_BC1HW: Tensor,
    noise_BCFHW: Tensor,
    sigmas: list[float],
    history: History | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Integrate from noise to a clean latent along `sigmas`; latent 0 stays `first_BC1HW`.

    `on_step` is called after each step with the number of steps done.
    """
    x = torch.cat([first_BC1HW, noise_BCFHW[:, :, 1:]], dim=2).float()
    batch, _, frames, _, _ = x.shape
    for step, (now, then) in enumerate(pairwise(sigmas), start=1):
        if history is not None and now > history.sigma:
            given = slice(1, 1 + history.latent_BCKHW.shape[2])
            x[:, :, given] = torch.lerp(history.latent_BCKHW.float(), noise_BCFHW[:, :, given].float(), now)
        sigma_B = torch.full((batch,), now, device=x.device)
        moved = x + (then - now) * velocity(x, TIMESTEP_SCALE * _sigma_per_latent_frame(sigma_B, frames)).float()
        x = torch.cat([x[:, :, :1], moved[:, :, 1:]], dim=2)
        if on_step is not None:
            on_step(step)
    return x


def _sigma_per_latent_frame(sigma_B: Tensor, frames: int) -> Tensor:
    """Return σ of each latent frame, (B, F) float32: 0 for the first."""
    sigma_BF = sigma_B.float()[:, None].expand(-1, frames).clone()
    sigma_BF[:, 0] = 0
    return sigma_BF
