"""Duration, frame rate and variability of a video, from the time stamps of its frames alone."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from xsheet.schemas.time import US_PER_S, FrameRate, Span, frames_in

# A frame that starts this much late still counts as started. Matroska rounds time stamps to 1 ms, so a frame of 30 fps
# due at 66.667 ms may carry 67.
START_TOLERANCE_US = 1_000
_FALLBACK_STEP_S = Fraction(1, 25)  # a single frame without a stated duration


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTiming:
    """Duration and frame rate of a video stream."""

    duration_us: int
    rate: FrameRate
    is_vfr: bool


def compute_timing(
    starts: Sequence[int], *, end: int | None, time_base_s: Fraction, declared: Fraction | None
) -> VideoTiming:
    """Compute duration, rate and whether the rate varies.

    Args:
        starts: start of every frame in ticks, ascending, at least one.
        end: latest packet end in ticks, if stated.
        time_base_s: seconds per tick.
        declared: frame rate of the header; used when it matches the time stamps within rounding, because it is exact.
    """
    steps = [after - before for before, after in pairwise(starts)]
    step = (
        Fraction(statistics.median(steps)) if steps else (1 / declared if declared else _FALLBACK_STEP_S) / time_base_s
    )
    length = Fraction(end) if end is not None and end > starts[-1] else starts[-1] + step
    duration_s = (length - starts[0]) * time_base_s
    # Rounding makes equal steps differ by up to two ticks; with a coarse clock a quarter of a step is the bound.
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
    # A clock of nanoseconds gives rates that no FrameRate holds; the limits refuse them afterwards.
    rate = min(max(rate.limit_denominator(10_000), Fraction(1, 10_000)), Fraction(US_PER_S))
    return VideoTiming(
        duration_us=int(duration_s * US_PER_S), rate=FrameRate(rate.numerator, rate.denominator), is_vfr=is_vfr
    )


def frame_count(duration_us: int, *, rate: FrameRate) -> int:
    """Number of frames at a constant rate that start within this duration; at least one."""
    end_us = duration_us - START_TOLERANCE_US
    return max(1, len(frames_in(Span(0, end_us), rate))) if end_us > 0 else 1
