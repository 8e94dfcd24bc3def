"""Two clips that differ only in which word belongs to which phase: the smallest proof that phases are read."""

from dataclasses import dataclass, replace

import pytest
import torch
from toy import EVERYTHING, SEED, make_loop, small_size

from xsheet.model.flow import TIMESTEP_SCALE
from xsheet.train.data.batch import Batch
from xsheet.train.data.seeded_random import ConditionDropoutSettings, DroppedConditions, SampleKey
from xsheet.train.loop.loop import StepShare
from xsheet.train.loop.loss import LossSettings
from xsheet.train.loop.state import DataPosition

SIZE = small_size()
FRAMES = 5  # of the latent: the picture, two frames of the first phase, two of the second
RAISE, NOD = 3, 4  # tokens; each action shows in a channel of its own
FIRST, SECOND = slice(1, 3), slice(3, 5)


def clip(order, *, epoch):
    """One action in the first window and the other one in the second; its text is a bag of words but for the phases."""
    latent = torch.zeros(1, SIZE.in_channels, FRAMES, 2, 2)
    for action, window in zip(order, (FIRST, SECOND), strict=True):
        latent[:, action - RAISE, window] = 2.0
    clock = torch.linspace(-3, 3, 4 * (FRAMES - 1) + 1)[None, :, None, None]  # the sound is a clock
    return Batch(
        sample_keys=(SampleKey(epoch, f"clip{order[0]}"),),
        latent_BCFHW=latent,
        text=torch.tensor([[1, 2, order[0], order[0], order[1], order[1], 0]]),
        phase_BM=torch.tensor([[0, 0, 1, 1, 2, 2, -1]]),
        audio_BTLQ=clock.expand(1, -1, SIZE.audio_layers, SIZE.audio_channels),
        window_BK2=torch.tensor([[[0.0, 9.0], [9.0, 17.0]]]),
        face_BFHW=torch.zeros(1, FRAMES, 2, 2),
        mouth_BFHW=torch.zeros(1, FRAMES, 2, 2),
    )


@dataclass(frozen=True)
class Swapped:
    """Both clips in every step."""

    def step_shares(self, start):
        epoch = start.epoch
        while True:
            both = tuple(clip(order, epoch=epoch) for order in ((RAISE, NOD), (NOD, RAISE)))
            epoch += 1
            yield StepShare(micro_batches=both, next_position=DataPosition(epoch=epoch))


def drawn(learner, order):
    """The latent that the model guesses from pure noise in one step, averaged over ten noises: no sampler is needed."""
    asked = clip(order, epoch=0)
    noise = torch.randn(10, *asked.latent_BCFHW.shape, generator=torch.Generator().manual_seed(SEED))
    time = torch.tensor([[0.0] + [TIMESTEP_SCALE * 1.0] * (FRAMES - 1)])
    everything = DroppedConditions(torch.tensor([False]), torch.tensor([False]))
    with torch.no_grad():
        guesses = []
        for one in noise:
            one[:, :, 0] = asked.latent_BCFHW[:, :, 0]
            guesses.append(one - learner(one, time, asked, everything))
    return torch.stack(guesses).mean((0, 1, 4, 5))


@pytest.mark.nightly
def test_swapped_phase_texts_move_the_right_action_into_the_right_window(tmp_path):
    stage = EVERYTHING.model_copy(
        update={
            "optim": EVERYTHING.optim.model_copy(update={"beta2": 0.99, "warmup_steps": 20, "ema_decay": None}),
            "loss": LossSettings(condition_dropout=ConditionDropoutSettings(text=0, audio=0, both=0)),
        }
    )
    loop = make_loop(tmp_path, steps=400, stage=stage, size=SIZE, save_every=1000)
    loop = replace(loop, loader=Swapped(), spec=replace(loop.spec, batch_size=2))
    loop.run()
    for order in ((RAISE, NOD), (NOD, RAISE)):
        first, second = (drawn(loop.state.model, order)[:2, window].mean(1) for window in (FIRST, SECOND))
        assert first.argmax() == order[0] - RAISE
        assert second.argmax() == order[1] - RAISE
        assert (first - second).abs().min() > 1  # of 2
