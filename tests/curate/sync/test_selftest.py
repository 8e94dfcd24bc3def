import numpy as np
import pytest

from xsheet.curate.sync.selftest import FilmedSpeaker, delay_sound, load_speaker, selftest_sync
from xsheet.demo.film import voice
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import FaceTrack

FRAMES = 125


def planned_track(speech: voice.Speech) -> FaceTrack:
    still = (0.2,) * FRAMES
    return FaceTrack(
        track_id="t",
        source_id="s",
        detector="planned",
        start_frame=0,
        frames=FRAMES,
        x0=still,
        y0=still,
        x1=still,
        y1=still,
        mouth_open=tuple(map(float, speech.mouth_open)),
        mouth_wide=tuple(map(float, speech.mouth_wide)),
    )


@pytest.mark.slow
def test_every_shift_of_a_clip_in_sync_is_found():
    speech = voice.synthesise_speech(np.random.default_rng(12), FRAMES)
    rows = selftest_sync(FilmedSpeaker(sound=speech.sound, track=planned_track(speech)), shifts=(-10, -3, 0, 6, 10))
    assert [row.is_found for row in rows] == [True] * 5


@pytest.mark.slow
def test_the_offset_of_the_clip_itself_is_taken_into_account():
    speech = voice.synthesise_speech(np.random.default_rng(12), FRAMES)
    (row,) = selftest_sync(FilmedSpeaker(sound=delay_sound(speech.sound, 4), track=planned_track(speech)), shifts=(3,))
    assert (row.original_offset_frames, row.score.offset_frames, row.is_found) == (4, 7, True)


@pytest.mark.slow
def test_a_clip_of_another_voice_fails():
    speech, other = (voice.synthesise_speech(np.random.default_rng(seed), FRAMES) for seed in (12, 13))
    rows = selftest_sync(FilmedSpeaker(sound=other.sound, track=planned_track(speech)), shifts=(-8, -4, 0, 4, 8))
    assert not all(row.is_found and (row.score.confidence or 0) > 2.5 for row in rows)


@pytest.mark.parametrize("by", [0, 5, -5, 999, -999])
def test_shifted_sound_keeps_its_length(by: int):
    sound = np.ones(FRAMES * 640, np.float32)
    assert delay_sound(sound, by).sum() == max(0, FRAMES - abs(by)) * 640


def test_a_film_without_sound_cannot_be_tested_with(film, tmp_path):
    with pytest.raises(ConfigError, match="an audio track"):
        load_speaker(film(), root=tmp_path)


@pytest.mark.slow
def test_a_film_without_a_face_cannot_be_tested_with(film, tmp_path):
    with pytest.raises(ConfigError, match="expected a face"):
        load_speaker(film(sound=np.zeros(25 * 640, np.float32)), root=tmp_path)


@pytest.mark.nightly
def test_every_shift_of_a_real_clip_is_found(shared):
    path = shared / "data" / "videos" / "hdtf-radio-man-458.mp4"
    shifts = (-10, -4, 0, 4, 10)
    speaker = load_speaker(path, root=path.parent, shifts=shifts)
    assert all(row.is_found for row in selftest_sync(speaker, shifts=shifts))
