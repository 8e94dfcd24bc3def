from dataclasses import replace

import pytest
import torch
from toy import FLOAT32, SEED, final_state, make_loop

from xsheet.schemas.errors import RunError
from xsheet.train.data.seeded_random import ConditionDropoutSettings
from xsheet.train.loop.loss import LossSettings, VelocityLoss
from xsheet.train.loop.state import DataPosition
from xsheet.train.loop.step import TrainStep


def first_portion(loop):
    return next(loop.loader.step_shares(DataPosition()))


def step(loop, *, loss=None, compute=None, optimizer=None):
    """One step of a toy loop."""
    stepper = TrainStep(
        loop.state.model,
        loss=loss or loop.loss,
        optimizer=optimizer or loop.state.optimizer,
        compute=compute or loop.compute,
        process_group=loop.process_group,
    )
    return stepper.run(first_portion(loop).micro_batches, batch_size=4, seed=SEED, lr=0.1, max_grad_norm=1e6)


def moved(folder, **changes):
    """Weights after one step of plain descent, whose moves are the gradients."""
    loop = make_loop(folder, **changes)
    step(loop, optimizer=torch.optim.SGD(loop.state.trainable_parameters.values(), lr=0.1))
    return {key: weight.detach().clone() for key, weight in loop.state.trainable_parameters.items()}


@pytest.mark.parametrize("micro", [2, 4])
def test_clips_learn_the_same_in_any_micro_batch(tmp_path, micro):
    alone, together = moved(tmp_path / "1", micro=1), moved(tmp_path / "n", micro=micro)
    for key, weight in alone.items():
        torch.testing.assert_close(together[key], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_gradients_are_the_same_with_activations_computed_again(tmp_path):
    kept, again = (
        moved(tmp_path / "a"),
        moved(tmp_path / "b", compute=FLOAT32.model_copy(update={"gradient_checkpointing": True})),
    )
    assert not [key for key in kept if not torch.equal(kept[key], again[key])]


@pytest.mark.slow
def test_a_running_sum_learns_the_same_but_for_rounding(tmp_path):
    tree, running = (
        moved(tmp_path / "a"),
        moved(tmp_path / "b", compute=FLOAT32.model_copy(update={"gradient_sum": "running"})),
    )
    for key, weight in tree.items():
        torch.testing.assert_close(running[key], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_bfloat16_is_of_the_products_only(tmp_path):
    loop = make_loop(tmp_path, compute=FLOAT32.model_copy(update={"dtype": "bfloat16"}))
    stepped = step(loop)
    exact = step(make_loop(tmp_path / "exact"))
    assert {weight.dtype for weight in loop.state.model.parameters()} == {torch.float32}
    losses, exact_losses = (torch.cat([terms.total_B for terms in one.terms]) for one in (stepped, exact))
    assert losses.dtype == torch.float32
    assert not torch.equal(losses, exact_losses)
    torch.testing.assert_close(losses, exact_losses, rtol=0.05, atol=0.05)


def test_a_gradient_is_cut_to_its_norm(tmp_path):
    loop = make_loop(tmp_path)
    optimizer = torch.optim.SGD(loop.state.trainable_parameters.values(), lr=1.0)
    before = {key: weight.detach().clone() for key, weight in loop.state.trainable_parameters.items()}
    stepper = TrainStep(
        loop.state.model, loss=loop.loss, optimizer=optimizer, compute=loop.compute, process_group=loop.process_group
    )
    stepped = stepper.run(first_portion(loop).micro_batches, batch_size=4, seed=SEED, lr=1.0, max_grad_norm=0.5)
    moves = [weight.detach() - before[key] for key, weight in loop.state.trainable_parameters.items()]
    assert stepped.grad_norm > 0.5
    assert torch.stack([move.square().sum() for move in moves]).sum().sqrt() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.slow
def test_a_clip_that_is_not_finite_leaves_weights_and_moments_as_they_are(tmp_path):
    loop = make_loop(tmp_path)
    step(loop)
    before = final_state(loop)
    bad = first_portion(loop).micro_batches[2].clip_ids
    broken = make_loop(tmp_path, broken=bad)
    stepped = step(replace(loop, loader=broken.loader))
    after = final_state(loop)
    assert stepped.skipped_clips == bad
    assert not [key for key in before if not torch.equal(before[key], after[key])]


def test_a_gradient_that_is_not_finite_puts_all_clips_under_suspicion(tmp_path):
    loop = make_loop(tmp_path)

    def steep(learner, batch, *, seed):
        terms = loop.loss(learner, batch, seed=seed)
        return replace(terms, total_B=(terms.total_B - terms.total_B.detach()).sqrt())  # 0, with an infinite slope

    stepped = step(loop, loss=steep)
    assert set(stepped.skipped_clips) == {
        clip for batch in first_portion(loop).micro_batches for clip in batch.clip_ids
    }


def test_running_out_of_memory_says_what_to_do(tmp_path):
    loop = make_loop(tmp_path)

    def greedy(learner, batch, *, seed):
        torch.empty(2**50)

    with pytest.raises(RunError, match=r"micro-batches of 4.*compute\.micro_batch_size below 4"):
        step(loop, loss=greedy, compute=FLOAT32.model_copy(update={"micro_batch_size": 4}))


def test_another_failure_is_not_taken_for_memory(tmp_path):
    def wrong(learner, batch, *, seed):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        step(make_loop(tmp_path), loss=wrong)


def test_a_clip_whose_sound_is_dropped_is_deaf_to_it(tmp_path):
    loop = make_loop(tmp_path)
    settings = LossSettings(condition_dropout=ConditionDropoutSettings(text=0, audio=1, both=0))
    batch = first_portion(loop).micro_batches[0]
    loss = VelocityLoss(settings)
    louder = replace(batch, audio_BTLQ=batch.audio_BTLQ * 3)
    one, other = (loss(loop.state.model, given, seed=SEED).total_B for given in (batch, louder))
    assert torch.equal(one, other)
