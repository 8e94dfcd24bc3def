"""Build candidates with all their measures from shots, face tracks and series. Pure; reads no pixels or samples.

A candidate is one face in one shot for 3 to 10 s. Parts of a shot without a face become candidates without a track, so
that the funnel counts their duration too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.audio.features import sound_measure
from xsheet.curate.candidates.crop import is_inside_crop
from xsheet.curate.candidates.segment import (
    CandidateSettings,
    cut_cost,
    face_segments,
    split_at_pauses,
    subtract_ranges,
    trim_shot,
)
from xsheet.curate.series import series_to_array, track_series
from xsheet.curate.sync.base import SyncScorer
from xsheet.schemas import ids
from xsheet.schemas.clip import FaceMeasure, Measures, PictureMeasure, Speaker, SyncScore
from xsheet.schemas.columns import Series
from xsheet.schemas.source import FaceTrack, Shot, SourceSegment, Timeline
from xsheet.schemas.time import CLIP_RATE, Span, frames_in, span_of_frames

Floats = NDArray[np.float64]


class SpeakerSelector(Protocol):
    """Selects the speaker among several faces."""

    def __call__(self, scores: Sequence[SyncScore]) -> int | None:
        """Index of the speaker in `scores`; None if ambiguous."""
        ...


def extract_candidates(  # noqa: PLR0913 - what was measured, who judges it, and where
    timeline: Timeline,
    shots: Sequence[Shot],
    tracks: Sequence[FaceTrack],
    *,
    height_px: int,
    scorer: SyncScorer,
    select_speaker: SpeakerSelector,
    second_scorer: SyncScorer | None = None,
    speaker_scorer: SyncScorer | None = None,
    settings: CandidateSettings | None = None,
    segments: Sequence[SourceSegment] = (),
    aspect: float = 1.0,
) -> list[Measures]:
    """Return all candidates of one source, ordered by time.

    Args:
        timeline: series of the whole source.
        shots: its shots, ordered by time.
        tracks: its face tracks.
        height_px: picture height of the source.
        scorer: the sync scorer.
        select_speaker: selects the speaker among several faces.
        second_scorer: scores once more, after the correction of the first one; None = one score.
        speaker_scorer: the scorer whose scores `select_speaker` compares; None = `scorer`.
        settings: lengths and tolerances.
        segments: parts of the source that candidates come from; none = the whole source.
        aspect: picture width / height, for the crops of segments.
    """
    settings = settings or CandidateSettings()
    face_visible = {track.track_id: _face_visible(track, timeline.frames) for track in tracks}
    measurer = _CandidateMeasurer(
        timeline, tracks, face_visible, height_px, scorer, second_scorer, speaker_scorer or scorer, select_speaker,
        settings,
    )  # fmt: skip
    cut_costs = cut_cost(timeline, min_pause_frames=settings.min_pause_frames)
    candidates = []
    for shot, window, faces in _windows(shots, timeline, tracks, settings, segments, aspect):
        with_face: list[range] = []
        for track in faces:
            for segment in face_segments(face_visible[track.track_id], window, settings=settings):
                with_face.append(segment)
                candidates += [
                    measurer.measure(piece, shot, track)
                    for piece in split_at_pauses(segment, cut_costs, settings=settings)
                ]
        min_frames = settings.min_frames if with_face else settings.min_faceless_frames
        faceless = [part for part in subtract_ranges(window, with_face) if len(part) >= min_frames]
        candidates += [measurer.measure(part, shot, None) for part in faceless]
    return sorted(candidates, key=lambda row: (row.start_us, row.end_us, row.track_id or ""))


def _windows(
    shots: Sequence[Shot],
    timeline: Timeline,
    tracks: Sequence[FaceTrack],
    settings: CandidateSettings,
    segments: Sequence[SourceSegment],
    aspect: float,
) -> Iterator[tuple[Shot, range, Sequence[FaceTrack]]]:
    """Shots without their blurred edges, cut by the segments, with the faces inside the crop."""
    for shot in shots:
        trimmed = trim_shot(shot, timeline, trim_frames=settings.trim_frames)
        if not segments:
            yield shot, trimmed, tracks
        for segment in segments:
            named = frames_in(Span(segment.start_us, segment.end_us), CLIP_RATE)
            window = range(max(trimmed.start, named.start), min(trimmed.stop, named.stop))
            if window:
                yield shot, window, [one for one in tracks if is_inside_crop(one, segment.crop, aspect=aspect)]


@dataclass(frozen=True, slots=True)
class _CandidateMeasurer:
    """Measures the candidates of one source."""

    timeline: Timeline
    tracks: Sequence[FaceTrack]
    face_visible: dict[str, NDArray[np.bool_]]  # per track: (frames of the source,)
    height_px: int
    scorer: SyncScorer
    second_scorer: SyncScorer | None
    speaker_scorer: SyncScorer
    select_speaker: SpeakerSelector
    settings: CandidateSettings

    def measure(self, frames: range, shot: Shot, track: FaceTrack | None) -> Measures:
        span = span_of_frames(frames, CLIP_RATE)
        track_id = track.track_id if track else None
        sync = self.scorer(track, frames, shift=0) if track else None
        corrected = self._corrected_sync(sync, track, frames) if track and sync else None
        shift = (sync.offset_frames if sync and corrected else 0) or 0
        return Measures(
            clip_id=ids.clip_id(self.timeline.source_id, span, track_id),
            source_id=self.timeline.source_id,
            shot_id=shot.shot_id,
            track_id=track_id,
            start_us=span.start_us,
            end_us=span.end_us,
            sync=sync,
            sync_corrected=corrected,
            sync_second=self.second_scorer(track, frames, shift=shift) if self.second_scorer and track else None,
            face=self._face_measure(track, frames) if track else None,
            picture=picture_measure(self.timeline, frames, settings=self.settings),
            sound=sound_measure(self.timeline, frames, mouth=_mouth_series(track, frames)),
            speaker=self._speaker(track, frames) if track else None,
        )

    def _corrected_sync(self, sync: SyncScore, track: FaceTrack, frames: range) -> SyncScore | None:
        offset = sync.offset_frames
        if not offset or abs(offset) > self.settings.max_sync_shift_frames:
            return None
        return self.scorer(track, frames, shift=offset)

    def _speaker(self, track: FaceTrack, frames: range) -> Speaker:
        rivals = [
            rival
            for rival in self.tracks
            if rival is not track
            and _visible_share(self.face_visible[rival.track_id], frames) >= self.settings.min_other_face_share
        ]
        if not rivals:
            return "only"
        scores = [self.speaker_scorer(one, frames, shift=0) for one in (track, *rivals)]
        known = [s for s in scores if s is not None]
        speaker = self.select_speaker(known) if len(known) == len(scores) else None
        return "ambiguous" if speaker is None else "active" if speaker == 0 else "listener"

    def _face_measure(self, track: FaceTrack, frames: range) -> FaceMeasure:
        height = median(track_series(track, track.y1, frames) - track_series(track, track.y0, frames))
        inside = track_series(track, track.visible, frames)
        inside = inside[~np.isnan(inside)]
        faces = sum(self.face_visible[t.track_id][frames.start : frames.stop].astype(int) for t in self.tracks)
        return FaceMeasure(
            share_of_frames=_visible_share(self.face_visible[track.track_id], frames),
            faces_median=float(np.median(faces)),
            height_px=None if height is None else height * self.height_px,
            height_share=height,
            yaw_abs_deg=percentile(np.abs(track_series(track, track.yaw_deg, frames)), 90),
            pitch_abs_deg=percentile(np.abs(track_series(track, track.pitch_deg, frames)), 90),
            sharpness=median(track_series(track, track.sharpness, frames)),
            luma=median(track_series(track, track.luma, frames)),
            cut_off=float((inside < self.settings.min_face_inside_share).mean()) if len(inside) else None,
        )


def picture_measure(timeline: Timeline, frames: range, *, settings: CandidateSettings) -> PictureMeasure | None:
    """Measure the whole picture over a span; None if the picture was not measured."""
    luma = _slice_series(timeline.luma, frames)
    if not len(luma):
        return None
    camera = np.hypot(_slice_series(timeline.camera_x, frames), _slice_series(timeline.camera_y, frames))
    return PictureMeasure(
        luma_mean=float(luma.mean()),
        frozen_share=_frozen_share(_slice_series(timeline.difference, frames), settings=settings),
        letterbox_share=median(_slice_series(timeline.letterbox, frames)) or 0.0,
        camera_motion=median(camera),
        damaged_share=_mean(_slice_series(timeline.damaged, frames)),
        upside_down_share=_mean(_slice_series(timeline.upside_down, frames)),
        text_likelihood=percentile(_slice_series(timeline.burnt_in_text, frames), 90),
    )


def _frozen_share(difference: Floats, *, settings: CandidateSettings) -> float:
    """Share of frames in runs without change; a run of n unchanged steps covers n + 1 frames."""
    is_frozen = np.concatenate([[False], difference[1:] <= settings.max_frozen_difference, [False]])
    edges = np.flatnonzero(np.diff(is_frozen.astype(int)))
    runs = edges[1::2] - edges[::2] + 1
    return float(runs[runs >= settings.min_frozen_frames].sum() / len(difference)) if len(difference) else 0.0


def median(values: Floats) -> float | None:
    """Median without NaN; None if nothing remains."""
    return percentile(values, 50)


def percentile(values: Floats, q: float) -> float | None:
    """Percentile without NaN; None if nothing remains."""
    known = values[~np.isnan(values)]
    return float(np.percentile(known, q)) if len(known) else None


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _mouth_series(track: FaceTrack | None, frames: range) -> Floats | None:
    return None if track is None else track_series(track, track.mouth_open, frames)


def _face_visible(track: FaceTrack, frames: int) -> NDArray[np.bool_]:
    return ~np.isnan(track_series(track, track.x0, range(frames)))


def _visible_share(visible: NDArray[np.bool_], frames: range) -> float:
    return float(visible[frames.start : frames.stop].mean())


def _slice_series(series: Series, frames: range) -> Floats:
    return series_to_array(series[frames.start : frames.stop])
