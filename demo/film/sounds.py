"""Sounds other than speech, and shifting audio in time. 16 kHz mono float32, 640 samples per frame at 25 fps."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from xsheet.schemas.time import AUDIO_RATE, nearest_frame

Floats = NDArray[np.float32]

SAMPLE_HZ = 16_000
FRAME_SAMPLES = 640  # 40 ms: one frame at 25 fps
SPEECH_DB = -23.0  # RMS of speech relative to full scale, the programme level of EBU R 128
FLOOR_DB = -60.0  # RMS of the room tone under everything


def db_to_gain(level_db: float) -> float:
    """Convert a level in dB to an amplitude factor."""
    return float(10 ** (level_db / 20))


def _scale_to_level(sound: NDArray[np.floating], level_db: float) -> Floats:
    """Scale the sound to an RMS level relative to full scale."""
    rms = float(np.sqrt(np.mean(np.square(sound))))
    return sound.astype(np.float32) * np.float32(db_to_gain(level_db) / rms)


def silence(frames: int) -> Floats:
    """Return digital silence (zeros)."""
    return np.zeros(frames * FRAME_SAMPLES, np.float32)


def room_noise(rng: Generator, frames: int, *, level_db: float = -40.0) -> Floats:
    """Synthesise room noise: -3 dB per octave above 100 Hz, at an RMS level relative to full scale."""
    size = frames * FRAME_SAMPLES
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_HZ)
    sound = np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 100) / 100), size)
    return _scale_to_level(sound, level_db)


def music(rng: Generator, frames: int) -> Floats:
    """Synthesise music at speech level: plucked chords, bass and drums at 80-130 beats per minute, no voice."""
    size = frames * FRAME_SAMPLES
    beat = int(SAMPLE_HZ * 60 / rng.uniform(80, 130))
    now = np.arange(size)
    chord = now // (2 * beat)  # a new one every other beat
    since = (now % (2 * beat) / SAMPLE_HZ).astype(np.float32)
    root = 110 * 2 ** (rng.choice((0, 3, 5, 7, 10, -2), chord[-1] + 1) / 12)
    sound = np.zeros(size, np.float32)
    for semitones in (-12, 0, 4 if rng.random() < 0.5 else 3, 7, 12):
        turns = (root * 2 ** (semitones / 12))[chord].astype(np.float32) * since
        for partial in (1, 2, 3, 4):
            fade = np.exp(-since * np.float32(1.5 * partial))
            sound += (0.5 / partial) * fade * np.sin(np.float32(2 * np.pi * partial) * turns)
    stroke = (now % beat / SAMPLE_HZ).astype(np.float32)
    eighth = (now % (beat // 2) / SAMPLE_HZ).astype(np.float32)
    sound += 3 * np.exp(-stroke * 18) * np.sin(2 * np.pi * (50 * stroke + 3 * (1 - np.exp(-stroke * 40))))
    hat = np.diff(rng.standard_normal(size + 1, dtype=np.float32))  # white noise tilted upwards
    sound += hat * (0.3 * np.exp(-eighth * 60) + 0.5 * np.exp(-stroke * 25) * (now // beat % 2))
    return _scale_to_level(sound, SPEECH_DB)


def shift_audio(sound: Floats, offset_us: int, *, rng: Generator | None = None) -> Floats:
    """Delay the sound by `offset_us` (advance it if negative), same length; the gap is room tone, zeros without rng."""
    by = nearest_frame(abs(offset_us), AUDIO_RATE) * (1 if offset_us >= 0 else -1)
    by = max(-len(sound), min(len(sound), by))
    fill = np.zeros(abs(by), np.float32)
    if rng is not None and by:
        fill = room_noise(rng, -(-abs(by) // FRAME_SAMPLES), level_db=FLOOR_DB)[: abs(by)]
    kept = sound[: len(sound) - by] if by >= 0 else sound[-by:]
    return np.concatenate([fill, kept] if by >= 0 else [kept, fill])
