import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xsheet.annotate.motion.segments import count_cycles, find_episodes, find_segments, turning_points
from xsheet.annotate.motion.series import gaussian_smooth

FRAMES = 120


def eased(*keys):
    """(FRAMES,) minimum jerk from key (instant in frames, value) to key, seen in the middle of each frame."""
    times, values = np.array(keys, float).T
    now = np.arange(FRAMES) + 0.5
    k = np.clip(np.searchsorted(times, now, side="right"), 1, len(times) - 1)
    x = np.clip((now - times[k - 1]) / (times[k] - times[k - 1]), 0, 1)
    return values[k - 1] + (values[k] - values[k - 1]) * x**3 * (10 - 15 * x + 6 * x**2)


@pytest.mark.parametrize("lasts", [6, 10, 18, 30])
def test_a_leg_begins_and_ends_where_its_movement_does(lasts):
    seen = gaussian_smooth(eased((40, 0), (40 + lasts, 20)), sigma_frames=1.0)  # as a tracker shows it
    (leg,) = find_segments(seen, min_size=5)
    assert leg.start == pytest.approx(40, abs=0.8)
    assert leg.end == pytest.approx(40 + lasts, abs=0.8)
    assert leg.delta == pytest.approx(20, rel=0.05)


def test_jitter_is_no_movement():
    noise = np.random.default_rng(1).normal(0, 0.5, FRAMES)
    assert find_segments(noise, min_size=3) == []


def test_a_way_that_rests_in_between_is_two_legs():
    found = find_segments(eased((20, 0), (30, 10), (60, 10), (70, 20)), min_size=3)
    assert [round(leg.delta) for leg in found] == [10, 10]
    assert found[1].start == pytest.approx(60, abs=1)


def test_repeated_movements_are_one_episode_and_separate_ones_are_two():
    thrice = eased((20, 0), (25, -9), (30, 0), (35, -8), (40, 0), (45, -7), (50, 0))
    twice = eased((20, 0), (25, -9), (30, 0), (60, 0), (65, -8), (70, 0))
    assert [len(e.segments) for e in find_episodes(thrice, min_size=3, max_gap_s=0.2, max_hold_s=1.5)] == [6]
    assert [len(e.segments) for e in find_episodes(twice, min_size=3, max_gap_s=0.2, max_hold_s=1.5)] == [2, 2]


def test_a_pose_that_is_held_too_long_is_a_new_place():
    values = eased((10, 0), (20, 9), (90, 9), (100, 0))
    assert [len(e.segments) for e in find_episodes(values, min_size=3, max_gap_s=0.2, max_hold_s=1.5)] == [1, 1]


def test_a_pose_still_held_when_the_clip_ends_lasts_until_then():
    (episode,) = find_episodes(eased((90, 0), (100, 9)), min_size=3, max_gap_s=0.2, max_hold_s=1.5)
    assert episode.end == FRAMES
    assert episode.returns


def test_oscillation_counts_cycles():
    thrice = eased((20, 0), (25, -9), (30, 0), (35, -8), (40, 0), (45, -7), (50, 0))
    assert count_cycles(thrice, range(18, 52), min_size=3) == 3
    assert count_cycles(eased((20, 0), (40, 9)), range(18, 42), min_size=3) == 0


@pytest.mark.slow
@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-100, 100)), st.floats(0.5, 50))
def test_turning_points_alternate_and_lie_far_enough_apart(path, least):
    turns = turning_points(path, least)
    steps = np.diff(path[turns]) if turns else np.zeros(0)
    assert turns == sorted(set(turns))
    assert (np.abs(steps) >= least).all()
    assert (np.sign(steps[1:]) == -np.sign(steps[:-1])).all()


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-100, 100) | st.just(np.nan)))
def test_legs_follow_one_another_inside_the_series(values):
    found = find_segments(values, min_size=1.0)
    edges = [edge for leg in found for edge in (leg.start, leg.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(values) for edge in edges)
