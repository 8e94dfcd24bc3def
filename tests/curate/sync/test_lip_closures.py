"""The clock of picture and sound by physics: the lips of /b/ and /p/ are closed until the burst, and then part.

On the GRID recordings (Cooke et al., 2006) the words are known, so the sounds can be aligned and each burst found in
the waveform, without any fitted relation of mouth and sound. A frame of 40 ms too early or too late would show.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from xsheet.curate.audio.features import silero_voice
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.reader import open_media
from xsheet.curate.series import series_to_array
from xsheet.curate.sync.audio_to_mouth import predict_mouth
from xsheet.curate.sync.lip_audio import score_sync

pytest.importorskip("pocketsphinx")
from xsheet.annotate.speech.aligner import Aligner

pytestmark = pytest.mark.nightly  # the mesh of six films

WORDS = {
    "bbaf2n": "bin blue at f two now", "brbk7n": "bin red by k seven now", "lbax4n": "lay blue at x four now",
    "lwbsza": "lay white by s zero again", "pwij3p": "place white in j three please",
    "swwp2s": "set white with p two soon",
}  # fmt: skip
CLOSED = 0.005  # lip distance by face height; open vowels reach 0.05
Floats = NDArray[np.floating]


@dataclass(kw_only=True, eq=False)
class Talk:
    mouth: Floats  # (2, T) opening and width
    sound: Floats  # (640 T,)
    words: str


@pytest.fixture(scope="module")
def talks(shared) -> list[Talk]:
    return [measured(shared / f"data/videos/grid-{name}.mpg", words) for name, words in WORDS.items()]


def measured(path: Path, words: str) -> Talk:
    with open_media(path, root=path.parent) as media, FaceTracker(FaceSettings()) as tracker:
        sound = media.sound()
        for frame in media.frames():
            tracker.add(frame)
        track = max(tracker.tracks("src"), key=lambda one: one.frames)
    assert track.start_frame == 0
    mouth = np.stack([series_to_array(track.mouth_open), series_to_array(track.mouth_wide)])
    return Talk(mouth=mouth, sound=np.asarray(sound), words=words)


def burst_s(sound: Floats, start_s: float, end_s: float) -> float:
    """The steepest rise of the high frequencies around a stop."""
    steps = np.arange(start_s - 0.03, end_s + 0.03, 0.001)
    change = np.diff(sound)
    level = [np.log10(np.mean(np.square(change[int(s * 16_000) :][:80])) + 1e-9) for s in steps]
    return float(steps[5 + int(np.argmax(np.subtract(level[5:], level[:-5])))])


def parting_s(opening: Floats, near_s: float) -> float:
    """When the lips part after the closure nearest to an instant, between frames by straight lines."""
    around = range(int(near_s * 25) - 2, int(near_s * 25) + 2)
    frame = next(k for k in reversed(around) if opening[k] < CLOSED)
    while opening[frame + 1] < CLOSED:
        frame += 1
    return float(frame + (CLOSED - opening[frame]) / (opening[frame + 1] - opening[frame])) / 25


def test_lips_part_within_half_a_frame_of_the_burst(talks):
    aligner, delays = Aligner(), []
    for talk in talks:
        for word in aligner(talk.sound.astype(np.float32), talk.words).words:
            for phone in word.phones:
                if phone.name in ("B", "P"):
                    burst = burst_s(talk.sound, phone.start_us / 1e6, phone.end_us / 1e6)
                    delays.append(parting_s(talk.mouth[0], burst) - burst)
    assert len(delays) == 9
    assert abs(np.mean(delays)) < 0.020
    assert np.std(delays) < 0.030


def test_the_scorer_reads_no_constant_offset(talks):
    offsets = []
    for talk in talks:
        voice = silero_voice(talk.sound.astype(np.float32))
        offsets.append(score_sync(talk.mouth, predict_mouth(talk.sound.astype(np.float32), voice), voice).offset_frames)
    assert np.median(offsets) == 0
    assert all(abs(offset) <= 1 for offset in offsets)
