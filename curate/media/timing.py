"""Length, rate and regularity of a picture, from the times of its frames alone."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from xsheet.schemas.time import US_PER_S, FrameRate, Span, frames_in

# How much later than asked a frame may start and still count as started. Matroska rounds its stamps to 1 ms, so that a
# frame of 30 fps meant for 66.667 ms may carry 67.
START_TOLERANCE_US = 1_000
_FALLBACK_STEP_S = Fraction(1, 25)  # one lone frame without a stated length


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTiming:
    """When a picture begins, ends and how regularly it changes."""

    duration_us: int
    rate: FrameRate
    is_vfr: bool


def compute_timing(
    starts: Sequence[int], *, end: int | None, time_base_s: Fraction, declared: Fraction | None
) -> VideoTiming:
    """Timing of frames.

    Args:
        starts: start of every frame in ticks, ascending, at least one.
        end: latest end that a packet states, in ticks.
        time_base_s: length of a tick.
        declared: frame rate of the header. Kept when it explains the times within rounding, for it is exact.
    """
    steps = [after - before for before, after in pairwise(starts)]
    step = (
        Fraction(statistics.median(steps)) if steps else (1 / declared if declared else _FALLBACK_STEP_S) / time_base_s
    )
    length = Fraction(end) if end is not None and end > starts[-1] else starts[-1] + step
    duration_s = (length - starts[0]) * time_base_s
    # A clock that rounds lets equal steps differ by a tick or two; a clock as coarse as the frames themselves does not.
    is_vfr = bool(steps) and max(steps) - min(steps) > min(Fraction(2), step / 4)
    rate = len(starts) / duration_s
    if not is_vfr:
        rate = (
            1 / (step * time_base_s)
            if len(steps) < 2
            else Fraction(len(steps)) / ((starts[-1] - starts[0]) * time_base_s)
        )
        if declared and abs(1 / declared - 1 / rate) * len(steps) <= 2 * time_base_s:
            rate = declared
    rate = max(rate.limit_denominator(10_000), Fraction(1, 10_000))
    return VideoTiming(
        duration_us=int(duration_s * US_PER_S), rate=FrameRate(rate.numerator, rate.denominator), is_vfr=is_vfr
    )


def frame_count(duration_us: int, *, rate: FrameRate) -> int:
    """Frames at a constant rate that start inside a picture of this length; at least one."""
    end_us = duration_us - START_TOLERANCE_US
    return max(1, len(frames_in(Span(0, end_us), rate))) if end_us > 0 else 1
