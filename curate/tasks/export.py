"""The second half of curation, for one survivor: read its span once, write the canonical clip, follow the body."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xsheet.curate.body.motion import part_motion
from xsheet.curate.body.pose import BodyWatcher, window_of
from xsheet.curate.body.signals import signals_of, stretch
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.image import Rgb, fit_size
from xsheet.curate.media.reader import Media, open_media
from xsheet.curate.media.writer import ClipFile, write_clip
from xsheet.curate.settings import WriteSettings
from xsheet.curate.tasks.analyse import MeasureTask
from xsheet.curate.tasks.cpu_usage import Meter
from xsheet.curate.tasks.probe import Place
from xsheet.runtime.executor import Item, Row
from xsheet.runtime.result_store import Commits
from xsheet.schemas.clip import Clip, Measures
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us, frames_in
from xsheet.schemas.timeline import FaceTrack, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipJob:
    """What a worker has to know of a survivor. Series stay on disk: the commit of its source has them."""

    place: Place
    set_folder: Path  # absolute
    candidate: Measures
    source_key: str  # of that commit

    @property
    def shift_frames(self) -> int:
        """How far the sound moves: against the offset that was found and scored again."""
        sync = self.candidate.sync
        if self.candidate.sync_corrected is None or sync is None or sync.offset_frames is None:
            return 0
        return -sync.offset_frames

    @property
    def path(self) -> str:
        """Where the clip lies in its set."""
        clip_id = self.candidate.clip_id
        return f"media/{clip_id.rpartition('_')[2][:2]}/{clip_id}.mp4"


class ClipTask:
    """One kept candidate becomes a file, its signals, and its motion. The payload of an item is a ClipJob."""

    name = "clip"

    def __init__(self, settings: WriteSettings) -> None:
        self.stage = "write"
        self._settings = settings

    def open(self) -> None:
        """Nothing: a body is followed by a tracker of its own in each clip."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """Clip, signals, and the candidate's measures with its motion.

        Raises:
            MediaError: the span cannot be decoded, or the clip not encoded.
        """
        job: ClipJob = item.payload
        self.stage = "series"
        timeline, track, others = _series(job)
        signals = signals_of(job.candidate, timeline, track, shift_frames=job.shift_frames)
        self.stage = "write"
        meter = Meter()
        with open_media(job.place.path, root=job.place.root) as media:
            if self._settings.body is None:
                with meter("write"):
                    file = self._write(job, media, None, meter)
                return [_clip(job, file), signals, job.candidate, *meter.rows()]
            aspect = media.size[0] / media.size[1]
            window = window_of(track, others, aspect=aspect) if track is not None else None
            with BodyWatcher(self._settings.body, window=window) as body:
                with meter("write"):
                    file = self._write(job, media, body, meter)
                followed: dict[str, Any] = {**body.signals()}
        signals = replace(signals, **followed)
        self.stage = "motion"
        frames = frames_in(job.candidate.span, CLIP_RATE)
        motion = part_motion(
            signals, camera_x=stretch(timeline.camera_x, frames), camera_y=stretch(timeline.camera_y, frames)
        )
        return [_clip(job, file), signals, replace(job.candidate, motion=motion), *meter.rows()]

    def _write(self, job: ClipJob, media: Media, body: BodyWatcher | None, meter: Meter) -> ClipFile:
        size = fit_size(*media.size, long_side=self._settings.max_long_side_px, multiple=2)

        def pictures() -> Iterator[Rgb]:
            for frame in media.frames(size=size, span=job.candidate.span):
                if body is not None:
                    with meter("body"):
                        body.add(frame)
                yield frame.rgb

        sound = _sound(media, job.candidate.span, job.shift_frames)
        return write_clip(job.set_folder / job.path, frames=pictures(), sound=sound, how=self._settings.compression)


def _series(job: ClipJob) -> tuple[Timeline, FaceTrack | None, list[FaceTrack]]:
    commits = Commits(job.set_folder, MeasureTask.name)
    (timeline,) = commits.rows(job.source_key, Timeline)
    frames = frames_in(job.candidate.span, CLIP_RATE)
    tracks = [
        track
        for track in commits.rows(job.source_key, FaceTrack)
        if track.start_frame < frames.stop and frames.start < track.start_frame + track.frames
    ]
    own = next((track for track in tracks if track.track_id == job.candidate.track_id), None)
    return timeline, own, [track for track in tracks if track is not own]


def _sound(media: Media, span: Span, shift_frames: int) -> Samples | None:
    """The sound that belongs under the span, moved; silence where the film has none."""
    moved_us = frame_start_us(-shift_frames, CLIP_RATE)
    early = min(0, span.start_us + moved_us)
    sound = media.sound(Span(span.start_us + moved_us - early, span.end_us + moved_us))
    if sound is None or not early:
        return sound
    missing = len(frames_in(span, CLIP_RATE)) * SAMPLES_PER_FRAME - len(sound)
    return np.concatenate([np.zeros(missing, np.float32), sound])


def _clip(job: ClipJob, file: ClipFile) -> Clip:
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
