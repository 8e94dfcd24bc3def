"""Does the sync scorer work on your own clip? Its sound is shifted by known amounts, and each must be found.

Speech of another language, a beard, a mask or a cheap camera can blind a scorer; a clip known to be in sync tells.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xsheet.curate.audio.features import DEFAULT_SETTINGS as LISTEN
from xsheet.curate.audio.features import AudioFeatureSettings, audio_features, voice_detector_name
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import open_media
from xsheet.curate.sync.lip_audio import DEFAULT_SETTINGS as LIPS
from xsheet.curate.sync.lip_audio import LipAudioScorer, LipAudioSettings
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import FaceTrack, Timeline

SHIFTS = range(-10, 11)
TOLERANCE_FRAMES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftResult:
    """One planted shift and what the scorer said of it."""

    applied_shift_frames: int  # positive = the voice was made late
    original_offset_frames: int | None  # offset of the clip as it came
    score: SyncScore

    @property
    def is_found(self) -> bool:
        """Whether the planted shift was found, on top of the clip's own offset."""
        if self.score.offset_frames is None or self.original_offset_frames is None:
            return False
        return (
            abs(self.score.offset_frames - self.original_offset_frames - self.applied_shift_frames) <= TOLERANCE_FRAMES
        )


def selftest_sync(
    sound: Samples,
    track: FaceTrack,
    *,
    shifts: Iterable[int] = SHIFTS,
    settings: LipAudioSettings = LIPS,
    audio_settings: AudioFeatureSettings = LISTEN,
) -> list[ShiftResult]:
    """One row per shift, for the face of a track.

    Args:
        sound: of the whole source, 640 samples a frame at 16 kHz.
        track: the face that speaks.
        shifts: in frames of 40 ms; the clip's own offset and a shift must stay within the scorer's range together.
        settings: of the scorer.
        audio_settings: how the sound is listened to.
    """

    def scored(shift: int) -> SyncScore:
        frames = len(sound) // SAMPLES_PER_FRAME
        heard = audio_features(delay_sound(sound, shift), frames, settings=audio_settings)
        named = voice_detector_name(audio_settings)
        timeline = Timeline(source_id=track.source_id, frames=frames, extractor=named, voice_detector=named, **heard)
        score = LipAudioScorer(timeline, settings)(track, range(track.start_frame, track.start_frame + track.frames))
        assert score is not None  # there is sound
        return score

    own = scored(0)
    return [
        ShiftResult(applied_shift_frames=s, original_offset_frames=own.offset_frames, score=scored(s) if s else own)
        for s in shifts
    ]


def load_speaker(
    path: Path,
    *,
    root: Path,
    models: Path | None = None,
    long_side_px: int = 720,
    audio_settings: AudioFeatureSettings = LISTEN,
) -> tuple[Samples, FaceTrack]:
    """The sound of a file and the face that is seen for the longest time.

    Raises:
        MediaError: the file cannot be decoded.
        ConfigError: it has no sound or shows no face, so it is no clip to test with.
    """
    with open_media(path, root=root) as media:
        sound = media.sound()
        if sound is None:
            raise _unsuitable_clip_error(path, expected="a sound track")
        with FaceTracker(FaceSettings(), models=models) as watcher:
            for frame in media.frames(size=fit_size(*media.size, long_side=long_side_px)):
                watcher.add(frame)
            tracks = watcher.tracks(media.source.source_id)
    if not tracks:
        raise _unsuitable_clip_error(path, expected="a face")
    return sound, max(tracks, key=lambda track: track.frames)


def delay_sound(sound: Samples, frames: int) -> Samples:
    """The same length of sound, `frames` × 40 ms later; earlier if negative. What is not known is silent."""
    by = frames * SAMPLES_PER_FRAME
    moved = np.zeros_like(sound)
    if abs(by) < len(sound):
        moved[max(by, 0) : len(sound) + min(by, 0)] = sound[max(-by, 0) : len(sound) + min(-by, 0)]
    return moved


def _unsuitable_clip_error(path: Path, *, expected: str) -> ConfigError:
    return ConfigError(where=str(path), expected=expected, got="none", hint="take a clip of one person who talks")
