"""What is shown of a run: losses by band and phase, arithmetic, learning rates, averages."""

import pytest
import torch
from toy import make_loop

from xsheet.model.config import tiny_config, wan2_2_ti2v_5b_config
from xsheet.train.loop.loss import LossTerms, error_inside_phases
from xsheet.train.loop.metrics import MetricsAccumulator, clip_flops, peak_flops
from xsheet.train.loop.optim import OptimSettings, learning_rate
from xsheet.train.loop.process_group import ProcessGroup

NAN = float("nan")


def loss_terms(total, sigma, inside):
    total = torch.tensor(total)
    return LossTerms(
        total_B=total, terms={"velocity": total / 2}, sigma_B=torch.tensor(sigma), in_phases_B=torch.tensor(inside)
    )


def test_means_are_over_all_clips_of_all_micro_batches():
    meter = MetricsAccumulator(ProcessGroup())
    meter.update(loss_terms([1.0, 3.0], [0.1, 0.95], [2.0, NAN]))
    meter.update(loss_terms([5.0], [0.9], [4.0]))
    read = meter.compute()
    assert read["loss"] == 3
    assert read["loss/velocity"] == 1.5
    assert read["loss/inside phases"] == 3
    assert {name: value for name, value in read.items() if "sigma" in name} == {
        "loss/sigma 0-.25": 1, "loss/sigma .9-1": 4,
    }  # fmt: skip


def test_a_clip_that_is_not_finite_does_not_spoil_the_means():
    meter = MetricsAccumulator(ProcessGroup())
    meter.update(loss_terms([NAN, 2.0], [0.5, 0.5], [NAN, NAN]))
    assert meter.compute()["loss"] == 2


def test_a_meter_begins_anew_when_it_was_read():
    meter = MetricsAccumulator(ProcessGroup())
    meter.update(loss_terms([7.0], [0.5], [NAN]))
    meter.compute()
    meter.update(loss_terms([1.0], [0.5], [NAN]))
    assert meter.compute()["loss"] == 1


def test_a_phase_counts_in_the_latent_frames_that_it_touches():
    # Latents 1, 2, 3 are video frames 1-4, 5-8, 9-12.
    error = torch.tensor([1.0, 10.0, 100.0])[None, :, None, None].expand(1, 3, 2, 2)
    for window, expected in (((5, 9), 10), ((4, 6), 5.5), ((9, 10), 100), ((0, 13), 37)):
        windows = torch.tensor([[window, (0, 0)]]).float()
        assert error_inside_phases(error, windows).item() == pytest.approx(expected)


def test_a_clip_without_phases_has_no_loss_inside_them():
    assert error_inside_phases(torch.ones(1, 3, 2, 2), torch.zeros(1, 2, 2)).isnan().all()


@pytest.mark.parametrize(
    ("frames", "height", "width", "tokens", "teraflops"), [(21, 30, 52, 8190, 97), (31, 44, 80, 27280, 516)]
)
def test_arithmetic_of_the_real_size_is_as_computed_by_hand(frames, height, width, tokens, teraflops):
    # By hand: 8.68 G per token and attention to itself. Text, and sound with its own q and o, come on top.
    flops = clip_flops(wan2_2_ti2v_5b_config(), frames=frames, height=height, width=width)
    assert flops.tokens == tokens
    assert 1 < (flops.linear_flops + flops.attention_flops) / (teraflops * 1e12) < 1.15


def test_frozen_weights_cost_two_thirds():
    flops = clip_flops(tiny_config(), frames=9, height=8, width=8)
    assert flops.training_flops(0) == pytest.approx(3 * flops.attention_flops + 2 * flops.linear_flops)
    assert flops.training_flops(1) == pytest.approx(3 * (flops.attention_flops + flops.linear_flops))


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H200", 989e12), ("NVIDIA H20", 148e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("?", None)]
)
def test_the_peak_of_a_device_is_found_by_its_whole_name(name, peak):
    assert peak_flops(name) == peak


def test_the_rate_grows_then_stays_or_falls():
    constant = OptimSettings(lr=1.0 - 1e-9, warmup_steps=4)
    assert [round(learning_rate(step, settings=constant, steps=100), 3) for step in (0, 1, 4, 99)] == [0.2, 0.4, 1, 1]
    cosine = constant.model_copy(update={"lr_schedule": "cosine", "final_lr_fraction": 0.1})
    assert [round(learning_rate(step, settings=cosine, steps=101), 3) for step in (50, 100)] == [0.55, 0.1]


@pytest.mark.slow
def test_averages_follow_the_weights_and_weights_come_back(tmp_path):
    loop = make_loop(tmp_path, steps=3)
    loop.run()
    ema, trained = loop.state.ema, loop.state.trainable_parameters
    key = "transformer.proj_out.weight"
    now = trained[key].detach().clone()
    assert not torch.equal(ema.weights[key], now)
    with ema.average_parameters():
        assert torch.equal(trained[key], ema.weights[key])
    assert torch.equal(trained[key], now)
