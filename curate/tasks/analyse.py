"""Analyse one source: everything that needs its sound or its pictures, in one decode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xsheet.curate.audio.features import VOICE_THRESHOLD, audio_features, voice_detector_name, voice_probability
from xsheet.curate.audio.music import MusicDetector, open_music_detector
from xsheet.curate.dedup.fingerprint import FingerprintAnalyser
from xsheet.curate.faces.tracker import FaceTracker
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.reader import MediaReader, open_media
from xsheet.curate.media.thumbnails import ThumbnailCollector
from xsheet.curate.picture.quality import PictureAnalyser
from xsheet.curate.settings import DecodeSettings
from xsheet.curate.shots.scores import CutScoreAnalyser
from xsheet.curate.sync.base import SyncAnalyser, SyncDistances, SyncMethod
from xsheet.curate.tasks.cpu_usage import CpuProfiler
from xsheet.curate.tasks.probe import SourcePath, with_measured_fields
from xsheet.runtime.executor import Item, Rejected, Row
from xsheet.schemas.columns import Series
from xsheet.schemas.source import SourceVideo, Timeline
from xsheet.schemas.time import CLIP_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisJob:
    """One source for a worker."""

    source_path: SourcePath
    source: SourceVideo
    set_folder: Path  # absolute; receives the thumbnails


class FrameAnalyser(Protocol):
    """An analyser that receives every frame of the decode, in order."""

    def add(self, frame: Frame, /) -> None:
        """Process the next frame."""


class AnalysisTask:
    """Measures one source. The payload of an item is an AnalysisJob; `tasks.segment` makes candidates of the rows."""

    name = "analysis"
    VERSION = 8  # part of the keys of results; raise it with every change of the rows
    WORKER_MODULES = ("mediapipe", "scenedetect")

    def __init__(self, settings: DecodeSettings, *, sync: SyncMethod, models: Path | None) -> None:
        self.stage = "sound"
        self._settings = settings
        self._models = models
        self._sync = sync  # its network only
        self._sync_analyser: Callable[[Samples], SyncAnalyser] | None = None
        self._music: MusicDetector | None = None

    def open(self) -> None:
        """Load the networks of sync scorer and music detector. Face trackers hold state and are created per source."""
        self._sync_analyser = self._sync.open(self._models)
        self._music = open_music_detector(self._settings.sound.music_detector, models=self._models)

    def __call__(self, item: Item, /) -> Sequence[Row] | Rejected:
        """Return source, timeline, fingerprint, face tracks and, with a network, their sync distances.

        Raises:
            MediaError: the file cannot be decoded.
        """
        job: AnalysisJob = item.payload
        with job.source_path.local(self._fetching) as path:
            return self._analyse(job, path)

    def _fetching(self) -> None:
        self.stage = "fetch"

    def _analyse(self, job: AnalysisJob, path: SourcePath) -> Sequence[Row] | Rejected:
        self.stage = "sound"
        limits = self._with_voiced_track(job, path)
        with open_media(path.path, root=path.root, limits=limits) as media:
            profiler = CpuProfiler()
            self.stage = "sound"
            with profiler("sound"):
                sound = media.sound()
                features = self._audio_features(sound, media.frame_count_at_clip_rate)
            if (reason := self._rejection_reason(features, media.frame_count_at_clip_rate)) is not None:
                rows: list[Row] = [self._timeline(job, media, features), *profiler.usage()]
                message = REJECTION_MESSAGES[reason] + _other_tracks(media.source)
                return Rejected("sound", reason, message, rows=rows)
            self.stage = "picture"
            return [*self._analyse_frames(job, media, sound, features, profiler), *profiler.usage()]

    def _with_voiced_track(self, job: AnalysisJob, path: SourcePath) -> MediaLimits:
        """The media settings with the first audio track with a voice, where no flag decides between several."""
        limits = self._settings.media
        if limits.audio_track is not None or (job.source.audio_streams or 0) < 2:
            return limits
        with open_media(path.path, root=path.root, limits=limits) as media:
            tracks = media.undecided_audio_tracks
        voiced: dict[int, int] = {}
        for track in tracks:
            one_track = limits.model_copy(update={"audio_track": track})
            with open_media(path.path, root=path.root, limits=one_track) as media:
                sound = media.sound()
            if sound is not None:  # the voice only; the track that is chosen is measured in full
                voice = voice_probability(sound, settings=self._settings.sound)
                voiced[track] = int((voice > VOICE_THRESHOLD).sum())
        if not voiced:
            return limits
        chosen = next(track for track in voiced if 2 * voiced[track] >= max(voiced.values()))
        return limits.model_copy(update={"audio_track": chosen})

    def _audio_features(self, sound: Samples | None, frames: int) -> dict[str, Series]:
        assert self._music is not None
        return audio_features(sound, frames, settings=self._settings.sound, music=self._music)

    def _analyse_frames(
        self,
        job: AnalysisJob,
        media: MediaReader,
        sound: Samples | None,
        features: dict[str, Series],
        profiler: CpuProfiler,
    ) -> list[Row]:
        settings, source_id = self._settings, job.source.source_id
        cuts, picture = CutScoreAnalyser(), PictureAnalyser(settings.picture, models=self._models)
        fingerprints, thumbnails = FingerprintAnalyser(), ThumbnailCollector()
        sync = None if self._sync_analyser is None or sound is None else self._sync_analyser(sound)
        with FaceTracker(settings.faces, models=self._models) as faces:
            analysers: dict[str, FrameAnalyser] = {
                "cuts": cuts,
                "picture": picture,
                "faces": faces,
                "fingerprint": fingerprints,
                "thumbnails": thumbnails,
            }
            frames = media.frames(size=fit_size(*media.size, long_side=settings.long_side_px))
            damaged: list[float] = []
            for frame in profiler.iterate("decode", frames):
                self.stage = "picture"  # progress: a long film is not a stuck one
                damaged.append(float(frame.is_damaged))
                for name, analyser in analysers.items():
                    with profiler(name):
                        analyser.add(frame)
                if sync is not None:
                    with profiler("sync"):
                        sync.add(frame, [face.box for face in faces.faces])
            with profiler("faces"):
                tracks = faces.tracks(source_id)
        distances: list[SyncDistances] = []
        if sync is not None:
            with profiler("sync"):
                sync.close()
                distances = sync.distances(tracks)
        assert media.video_passes == 1  # all analysers share one loop
        thumbnails.save(job.set_folder, source_id)
        series = cuts.series() | picture.series() | faces.series() | {"damaged": tuple(damaged)}
        timeline = self._timeline(job, media, features | series)
        source = with_measured_fields(job.source, media.with_counts(media.source))
        return [source, timeline, fingerprints.fingerprint(source_id, sound=sound), *tracks, *distances]

    def _rejection_reason(self, features: dict[str, Series], frames: int) -> str | None:
        """Reason to reject a source without decoding its frames; None if there is none."""
        required_s = self._settings.min_voiced_s
        if frames < self._settings.min_frames:
            return "too_short"
        if required_s == 0:
            return None
        if not features:
            return "no_audio"
        if frames < required_s * CLIP_RATE.num:
            return "too_short"
        return "no_voice" if _voiced_frames(features) < required_s * CLIP_RATE.num else None

    def _timeline(self, job: AnalysisJob, media: MediaReader, series: dict[str, Any]) -> Timeline:
        detector = voice_detector_name(self._settings.sound)
        return Timeline(
            source_id=job.source.source_id,
            frames=media.frame_count_at_clip_rate,
            extractor=detector,
            voice_detector=None if not series else detector,
            **series,
        )


def _voiced_frames(features: dict[str, Series]) -> int:
    return sum(p is not None and p > VOICE_THRESHOLD for p in features.get("voice", ()))


def _other_tracks(source: SourceVideo) -> str:
    """What a message adds about the tracks that were not used."""
    used = (("audio", source.audio_streams, source.audio_track), ("video", source.video_streams, source.video_track))
    return "".join(
        f"; {kind} track {track} of {count} (0 to {count - 1}) was used, analysis.media.{kind}_track chooses another"
        for kind, count, track in used
        if count is not None and count > 1
    )


REJECTION_MESSAGES = {
    "too_short": "the video is shorter than analysis.min_frames or the required voice",
    "no_audio": "the file has no audio; to measure and keep videos without voice use --preset all",
    "no_voice": "too little voice in the audio; to measure and keep videos without voice use --preset all",
}
