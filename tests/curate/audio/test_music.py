"""Likelihood of music: tones that hold their pitch, and YAMNet."""

from functools import cache

import numpy as np
import pytest

from xsheet.curate.audio.features import audio_features, sound_measure
from xsheet.curate.audio.music import YAMNET_FILE, open_music_detector, tone_likelihood
from xsheet.curate.media.reader import open_media
from xsheet.demo.film import voice
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import Timeline

FRAMES, RATE = 150, 16_000
SECONDS = np.arange(FRAMES * 640) / RATE
MUSIC = (
    "derived/music-instead-of-speech.mp4",
    "videos/still-woman-music-s18.mp4",
    "videos/dance-fullbody-music-s13.mp4",
)
SPEECH = ("videos/grid-lwbsza.mpg", "videos/hdtf-katie-hill-512.mp4", "videos/latentsync-demo3-man-gestures.mp4",
          "videos2/studio-woman-happy.mp4", "derived/music-under-speech.mp4")  # fmt: skip
SONG = "videos/mime-woman-music-d10.mp4"


@cache
def chords(*, seconds_each: float = 0.6) -> np.ndarray:
    """Decaying chords of three notes with five harmonics each; made once, since that takes 0.4 s."""
    rng, sound = np.random.default_rng(0), np.zeros(len(SECONDS))
    for start in np.arange(0, SECONDS[-1], seconds_each):
        at = (SECONDS - start).clip(0)
        for pitch in rng.choice([220.0, 261.6, 329.6, 392.0, 440.0], 3, replace=False):
            for harmonic in range(1, 6):
                wave = np.sin(2 * np.pi * pitch * harmonic * SECONDS) / harmonic
                sound += 0.05 * wave * np.exp(-2 * at) * (start <= SECONDS) * (start + seconds_each > SECONDS)
    return sound.astype(np.float32)


def glides() -> np.ndarray:
    """A buzz whose pitch rises and falls by a third three times a second, as a lively voice does."""
    phase = 2 * np.pi * np.cumsum(140 * (1 + 0.3 * np.sin(2 * np.pi * 3 * SECONDS))) / RATE
    return sum(0.1 * np.sin(k * phase) / k for k in range(1, 20)).astype(np.float32)


def sound_of(shared, name):
    with open_media(shared / "data" / name, root=shared) as media:
        return media.sound()


def test_chords_are_music():
    assert tone_likelihood(chords()).mean() > 0.9


def test_a_gliding_pitch_is_no_music():
    assert tone_likelihood(glides()).max() < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_the_drawn_persons_speech_is_no_music(seed):
    speech = voice.synthesise_speech(np.random.default_rng(seed), FRAMES)
    assert tone_likelihood(speech.sound).mean() < 0.3


def test_digital_silence_is_no_music():
    assert tone_likelihood(np.zeros(FRAMES * 640, np.float32)).max() < 1e-6


@pytest.mark.parametrize("frames", [0, 1, 2, 30])
def test_every_frame_has_a_likelihood_however_short_the_sound(frames):
    assert tone_likelihood(chords()[: frames * 640]).shape == (frames,)


def test_music_begins_where_it_begins():
    quiet_first = np.concatenate([np.zeros(75 * 640, np.float32), chords()[: 75 * 640]])
    found = tone_likelihood(quiet_first)
    assert found[:40].max() < 0.5 < found[110:].min()


def test_a_measure_has_the_mean_of_its_span():
    timeline = Timeline(source_id="s", frames=FRAMES, extractor="x", **audio_features(chords(), FRAMES))
    measure = sound_measure(timeline, range(50, 100))
    assert measure is not None
    assert measure.music_likelihood == pytest.approx(np.mean(timeline.music[50:100]), abs=1e-6)


@pytest.mark.parametrize("name", MUSIC)
def test_instruments_of_real_clips_are_above_the_limit_of_the_preset(shared, name):
    assert tone_likelihood(sound_of(shared, name)).mean() > 0.5


@pytest.mark.parametrize("name", SPEECH)
def test_speech_of_real_clips_is_below_the_strict_limit(shared, name):
    assert tone_likelihood(sound_of(shared, name)).mean() < 0.3


@pytest.mark.slow
def test_the_network_recognises_a_song_and_no_speech(shared):
    detector = open_music_detector("yamnet", models=shared / "models")
    assert detector(sound_of(shared, SONG)).mean() > 0.45
    for name in (*SPEECH[:4], MUSIC[0]):
        found = detector(sound_of(shared, name))
        assert (found.mean() > 0.5) == (name in MUSIC), name


def test_the_network_wants_a_models_folder():
    with pytest.raises(ConfigError, match=YAMNET_FILE):
        open_music_detector("yamnet", models=None)
