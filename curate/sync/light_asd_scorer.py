"""Light-ASD beside the built-in scorer: its settings, its part of the decode, and its scores of spans.

The network reads whether a face speaks; it knows no offset. So the built-in scorer scores the sync, and the network
chooses the speaker among several faces. Its score is stored as `sync_second`: the confidence is the mean over voiced
frames of the logit of speaking.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.audio.features import VOICE_THRESHOLD
from xsheet.curate.faces.linker import Box
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.series import series_to_array
from xsheet.curate.sync.base import Floats, SyncDistances, SyncScorer, VoicedWindowSettings, valid_frames
from xsheet.curate.sync.face_crops import CROP_PX as FACE_PX
from xsheet.curate.sync.face_crops import FaceCropStream
from xsheet.curate.sync.light_asd import CROP_PX, LightAsd, LightAsdNetworkSettings
from xsheet.curate.sync.lip_audio import LipAudioSettings
from xsheet.curate.sync.network_weights import converted_weights
from xsheet.curate.weights import LIGHT_ASD_WEIGHTS
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.source import FaceTrack, Timeline

_MARGIN_PX = (FACE_PX - CROP_PX) // 2


class LightAsdSettings(VoicedWindowSettings):
    """The built-in scorer for sync, and Light-ASD for who speaks: needs its weights."""

    name: Literal["light_asd"] = Field(default="light_asd", description="the scorer")
    min_speaker_confidence: float = Field(default=0.0, description="minimum mean logit of the speaker; above 0 speaks")
    min_speaker_margin: float = Field(default=1.0, ge=0, description="minimum lead of the speaker over other faces")
    lip_audio: LipAudioSettings = Field(default=LipAudioSettings(), description="the scorer of sync")
    network: LightAsdNetworkSettings = Field(default=LightAsdNetworkSettings(), description="what runs in the decode")

    @property
    def max_offset_frames(self) -> int:
        """The built-in scorer's."""
        return self.lip_audio.max_offset_frames

    @property
    def speaker_scorer(self) -> int:
        """1: the network's scores choose the speaker."""
        return 1

    def weights(self, models: Path | None) -> Path:
        """The converted weights in the models folder.

        Raises:
            ConfigError: they are not there.
        """
        return converted_weights(models, LIGHT_ASD_WEIGHTS, command="xsheet models convert --network light_asd")

    def open(self, models: Path | None) -> Callable[[Samples], "LightAsdAnalyser"]:
        """Load the network; raises as LightAsd.open."""
        net = LightAsd(self.weights(models), settings=self.network)
        net.open()
        return partial(LightAsdAnalyser, net)

    def scorers(self, timeline: Timeline, distances: Sequence[SyncDistances]) -> tuple[SyncScorer, ...]:
        """The built-in scorer of one source, then the network's."""
        return (*self.lip_audio.scorers(timeline, distances), LightAsdScorer(timeline, distances, self))


DEFAULT_SETTINGS = LightAsdSettings()


class _ClipReader:
    """Reads one face in clips of at most `clip_frames`, each on its own."""

    def __init__(self, net: LightAsd, sound: Samples, start_frame: int) -> None:
        self._net = net
        self._sound = sound
        self._start_frame = start_frame
        self._crops: list[NDArray[np.uint8]] = []
        self._parts: list[Floats] = [np.zeros(0, np.float32)]

    def add(self, crop: Rgb) -> None:
        """Keep the middle of the crop in grey; read when a clip is complete."""
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        self._crops.append(np.asarray(grey[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX], np.uint8))
        if len(self._crops) == self._net.settings.clip_frames:
            self._read()

    def close(self) -> None:
        """Read what is left."""
        if self._crops:
            self._read()

    def values(self) -> Floats:
        """(frames, 1) negated logits: a distance is small where a face fits the sound."""
        return -np.concatenate(self._parts)[:, None]

    def _read(self) -> None:
        first = self._start_frame + sum(len(part) for part in self._parts)
        self._parts.append(self._net.speaking_logits(np.stack(self._crops), self._sound, first))
        self._crops.clear()


class LightAsdAnalyser:
    """Reads which faces of one video speak."""

    def __init__(self, net: LightAsd, sound: Samples) -> None:
        self._net = net
        self._stream = FaceCropStream(partial(_ClipReader, net, sound), scale=net.settings.crop_scale)

    def add(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Process the faces of the next frame; boxes are (x0, y0, x1, y1) in pixels."""
        self._stream.add(frame, faces)

    def close(self) -> None:
        """Process what is pending; no frame may follow."""
        self._stream.close()

    def distances(self, tracks: Sequence[FaceTrack]) -> list[SyncDistances]:
        """One row per track with one column, the negated logit; call it after `close`."""
        return [
            SyncDistances.of(
                self._stream.values(track, 1), track_id=track.track_id, scorer=self._net.name,
                start_frame=track.start_frame, max_lag_frames=0,
            )
            for track in tracks
        ]  # fmt: skip


class LightAsdScorer:
    """Scores face tracks of one source over voiced windows."""

    def __init__(
        self, timeline: Timeline, distances: Sequence[SyncDistances], settings: LightAsdSettings = DEFAULT_SETTINGS
    ) -> None:
        self._voice = series_to_array(timeline.voice)
        self._rows = {row.track_id: row for row in distances}
        self._settings = settings

    def __call__(self, track: FaceTrack, frames: range, *, shift: int = 0) -> SyncScore | None:
        """Score frames of the source; None without sound. The network read the sound as it lies, whatever the shift."""
        if not len(self._voice):
            return None
        row = self._rows[track.track_id]
        placed = np.full(len(self._voice), np.nan, np.float32)
        logits = -row.to_array()[: max(0, len(placed) - row.start_frame), 0]
        placed[row.start_frame : row.start_frame + len(logits)] = logits
        span = slice(frames.start, frames.stop)
        voiced, known = self._voice[span] >= VOICE_THRESHOLD, ~np.isnan(placed[span])
        valid, windows = valid_frames(known, voiced, settings=self._settings)
        counted = valid & voiced
        if not counted.any() or len(voiced) < self._settings.min_counted_frames:
            short = len(voiced) < self._settings.min_counted_frames
            is_hidden = known.mean() < self._settings.min_mouth_visible_share
            reason = "short" if short else "face_hidden" if is_hidden else "unvoiced"
            return SyncScore(scorer=row.scorer, windows=windows, not_measurable=reason)
        return SyncScore(scorer=row.scorer, windows=windows, confidence=float(placed[span][counted].mean()))
