from importlib.util import find_spec

import pytest
import torch

from xsheet.model.variants.scan import SelectiveScan, selective_scan

LENGTH, CHANNELS, STATE = 13, 6, 4


@pytest.fixture
def inputs(rng):
    """u, δ, a, b, c of two rows."""
    return (
        torch.randn(2, LENGTH, CHANNELS, generator=rng),
        torch.rand(2, LENGTH, CHANNELS, generator=rng),
        -torch.rand(CHANNELS, STATE, generator=rng) * 2,
        torch.randn(2, LENGTH, STATE, generator=rng),
        torch.randn(2, LENGTH, STATE, generator=rng),
    )


def one_by_one(u, delta, a, b, c):
    state, valid = torch.zeros(2, CHANNELS, STATE), []
    for t in range(u.shape[1]):
        state = torch.exp(delta[:, t, :, None] * a) * state + (delta * u)[:, t, :, None] * b[:, t, None]
        valid.append((state * c[:, t, None]).sum(-1))
    return torch.stack(valid, dim=1)


@pytest.mark.parametrize("length", [1, 2, 7, 8, LENGTH])
def test_the_scan_is_the_recurrence(inputs, length):
    u, delta, a, b, c = inputs
    short = (u[:, :length], delta[:, :length], a, b[:, :length], c[:, :length])
    torch.testing.assert_close(selective_scan(*short), one_by_one(*short))


def test_its_gradients_are_those_of_the_recurrence(inputs):
    def gradients(way):
        leaves = [t.clone().requires_grad_() for t in inputs]
        way(*leaves).square().sum().backward()
        return [leaf.grad for leaf in leaves]

    for ours, theirs in zip(gradients(selective_scan), gradients(one_by_one), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_thousand_steps_stay_finite(rng):
    sweep = SelectiveScan(CHANNELS, state_dim=STATE, rank=2)
    sweep.init_weights(rng)
    long = torch.randn(1, 1000, CHANNELS, generator=rng)
    assert sweep(long, torch.ones(1, 1000, dtype=torch.bool)).isfinite().all()


def test_a_sweep_knows_only_what_stood_before(rng):
    sweep = SelectiveScan(CHANNELS, state_dim=STATE, rank=2)
    tokens = torch.randn(1, LENGTH, CHANNELS, generator=rng)
    other = tokens.clone()
    other[:, 5] += 1
    valid = torch.ones(1, LENGTH, dtype=torch.bool)
    moved = (sweep(tokens, valid) != sweep(other, valid)).any(-1)[0]
    assert moved.tolist() == [k >= 5 for k in range(LENGTH)]


def test_an_invalid_token_leaves_no_trace(rng):
    sweep = SelectiveScan(CHANNELS, state_dim=STATE, rank=2)
    tokens = torch.randn(1, LENGTH, CHANNELS, generator=rng)
    valid = torch.tensor([[k not in {3, 4, 9} for k in range(LENGTH)]])
    torch.testing.assert_close(
        sweep(tokens, valid)[valid], sweep(tokens[valid][None], torch.ones(1, LENGTH - 3, dtype=torch.bool))[0]
    )


def test_first_steps_are_between_a_thousandth_and_a_tenth(rng):
    sweep = SelectiveScan(CHANNELS, state_dim=STATE, rank=2)
    sweep.init_weights(rng)
    steps = torch.nn.functional.softplus(sweep.to_delta.bias)
    assert steps.min() >= 1e-3
    assert steps.max() <= 1e-1


@pytest.mark.gpu
@pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("mamba_ssm") is None, reason="needs a CUDA device and mamba_ssm"
)
def test_the_fused_kernel_says_the_same(inputs):
    there = selective_scan(*(t.cuda() for t in inputs))
    torch.testing.assert_close(there.cpu(), selective_scan(*inputs), atol=1e-4, rtol=1e-4)
