"""Shots and face tracks → candidates with everything measured of them. Pure: no pixel and no sample is looked at.

A candidate is one face in one shot for 3 to 10 s. Stretches of a shot in which no face is followed are candidates
without a track, so that the funnel counts their hours too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.audio.features import as_array, sound_measure
from xsheet.curate.candidates.segment import CandidateSettings, cut, pause_cost, stretches, trimmed, without
from xsheet.schemas import ids
from xsheet.schemas.clip import FaceMeasure, Measures, PictureMeasure, Speaker, SyncScore
from xsheet.schemas.columns import Series
from xsheet.schemas.source import Shot
from xsheet.schemas.time import CLIP_RATE, span_of_frames
from xsheet.schemas.timeline import FaceTrack, Timeline

Floats = NDArray[np.float64]


class Scorer(Protocol):
    """How well the lips of a track and the voice agree."""

    def __call__(self, track: FaceTrack, frames: range, *, shift: int) -> SyncScore | None:
        """The score over frames of the source, with the sound taken `shift` frames later; None without sound."""
        ...


class Chooser(Protocol):
    """Whose voice it is, when several faces are seen at a time."""

    def __call__(self, scores: Sequence[SyncScore]) -> int | None:
        """Place of the speaker among the scores; None when it is not clear."""
        ...


def cut_candidates(
    timeline: Timeline,
    shots: Sequence[Shot],
    tracks: Sequence[FaceTrack],
    *,
    height_px: int,
    score: Scorer,
    choose: Chooser,
    settings: CandidateSettings | None = None,
) -> list[Measures]:
    """All candidates of one source, in the order of time.

    Args:
        timeline: series of the whole source.
        shots: its shots, in the order of time.
        tracks: its faces.
        height_px: picture height of the source.
        score: the sync scorer.
        choose: the speaker among several faces.
        settings: lengths and tolerances.
    """
    settings = settings or CandidateSettings()
    seen = {track.track_id: _seen(track, timeline.frames) for track in tracks}
    source = _Source(timeline, tracks, seen, height_px, score, choose, settings)
    loudness = pause_cost(timeline, pause_frames=settings.pause_frames)
    found = []
    for shot in shots:
        window = trimmed(shot, timeline, trim_frames=settings.trim_frames)
        with_face: list[range] = []
        for track in tracks:
            for stretch in stretches(seen[track.track_id], window, settings=settings):
                with_face.append(stretch)
                found += [source.measure(piece, shot, track) for piece in cut(stretch, loudness, settings=settings)]
        least = settings.min_frames if with_face else settings.least_frames
        faceless = [part for part in without(window, with_face) if len(part) >= least]
        found += [source.measure(part, shot, None) for part in faceless]
    return sorted(found, key=lambda row: (row.start_us, row.end_us, row.track_id or ""))


@dataclass(frozen=True, slots=True)
class _Source:
    """What all candidates of one source are measured with."""

    timeline: Timeline
    tracks: Sequence[FaceTrack]
    seen: dict[str, NDArray[np.bool_]]  # track: (frames of the source,)
    height_px: int
    score: Scorer
    choose: Chooser
    settings: CandidateSettings

    def measure(self, frames: range, shot: Shot, track: FaceTrack | None) -> Measures:
        span = span_of_frames(frames, CLIP_RATE)
        track_id = track.track_id if track else None
        sync = self.score(track, frames, shift=0) if track else None
        return Measures(
            clip_id=ids.clip_id(self.timeline.source_id, span, track_id),
            source_id=self.timeline.source_id,
            shot_id=shot.shot_id,
            track_id=track_id,
            start_us=span.start_us,
            end_us=span.end_us,
            sync=sync,
            sync_corrected=self._corrected(sync, track, frames) if track and sync else None,
            face=self._face(track, frames) if track else None,
            picture=picture_measure(self.timeline, frames, settings=self.settings),
            sound=sound_measure(self.timeline, frames),
            speaker=self._speaker(sync, track, frames) if track else None,
        )

    def _corrected(self, sync: SyncScore, track: FaceTrack, frames: range) -> SyncScore | None:
        offset = sync.offset_frames
        if not offset or abs(offset) > self.settings.max_shift_frames:
            return None
        return self.score(track, frames, shift=offset)

    def _speaker(self, sync: SyncScore | None, track: FaceTrack, frames: range) -> Speaker:
        rivals = [
            rival
            for rival in self.tracks
            if rival is not track and _share(self.seen[rival.track_id], frames) >= self.settings.rival_share
        ]
        if not rivals:
            return "only"
        scores = [sync, *(self.score(rival, frames, shift=0) for rival in rivals)]
        heard = [s for s in scores if s is not None]
        place = self.choose(heard) if len(heard) == len(scores) else None
        return "ambiguous" if place is None else "active" if place == 0 else "listener"

    def _face(self, track: FaceTrack, frames: range) -> FaceMeasure:
        height = median(over(track, track.y1, frames) - over(track, track.y0, frames))
        inside = over(track, track.visible, frames)
        inside = inside[~np.isnan(inside)]
        faces = sum(self.seen[t.track_id][frames.start : frames.stop].astype(int) for t in self.tracks)
        return FaceMeasure(
            share_of_frames=_share(self.seen[track.track_id], frames),
            faces_median=float(np.median(faces)),
            height_px=None if height is None else height * self.height_px,
            height_share=height,
            yaw_abs_deg=percentile(np.abs(over(track, track.yaw_deg, frames)), 90),
            pitch_abs_deg=percentile(np.abs(over(track, track.pitch_deg, frames)), 90),
            sharpness=median(over(track, track.sharpness, frames)),
            cut_off=float((inside < self.settings.whole_face_share).mean()) if len(inside) else None,
        )


def picture_measure(timeline: Timeline, frames: range, *, settings: CandidateSettings) -> PictureMeasure | None:
    """What the whole picture of a span is like; None when the picture was not measured."""
    luma = _part(timeline.luma, frames)
    if not len(luma):
        return None
    camera = np.hypot(_part(timeline.camera_x, frames), _part(timeline.camera_y, frames))
    return PictureMeasure(
        luma_mean=float(luma.mean()),
        frozen_share=_frozen_share(_part(timeline.difference, frames), settings=settings),
        letterbox_share=median(_part(timeline.letterbox, frames)) or 0.0,
        camera_motion=median(camera),
        text_likelihood=percentile(_part(timeline.text, frames), 90),
    )


def _frozen_share(difference: Floats, *, settings: CandidateSettings) -> float:
    """Share of frames in runs without change; a run of n equal steps stands for n + 1 frames."""
    still = np.concatenate([[False], difference[1:] <= settings.still_difference, [False]])
    edges = np.flatnonzero(np.diff(still.astype(int)))
    runs = edges[1::2] - edges[::2] + 1
    return float(runs[runs >= settings.still_frames].sum() / len(difference)) if len(difference) else 0.0


# ---- series over a span


def over(track: FaceTrack, series: Series, frames: range) -> Floats:
    """(frames,) of a track's series; NaN where the track has none."""
    values = np.full(len(frames), np.nan)
    start, stop = max(frames.start, track.start_frame), min(frames.stop, track.start_frame + track.frames)
    if series and start < stop:
        own = series[start - track.start_frame : stop - track.start_frame]
        values[start - frames.start : stop - frames.start] = as_array(own)
    return values


def median(values: Floats) -> float | None:
    """Median of what is there."""
    return percentile(values, 50)


def percentile(values: Floats, q: float) -> float | None:
    """Percentile of what is there; None when nothing is."""
    there = values[~np.isnan(values)]
    return float(np.percentile(there, q)) if len(there) else None


def _seen(track: FaceTrack, frames: int) -> NDArray[np.bool_]:
    return ~np.isnan(over(track, track.x0, range(frames)))


def _share(seen: NDArray[np.bool_], frames: range) -> float:
    return float(seen[frames.start : frames.stop].mean())


def _part(series: Series, frames: range) -> Floats:
    return as_array(series[frames.start : frames.stop])
