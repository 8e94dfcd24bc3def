"""The first half of curation, for one source: sound, one decode for everything that looks at pixels, candidates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from xsheet.curate.audio.features import listen, voice_detector
from xsheet.curate.candidates.measure import cut_candidates
from xsheet.curate.dedup.fingerprint import FingerprintWatcher
from xsheet.curate.faces.tracker import FaceWatcher
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import Media, open_media
from xsheet.curate.media.thumbnails import Reel
from xsheet.curate.picture.quality import PictureSeries
from xsheet.curate.settings import MeasureSettings
from xsheet.curate.shots.detect import find_shots
from xsheet.curate.shots.scores import CutScores
from xsheet.curate.sync.lip_audio import LipScorer, active_speaker
from xsheet.curate.sync.syncnet import SyncNet
from xsheet.curate.sync.syncnet_stream import SyncNetWatcher
from xsheet.curate.tasks.cpu_usage import Meter
from xsheet.curate.tasks.probe import Place
from xsheet.curate.weights import SYNCNET
from xsheet.runtime.executor import Item, Rejected, Row
from xsheet.schemas.columns import Series
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import CLIP_RATE
from xsheet.schemas.timeline import Timeline

VOICED = 0.5  # probability from which a frame counts as voice


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceJob:
    """What a worker has to know of a source."""

    place: Place
    source: SourceVideo
    set_folder: Path  # absolute; gets the stills of candidates


class Watcher(Protocol):
    """An analyser of pixels: it sees every frame of the one decode, in order."""

    def add(self, frame: Frame, /) -> None:
        """Look at the next frame."""


class MeasureTask:
    """Facts of one source, and its candidates. The payload of an item is a SourceJob."""

    name = "measure"

    def __init__(self, settings: MeasureSettings, *, models: Path | None) -> None:
        self.stage = "sound"
        self._settings = settings
        self._models = models
        self._net: SyncNet | None = None

    def open(self) -> None:
        """Load SyncNet where its weights are. Trackers are made for each film: they remember, and stamps must rise."""
        if self._models is not None and (self._models / SYNCNET).is_file():
            self._net = SyncNet(self._models / SYNCNET)
            self._net.open()

    def __call__(self, item: Item, /) -> Sequence[Row] | Rejected:
        """Source, timeline, fingerprint, face tracks, shots and measured candidates.

        Raises:
            MediaError: the file cannot be decoded.
        """
        job: SourceJob = item.payload
        with open_media(job.place.path, root=job.place.root, limits=self._settings.media) as media:
            meter = Meter()
            self.stage = "sound"
            with meter("sound"):
                sound = media.sound()
                heard = listen(sound, media.clip_frames, settings=self._settings.sound)
            if (reason := self._unheard(heard)) is not None:
                known: list[Row] = [self._timeline(job, media, heard), *meter.rows()]
                return Rejected("sound", reason, SAID[reason], rows=known)
            self.stage = "picture"
            return [*self._look(job, media, sound, heard, meter), *meter.rows()]

    def _look(
        self, job: SourceJob, media: Media, sound: Samples | None, heard: dict[str, Series], meter: Meter
    ) -> list[Row]:
        settings, source_id = self._settings, job.source.source_id
        cuts, picture = CutScores(), PictureSeries(settings.picture, models=self._models)
        prints, reel = FingerprintWatcher(), Reel()
        mouths = None if self._net is None or sound is None else SyncNetWatcher(self._net, sound)
        with FaceWatcher(settings.faces, models=self._models) as faces:
            watchers: dict[str, Watcher] = {
                "cuts": cuts,
                "picture": picture,
                "faces": faces,
                "fingerprint": prints,
                "stills": reel,
            }
            frames = media.frames(size=fit_size(*media.size, long_side=settings.long_side_px))
            for frame in meter.each("decode", frames):
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
            shots = find_shots(timeline, settings.cuts)
            lips = LipScorer(timeline, settings.lips)
            candidates = cut_candidates(
                timeline,
                shots,
                tracks,
                height_px=media.size[1],
                score=lips if mouths is None else mouths.scorer(timeline, lips=settings.lips),
                choose=partial(active_speaker, settings=settings.lips),
                settings=settings.candidates,
            )
            for candidate in candidates:
                reel.keep(candidate, job.set_folder)
        source = replace(job.source, frames_decoded=media.counts.decoded)
        return [source, timeline, prints.fingerprint(source_id, sound=sound), *tracks, *shots, *candidates]

    def _unheard(self, heard: dict[str, Series]) -> str | None:
        """Why a source need not be decoded; None when it must be."""
        if self._settings.min_voice_s == 0:
            return None
        if not heard:
            return "no_audio"
        voiced = sum(p is not None and p > VOICED for p in heard["voice"])
        return "no_voice" if voiced < self._settings.min_voice_s * CLIP_RATE.num else None

    def _timeline(self, job: SourceJob, media: Media, series: dict[str, Any]) -> Timeline:
        detector = voice_detector(self._settings.sound)
        return Timeline(
            source_id=job.source.source_id,
            frames=media.clip_frames,
            extractor=detector,
            voice_detector=None if not series else detector,
            **series,
        )


SAID = {
    "no_audio": "the file has no sound; set measure.min_voice_s=0 to measure it all the same",
    "no_voice": "hardly any voice in the sound; set measure.min_voice_s=0 to measure it all the same",
}
