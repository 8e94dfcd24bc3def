"""Loss on held-out clips at fixed σ with fixed noise: comparable between steps, runs and numbers of workers."""

from collections.abc import Sequence

import torch

from xsheet.model.flow import noised, squared_error
from xsheet.train import draws
from xsheet.train.batch import Batch
from xsheet.train.draws import Dropped
from xsheet.train.learner import Learner
from xsheet.train.loss import inside_phases

SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Nine of them, as diffusion-pipe has; each is a curve of its own, for a mean would hide the fine detail."""


@torch.no_grad()
def validation_loss(learner: Learner, batches: Sequence[Batch], *, seed: int) -> dict[str, float]:
    """Mean squared error of the velocity by σ, their mean, and the mean inside phase windows; nothing is dropped.

    Every process computes all batches, so that all call the learner equally often. Training's noise does not move:
    both are functions of the seed, here another one.
    """
    device = next(learner.parameters()).device
    by_sigma: dict[float, list[torch.Tensor]] = {sigma: [] for sigma in SIGMAS}
    inside: list[torch.Tensor] = []
    for batch in (batch.to(device) for batch in batches):
        noise = draws.noise(batch.showings, seed=seed, shape=batch.x0_BCFHW.shape[1:]).to(device)
        everything = Dropped(*(torch.zeros(len(batch), dtype=torch.bool) for _ in range(2)))
        for sigma in SIGMAS:
            sigma_B = torch.full((len(batch),), sigma, device=device)
            given = noised(batch.x0_BCFHW, noise_BCFHW=noise, sigma_B=sigma_B)
            error_BFHW = squared_error(learner(given.x_BCFHW, given.timestep_BF, batch, everything), given.target_BCFHW)
            by_sigma[sigma].append(error_BFHW.mean((1, 2, 3)))
            inside.append(inside_phases(error_BFHW, batch.window_BK2))
    means = {f"held out/sigma {sigma}": float(torch.cat(said).mean()) for sigma, said in by_sigma.items()}
    mean = sum(means.values()) / len(means)
    return means | {"held out/loss": mean, "held out/inside phases": float(torch.cat(inside).nanmean())}
