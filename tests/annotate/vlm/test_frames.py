from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.vlm.frames import frame_indices, frame_starts_us, mean_fps

clips = st.integers(4, 2000)
rates = st.floats(0.1, 60)


@given(clips, rates)
def test_frames_rise_from_the_first_to_the_last_in_an_even_count(frames, fps):
    indices = frame_indices(frames, fps=fps)
    assert all(a < b for a, b in pairwise(indices))
    assert indices[-1] < frames
    assert indices[0] == 0
    assert len(indices) >= 4
    assert len(indices) % 2 == 0


@given(clips, rates)
def test_the_last_frame_is_shown(frames, fps):
    assert frame_indices(frames, fps=fps)[-1] == frames - 1


@given(clips, rates)
def test_steps_differ_by_at_most_one_frame(frames, fps):
    steps = {b - a for a, b in pairwise(frame_indices(frames, fps=fps))}
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize(
    ("frames", "fps", "count"),
    [(125, 8, 40), (125, 2, 10), (75, 4, 12), (250, 12, 120), (125, 25, 124), (125, 60, 124), (5, 8, 4)],
)
def test_the_count_is_length_times_rate(frames, fps, count):
    assert len(frame_indices(frames, fps=fps)) == count


@given(st.integers(50, 500), st.floats(2, 24))
def test_the_mean_rate_is_near_the_one_asked_for(frames, fps):
    # Even count over (frames - 1) steps: off by at most two frames in the count.
    assert mean_fps(frame_indices(frames, fps=fps)) == pytest.approx(fps, abs=2.5 * 25 / frames + 0.02 * fps)


def test_stamps_are_frame_starts():
    assert frame_starts_us(frame_indices(125, fps=2))[:3] == (0, 560_000, 1_120_000)


@pytest.mark.parametrize(("frames", "fps"), [(3, 8), (125, 0), (125, -1), (125, float("nan"))])
def test_nothing_to_choose_from_is_refused(frames, fps):
    with pytest.raises(ValueError, match="expected at least 4 frames and fps > 0"):
        frame_indices(frames, fps=fps)
