from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.schemas.time import (
    AUDIO_RATE,
    CLIP_RATE,
    FrameRate,
    Span,
    frame_at,
    frame_start_us,
    frames_in,
    nearest_frame,
    seconds_from_us,
    span_of_frames,
    us_from_seconds,
)

FIVE_HOURS_US = 5 * 3600 * 1_000_000
rates = st.sampled_from(
    [FrameRate(25), FrameRate(30_000, 1_001), FrameRate(24_000, 1_001), FrameRate(60), FrameRate(12), AUDIO_RATE,
     FrameRate(44_100), FrameRate(1, 3)]
)  # fmt: skip
instants = st.integers(0, FIVE_HOURS_US)
frames = st.integers(0, 10_000_000)


@st.composite
def spans(draw):
    start = draw(instants)
    return Span(start, draw(st.integers(start + 1, FIVE_HOURS_US + 10)))


def test_frame_k_of_a_clip_starts_at_exactly_40000_k():
    assert [frame_start_us(k, CLIP_RATE) for k in (0, 1, 250, 90_000)] == [0, 40_000, 10_000_000, 3_600_000_000]


def test_ntsc_does_not_drift_over_an_hour():
    rate = FrameRate(30_000, 1_001)
    assert frame_start_us(107_892, rate) == int(Fraction(107_892 * 1_001, 30_000) * 1_000_000)


@given(frames, rates)
def test_a_frame_is_current_at_its_own_start_and_not_just_before(frame, rate):
    start = frame_start_us(frame, rate)
    assert frame_at(start, rate) == frame
    assert frame_at(start - 1, rate) == frame - 1


@given(instants, rates)
def test_the_current_frame_has_started_and_the_next_has_not(us, rate):
    frame = frame_at(us, rate)
    assert frame_start_us(frame, rate) <= us < frame_start_us(frame + 1, rate)


@given(instants, instants, rates)
def test_later_instants_never_give_earlier_frames(a, b, rate):
    a, b = sorted((a, b))
    assert frame_at(a, rate) <= frame_at(b, rate)


@given(instants, rates)
def test_snapping_twice_changes_nothing(us, rate):
    frame = nearest_frame(us, rate)
    assert nearest_frame(frame_start_us(frame, rate), rate) == frame


@given(instants, rates)
def test_snapping_moves_by_half_a_frame_at_most(us, rate):
    assert (
        2 * abs(frame_start_us(nearest_frame(us, rate), rate) - us)
        <= frame_start_us(nearest_frame(us, rate) + 2, rate) - frame_start_us(nearest_frame(us, rate) + 1, rate) + 1
    )


@given(spans(), rates)
def test_frames_in_a_span_are_those_that_start_inside_it(span, rate):
    inside = frames_in(span, rate)
    assert not span.contains(frame_start_us(inside.start - 1, rate))
    assert not span.contains(frame_start_us(inside.stop, rate))
    for edge in {inside.start, inside.stop - 1} if inside else ():
        assert span.contains(frame_start_us(edge, rate))


@given(st.integers(0, 10**6), st.integers(1, 10**4), rates)
def test_a_span_of_frames_holds_exactly_these_frames(start, count, rate):
    wanted = range(start, start + count)
    assert frames_in(span_of_frames(wanted, rate), rate) == wanted


@given(spans(), st.integers(0, FIVE_HOURS_US), rates)
def test_cutting_a_span_in_two_loses_no_frame(span, where, rate):
    if span.start_us < where < span.end_us:
        left = frames_in(Span(span.start_us, where), rate)
        right = frames_in(Span(where, span.end_us), rate)
        assert [*left[-3:], *right[:3]] == list(range(left.stop - len(left[-3:]), right.start + len(right[:3])))
        assert len(left) + len(right) == len(frames_in(span, rate))


@given(instants)
def test_seconds_come_back_to_the_same_microsecond(us):
    assert us_from_seconds(seconds_from_us(us)) == us


@given(spans(), spans())
def test_tiou_is_symmetric_and_one_only_for_equal_spans(a, b):
    assert a.tiou(b) == b.tiou(a)
    assert 0 <= a.tiou(b) <= 1
    assert (a.tiou(b) == 1) == (a == b)


def test_touching_spans_do_not_overlap():
    assert Span(0, 10).overlap_us(Span(10, 20)) == 0


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 4), (-1, 3)])
def test_an_empty_or_negative_span_is_refused(start, end):
    with pytest.raises(ValueError, match="start_us"):
        Span(start, end)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_seconds_that_are_no_number_are_refused(seconds):
    with pytest.raises(ValueError, match="finite"):
        us_from_seconds(seconds)


def test_rates_are_kept_in_lowest_terms():
    assert FrameRate(50, 2) == FrameRate(25) == FrameRate.parse("25")
    assert FrameRate.parse("30000/1001") == FrameRate(60_000, 2_002)
    assert str(FrameRate(24_000, 1_001)) == "24000/1001"


@pytest.mark.parametrize(("num", "den"), [(0, 1), (-25, 1), (25, 0), (2_000_000, 1)])
def test_a_rate_that_is_not_positive_or_too_fast_is_refused(num, den):
    with pytest.raises(ValueError, match="expected"):
        FrameRate(num, den)
