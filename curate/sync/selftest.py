"""Self-test of the sync scorer on a clip: shift its sound by known amounts and check that each is found.

Another language, a beard, a mask or a poor camera can defeat a scorer; test with a clip known to be in sync.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xsheet.curate.audio.features import DEFAULT_SETTINGS as DEFAULT_AUDIO_SETTINGS
from xsheet.curate.audio.features import AudioFeatureSettings, audio_features, voice_detector_name
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import open_media
from xsheet.curate.sync.base import SyncDistances, SyncMethod
from xsheet.curate.sync.lip_audio import DEFAULT_SETTINGS as DEFAULT_LIP_SETTINGS
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import FaceTrack, Timeline

SHIFTS = range(-10, 11)
TOLERANCE_FRAMES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftResult:
    """One applied shift and the score."""

    applied_shift_frames: int  # positive = voice delayed
    original_offset_frames: int | None  # offset of the unshifted clip
    score: SyncScore

    @property
    def is_found(self) -> bool:
        """Whether the scorer finds the shift on top of the original offset, within TOLERANCE_FRAMES."""
        if self.score.offset_frames is None or self.original_offset_frames is None:
            return False
        return (
            abs(self.score.offset_frames - self.original_offset_frames - self.applied_shift_frames) <= TOLERANCE_FRAMES
        )


def selftest_sync(
    speaker: "FilmedSpeaker",
    *,
    shifts: Sequence[int] = SHIFTS,
    sync: SyncMethod = DEFAULT_LIP_SETTINGS,
    audio_settings: AudioFeatureSettings = DEFAULT_AUDIO_SETTINGS,
) -> list[ShiftResult]:
    """Score each shift for the face of a track, with the chosen scorer (the first one of two).

    Args:
        speaker: sound and face of the clip.
        shifts: in frames of 40 ms; original offset plus shift must stay within the range of the scorer.
        sync: the scorer; with a network it needs the distances of each shift.
        audio_settings: voice detection.
    """
    sound, track = speaker.sound, speaker.track

    def score_shift(shift: int) -> SyncScore:
        frames = len(sound) // SAMPLES_PER_FRAME
        features = audio_features(delay_sound(sound, shift), frames, settings=audio_settings)
        detector = voice_detector_name(audio_settings)
        timeline = Timeline(
            source_id=track.source_id, frames=frames, extractor=detector, voice_detector=detector, **features
        )
        scorer = sync.scorers(timeline, speaker.distances.get(shift, ()))[0]
        score = scorer(track, range(track.start_frame, track.start_frame + track.frames), shift=0)
        assert score is not None  # there is sound
        return score

    original = score_shift(0)
    return [
        ShiftResult(
            applied_shift_frames=s,
            original_offset_frames=original.offset_frames,
            score=score_shift(s) if s else original,
        )
        for s in shifts
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmedSpeaker:
    """What of a clip the self-test scores."""

    sound: Samples  # of the whole clip
    track: FaceTrack
    distances: Mapping[int, Sequence[SyncDistances]] = field(default_factory=dict)  # by shift; of a network's scorer


def load_speaker(
    path: Path,
    *,
    root: Path,
    models: Path | None = None,
    long_side_px: int = 720,
    shifts: Sequence[int] = SHIFTS,
    sync: SyncMethod = DEFAULT_LIP_SETTINGS,
) -> FilmedSpeaker:
    """Load the sound of a file and its longest face track, in one decode.

    Raises:
        MediaError: the file cannot be decoded.
        ConfigError: the file has no sound or no face, or the scorer lacks its weights.
    """
    open_analyser = sync.open(models)
    with open_media(path, root=root) as media:
        sound = media.sound()
        if sound is None:
            raise _unsuitable_clip_error(path, expected="an audio track")
        # A network compares the same pictures with the sound of every shift; 0 is the original.
        analysers = (
            {}
            if open_analyser is None
            else {shift: open_analyser(delay_sound(sound, shift)) for shift in sorted({0, *shifts})}
        )
        with FaceTracker(FaceSettings(), models=models) as tracker:
            for frame in media.frames(size=fit_size(*media.size, long_side=long_side_px)):
                tracker.add(frame)
                boxes = [face.box for face in tracker.faces]
                for analyser in analysers.values():
                    analyser.add(frame, boxes)
            tracks = tracker.tracks(media.source.source_id)
    if not tracks:
        raise _unsuitable_clip_error(path, expected="a face")
    track = max(tracks, key=lambda track: track.frames)
    for analyser in analysers.values():
        analyser.close()
    distances = {shift: analyser.distances([track]) for shift, analyser in analysers.items()}
    return FilmedSpeaker(sound=sound, track=track, distances=distances)


def delay_sound(sound: Samples, frames: int) -> Samples:
    """Delay sound by `frames` × 40 ms (advance if negative), keeping its length; silence fills the gap."""
    delay = frames * SAMPLES_PER_FRAME
    delayed = np.zeros_like(sound)
    if abs(delay) < len(sound):
        delayed[max(delay, 0) : len(sound) + min(delay, 0)] = sound[max(-delay, 0) : len(sound) + min(-delay, 0)]
    return delayed


def _unsuitable_clip_error(path: Path, *, expected: str) -> ConfigError:
    return ConfigError(where=str(path), expected=expected, got="none", hint="use a clip of one talking person")
