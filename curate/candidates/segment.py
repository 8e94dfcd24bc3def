"""Choose the frames of candidates: trim shots, find face segments, split long segments at pauses.

Frames are counted at 25 fps from the start of the source; segments are ranges of frames.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from xsheet.curate.series import series_to_array
from xsheet.schemas.columns import Series
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import Shot, Timeline
from xsheet.schemas.time import CLIP_RATE, frames_in


class CandidateSettings(StrictModel):
    """How shots and face tracks become candidates. Frames are 40 ms."""

    trim_frames: int = Field(
        default=2, ge=0, le=25, description="frames trimmed beside a cut: detectors and codecs blur it by one or two"
    )
    min_frames: int = Field(default=75, ge=1, description="3 s, the minimum clip length of the presets")
    max_frames: int = Field(default=250, ge=2, description="10 s, the maximum clip length of the presets")
    max_gap_frames: int = Field(
        default=25, ge=0, description="a longer gap ends the face segment; limits judge shorter ones"
    )
    edge_gap_frames: int = Field(
        default=3,
        ge=0,
        description="faces are often detected a frame or two late; the segment still begins with its shot",
    )
    min_faceless_frames: int = Field(
        default=8, ge=1, description="0.3 s; shorter parts get no row and count in no total"
    )
    min_pause_frames: int = Field(default=7, ge=1, description="0.28 s, the shortest silence perceived as a pause")
    min_other_face_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of frames in which another face must be visible to compete as speaker",
    )
    max_frozen_difference: float = Field(
        default=0.05,
        ge=0,
        description="mean luma difference 0..255 below which a frame counts as frozen (docs/log/curate.md#candidates)",
    )
    min_frozen_frames: int = Field(default=10, ge=1, description="0.4 s; shorter runs are repeats of a low frame rate")
    max_sync_shift_frames: int = Field(
        default=6,
        ge=0,
        le=15,
        description="offsets up to this are corrected by shifting the audio (as LatentSync does)",
    )
    min_face_inside_share: float = Field(
        default=0.95, gt=0, le=1, description="a face with less of its box inside the picture counts as cut off"
    )

    @model_validator(mode="after")
    def _can_cut(self) -> Self:
        if self.max_frames < 2 * self.min_frames - 1:
            raise ValueError(
                "expected max_frames of about twice min_frames or more, so that every length can be split, "
                f"got {self.min_frames} to {self.max_frames}"
            )
        return self


def trim_shot(shot: Shot, timeline: Timeline, *, trim_frames: int) -> range:
    """Frames of a shot without those beside cuts; may be empty."""
    frames = frames_in(shot.span, CLIP_RATE)
    start = frames.start + (trim_frames if frames.start > 0 else 0)
    stop = frames.stop - (trim_frames if frames.stop < timeline.frames else 0)
    return range(start, max(start, min(stop, timeline.frames)))


def face_segments(face_visible: NDArray[np.bool_], window: range, *, settings: CandidateSettings) -> list[range]:
    """Segments of a window in which a face is visible without a long gap.

    Args:
        face_visible: (frames of the source,) whether the face is visible.
        window: frames to search.
        settings: which gaps are bridged.
    """
    visible_frames = window.start + np.flatnonzero(face_visible[window.start : window.stop])
    if not len(visible_frames):
        return []
    ends = np.flatnonzero(np.diff(visible_frames) > settings.max_gap_frames + 1)
    runs = zip(visible_frames[[0, *(ends + 1)]], visible_frames[[*ends, -1]] + 1, strict=True)
    edge = settings.edge_gap_frames
    segments = [
        range(
            window.start if start - window.start <= edge else int(start),
            window.stop if window.stop - stop <= edge else int(stop),
        )
        for start, stop in runs
    ]
    return [segment for segment in segments if len(segment) >= settings.min_faceless_frames]


def subtract_ranges(window: range, removed: Iterable[range]) -> list[range]:
    """Parts of a window outside the removed ranges."""
    remaining, at = [], window.start
    for part in sorted(removed, key=lambda part: part.start):
        remaining.append(range(at, part.start))
        at = max(at, part.stop)
    return [part for part in (*remaining, range(at, window.stop)) if part]


def split_at_pauses(segment: range, cut_costs: NDArray[np.float64], *, settings: CandidateSettings) -> list[range]:
    """Split a segment into pieces of 3 to 10 s at the quietest frames; a segment of at most 10 s stays whole.

    Dynamic programming minimises the total cost: 0..1 per split by the voice at that frame, plus a small penalty for
    short pieces.

    Args:
        segment: frames to split.
        cut_costs: (frames of the source,) 0..1, from `cut_cost`.
        settings: piece lengths.
    """
    shortest, longest = settings.min_frames, settings.max_frames
    total = len(segment)
    if total <= longest:
        return [segment]
    lengths = np.arange(shortest, longest + 1)
    short_penalty = 0.05 * (1 - lengths / longest) ** 2  # below any audible voice, so it only decides between pauses
    cost = np.full(total + 1, np.inf)
    previous_end = np.zeros(total + 1, dtype=int)
    cost[0] = 0
    for end in range(shortest, total + 1):
        fits = lengths[: end - shortest + 1]
        totals = cost[end - fits] + short_penalty[: len(fits)]
        best = int(totals.argmin())
        cost[end] = totals[best] + (cut_costs[segment[end]] if end < total else 0)
        previous_end[end] = end - fits[best]
    ends = [total]
    while ends[-1] > 0:
        ends.append(int(previous_end[ends[-1]]))
    bounds = ends[::-1]
    return [segment[a:b] for a, b in pairwise(bounds)]


def cut_cost(timeline: Timeline, *, min_pause_frames: int) -> NDArray[np.float64]:
    """(frames,) 0..1: amount of voice around a cut just before each frame."""
    voice = _series_or_default(timeline.voice, timeline.frames, default=0.0)
    level = np.clip(_series_or_default(timeline.energy_db, timeline.frames, default=-60.0) / 60 + 1, 0, 1)
    sounding = 0.9 * voice + 0.1 * level  # the level decides between equal pauses
    before = min_pause_frames // 2
    around = np.pad(sounding, (before, min_pause_frames - 1 - before), mode="edge")
    return np.convolve(around, np.full(min_pause_frames, 1 / min_pause_frames), mode="valid")


def _series_or_default(series: Series, frames: int, *, default: float) -> NDArray[np.float64]:
    return np.nan_to_num(series_to_array(series), nan=default) if series else np.full(frames, default)
