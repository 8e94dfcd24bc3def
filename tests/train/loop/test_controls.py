"""Two clips that differ only in a control besides text and sound: each control has the effect of its name."""

from dataclasses import dataclass, replace

import pytest
import torch
from toy import CELLS, EVERYTHING, FRAMES, SEED, VARIANTS, make_clip, make_loop, small_size

from xsheet.model.flow import TIMESTEP_SCALE
from xsheet.train.data.conditioning import DRIVING_SERIES
from xsheet.train.data.seeded_random import ConditionDropoutSettings, DroppedConditions, SampleKey
from xsheet.train.loop.loop import StepShare
from xsheet.train.loop.loss import LossSettings
from xsheet.train.loop.state import DataPosition

SIZE = small_size()
WIDTH = {"identity_BX": (4,), "intensity_B2": (2,), "motion_BTX": (4 * (FRAMES - 1) + 1, len(DRIVING_SERIES))}


def clip(field, sign, *, epoch=0):
    """All bright or all dark after its first frame; which of them, one control alone tells. Its mouth is a corner."""
    latent, mouth = torch.zeros(1, SIZE.in_channels, FRAMES, CELLS, CELLS), torch.zeros(1, FRAMES, CELLS, CELLS)
    latent[:, :, 1:], mouth[:, :, 2:, 2:] = 2.0 * sign, 1
    same = make_clip(SampleKey(0, "clip1"), SIZE)
    return replace(
        same, sample_keys=(SampleKey(epoch, str(sign)),), latent_BCFHW=latent, mouth_BFHW=mouth,
        face_BFHW=torch.ones_like(mouth), **{field: torch.full((1, *WIDTH[field]), float(sign > 0))},
    )  # fmt: skip


@dataclass(frozen=True)
class Both:
    """Both clips in every step."""

    field: str

    def step_shares(self, start):
        epoch = start.epoch
        while True:
            both = tuple(clip(self.field, sign, epoch=epoch) for sign in (1, -1))
            epoch += 1
            yield StepShare(micro_batches=both, next_position=DataPosition(epoch=epoch))


def guessed(learner, asked):
    """What the model guesses from pure noise in one step, by cell; the mean over the other axes and ten noises."""
    noise = torch.randn(10, *asked.latent_BCFHW.shape, generator=torch.Generator().manual_seed(SEED))
    noise[:, :, :, 0] = asked.latent_BCFHW[:, :, 0]
    time = torch.tensor([[0.0] + [TIMESTEP_SCALE * 1.0] * (FRAMES - 1)])
    everything = DroppedConditions(torch.tensor([False]), torch.tensor([False]))
    with torch.no_grad():
        guesses = [one - learner(one, time, asked, everything) for one in noise]
    return torch.stack(guesses).mean((0, 1, 2))[1:].mean(0)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("variant", "field", "steps"),
    [
        ("fantasy_talking", "identity_BX", 100),
        ("fantasy_talking", "intensity_B2", 100),
        ("actalker", "motion_BTX", 80),
        ("actalker", "identity_BX", 300),  # it speaks only through what the scan remembers of it
    ],
)
def test_a_control_alone_tells_two_clips_apart(variant, field, steps, tmp_path):
    stage = EVERYTHING.model_copy(
        update={
            "optim": EVERYTHING.optim.model_copy(update={"beta2": 0.99, "warmup_steps": 10, "ema_decay": None}),
            "loss": LossSettings(condition_dropout=ConditionDropoutSettings(text=0, audio=0, both=0)),
        }
    )
    loop = make_loop(tmp_path, steps=steps, stage=stage, size=SIZE, variant=VARIANTS[variant], save_every=1000)
    replace(loop, loader=Both(field), spec=replace(loop.spec, batch_size=2)).run()
    bright, dark = (guessed(loop.state.model, clip(field, sign)) for sign in (1, -1))
    assert (bright - dark)[:2].min() > 1  # of 4; above the mouth, which sound drives where both drive
