"""Linking faces over frames into tracks: pure, on numbers alone.

A face continues the track it overlaps, unless it looks different: two people can stand in the same place before and
after a cut. Positions are in picture heights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.faces.mesh import EXPRESSIONS, without_jaw_leak
from xsheet.schemas import ids
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, frame_start_us
from xsheet.schemas.timeline import FaceTrack

Box = tuple[float, float, float, float]
SERIES = (*EXPRESSIONS, "sharpness", "visible")
"""What a sighting's `numbers` are, by the names of FaceTrack."""


class LinkSettings(StrictModel):
    """When two sightings are of one face."""

    min_iou: float = Field(
        default=0.3, ge=0, le=1, description="overlap of boxes; heads move less than half a face in 40 ms"
    )
    min_look: float = Field(
        default=0.3, ge=-1, le=1, description="correlation of small pictures of the head; docs/log/curate.md#faces"
    )
    min_look_at_jump: float = Field(
        default=0.8, ge=-1, le=1, description="the same where the whole picture changes at once; same entry"
    )
    bridge_frames: int = Field(default=10, ge=0, description="longest gap of one track, 0.4 s at 25 fps: a hand passes")
    min_frames: int = Field(default=8, ge=1, description="shorter tracks are ghosts, 0.3 s at 25 fps")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sighting:
    """One face in one frame, as numbers."""

    box: Box
    numbers: NDArray[np.float32]  # (len(SERIES),)
    look: NDArray[np.float32]  # small picture of the head, zero mean, unit length
    shape: NDArray[np.float32] | None = None  # (K,), NaN where a number could not be taken
    blendshapes: NDArray[np.float32] | None = None  # (52,)


@dataclass(slots=True, kw_only=True, eq=False)
class _Open:
    """A track that may still grow."""

    start_frame: int
    last: Sighting
    last_frame: int
    frames: list[int] = field(default_factory=list)
    rows: list[NDArray[np.float32]] = field(default_factory=list)  # box, then numbers, then blendshapes
    shape_sum: NDArray[np.float64] | float = 0.0
    shape_count: NDArray[np.float64] | float = 0.0

    def add(self, frame: int, seen: Sighting) -> None:
        extra = () if seen.blendshapes is None else (seen.blendshapes,)
        self.frames.append(frame)
        self.rows.append(np.concatenate((np.asarray(seen.box, np.float32), seen.numbers, *extra)))
        self.last, self.last_frame = seen, frame
        if seen.shape is not None:
            known = np.isfinite(seen.shape)
            self.shape_sum = self.shape_sum + np.where(known, seen.shape, 0.0)
            self.shape_count = self.shape_count + known


class Linker:
    """Takes the sightings of one frame after the other; gives the tracks at the end."""

    def __init__(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._open: list[_Open] = []
        self._done: list[_Open] = []

    def add(self, frame: int, seen: Sequence[Sighting], *, jump: bool = False) -> None:
        """The sightings of a frame; `jump` says that the whole picture changed since the frame before."""
        self._close_before(frame - 1 - self._settings.bridge_frames)
        free, tracks = set(range(len(seen))), list(self._open)
        for _, t, s in sorted(self._candidates(tracks, seen, jump=jump), key=lambda c: (-c[0], c[1], c[2])):
            if s in free and tracks[t].last_frame < frame:
                tracks[t].add(frame, seen[s])
                free.remove(s)
        if jump:  # what did not survive the jump ended there: nothing is bridged across a cut
            self._close_before(frame)
        for s in sorted(free):
            track = _Open(start_frame=frame, last=seen[s], last_frame=frame)
            track.add(frame, seen[s])
            self._open.append(track)

    def tracks(self, source_id: str, *, detector: str, shape_model: str) -> list[FaceTrack]:
        """All tracks by start, ghosts dropped."""
        long = [t for t in (*self._done, *self._open) if len(t.frames) >= self._settings.min_frames]
        long.sort(key=lambda track: (track.start_frame, tuple(track.rows[0][:4].tolist())))
        return [_record(track, source_id, detector=detector, shape_model=shape_model) for track in long]

    def _candidates(
        self, tracks: Sequence[_Open], seen: Sequence[Sighting], *, jump: bool
    ) -> Iterable[tuple[float, int, int]]:
        least = self._settings.min_look_at_jump if jump else self._settings.min_look
        for (t, track), (s, face) in product(enumerate(tracks), enumerate(seen)):
            overlap = iou(track.last.box, face.box)
            if overlap >= self._settings.min_iou and float(track.last.look @ face.look) >= least:
                yield overlap, t, s

    def _close_before(self, frame: int) -> None:
        self._done += [track for track in self._open if track.last_frame < frame]
        self._open = [track for track in self._open if track.last_frame >= frame]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across * down
    return across * down / union if union > 0 else 0.0


def _record(track: _Open, source_id: str, *, detector: str, shape_model: str) -> FaceTrack:
    rows = np.stack(track.rows)
    frames = track.last_frame - track.start_frame + 1
    table = np.full((frames, rows.shape[1]), np.nan, np.float32)
    table[np.asarray(track.frames) - track.start_frame] = rows
    names = ("x0", "y0", "x1", "y1", *SERIES)
    column = dict(zip(names, table.T, strict=False))
    column["pitch_deg"] = without_jaw_leak(column["pitch_deg"], column["mouth_open"]).astype(np.float32)
    x0, y0, x1, y1 = (float(v) for v in rows[0, :4])
    fields: dict[str, Any] = {name: _series(values) for name, values in column.items()}
    return FaceTrack(
        track_id=ids.track_id(source_id, frame_start_us(track.start_frame, CLIP_RATE), (x0, y0, x1, y1)),
        source_id=source_id,
        detector=detector,
        start_frame=track.start_frame,
        frames=frames,
        blendshapes=tuple(_series(values) for values in table.T[len(names) :]),
        shape=(shape := _mean_shape(track)),
        shape_model=shape_model if shape else None,
        **fields,
    )


def _mean_shape(track: _Open) -> tuple[float, ...]:
    """Mean of the shape numbers, empty unless each was taken at least once."""
    count = np.asarray(track.shape_count)
    if count.ndim == 0 or not (count > 0).all():
        return ()
    return tuple(round(float(v), 4) for v in np.asarray(track.shape_sum) / count)


def _series(values: NDArray[np.float32]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(v) else float(v) for v in values)
