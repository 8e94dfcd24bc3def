"""The first half of curation, for one source: sound, one decode for everything that looks at pixels, candidates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from xsheet.curate.audio.features import audio_features, voice_detector_name
from xsheet.curate.candidates.measure import extract_candidates
from xsheet.curate.dedup.fingerprint import FingerprintAnalyser
from xsheet.curate.faces.tracker import FaceTracker
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import MediaReader, open_media
from xsheet.curate.media.thumbnails import ThumbnailCollector
from xsheet.curate.picture.quality import PictureAnalyser
from xsheet.curate.settings import AnalysisSettings
from xsheet.curate.shots.detect import find_shots
from xsheet.curate.shots.scores import CutScoreAnalyser
from xsheet.curate.sync.lip_audio import LipAudioScorer, active_speaker
from xsheet.curate.sync.syncnet import SyncNet
from xsheet.curate.sync.syncnet_stream import SyncNetAnalyser
from xsheet.curate.tasks.cpu_usage import CpuProfiler
from xsheet.curate.tasks.probe import SourcePath
from xsheet.curate.weights import SYNCNET_WEIGHTS
from xsheet.runtime.executor import Item, Rejected, Row
from xsheet.schemas.columns import Series
from xsheet.schemas.source import SourceVideo, Timeline
from xsheet.schemas.time import CLIP_RATE

VOICE_THRESHOLD = 0.5  # probability from which a frame counts as voice


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisJob:
    """What a worker has to know of a source."""

    source_path: SourcePath
    source: SourceVideo
    set_folder: Path  # absolute; gets the stills of candidates


class FrameAnalyser(Protocol):
    """An analyser of pixels: it sees every frame of the one decode, in order."""

    def add(self, frame: Frame, /) -> None:
        """Look at the next frame."""


class AnalysisTask:
    """Facts of one source, and its candidates. The payload of an item is a AnalysisJob."""

    name = "measure"

    def __init__(self, settings: AnalysisSettings, *, models: Path | None) -> None:
        self.stage = "sound"
        self._settings = settings
        self._models = models
        self._syncnet: SyncNet | None = None

    def open(self) -> None:
        """Load SyncNet where its weights are. Trackers are made for each film: they remember, and stamps must rise."""
        if self._models is not None and (self._models / SYNCNET_WEIGHTS).is_file():
            self._syncnet = SyncNet(self._models / SYNCNET_WEIGHTS)
            self._syncnet.open()

    def __call__(self, item: Item, /) -> Sequence[Row] | Rejected:
        """Source, timeline, fingerprint, face tracks, shots and measured candidates.

        Raises:
            MediaError: the file cannot be decoded.
        """
        job: AnalysisJob = item.payload
        with open_media(job.source_path.path, root=job.source_path.root, limits=self._settings.media) as media:
            meter = CpuProfiler()
            self.stage = "sound"
            with meter("sound"):
                sound = media.sound()
                heard = audio_features(sound, media.frame_count_at_clip_rate, settings=self._settings.sound)
            if (reason := self._rejection_reason(heard)) is not None:
                known: list[Row] = [self._timeline(job, media, heard), *meter.usage()]
                return Rejected("sound", reason, REJECTION_MESSAGES[reason], rows=known)
            self.stage = "picture"
            return [*self._analyse_frames(job, media, sound, heard, meter), *meter.usage()]

    def _analyse_frames(
        self, job: AnalysisJob, media: MediaReader, sound: Samples | None, heard: dict[str, Series], meter: CpuProfiler
    ) -> list[Row]:
        settings, source_id = self._settings, job.source.source_id
        cuts, picture = CutScoreAnalyser(), PictureAnalyser(settings.picture, models=self._models)
        prints, reel = FingerprintAnalyser(), ThumbnailCollector()
        mouths = None if self._syncnet is None or sound is None else SyncNetAnalyser(self._syncnet, sound)
        with FaceTracker(settings.faces, models=self._models) as faces:
            watchers: dict[str, FrameAnalyser] = {
                "cuts": cuts,
                "picture": picture,
                "faces": faces,
                "fingerprint": prints,
                "stills": reel,
            }
            frames = media.frames(size=fit_size(*media.size, long_side=settings.long_side_px))
            for frame in meter.iterate("decode", frames):
                for name, watcher in watchers.items():
                    with meter(name):
                        watcher.add(frame)
                if mouths is not None:
                    with meter("sync"):
                        mouths.add(frame, [face.box for face in faces.faces])
            with meter("faces"):
                tracks = faces.tracks(source_id)
        if mouths is not None:
            with meter("sync"):
                mouths.close()
        assert media.video_passes == 1  # every analyser looks on in the same loop
        self.stage = "candidates"
        with meter("candidates"):
            timeline = self._timeline(job, media, heard | cuts.series() | picture.series())
            shots = find_shots(timeline, settings.shots)
            lips = LipAudioScorer(timeline, settings.lip_audio)
            candidates = extract_candidates(
                timeline,
                shots,
                tracks,
                height_px=media.size[1],
                scorer=lips if mouths is None else mouths.scorer(timeline, lip_audio=settings.lip_audio),
                select_speaker=partial(active_speaker, settings=settings.lip_audio),
                settings=settings.candidates,
            )
            for candidate in candidates:
                reel.save(candidate, job.set_folder)
        source = replace(job.source, frames_decoded=media.counts.decoded)
        return [source, timeline, prints.fingerprint(source_id, sound=sound), *tracks, *shots, *candidates]

    def _rejection_reason(self, heard: dict[str, Series]) -> str | None:
        """Why a source need not be decoded; None when it must be."""
        if self._settings.min_voiced_s == 0:
            return None
        if not heard:
            return "no_audio"
        voiced = sum(p is not None and p > VOICE_THRESHOLD for p in heard["voice"])
        return "no_voice" if voiced < self._settings.min_voiced_s * CLIP_RATE.num else None

    def _timeline(self, job: AnalysisJob, media: MediaReader, series: dict[str, Any]) -> Timeline:
        detector = voice_detector_name(self._settings.sound)
        return Timeline(
            source_id=job.source.source_id,
            frames=media.frame_count_at_clip_rate,
            extractor=detector,
            voice_detector=None if not series else detector,
            **series,
        )


REJECTION_MESSAGES = {
    "no_audio": "the file has no sound; set measure.min_voice_s=0 to measure it all the same",
    "no_voice": "hardly any voice in the sound; set measure.min_voice_s=0 to measure it all the same",
}
