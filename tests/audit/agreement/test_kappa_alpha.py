"""κ over time and unitised α: the worked example of the book, brute force on frames, and what must hold anyway."""

import numpy as np
import pytest

from xsheet.audit.agreement.bootstrap import bootstrap_sums
from xsheet.audit.agreement.kappa_alpha import frame_kappa, overlap_length_sums, unitizing_alpha
from xsheet.audit.agreement.phase_arrays import PhaseArrays
from xsheet.schemas import vocab

HEAD = vocab.TRACKS.index("head")


def sums_of(*observers):
    return bootstrap_sums([overlap_length_sums(observers)], resamples=3, rng=np.random.default_rng(0))


def observer(*segments, length):
    """(first, last, value) on a continuum of `length` frames, counted from 1 and inclusive as the book does."""
    first, last, value = np.array(segments).T
    column = np.zeros(len(first), np.int64)
    return PhaseArrays(
        np.array(["c"]), np.zeros(1, np.int64), np.array([length * 40_000]), column, column, value,
        (first - 1) * 40_000, last * 40_000, np.full(len(first), np.nan),
    )  # fmt: skip


@pytest.fixture
def book():
    """Alex, Paul and Suzan: Krippendorff, Content Analysis (4th ed., 2019), figure 12.11."""
    return (
        observer((1, 7, 1), (8, 13, 2), (31, 32, 5), (33, 37, 6), (38, 44, 6), (45, 60, 7), length=60),
        observer((1, 7, 1), (8, 13, 3), (14, 21, 5), (33, 44, 6), length=60),
        observer((1, 7, 1), (8, 13, 4), (14, 21, 5), (33, 37, 6), (38, 41, 6), (42, 44, 6), length=60),
    )


@pytest.mark.parametrize(("classes", "printed"), [(True, 0.510), (False, 0.413)])
def test_alpha_of_the_worked_example_is_as_printed(book, classes, printed):
    by_track, over_all = unitizing_alpha(sums_of(*book), annotator_count=3, use_classes=classes)
    assert by_track[0, HEAD if HEAD else 0] == pytest.approx(printed, abs=1.5e-3)
    assert over_all[0] == pytest.approx(printed, abs=1.5e-3)


def labels(units, track):
    """(frames of all clips,) class per frame of one track, -1 where idle."""
    frames = units.duration_us // 40_000
    line = np.full(frames.sum(), -1)
    begin = np.cumsum(frames) - frames
    for k in np.flatnonzero(units.track == track):
        at = begin[units.annotation_index[k]]
        line[at + units.start_us[k] // 40_000 : at + units.end_us[k] // 40_000] = units.action[k]
    return line


@pytest.mark.parametrize("seed", range(4))
def test_kappa_is_that_of_the_frames(random_units, seed):
    rng = np.random.default_rng(seed)
    a, b = random_units(rng), random_units(rng)
    found = frame_kappa(sums_of(a, b))[0]
    for track in set(a.track):
        x, y = labels(a, track), labels(b, track)
        values = np.union1d(x, y)
        expected = sum((x == v).mean() * (y == v).mean() for v in values)
        assert found[track] == pytest.approx(((x == y).mean() - expected) / (1 - expected))


@pytest.mark.parametrize("seed", range(3))
def test_alpha_is_that_of_the_frames_but_for_phases_as_wholes(random_units, seed):
    """Frame by frame no two frames are one unit; over many clips the correction for that is small."""
    rng = np.random.default_rng(seed)
    a, b = random_units(rng, clips=150), random_units(rng, clips=150)
    found = unitizing_alpha(sums_of(a, b), annotator_count=2)[0][0]
    for track in set(a.track):
        both = np.concatenate([labels(a, track), labels(b, track)])
        disagree = (labels(a, track) != labels(b, track)).mean()
        count = np.unique(both, return_counts=True)[1]
        by_chance = 1 - (count * (count - 1)).sum() / (len(both) * (len(both) - 1))
        assert found[track] == pytest.approx(1 - disagree / by_chance, abs=0.01)


def test_identical_observers_have_kappa_and_alpha_one(random_units):
    a = random_units(np.random.default_rng(0))
    used = np.unique(a.track)
    assert frame_kappa(sums_of(a, a))[0][used] == pytest.approx(1)
    assert unitizing_alpha(sums_of(a, a), annotator_count=2)[0][0][used] == pytest.approx(1)


@pytest.mark.slow
def test_observers_that_know_nothing_of_each_other_are_at_chance(random_units):
    a, b = (random_units(np.random.default_rng(seed), clips=400) for seed in (1, 2))
    assert unitizing_alpha(sums_of(a, b), annotator_count=2)[1][0] == pytest.approx(0, abs=0.02)
    assert np.nanmean(frame_kappa(sums_of(a, b))[0]) == pytest.approx(0, abs=0.02)


def test_tracks_that_nobody_uses_have_no_coefficient(units):
    a = units(("head", "nod", 0, 1))
    assert np.isnan(unitizing_alpha(sums_of(a, a), annotator_count=2)[0][0][1:]).all()
    assert np.isnan(frame_kappa(sums_of(a, a))[0][1:]).all()


def test_a_wrong_class_lowers_alpha_and_not_the_binary_one(units):
    a = units(("head", "nod", 0, 1), ("head", "turn_head", 2, 3))
    b = units(("head", "nod", 0, 1), ("head", "nod", 2, 3))
    assert unitizing_alpha(sums_of(a, b), annotator_count=2)[1][0] < 0.9
    assert unitizing_alpha(sums_of(a, b), annotator_count=2, use_classes=False)[1][0] == pytest.approx(1)


def test_a_third_observer_counts(book):
    two = unitizing_alpha(sums_of(*book[1:]), annotator_count=2)[1][0]
    three = unitizing_alpha(sums_of(*book), annotator_count=3)[1][0]
    assert two > three
