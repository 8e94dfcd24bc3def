"""Operations on one series of a clip: runs of frames, smoothing, gaps, medians and speed.

A series is a float64 array with one value per frame of 25 fps; NaN where it is unknown. Instants are in frames.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from xsheet.schemas.time import CLIP_RATE, Span, frames_in

Floats = NDArray[np.float64]
FPS = float(CLIP_RATE)
MAX_GAP_FRAMES = 5  # 0.2 s
_DIFFERENCE_FRAMES = 2  # frames to either side of a central difference, as in xsheet.curate.body.motion


def true_ranges(mask: NDArray[np.bool_]) -> list[range]:
    """Index ranges of consecutive True values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8))).tolist()
    return [range(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def frames_of_span(span: Span) -> range:
    """The frames of a span at 25 fps."""
    return frames_in(span, CLIP_RATE)


def frames_between(start: float, end: float) -> range:
    """Frames whose middle lies between two instants (in frames); at least one."""
    first = max(0, round_to_frame(start))
    return range(first, max(first + 1, round_to_frame(end)))


def round_to_frame(instant: float) -> int:
    """The frame whose start is nearest to an instant; the later one at a tie, which preserves lengths."""
    return math.floor(instant + 0.5)


def finite_median(values: Floats) -> float:
    """Median of the finite values, NaN if there are none; ten times as fast as np.nanmedian."""
    known = np.sort(values[np.isfinite(values)])
    half = len(known) // 2
    if not len(known):
        return np.nan
    return float(known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2)


def gaussian_smooth(values: Floats, *, sigma_frames: float = 1.0) -> Floats:
    """Smooth with a Gaussian over the finite values; `sigma_frames` is its standard deviation."""
    if not len(values):
        return values
    known = np.isfinite(values)
    kernel, whole = _gaussian(len(values), sigma_frames)
    if known.all():
        return np.asarray(np.convolve(values, kernel, mode="same") / whole)
    weight = np.convolve(known, kernel, mode="same")
    total = np.convolve(np.where(known, values, 0.0), kernel, mode="same")
    return np.where(known, total / np.maximum(weight, 1e-9), np.nan)


@functools.lru_cache(maxsize=1_000)  # without it, motion_curves takes a third longer
def _gaussian(length: int, sigma_frames: float) -> tuple[Floats, Floats]:
    """The kernel, and its weight inside a series of this length, frame by frame."""
    reach = min(int(4 * sigma_frames), max(length - 1, 0) // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_frames) ** 2)
    return kernel, np.convolve(np.ones(length), kernel, mode="same")


def fill_gaps(values: Floats) -> Floats:
    """Interpolate gaps of at most MAX_GAP_FRAMES linearly."""
    known = np.isfinite(values)
    if known.all() or not known.any():
        return values
    at = np.arange(len(values))
    line = np.interp(at, at[known], values[known], left=np.nan, right=np.nan)
    for gap in true_ranges(~known):
        if len(gap) > MAX_GAP_FRAMES:
            line[gap.start : gap.stop] = np.nan
    return line


def interpolate_hidden(values: Floats, hidden: NDArray[np.bool_]) -> Floats:
    """Interpolate hidden frames linearly from the visible ones."""
    seen = ~hidden & np.isfinite(values)
    if not seen.any():
        return values
    at = np.arange(len(values))
    return np.where(hidden, np.interp(at, at[seen], values[seen]), values)


def subtract_median(values: Floats) -> Floats:
    """The series minus its median."""
    return values - finite_median(values)


def speed_of(*axes: Floats) -> Floats:
    """(frames,) speed per second: norm of the central differences of the smoothed axes."""
    rates = []
    for axis in axes:
        rate = np.full(len(axis), np.nan)
        calm = gaussian_smooth(axis)
        rate[_DIFFERENCE_FRAMES:-_DIFFERENCE_FRAMES] = (
            (calm[2 * _DIFFERENCE_FRAMES :] - calm[: -2 * _DIFFERENCE_FRAMES]) * FPS / (2 * _DIFFERENCE_FRAMES)
        )
        rates.append(rate)
    speed: Floats = np.linalg.norm(rates, axis=0)
    return speed
