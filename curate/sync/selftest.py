"""Does the sync scorer work on your own clip? Its sound is shifted by known amounts, and each must be found.

Speech of another language, a beard, a mask or a cheap camera can blind a scorer; a clip known to be in sync tells.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xsheet.curate.audio.features import DEFAULTS as LISTEN
from xsheet.curate.audio.features import ListenSettings, listen, voice_detector
from xsheet.curate.faces.tracker import FaceSettings, FaceWatcher
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import open_media
from xsheet.curate.sync.lip_audio import DEFAULTS as LIPS
from xsheet.curate.sync.lip_audio import LipScorer, LipsSettings
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.timeline import FaceTrack, Timeline

SHIFTS = range(-10, 11)
CLOSE_FRAMES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftFound:
    """One planted shift and what the scorer said of it."""

    planted_frames: int  # positive = the voice was made late
    own_frames: int | None  # offset of the clip as it came
    score: SyncScore

    @property
    def found(self) -> bool:
        """Whether the planted shift was found, on top of the clip's own offset."""
        if self.score.offset_frames is None or self.own_frames is None:
            return False
        return abs(self.score.offset_frames - self.own_frames - self.planted_frames) <= CLOSE_FRAMES


def selftest_sync(
    sound: Samples,
    track: FaceTrack,
    *,
    shifts: Iterable[int] = SHIFTS,
    settings: LipsSettings = LIPS,
    hearing: ListenSettings = LISTEN,
) -> list[ShiftFound]:
    """One row per shift, for the face of a track.

    Args:
        sound: of the whole source, 640 samples a frame at 16 kHz.
        track: the face that speaks.
        shifts: in frames of 40 ms; the clip's own offset and a shift must stay within the scorer's range together.
        settings: of the scorer.
        hearing: how the sound is listened to.
    """

    def scored(shift: int) -> SyncScore:
        frames = len(sound) // SAMPLES_PER_FRAME
        heard = listen(later(sound, shift), frames, settings=hearing)
        named = voice_detector(hearing)
        timeline = Timeline(source_id=track.source_id, frames=frames, extractor=named, voice_detector=named, **heard)
        score = LipScorer(timeline, settings)(track, range(track.start_frame, track.start_frame + track.frames))
        assert score is not None  # there is sound
        return score

    own = scored(0)
    return [ShiftFound(planted_frames=s, own_frames=own.offset_frames, score=scored(s) if s else own) for s in shifts]


def speaking_face(
    path: Path,
    *,
    root: Path,
    models: Path | None = None,
    long_side_px: int = 720,
    hearing: ListenSettings = LISTEN,
) -> tuple[Samples, FaceTrack]:
    """The sound of a file and the face that is seen for the longest time.

    Raises:
        MediaError: the file cannot be decoded.
        ConfigError: it has no sound or shows no face, so it is no clip to test with.
    """
    with open_media(path, root=root) as media:
        sound = media.sound()
        if sound is None:
            raise _unfit(path, expected="a sound track")
        with FaceWatcher(FaceSettings(), models=models) as watcher:
            for frame in media.frames(size=fit_size(*media.size, long_side=long_side_px)):
                watcher.add(frame)
            tracks = watcher.tracks(media.source.source_id)
    if not tracks:
        raise _unfit(path, expected="a face")
    return sound, max(tracks, key=lambda track: track.frames)


def later(sound: Samples, frames: int) -> Samples:
    """The same length of sound, `frames` × 40 ms later; earlier if negative. What is not known is silent."""
    by = frames * SAMPLES_PER_FRAME
    moved = np.zeros_like(sound)
    if abs(by) < len(sound):
        moved[max(by, 0) : len(sound) + min(by, 0)] = sound[max(-by, 0) : len(sound) + min(-by, 0)]
    return moved


def _unfit(path: Path, *, expected: str) -> ConfigError:
    return ConfigError(where=str(path), expected=expected, came="none", todo="take a clip of one person who talks")
