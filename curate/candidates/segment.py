"""Which frames become candidates: shots are trimmed, faces are found in them, long stretches are cut at pauses.

Frames are counted at 25 fps from the first frame of the source; a span is a range of them.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from xsheet.curate.audio.features import series_to_array
from xsheet.schemas.columns import Series
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import Shot, Timeline
from xsheet.schemas.time import CLIP_RATE, frames_in


class CandidateSettings(StrictModel):
    """How shots and faces become candidates. Frames are of 40 ms."""

    trim_frames: int = Field(
        default=2, ge=0, le=25, description="frames left out beside a cut: detectors and codecs smear it by one or two"
    )
    min_frames: int = Field(default=75, ge=1, description="3 s, the shortest clip that is kept (presets, clip)")
    max_frames: int = Field(default=250, ge=2, description="10 s, the longest clip that is kept (presets, clip)")
    max_gap_frames: int = Field(
        default=25, ge=0, description="a face hidden for longer ends the stretch; shorter is for the limits to judge"
    )
    edge_gap_frames: int = Field(
        default=3, ge=0, description="faces are often found a frame or two late; a stretch still begins with its shot"
    )
    min_faceless_frames: int = Field(
        default=8, ge=1, description="0.3 s; a shorter stretch is not worth a row and in no sum of hours"
    )
    min_pause_frames: int = Field(default=7, ge=1, description="0.28 s, the shortest silence that is heard as a pause")
    min_other_face_share: float = Field(
        default=0.5, gt=0, le=1, description="share of the frames in which another face must be seen to be a rival"
    )
    max_frozen_difference: float = Field(
        default=0.05, ge=0, description="mean luma difference of stills, of 255 (docs/log/curate.md#candidates)"
    )
    min_frozen_frames: int = Field(
        default=10, ge=1, description="0.4 s without change: below it a low frame rate repeats its frames"
    )
    max_sync_shift_frames: int = Field(
        default=6, ge=0, le=15, description="offsets up to this are corrected by shifting the sound (LatentSync)"
    )
    min_face_inside_share: float = Field(
        default=0.95, gt=0, le=1, description="a face with less of its box inside the picture counts as cut off"
    )

    @model_validator(mode="after")
    def _can_cut(self) -> Self:
        if self.max_frames < 2 * self.min_frames - 1:
            raise ValueError("max_frames must be about twice min_frames, or some lengths cannot be cut into pieces")
        return self


def trim_shot(shot: Shot, timeline: Timeline, *, trim_frames: int) -> range:
    """Frames of a shot without those beside its cuts; may be empty."""
    frames = frames_in(shot.span, CLIP_RATE)
    start = frames.start + (trim_frames if frames.start > 0 else 0)
    stop = frames.stop - (trim_frames if frames.stop < timeline.frames else 0)
    return range(start, max(start, min(stop, timeline.frames)))


def face_segments(face_visible: NDArray[np.bool_], window: range, *, settings: CandidateSettings) -> list[range]:
    """Where a face is followed without a long gap.

    Args:
        face_visible: (frames of the source,) whether the face was found.
        window: frames to look at.
        settings: which gaps are bridged.
    """
    places = window.start + np.flatnonzero(face_visible[window.start : window.stop])
    if not len(places):
        return []
    ends = np.flatnonzero(np.diff(places) > settings.max_gap_frames + 1)
    runs = zip(places[[0, *(ends + 1)]], places[[*ends, -1]] + 1, strict=True)
    edge = settings.edge_gap_frames
    found_in = [
        range(
            window.start if start - window.start <= edge else int(start),
            window.stop if window.stop - stop <= edge else int(stop),
        )
        for start, stop in runs
    ]
    return [stretch for stretch in found_in if len(stretch) >= settings.min_faceless_frames]


def subtract_ranges(window: range, removed: Iterable[range]) -> list[range]:
    """What is left of a window."""
    left, at = [], window.start
    for part in sorted(removed, key=lambda part: part.start):
        left.append(range(at, part.start))
        at = max(at, part.stop)
    return [part for part in (*left, range(at, window.stop)) if part]


def split_at_pauses(segment: range, cut_costs: NDArray[np.float64], *, settings: CandidateSettings) -> list[range]:
    """Pieces of 3 to 10 s that cover a stretch, cut where it is most quiet; a short enough stretch stays whole.

    The least total cost over all ways to cut, by dynamic programming: 0..1 for each cut, by how much voice it goes
    through, and a little for each piece that is shorter than it could be.

    Args:
        segment: frames to cut.
        cut_costs: (frames of the source,) 0..1, from `cut_cost`.
        settings: the lengths.
    """
    shortest, longest = settings.min_frames, settings.max_frames
    total = len(segment)
    if total <= longest:
        return [segment]
    lengths = np.arange(shortest, longest + 1)
    short = 0.05 * (1 - lengths / longest) ** 2  # below any audible voice, so that it only chooses among pauses
    cost = np.full(total + 1, np.inf)
    came_from = np.zeros(total + 1, dtype=int)
    cost[0] = 0
    for end in range(shortest, total + 1):
        fits = lengths[: end - shortest + 1]
        ways = cost[end - fits] + short[: len(fits)]
        best = int(ways.argmin())
        cost[end] = ways[best] + (cut_costs[segment[end]] if end < total else 0)
        came_from[end] = end - fits[best]
    ends = [total]
    while ends[-1] > 0:
        ends.append(int(came_from[ends[-1]]))
    bounds = ends[::-1]
    return [segment[a:b] for a, b in pairwise(bounds)]


def cut_cost(timeline: Timeline, *, min_pause_frames: int) -> NDArray[np.float64]:
    """(frames,) 0..1: how much voice a cut just before each frame would go through."""
    voice = _series_or_default(timeline.voice, timeline.frames, default=0.0)
    level = np.clip(_series_or_default(timeline.energy_db, timeline.frames, default=-60.0) / 60 + 1, 0, 1)
    heard = 0.9 * voice + 0.1 * level  # between two pauses the quieter one
    before = min_pause_frames // 2
    around = np.pad(heard, (before, min_pause_frames - 1 - before), mode="edge")
    return np.convolve(around, np.full(min_pause_frames, 1 / min_pause_frames), mode="valid")


def _series_or_default(series: Series, frames: int, *, default: float) -> NDArray[np.float64]:
    return np.nan_to_num(series_to_array(series), nan=default) if series else np.full(frames, default)
