"""Chance is a function of (seed, epoch, clip): nothing else can change it, and its shares are what the settings say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xsheet.model.flow import FlowSettings, shift_sigma
from xsheet.train.data import seeded_random
from xsheet.train.data.seeded_random import ConditionDropoutSettings, SampleKey

SHAPE = (2, 3, 4, 4)
CLIPS = [f"clip_{k:05d}" for k in range(4000)]


def showings(*, epoch: int = 0) -> list[SampleKey]:
    return [SampleKey(epoch, clip) for clip in CLIPS]


@given(st.permutations(range(6)))
def test_the_company_of_a_clip_does_not_change_its_draws(order):
    alone = [seeded_random.noise([SampleKey(3, CLIPS[k])], seed=1, shape=SHAPE)[0] for k in range(6)]
    together = seeded_random.noise([SampleKey(3, CLIPS[k]) for k in order], seed=1, shape=SHAPE)
    assert all(torch.equal(together[place], alone[k]) for place, k in enumerate(order))


@pytest.mark.parametrize("other", [SampleKey(1, CLIPS[0]), SampleKey(0, CLIPS[1])])
def test_another_epoch_or_clip_gets_other_noise(other):
    one, two = seeded_random.noise([SampleKey(0, CLIPS[0]), other], seed=1, shape=(64, 64))
    assert abs(float(np.corrcoef(one.flatten(), two.flatten())[0, 1])) < 0.1


def test_noise_is_standard_normal():
    drawn = seeded_random.noise(showings()[:50], seed=5, shape=(2000,))
    assert abs(float(drawn.mean())) < 0.01
    assert abs(float(drawn.std()) - 1) < 0.01


def test_noise_does_not_change_with_the_machine():
    expected = [-0.43386, 3.00698, -0.89073]
    assert seeded_random.noise([SampleKey(0, "clip_00000")], seed=0, shape=(3,))[0].tolist() == pytest.approx(
        expected, abs=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_drawn_sigma_has_the_density_that_was_asked_for(shift):
    drawn = seeded_random.sigma(showings(), seed=2, settings=FlowSettings(shift=shift))
    edges = shift_sigma(torch.linspace(0, 1, 11), shift)  # equal shares of a uniform density, moved by the shift
    counts = torch.histogram(drawn, edges)[0]
    chi_square = float(((counts - len(CLIPS) / 10).square() / (len(CLIPS) / 10)).sum())
    assert chi_square < 27.9  # the .999 quantile at 9 degrees of freedom


@pytest.mark.slow
def test_conditions_are_dropped_as_often_as_asked_over_two_epochs():
    dropped = [
        seeded_random.dropped_conditions(showings(epoch=e), seed=3, settings=ConditionDropoutSettings()) for e in (0, 1)
    ]
    text, audio = torch.cat([d.text_B for d in dropped]), torch.cat([d.audio_B for d in dropped])
    counts = [int((text & ~audio).sum()), int((~text & audio).sum()), int((text & audio).sum())]
    expected = np.array([0.1, 0.1, 0.05, 0.75]) * 2 * len(CLIPS)
    found = np.array([*counts, 2 * len(CLIPS) - sum(counts)])
    assert float((np.square(found - expected) / expected).sum()) < 16.3  # .999 at 3 degrees of freedom


@pytest.mark.slow
def test_other_clips_are_dropped_in_another_epoch():
    first, second = (
        seeded_random.dropped_conditions(showings(epoch=e), seed=3, settings=ConditionDropoutSettings()).text_B
        for e in (0, 1)
    )
    again = float((first & second).sum() / first.sum())
    assert again == pytest.approx(0.15, abs=0.06)  # independent, where FastVideo drops the same clips for ever


def test_shares_that_pass_one_are_refused():
    with pytest.raises(ValueError, match=r"of at most 1, got 1\.1"):
        ConditionDropoutSettings(text=0.5, audio=0.4, both=0.2)


def test_every_crop_and_both_sides_are_shown():
    crops = [seeded_random.crop_index(one, seed=1, count=3) for one in showings()[:600]]
    sides = [seeded_random.is_mirrored(one, seed=1, probability=0.5) for one in showings()[:600]]
    assert np.bincount(crops).min() > 150
    assert 250 < sum(sides) < 350


@pytest.mark.slow
def test_kinds_of_draws_are_independent():
    flips = [seeded_random.is_mirrored(one, seed=1, probability=0.5) for one in showings()]
    sigma = seeded_random.sigma(showings(), seed=1, settings=FlowSettings(shift=1))
    assert abs(float(np.corrcoef(flips, sigma)[0, 1])) < 0.05


def test_a_permutation_holds_every_clip_once_and_changes_with_the_epoch():
    first, second = (seeded_random.permutation(50, seed=1, epoch=e) for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
