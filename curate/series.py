"""Per-frame series as arrays: conversion, slices, alignment with the frames of a source.

A `Series` is a tuple with one value per frame at 25 fps, None where nothing was measured. In an array None is NaN. A
quantity that was not measured at all is an empty series.
"""

import numpy as np
from numpy.typing import NDArray

from xsheet.schemas.columns import Series
from xsheet.schemas.source import FaceTrack

Floats = NDArray[np.float64]


def series_to_array(series: Series, *, frames: int = 0) -> Floats:
    """Convert a series to (T,); an empty series becomes `frames` NaN."""
    return np.array(series, np.float64) if series else np.full(frames, np.nan)


def array_to_series(values: NDArray[np.floating]) -> Series:
    """Convert (T,) to a series; NaN becomes None."""
    return tuple(None if np.isnan(v) else float(v) for v in values)


def slice_series(series: Series, frames: range) -> Series:
    """Values of these frames: None beyond the ends of the series, empty if the series is empty."""
    if not series:
        return ()
    return tuple(series[k] if 0 <= k < len(series) else None for k in frames)


def track_series(track: FaceTrack, series: Series, frames: range) -> Floats:
    """(len(frames),) values of a series of a track over frames of its source; NaN where the track has none."""
    values = np.full(len(frames), np.nan)
    start, stop = max(frames.start, track.start_frame), min(frames.stop, track.start_frame + track.frames)
    if series and start < stop:
        in_track = series[start - track.start_frame : stop - track.start_frame]
        values[start - frames.start : stop - frames.start] = series_to_array(in_track)
    return values


def shift_series(series: NDArray[np.floating], frames: int) -> Floats:
    """Advance an array along its last axis: the value at t + frames moves to t. NaN where nothing remains.

    With the offset of a sync score as `frames`, sound moves back into sync with the lips.
    """
    shifted = np.full(series.shape, np.nan)
    length = series.shape[-1]
    kept = np.asarray(series, np.float64)[..., max(frames, 0) : max(length + min(frames, 0), 0)]
    start = max(-frames, 0)
    shifted[..., start : start + kept.shape[-1]] = kept
    return shifted


def true_runs(flags: NDArray[np.bool_]) -> list[range]:
    """Unbroken runs of True, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [range(start, stop) for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]
