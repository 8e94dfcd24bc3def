"""Length, rate and regularity from times alone."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.media.timing import compute_timing, frame_count
from xsheet.schemas.time import CLIP_RATE, FrameRate

RATES = [Fraction(12), Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(60)]
TICKS = [Fraction(1, 1000), Fraction(1, 600), Fraction(1, 12800), Fraction(1, 90_000)]


def stamps(rate: Fraction, tick: Fraction, frames: int) -> list[int]:
    return [round(k / rate / tick) for k in range(frames)]


@given(st.sampled_from(RATES), st.sampled_from(TICKS), st.integers(2, 2000), st.integers(-1000, 10**6))
def test_a_constant_rate_is_found_exactly_under_any_clock_and_start(rate, tick, frames, start):
    starts = [start + s for s in stamps(rate, tick, frames)]
    timing = compute_timing(starts, end=None, time_base_s=tick, declared=rate)
    assert not timing.is_vfr
    assert timing.rate == FrameRate(rate.numerator, rate.denominator)
    assert abs(timing.duration_us - frames / rate * 1_000_000) <= 2 * tick * 1_000_000


@given(st.sampled_from(RATES), st.sampled_from(TICKS), st.integers(20, 500), st.data())
def test_a_missing_frame_makes_the_rate_variable(rate, tick, frames, data):
    starts = stamps(rate, tick, frames)
    del starts[data.draw(st.integers(1, frames - 2))]
    assert compute_timing(starts, end=None, time_base_s=tick, declared=rate).is_vfr


def test_a_clock_as_coarse_as_the_frames_still_shows_a_variable_rate():
    assert compute_timing([0, 1, 2, 4, 5], end=6, time_base_s=Fraction(1, 30), declared=Fraction(30)).is_vfr


def test_time_stamps_override_a_contradicting_header():
    timing = compute_timing(list(range(100)), end=100, time_base_s=Fraction(1, 25), declared=Fraction(30))
    assert timing.rate == CLIP_RATE


def test_the_average_of_a_variable_rate_is_frames_by_length():
    timing = compute_timing([0, 1, 5], end=6, time_base_s=Fraction(1, 10), declared=Fraction(30))
    assert (timing.rate, timing.duration_us) == (FrameRate(5), 600_000)


@pytest.mark.parametrize(("end", "us"), [(None, 40_000), (80, 80_000), (0, 40_000)])
def test_one_frame_lasts_as_stated_or_a_frame_of_25_fps(end, us):
    timing = compute_timing([0], end=end, time_base_s=Fraction(1, 1000), declared=None)
    assert (timing.duration_us, timing.is_vfr) == (us, False)


@given(st.integers(1, 10**7))
def test_a_constant_25_fps_picture_has_its_own_number_of_frames(frames):
    assert frame_count(frames * 40_000, rate=CLIP_RATE) == frames
