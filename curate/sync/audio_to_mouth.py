"""Predict mouth opening and width from sound: a linear map of the log-mel spectrum, 2 kB of coefficients.

benchmarks/fit_lip_audio.py fits the coefficients; weights/lip_audio.txt documents data and accuracy. Axes: T frames at
25 fps, Q quantities (opening, width), K neighbouring frames per prediction, B mel bands.
"""

import hashlib
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.schemas.errors import RunError
from xsheet.schemas.time import AUDIO_RATE

Floats = NDArray[np.float32]

WEIGHTS = "lip_audio.safetensors"
WEIGHTS_SHA256 = "cfebc22151e7bd16f0e9783320c82e9da49f158a82718f4c9c9f6fdaad3a8b74"
MEL_BANDS = 24
TAPS = range(-4, 5)  # frames of context: 160 ms to each side; more did not help

_WINDOW_SAMPLES = 400  # 25 ms
_HOP_SAMPLES = 160  # 10 ms, four to a frame
_FFT_SAMPLES = 512
_BAND_HZ = (80.0, 7600.0)
_POWER_FLOOR = 1e-8  # power per band, -80 dB; keeps the logarithm finite
_MUTED_POWER = 1e-8  # power of a frame, -80 dB of full scale: below any microphone
_NORMALISATION_FRAMES = 125  # level and timbre are normalised over 5 s to each side, as speakers and rooms differ
_PRIOR_FRAMES = 25.0  # weight of the whole source in that; stabilises passages with little voice
_BLOCK_HOPS = 1024


def predict_mouth(sound: Samples, voice: NDArray[np.floating]) -> Floats:
    """Predict (Q, T) mouth opening and width from (640 T,) samples, in standard deviations of a talking mouth.

    NaN in muted frames, because mouth motion there says nothing about sync.

    Args:
        sound: float32 at 16 kHz, -1..1.
        voice: (T,) probability of voice; loudness and timbre are normalised over voiced frames.

    Raises:
        RunError: the installed coefficients have another hash.
    """
    mouth = apply_coefficients(normalise_bands(log_mel_spectrogram(sound), voice), load_coefficients())
    mouth[:, np.square(sound).reshape(-1, SAMPLES_PER_FRAME).mean(1) < _MUTED_POWER] = np.nan
    return mouth


def apply_coefficients(bands: Floats, weights: Floats) -> Floats:
    """(Q, T) from bands (T, B) and weights (Q, K, B); frames beyond the ends repeat the nearest one."""
    mouth = np.zeros((len(weights), len(bands)), np.float32)
    if len(bands):
        padded = np.pad(bands, ((-TAPS.start, TAPS.stop - 1), (0, 0)), mode="edge")
        for k in range(len(TAPS)):
            mouth += weights[:, k] @ padded[k : k + len(bands)].T
    return mouth


def log_mel_spectrogram(sound: Samples) -> Floats:
    """(T, B) log power per mel band, averaged over the four windows of each frame."""
    filterbank, taper = _mel_filterbank(), np.hanning(_WINDOW_SAMPLES).astype(np.float32)
    lead = (_WINDOW_SAMPLES - _HOP_SAMPLES) // 2  # each window is centred on its 10 ms
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (lead, _WINDOW_SAMPLES)), _WINDOW_SAMPLES)[
        ::_HOP_SAMPLES
    ]
    parts = [np.zeros((0, MEL_BANDS), np.float32)]
    steps = len(sound) // SAMPLES_PER_FRAME * 4
    for start in range(0, steps, _BLOCK_HOPS):
        power = np.abs(np.fft.rfft(windows[start : min(start + _BLOCK_HOPS, steps)] * taper, _FFT_SAMPLES)) ** 2
        parts.append(np.log(power.astype(np.float32) @ filterbank + _POWER_FLOOR).reshape(-1, 4, MEL_BANDS).mean(1))
    return np.concatenate(parts)


def normalise_bands(bands: Floats, voice: NDArray[np.floating]) -> Floats:
    """Normalise each band to zero mean and unit deviation over the voiced frames of the 10 s around each frame."""
    if not len(bands):
        return bands
    weight = np.asarray(voice, np.float64)[:, None] + 1e-3
    x = bands.astype(np.float64)
    total_weight = weight.sum(0)
    mean, square = (x * weight).sum(0) / total_weight, (x * x * weight).sum(0) / total_weight
    local_weight = _moving_sum(weight) + _PRIOR_FRAMES
    local_mean = (_moving_sum(x * weight) + _PRIOR_FRAMES * mean) / local_weight
    local_std = np.sqrt(
        np.maximum((_moving_sum(x * x * weight) + _PRIOR_FRAMES * square) / local_weight - local_mean**2, 1e-2)
    )
    return np.asarray(np.clip((x - local_mean) / local_std, -5, 5), np.float32)


@cache
def load_coefficients() -> Floats:
    """Load the (Q, K, B) coefficients of the installation, once.

    Raises:
        RunError: the file has another hash.
    """
    raw = (files("xsheet.curate.sync") / "weights" / WEIGHTS).read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise RunError(
            where=f"xsheet/curate/sync/weights/{WEIGHTS}",
            expected=f"SHA-256 {WEIGHTS_SHA256}",
            got=digest,
            hint="reinstall xsheet, or update WEIGHTS_SHA256 after a fit of your own",
        )
    return np.asarray(load(raw)["coefficients"], np.float32)


def _moving_sum(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over _NORMALISATION_FRAMES to each side; fewer at the ends."""
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
    at = np.arange(len(x))
    return np.asarray(
        total[np.minimum(at + _NORMALISATION_FRAMES + 1, len(x))] - total[np.maximum(at - _NORMALISATION_FRAMES, 0)],
        np.float64,
    )


def _mel_filterbank() -> Floats:
    """(257, B) triangular filters, evenly spaced in mel."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in _BAND_HZ)
    edges = 700 * (10 ** (np.linspace(low, high, MEL_BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(_FFT_SAMPLES, 1 / AUDIO_RATE.num)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
