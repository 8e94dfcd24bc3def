from collections.abc import Callable

import numpy as np
import pytest
import soxr

from xsheet.curate.audio.features import (
    AudioFeatureSettings,
    audio_features,
    harmonic_voice,
    silero_voice,
    sound_measure,
    voice_detector_name,
)
from xsheet.curate.media.reader import open_media
from xsheet.demo.film import sounds, voice
from xsheet.schemas.clip import SoundMeasure
from xsheet.schemas.source import Timeline
from xsheet.schemas.time import CLIP_RATE, frame_start_us

FRAMES = 150


@pytest.fixture(scope="module")
def speech():
    return voice.synthesise_speech(np.random.default_rng(3), FRAMES)


def measured(sound: np.ndarray, frames: range | None = None) -> SoundMeasure | None:
    count = len(sound) // 640
    timeline = Timeline(source_id="s", frames=count, extractor="x", **audio_features(sound, count))
    return sound_measure(timeline, range(count) if frames is None else frames)


def spoken(speech: voice.Speech) -> np.ndarray:
    """(T,) frames whose middle lies in a syllable."""
    middles = [frame_start_us(k, CLIP_RATE) + 20_000 for k in range(FRAMES)]
    return np.array([any(s.start_us <= us < s.end_us for s in speech.syllables) for us in middles])


def test_a_source_without_sound_has_no_series():
    assert audio_features(None, 25) == {}


@pytest.mark.slow
def test_every_series_covers_every_frame(speech):
    assert {len(series) for series in audio_features(speech.sound, FRAMES).values()} == {FRAMES}


@pytest.mark.slow
def test_the_series_are_fields_of_a_timeline(speech):
    Timeline(source_id="s", frames=FRAMES, extractor="x", **audio_features(speech.sound, FRAMES))


def test_a_film_of_no_frames_has_empty_series():
    assert set(audio_features(np.zeros(0, np.float32), 0).values()) == {()}


def test_sound_of_another_length_than_the_picture_is_refused(speech):
    with pytest.raises(ValueError, match="expected 149 frames"):
        audio_features(speech.sound, FRAMES - 1)


@pytest.mark.slow
@pytest.mark.parametrize("detector", [silero_voice, harmonic_voice])
def test_voice_is_detected_at_syllables(speech, detector: Callable[[np.ndarray], np.ndarray]):
    assert np.mean((detector(speech.sound) >= 0.5) == spoken(speech)) > 0.85


@pytest.mark.slow
def test_music_is_not_voice():
    assert silero_voice(sounds.music(np.random.default_rng(1), FRAMES)).max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("detector", [silero_voice, harmonic_voice])
def test_noise_is_not_voice(detector: Callable[[np.ndarray], np.ndarray]):
    measure = detector(sounds.room_noise(np.random.default_rng(1), FRAMES, level_db=-30))
    assert np.mean(measure >= 0.5) < 0.05


def test_the_detector_of_the_settings_is_named():
    assert voice_detector_name(AudioFeatureSettings(voice_detector="harmonic")) == "harmonic@1"


def test_loudness_is_the_level_of_the_span():
    tone = np.sin(2 * np.pi * 440 * np.arange(50 * 640) / 16_000).astype(np.float32)
    tone[: 25 * 640] *= 0.1
    quiet = measured(tone, range(25))
    assert quiet is not None
    assert quiet.loudness_db == pytest.approx(-23.0, abs=0.1)


def test_digital_silence_has_no_loudness_and_no_ratio():
    silent = measured(sounds.silence(50))
    assert silent is not None
    assert (silent.loudness_db, silent.snr_db, silent.silent_share) == (None, None, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("planted_db", [10.0, 20.0, 30.0])
def test_the_signal_to_noise_ratio_is_the_planted_one(speech, planted_db: float):
    noise = sounds.room_noise(np.random.default_rng(5), FRAMES, level_db=voice.SPEECH_DB - planted_db)
    measure = measured(speech.sound + noise)
    assert measure is not None
    assert measure.snr_db == pytest.approx(planted_db, abs=3)


@pytest.mark.slow
def test_speech_without_a_pause_still_has_a_ratio(speech):
    loud = spoken(speech)
    joined = speech.sound.reshape(-1, 640)[loud].ravel()
    measure = measured(joined)
    assert measure is not None
    assert measure.snr_db is not None


@pytest.mark.slow
def test_clipped_samples_are_counted(speech):
    clipped = measured(np.clip(20 * speech.sound, -1, 1).astype(np.float32))
    clean = measured(speech.sound)
    assert clipped is not None
    assert clean is not None
    assert clipped.clipped_share > 0.05
    assert clean.clipped_share < 0.0002


def test_a_source_without_sound_has_no_sound_measure():
    assert sound_measure(Timeline(source_id="s", frames=10, extractor="x"), range(10)) is None


@pytest.mark.slow
def test_voice_matches_human_labels_of_two_speakers(shared):
    with (shared / "data" / "labels" / "pyannote-sample.rttm").open() as lines:
        turns = [(float(f[3]), float(f[3]) + float(f[4])) for f in (line.split() for line in lines)]
    measure = silero_voice(_wav(shared / "data" / "audio" / "pyannote-two-speakers.wav"))
    middles = (np.arange(len(measure)) + 0.5) / 25
    labelled = np.any([(start <= middles) & (middles < end) for start, end in turns], axis=0)
    assert np.mean((measure >= 0.5) == labelled) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("music-instead-of-speech.mp4", 0.0, 0.05),
        ("silent-audio-track.mp4", 0.0, 0.0),
        ("music-under-speech.mp4", 0.7, 1.0),
        ("white-noise-under-speech.mp4", 0.5, 1.0),
        ("speech-with-2s-gap.mp4", 0.5, 0.7),
    ],
)
def test_the_share_of_voice_of_an_altered_clip(shared, name: str, low: float, high: float):
    measure = _measured_file(shared / "data" / "derived" / name)
    assert low <= measure.voice_share <= high


@pytest.mark.slow
def test_heavy_clipping_shows_in_a_real_clip(shared):
    assert _measured_file(shared / "data" / "derived" / "clipped-audio.mp4").clipped_share > 0.005


def _measured_file(path) -> SoundMeasure:
    with open_media(path, root=path.parent) as media:
        sound = media.sound()
    assert sound is not None
    measure = measured(sound)
    assert measure is not None
    return measure


def _wav(path) -> np.ndarray:
    import wave

    with wave.open(str(path)) as file:
        assert file.getnchannels() == 1
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
        mono = soxr.resample(samples, file.getframerate(), 16_000)
    return mono[: len(mono) // 640 * 640]
