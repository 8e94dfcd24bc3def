"""Export one kept candidate: decode its span once, write the canonical clip, track the body."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xsheet.curate.body.flow import FlowAnalyser
from xsheet.curate.body.motion import part_motion
from xsheet.curate.body.pose import PoseAnalyser, person_window
from xsheet.curate.body.signals import clip_signals
from xsheet.curate.candidates.crop import Crop, crop_planes, crop_timeline, crop_track
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.frames import ClipFrame
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.planes import Plane
from xsheet.curate.media.reader import MediaReader, open_media
from xsheet.curate.media.writer import EncodedClip, write_clip
from xsheet.curate.series import slice_series
from xsheet.curate.settings import ClipExportSettings
from xsheet.curate.tasks.analyse import AnalysisTask
from xsheet.curate.tasks.cpu_usage import CpuProfiler
from xsheet.curate.tasks.probe import SourcePath
from xsheet.runtime.executor import Item, Row
from xsheet.runtime.result_store import ResultStore
from xsheet.schemas.clip import Clip, Measures, Signals
from xsheet.schemas.source import FaceTrack, SourceVideo, Timeline
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us, frames_in


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """One kept candidate for a worker. Its series are read from the stored results of its source."""

    source_path: SourcePath
    set_folder: Path  # absolute
    candidate: Measures
    source_key: str  # key of those results
    crop: Crop | None = None  # shares of the picture; None = the whole picture

    @property
    def shift_frames(self) -> int:
        """Shift of the sound that cancels a corrected offset; 0 without a correction."""
        sync = self.candidate.sync
        if self.candidate.sync_corrected is None or sync is None or sync.offset_frames is None:
            return 0
        return -sync.offset_frames

    @property
    def path(self) -> str:
        """Path of the clip within its set."""
        clip_id = self.candidate.clip_id
        return f"media/{clip_id.rpartition('_')[2][:2]}/{clip_id}.mp4"


class ExportTask:
    """Writes clip, signals and motion of one kept candidate. The payload of an item is an ExportJob."""

    name = "export"
    VERSION = 8  # part of the keys of results; raise it with every change of the rows
    WORKER_MODULES = ("mediapipe",)

    def __init__(self, settings: ClipExportSettings, limits: MediaLimits, *, models: Path | None = None) -> None:
        self.stage = "export"
        self._models = models
        self._settings = settings
        self._limits = limits  # those of the analysis, so that what was measured can be written

    def open(self) -> None:
        """Nothing to load; each clip gets its own pose tracker."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """Return clip, signals, and the measures of the candidate with its motion.

        Raises:
            MediaError: the span cannot be decoded, or the clip cannot be encoded.
        """
        job: ExportJob = item.payload
        self.stage = "series"
        timeline, track, others = _load_series(job)
        profiler = CpuProfiler()
        with (
            job.source_path.local(self._fetching) as path,
            open_media(path.path, root=path.root, limits=_used_tracks(job, self._limits)) as media,
        ):
            aspect = media.size[0] / media.size[1]
            if job.crop is not None:
                x0, y0, x1, y1 = job.crop
                timeline = crop_timeline(timeline, job.crop)
                track = track and crop_track(track, job.crop, aspect=aspect)
                others = [crop_track(other, job.crop, aspect=aspect) for other in others]
                aspect *= (x1 - x0) / (y1 - y0)
            signals = clip_signals(job.candidate, timeline, track, shift_frames=job.shift_frames)
            self.stage = "export"
            flow = FlowAnalyser() if self._settings.measure_flow else None
            if self._settings.pose is None:
                with profiler("export"):
                    file = self._write(job, media, None, flow, profiler)
                signals = _with_flow(signals, flow, profiler)
                return [_clip_record(job, file), signals, job.candidate, *profiler.usage()]
            window = person_window(track, others, aspect=aspect) if track is not None else None
            with PoseAnalyser(self._settings.pose, window=window, models=self._models) as body:
                with profiler("export"):
                    file = self._write(job, media, body, flow, profiler)
                body_signals: dict[str, Any] = {**body.signals(face=signals)}
                extractor = f"{signals.extractor}; {body.name}"
        signals = _with_flow(replace(signals, extractor=extractor, **body_signals), flow, profiler)
        self.stage = "motion"
        frames = frames_in(job.candidate.span, CLIP_RATE)
        motion = part_motion(
            signals, camera_x=slice_series(timeline.camera_x, frames), camera_y=slice_series(timeline.camera_y, frames)
        )
        return [_clip_record(job, file), signals, replace(job.candidate, motion=motion), *profiler.usage()]

    def _fetching(self) -> None:
        self.stage = "fetch"

    def _write(
        self,
        job: ExportJob,
        media: MediaReader,
        body: PoseAnalyser | None,
        flow: FlowAnalyser | None,
        profiler: CpuProfiler,
    ) -> EncodedClip:
        size = fit_size(*media.size, long_side=self._settings.max_long_side_px, multiple=2)

        def pictures() -> Iterator[Plane]:
            for whole in media.clip_frames(job.candidate.span, size=size):
                self.stage = "export"  # progress
                frame = whole if job.crop is None else ClipFrame(whole.index, crop_planes(whole.planes, job.crop))
                if body is not None:
                    with profiler("body"):
                        body.add(frame)
                if flow is not None:
                    with profiler("flow"):
                        flow.add(frame)
                yield frame.planes

        sound = _shifted_sound(media, job.candidate.span, job.shift_frames)
        return write_clip(job.set_folder / job.path, frames=pictures(), sound=sound, encoding=self._settings.encoding)


def _with_flow(signals: Signals, flow: FlowAnalyser | None, profiler: CpuProfiler) -> Signals:
    if flow is None:
        return signals
    with profiler("flow"):
        found: dict[str, Any] = {**flow.signals(signals)}
    return replace(signals, **found)


def _used_tracks(job: ExportJob, limits: MediaLimits) -> MediaLimits:
    """The media settings with the tracks that were measured."""
    (source,) = ResultStore(job.set_folder, AnalysisTask.name).rows(job.source_key, SourceVideo)
    return limits.model_copy(update={"audio_track": source.audio_track, "video_track": source.video_track})


def _load_series(job: ExportJob) -> tuple[Timeline, FaceTrack | None, list[FaceTrack]]:
    results = ResultStore(job.set_folder, AnalysisTask.name)
    (timeline,) = results.rows(job.source_key, Timeline)
    frames = frames_in(job.candidate.span, CLIP_RATE)
    tracks = [
        track
        for track in results.rows(job.source_key, FaceTrack)
        if track.start_frame < frames.stop and frames.start < track.start_frame + track.frames
    ]
    own = next((track for track in tracks if track.track_id == job.candidate.track_id), None)
    return timeline, own, [track for track in tracks if track is not own]


def _shifted_sound(media: MediaReader, span: Span, shift_frames: int) -> Samples | None:
    """The sound of a span after the shift; silence beyond the ends of the source."""
    moved_us = frame_start_us(-shift_frames, CLIP_RATE)
    before_start_us = min(0, span.start_us + moved_us)
    sound = media.sound(Span(span.start_us + moved_us - before_start_us, span.end_us + moved_us))
    if sound is None or not before_start_us:
        return sound
    missing = len(frames_in(span, CLIP_RATE)) * SAMPLES_PER_FRAME - len(sound)
    return np.concatenate([np.zeros(missing, np.float32), sound])


def _clip_record(job: ExportJob, file: EncodedClip) -> Clip:
    candidate = job.candidate
    return Clip(
        clip_id=candidate.clip_id,
        source_id=candidate.source_id,
        track_id=candidate.track_id,
        start_us=candidate.start_us,
        end_us=candidate.end_us,
        media_path=job.path,
        media_sha256=file.sha256,
        frames=file.frames,
        samples=file.samples,
        width=file.width,
        height=file.height,
        audio_shift_us=frame_start_us(job.shift_frames, CLIP_RATE),
    )
