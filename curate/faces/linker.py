"""Link face observations over frames into tracks. Pure; works on numbers alone.

An observation continues the track whose box it overlaps if the appearance matches too, because two people can occupy
the same place before and after a cut. Positions are in picture heights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.faces.mesh import FACE_SIGNALS, correct_pitch_for_jaw
from xsheet.curate.series import array_to_series
from xsheet.schemas import ids
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import FaceTrack
from xsheet.schemas.time import CLIP_RATE, frame_start_us

Box = tuple[float, float, float, float]
OBSERVATION_VALUES = (*FACE_SIGNALS, "sharpness", "visible", "luma")
"""Order of `FaceObservation.values`, by field of FaceTrack."""


class TrackLinkSettings(StrictModel):
    """When two observations belong to one face."""

    min_iou: float = Field(
        default=0.3, ge=0, le=1, description="overlap of boxes; heads move less than half a face width in 40 ms"
    )
    min_appearance_similarity: float = Field(
        default=0.3, ge=-1, le=1, description="minimum correlation of small head pictures; docs/log/curate.md#faces"
    )
    min_appearance_similarity_at_cut: float = Field(
        default=0.8, ge=-1, le=1, description="the same across a cut; same entry"
    )
    max_gap_frames: int = Field(
        default=10, ge=0, description="longest gap within a track; 0.4 s, e.g. a hand in front of the face"
    )
    min_track_frames: int = Field(default=8, ge=1, description="0.3 s; shorter tracks are false detections")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceObservation:
    """One face in one frame, as numbers."""

    box: Box
    values: NDArray[np.float32]  # (len(OBSERVATION_VALUES),)
    appearance: NDArray[np.float32]  # small head picture, zero mean, unit length
    identity_embedding: NDArray[np.float32] | None = None  # (K,), NaN where not measurable
    blendshapes: NDArray[np.float32] | None = None  # (52,)


@dataclass(slots=True, kw_only=True, eq=False)
class _OpenTrack:
    """A track that may still grow."""

    start_frame: int
    last_observation: FaceObservation
    last_frame: int
    frames: list[int] = field(default_factory=list)
    rows: list[NDArray[np.float32]] = field(default_factory=list)  # box, then values, then blendshapes
    embedding_sum: NDArray[np.float64] | float = 0.0
    embedding_count: NDArray[np.float64] | float = 0.0

    def add(self, frame: int, observation: FaceObservation) -> None:
        blendshapes = () if observation.blendshapes is None else (observation.blendshapes,)
        self.frames.append(frame)
        self.rows.append(np.concatenate((np.asarray(observation.box, np.float32), observation.values, *blendshapes)))
        self.last_observation, self.last_frame = observation, frame
        if observation.identity_embedding is not None:
            known = np.isfinite(observation.identity_embedding)
            self.embedding_sum = self.embedding_sum + np.where(known, observation.identity_embedding, 0.0)
            self.embedding_count = self.embedding_count + known


class TrackLinker:
    """Receives the observations frame by frame; returns the tracks at the end."""

    def __init__(self, settings: TrackLinkSettings) -> None:
        self._settings = settings
        self._open_tracks: list[_OpenTrack] = []
        self._closed_tracks: list[_OpenTrack] = []

    def add(self, frame: int, observations: Sequence[FaceObservation], *, is_cut: bool = False) -> None:
        """Add the observations of a frame; `is_cut`: the whole picture changed since the previous frame."""
        self._close_before(frame - 1 - self._settings.max_gap_frames)
        unlinked, tracks = set(range(len(observations))), list(self._open_tracks)
        for _, t, s in sorted(
            self._possible_links(tracks, observations, is_cut=is_cut), key=lambda c: (-c[0], c[1], c[2])
        ):
            if s in unlinked and tracks[t].last_frame < frame:
                tracks[t].add(frame, observations[s])
                unlinked.remove(s)
        if is_cut:  # tracks without a match across a cut end there
            self._close_before(frame)
        for s in sorted(unlinked):
            track = _OpenTrack(start_frame=frame, last_observation=observations[s], last_frame=frame)
            track.add(frame, observations[s])
            self._open_tracks.append(track)

    def tracks(self, source_id: str, *, detector: str, identity_model: str) -> list[FaceTrack]:
        """All tracks ordered by start, without those that are too short."""
        long = [
            t for t in (*self._closed_tracks, *self._open_tracks) if len(t.frames) >= self._settings.min_track_frames
        ]
        long.sort(key=lambda track: (track.start_frame, tuple(track.rows[0][:4].tolist())))
        return [_to_face_track(track, source_id, detector=detector, identity_model=identity_model) for track in long]

    def _possible_links(
        self, tracks: Sequence[_OpenTrack], observations: Sequence[FaceObservation], *, is_cut: bool
    ) -> Iterable[tuple[float, int, int]]:
        min_similarity = (
            self._settings.min_appearance_similarity_at_cut if is_cut else self._settings.min_appearance_similarity
        )
        for (t, track), (s, face) in product(enumerate(tracks), enumerate(observations)):
            overlap = iou(track.last_observation.box, face.box)
            if (
                overlap >= self._settings.min_iou
                and float(track.last_observation.appearance @ face.appearance) >= min_similarity
            ):
                yield overlap, t, s

    def _close_before(self, frame: int) -> None:
        self._closed_tracks += [track for track in self._open_tracks if track.last_frame < frame]
        self._open_tracks = [track for track in self._open_tracks if track.last_frame >= frame]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across * down
    return across * down / union if union > 0 else 0.0


def _to_face_track(track: _OpenTrack, source_id: str, *, detector: str, identity_model: str) -> FaceTrack:
    rows = np.stack(track.rows)
    frames = track.last_frame - track.start_frame + 1
    table = np.full((frames, rows.shape[1]), np.nan, np.float32)
    table[np.asarray(track.frames) - track.start_frame] = rows
    names = ("x0", "y0", "x1", "y1", *OBSERVATION_VALUES)
    column = dict(zip(names, table.T, strict=False))
    column["pitch_deg"] = correct_pitch_for_jaw(column["pitch_deg"], column["mouth_open"]).astype(np.float32)
    x0, y0, x1, y1 = (float(v) for v in rows[0, :4])
    fields: dict[str, Any] = {name: array_to_series(values) for name, values in column.items()}
    return FaceTrack(
        track_id=ids.track_id(source_id, frame_start_us(track.start_frame, CLIP_RATE), (x0, y0, x1, y1)),
        source_id=source_id,
        detector=detector,
        start_frame=track.start_frame,
        frames=frames,
        blendshapes=tuple(array_to_series(values) for values in table.T[len(names) :]),
        identity_embedding=(embedding := _mean_embedding(track)),
        identity_model=identity_model if embedding else None,
        **fields,
    )


def _mean_embedding(track: _OpenTrack) -> tuple[float, ...]:
    """Mean embedding; empty unless each number was measured at least once."""
    count = np.asarray(track.embedding_count)
    if count.ndim == 0 or not (count > 0).all():
        return ()
    return tuple(round(float(v), 4) for v in np.asarray(track.embedding_sum) / count)
