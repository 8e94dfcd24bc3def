import math
from itertools import pairwise
from statistics import NormalDist

import pytest
import torch

from xsheet.model.flow import (
    FlowSettings,
    History,
    add_noise,
    euler_sample,
    precondition,
    sample_sigma,
    shift_sigma,
    sigma_schedule,
    squared_error,
)

DENSITIES = {
    "uniform, shift 5": FlowSettings(),
    "uniform, no shift": FlowSettings(shift=1),
    "logit-normal": FlowSettings(density="logit_normal", shift=1),
    "logit-normal, moved, shift 3": FlowSettings(density="logit_normal", shift=3, logit_mean=-0.5, logit_std=0.7),
}


def share_below(sigma, settings):
    """The analytic distribution of σ: the shift multiplies the odds."""
    if sigma in {0.0, 1.0}:
        return sigma
    logit = math.log(sigma / (1 - sigma)) - math.log(settings.shift)
    if settings.density == "uniform":
        return 1 / (1 + math.exp(-logit))
    return NormalDist(settings.logit_mean, settings.logit_std).cdf(logit)


@pytest.mark.parametrize("name", DENSITIES)
def test_the_drawn_sigma_has_the_analytic_density(name, rng):
    settings, count, bins = DENSITIES[name], 200_000, 20
    edges = [k / bins for k in range(bins + 1)]
    drawn = torch.histc(sample_sigma(count, settings=settings, rng=rng), bins=bins, min=0, max=1).tolist()
    below = [share_below(edge, settings) for edge in edges]
    expected = [count * (b - a) for a, b in pairwise(below)]
    chi2 = sum((came - due) ** 2 / due for came, due in zip(drawn, expected, strict=True) if due > 5)
    assert chi2 < 50.8  # 19 degrees of freedom, p = 1e-4; the seed is fixed


def test_shift_5_puts_most_of_the_weight_on_much_noise(rng):
    drawn = sample_sigma(100_000, settings=FlowSettings(), rng=rng)
    shares = torch.histogram(drawn, bins=torch.tensor([0, 0.25, 0.5, 0.75, 0.9, 1.0])).hist / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([0.06, 0.10, 0.21, 0.27, 0.36]), atol=0.007, rtol=0)


def test_the_same_generator_draws_the_same_and_no_other_is_touched():
    before = torch.random.get_rng_state()
    first, again = (
        sample_sigma(8, settings=FlowSettings(density="logit_normal"), rng=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_shift_leaves_the_ends_and_moves_the_middle():
    sigma = shift_sigma(torch.tensor([0.0, 0.5, 1.0]), 5)
    torch.testing.assert_close(sigma, torch.tensor([0.0, 5 / 6, 1.0]))


@pytest.fixture
def clean(rng):
    return torch.randn(3, 4, 5, 2, 2, generator=rng)


@pytest.fixture
def noise(rng):
    return torch.randn(3, 4, 5, 2, 2, generator=rng)


def test_the_first_latent_is_clean_and_at_timestep_zero(clean, noise):
    came = add_noise(clean, noise_BCFHW=noise, sigma_B=torch.tensor([0.2, 0.7, 1.0]))
    assert torch.equal(came.x_BCFHW[:, :, 0], clean[:, :, 0])
    assert came.timestep_BF[:, 0].tolist() == [0, 0, 0]


def test_the_others_are_mixed_by_sigma_and_the_target_is_noise_less_clean(clean, noise):
    came = add_noise(clean, noise_BCFHW=noise, sigma_B=torch.tensor([0.25, 0.75, 1.0]))
    torch.testing.assert_close(came.x_BCFHW[1, :, 1:], 0.25 * clean[1, :, 1:] + 0.75 * noise[1, :, 1:])
    assert torch.equal(came.x_BCFHW[2, :, 1:], noise[2, :, 1:])
    assert came.timestep_BF[1, 1:].tolist() == [750] * 4
    assert torch.equal(came.target_BCFHW, noise - clean)


def test_a_picture_alone_has_no_loss(clean, noise):
    with pytest.raises(ValueError, match="at least 2 latent frames"):
        add_noise(clean[:, :, :1], noise_BCFHW=noise[:, :, :1], sigma_B=torch.ones(3))


def test_the_first_latent_is_not_in_the_loss(clean, noise):
    predicted = noise.clone()
    predicted[:, :, 0] = torch.nan
    error = squared_error(predicted, clean)
    assert error.shape == (3, 4, 2, 2)
    torch.testing.assert_close(error, (noise - clean)[:, :, 1:].square().mean(1))


@pytest.mark.parametrize("sigma", [0.02, 0.4, 0.98])
def test_a_preconditioned_network_says_what_remains_of_the_change_at_unit_variance(clean, noise, sigma):
    moved = torch.cat([clean[:, :, :1], 100 + clean[:, :, 1:]], dim=2)
    first = torch.cat([clean[:, :, :1], 100 + torch.zeros_like(clean[:, :, 1:])], dim=2)
    given, seen = add_noise(moved, noise_BCFHW=noise, sigma_B=torch.full((len(clean),), sigma)), {}
    shown = torch.cat([100 + torch.zeros_like(clean[:, :, :1]), given.x_BCFHW[:, :, 1:]], dim=2)

    def network(x, timestep):
        seen["x"] = x
        return ((1 - sigma) * noise - sigma * (moved - first)) / (sigma**2 + (1 - sigma) ** 2) ** 0.5

    velocity = precondition(network)(shown, given.timestep_BF)
    torch.testing.assert_close(velocity[:, :, 1:], given.target_BCFHW[:, :, 1:], atol=1e-3, rtol=0)
    assert seen["x"][:, :, 1:].var() == pytest.approx(1, abs=0.2)
    assert torch.equal(seen["x"][:, :, :1], shown[:, :, :1])


def test_sigma_and_timesteps_stay_float32_for_a_half_precision_latent(clean, noise):
    came = add_noise(clean.bfloat16(), noise_BCFHW=noise.bfloat16(), sigma_B=torch.tensor([0.1, 0.2, 0.3]))
    assert came.timestep_BF.dtype == torch.float32
    assert came.timestep_BF[0, 1] == pytest.approx(100)


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_euler_recovers_a_linear_flow_exactly(clean, noise, steps):
    clean, noise = clean.round(decimals=2), noise.round(decimals=2)
    velocity = noise - clean
    came = euler_sample(
        lambda x, t: velocity, first_BC1HW=clean[:, :, :1], noise_BCFHW=noise, sigmas=sigma_schedule(steps, shift=5)
    )
    torch.testing.assert_close(came, clean, atol=2e-6, rtol=0)


def test_the_sampler_holds_the_first_latent_and_tells_each_frame_its_time(clean, noise):
    seen = []

    def velocity(x, timestep):
        seen.append(timestep)
        assert torch.equal(x[:, :, :1], clean[:, :, :1])
        return torch.full_like(x, 1e6)  # nonsense, also for latent 0

    came = euler_sample(velocity, first_BC1HW=clean[:, :, :1], noise_BCFHW=noise, sigmas=sigma_schedule(4, shift=5))
    assert torch.equal(came[:, :, :1], clean[:, :, :1])
    assert all(t[:, 0].tolist() == [0, 0, 0] for t in seen)
    torch.testing.assert_close(torch.stack([t[0, 1] for t in seen]), torch.tensor([1000, 937.5, 833.3333, 625]))


def test_the_grid_falls_from_one_to_zero():
    grid = sigma_schedule(40, shift=5)
    assert len(grid) == 41
    assert (grid[0], grid[-1]) == (1, 0)
    assert grid == sorted(grid, reverse=True)


def test_latents_before_a_window_are_given_down_to_their_noise_level():
    rng = torch.Generator().manual_seed(0)
    first, noise = torch.zeros(1, 2, 1, 2, 2), torch.randn(1, 2, 4, 2, 2, generator=rng)
    before = torch.randn(1, 2, 2, 2, 2, generator=rng)
    seen = {}

    def still(x_BCFHW, timestep_BF):
        seen[round(float(timestep_BF[0, 1]))] = x_BCFHW.clone()
        return torch.zeros_like(x_BCFHW)

    history = History(latent_BCKHW=before, sigma=0.3)
    x = euler_sample(still, first_BC1HW=first, noise_BCFHW=noise, sigmas=[1, 0.5, 0.25, 0], history=history)
    assert torch.allclose(seen[500][:, :, 1:3], torch.lerp(before, noise[:, :, 1:3], 0.5))
    assert torch.equal(x[:, :, 1:3], seen[500][:, :, 1:3])  # below .3 nothing is given: a field at rest keeps it
    assert torch.equal(x[:, :, 3], noise[:, :, 3])
