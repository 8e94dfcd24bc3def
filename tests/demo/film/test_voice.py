import hashlib
import itertools

import numpy as np
import pytest
from numpy.random import default_rng

from xsheet.demo.film import sounds, voice
from xsheet.schemas.time import CLIP_RATE, Span, frames_in

FRAMES = 250
FRAME_US = 40_000


def rms_db(sound):
    return 20 * np.log10(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def energy(sound):
    return np.sqrt(np.mean(sound.reshape(-1, 640) ** 2, axis=1))


def best_lag(mouth, loud, reach=20):
    """The lag in frames, positive when the sound is late, at which the plain cross-correlation is greatest."""
    mouth, loud = mouth - mouth.mean(), loud - loud.mean()
    both = {
        d: (mouth[max(0, -d) : len(mouth) - max(0, d)], loud[max(0, d) : len(loud) + min(0, d)])
        for d in range(-reach, reach + 1)
    }
    return max(both, key=lambda d: float(np.mean(both[d][0] * both[d][1])))


@pytest.fixture(scope="module")
def speeches():
    return [voice.synthesise_speech(default_rng(seed), FRAMES) for seed in range(20)]


@pytest.mark.slow
@pytest.mark.parametrize("offset", [*range(-6, 7), -15, 15])
def test_a_planted_offset_is_found_by_correlating_mouth_and_energy(speeches, offset):
    found = [best_lag(s.mouth_open, energy(sounds.shift_audio(s.sound, offset * FRAME_US))) for s in speeches]
    assert max(abs(lag - offset) for lag in found) <= 1


def test_swapped_sound_correlates_less_than_its_own(speeches):
    own = [np.corrcoef(s.mouth_open, energy(s.sound))[0, 1] for s in speeches]
    swapped = [np.corrcoef(a.mouth_open, energy(b.sound))[0, 1] for a, b in itertools.pairwise(speeches)]
    assert min(own) > max(swapped)


@pytest.mark.parametrize("frames", [1, 2, 3, 10, 77, 250])
def test_sound_and_curves_are_as_long_as_the_clip(frames):
    spoken = voice.synthesise_speech(default_rng(1), frames)
    for sound in (spoken.sound, sounds.music(default_rng(1), frames), sounds.room_noise(default_rng(1), frames)):
        assert (sound.shape, sound.dtype) == ((640 * frames,), np.float32)
        assert np.isfinite(sound).all()
    assert spoken.mouth_open.shape == spoken.mouth_wide.shape == spoken.voiced.shape == (frames,)


def test_syllables_and_pauses_tile_the_clip(speeches):
    for s in speeches:
        spans = sorted((*s.syllables, *s.pauses))
        assert spans[0].start_us == 0
        assert spans[-1].end_us == FRAMES * FRAME_US
        assert all(a.end_us == b.start_us for a, b in itertools.pairwise(spans))


def test_syllables_come_at_three_to_six_a_second(speeches):
    lengths = [s.duration_us for speech in speeches for s in speech.syllables]
    assert 3 <= 1e6 / np.mean(lengths) <= 6
    assert min(lengths) >= 130_000
    assert np.std(lengths) > 20_000  # no metronome


def test_pauses_within_a_clip_last_0_2_to_0_8_s(speeches):
    inner = [p.duration_us for s in speeches for p in s.pauses[1:-1]]
    assert inner
    assert 200_000 <= min(inner) <= max(inner) <= 800_000


def test_speech_is_at_its_level_and_pauses_at_the_floor(speeches):
    for s in speeches:
        spoken = np.concatenate([s.sound[x.start_us * 2 // 125 : x.end_us * 2 // 125] for x in s.syllables])
        assert rms_db(spoken) == pytest.approx(-23, abs=1)
        inner = [Span(p.start_us + 60_000, p.end_us - 60_000) for p in s.pauses if p.duration_us > 200_000]
        quiet = np.concatenate([s.sound[x.start_us * 2 // 125 : x.end_us * 2 // 125] for x in inner])
        assert rms_db(quiet) < -55


@pytest.mark.slow
def test_nothing_clips(speeches):
    assert max(float(np.abs(s.sound).max()) for s in speeches) < 0.95
    assert max(float(np.abs(sounds.music(default_rng(k), FRAMES)).max()) for k in range(10)) < 0.95


def test_the_mouth_is_shut_and_the_folds_rest_in_pauses(speeches):
    for s in speeches:
        for pause in s.pauses:
            inner = frames_in(pause, CLIP_RATE)[2:-2]
            assert not s.mouth_open[inner.start : inner.stop].any()
            assert not s.voiced[inner.start : inner.stop].any()


def test_lips_meet_within_phrases(speeches):
    # /m b p/ are a quarter of the consonants, and each shows its closed lips in at least one frame.
    closed = [np.sum((s.mouth_open[1:-1] < 1e-6) & (s.mouth_open[:-2] > 0) & (s.mouth_open[2:] > 0)) for s in speeches]
    assert np.median(closed) >= 2


def test_the_same_seed_gives_the_same_bytes():
    def digest(seed):
        s = voice.synthesise_speech(default_rng(seed), 50)
        arrays = (s.sound, s.mouth_open, s.mouth_wide, s.voiced, sounds.music(default_rng(seed), 50))
        return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()

    assert digest(5) == digest(5) != digest(6)


def test_a_voice_sets_the_pitch():
    high = voice.Voice(pitch_hz=220.0, formant_scale=1.15, syllable_hz=4.5, breathiness=0.04)
    s = voice.synthesise_speech(default_rng(0), FRAMES, voice=high)
    spans = [x for x in s.syllables if x.duration_us > 200_000]
    pitches = []
    for x in spans:
        piece = s.sound[(x.end_us - 110_000) * 2 // 125 : (x.end_us - 30_000) * 2 // 125]
        same = np.correlate(piece, piece, "full")[len(piece) - 1 :]
        pitches.append(16_000 / (50 + np.argmax(same[50:200])))
    assert 180 < np.median(pitches) < 260


def test_shift_moves_by_whole_microseconds_and_keeps_the_length():
    sound = np.arange(1, 6401, dtype=np.float32)
    late, early = sounds.shift_audio(sound, 1_000), sounds.shift_audio(sound, -1_000)
    assert (late[:16] == 0).all()
    assert (late[16:] == sound[:-16]).all()
    assert (early[-16:] == 0).all()
    assert (early[:-16] == sound[16:]).all()
    assert (sounds.shift_audio(sound, 0) == sound).all()
    assert (sounds.shift_audio(sound, 10_000_000) == 0).all()


def test_shift_fills_with_room_tone_if_it_has_a_generator():
    gap = sounds.shift_audio(sounds.silence(50), 1_000_000, rng=default_rng(0))[:16_000]
    assert rms_db(gap) == pytest.approx(-60, abs=1)


def test_music_has_a_beat_but_no_silence():
    loud = energy(sounds.music(default_rng(3), FRAMES))
    assert loud.min() > 1e-3
    assert loud.max() > 2 * np.median(loud)
