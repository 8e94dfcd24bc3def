"""Likelihood of music in each frame, without weights from tones that hold their pitch, or by the network YAMNet.

    detector = open_music_detector("tones", models=None)
    music = detector(media.sound())          # (frames,) at 25 fps, 0..1

Speech glides; an instrument holds a tone. The first detector counts, in each frequency bin, the share of a block of 1.6
s in which the bin stands out of its neighbourhood, and takes the steepness of its strongest peaks (continuous frequency
activation, Seyerlehner et al. 2007, docs/references.md). It finds instruments, also under speech; a voice that sings
alone it does not. What both detectors find on real sound: docs/log/curate.md#music.
"""

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.weights import read_model
from xsheet.schemas.errors import ConfigError, install_extra

Floats = NDArray[np.float32]
MusicDetectorName = Literal["tones", "yamnet"]

YAMNET_FILE = "yamnet.tflite"
_YAMNET_SAMPLES, _YAMNET_MUSIC = 15_600, 132  # .975 s a call; index of the class "Music" in AudioSet's list

_WINDOW, _HOP = 1024, 256  # samples: 64 and 16 ms
_BLOCK, _BLOCK_HOP = 100, 50  # windows
_NEIGHBOURHOOD = 21  # bins, 330 Hz: what a bin must stand out of, by 1 dB
_PEAKS = 5
_EVEN, _SOFTNESS = 1.25, 0.06  # steepness with a likelihood of one half; speech reaches 1.05, music 1.2 to 1.6


class MusicDetector(Protocol):
    """Likelihood of music, (frames,) in 0..1, of (640 × frames,) samples at 16 kHz."""

    def __call__(self, sound: Samples) -> Floats:
        """Measure whole frames."""
        ...


def open_music_detector(name: MusicDetectorName, *, models: Path | None) -> MusicDetector:
    """Open a detector.

    Raises:
        ConfigError: YAMNet's file or its runtime is missing, or the file has another hash.
    """
    return tone_likelihood if name == "tones" else YamnetDetector(models)


def tone_likelihood(sound: Samples) -> Floats:
    """Likelihood of music from tones that hold their pitch; silence has 0."""
    frames = len(sound) // SAMPLES_PER_FRAME
    if len(sound) < _WINDOW:
        return np.zeros(frames, np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
    steepness, centres = [], []
    for start in range(0, max(1, len(windows) - _BLOCK + 1), _BLOCK_HOP):
        block = windows[start : start + _BLOCK]
        steepness.append(_peak_steepness(_activation(block)))
        centres.append((start + len(block) / 2) * _HOP + _WINDOW / 2)
    likelihood = 1 / (1 + np.exp(np.clip((_EVEN - np.array(steepness)) / _SOFTNESS, -40, 40)))
    at_frames = (np.arange(frames) + 0.5) * SAMPLES_PER_FRAME
    return np.asarray(np.interp(at_frames, centres, likelihood), np.float32)


def _activation(windows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of the windows in which each bin stands out of its neighbourhood, (bins,)."""
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW).astype(np.float32), axis=1))
    level = 20 * np.log10(spectrum + 1e-5)  # 1e-5: below 16-bit noise, so that silence is flat
    half = _NEIGHBOURHOOD // 2
    total = np.cumsum(np.pad(np.pad(level, ((0, 0), (half, half)), mode="edge"), ((0, 0), (1, 0))), axis=1)
    around = (total[:, _NEIGHBOURHOOD:] - total[:, :-_NEIGHBOURHOOD]) / _NEIGHBOURHOOD
    return np.asarray((level - around > 1).mean(0))


def _peak_steepness(activation: NDArray[np.float64]) -> float:
    """Sum over the strongest peaks: height above the nearer valley by the bins to the nearer valley."""
    change = np.sign(np.diff(activation))
    change = change[np.maximum.accumulate(np.where(change == 0, 0, np.arange(len(change))))]  # a plateau goes on
    turns = np.flatnonzero(np.diff(change)) + 1
    turns = np.concatenate([[0], turns, [len(activation) - 1]])
    middle = turns[1:-1]
    is_peak = change[middle - 1] > 0
    left, right = turns[:-2][is_peak], turns[2:][is_peak]
    peak = middle[is_peak]
    height = activation[peak] - np.maximum(activation[left], activation[right])
    steepness = height / np.maximum(1, np.minimum(peak - left, right - peak))
    return float(np.sort(steepness)[-_PEAKS:].sum())


class YamnetDetector:
    """YAMNet (Apache-2.0), a file of the models folder, run by LiteRT (extra `music`)."""

    def __init__(self, models: Path | None) -> None:
        if models is None:
            raise ConfigError(
                where="analysis.sound.music_detector", expected=f"a models folder with {YAMNET_FILE}", got="none",
                hint="give --models; `xsheet models list` names the file and its hash",
            )  # fmt: skip
        try:
            from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - the extra
        except ImportError as error:
            raise ConfigError(
                where="analysis.sound.music_detector", expected="the package ai-edge-litert", got=str(error),
                hint=install_extra("music"),
            ) from error  # fmt: skip
        self._interpreter: Any = Interpreter(model_content=read_model(models, YAMNET_FILE), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._scores = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, sound: Samples) -> Floats:
        """The score of the class "Music" of the .975 s that hold each frame's middle."""
        frames = len(sound) // SAMPLES_PER_FRAME
        padded = np.pad(sound, (0, -len(sound) % _YAMNET_SAMPLES))
        scores = [self._score(window) for window in padded.reshape(-1, _YAMNET_SAMPLES)]
        window_of_frame = (np.arange(frames) * SAMPLES_PER_FRAME + SAMPLES_PER_FRAME // 2) // _YAMNET_SAMPLES
        return np.asarray(scores, np.float32)[window_of_frame] if frames else np.zeros(0, np.float32)

    def _score(self, window: Samples) -> float:
        if not window.any():
            return 0.0
        self._interpreter.set_tensor(self._input, np.asarray(window[None], np.float32))
        self._interpreter.invoke()
        return float(self._interpreter.get_tensor(self._scores)[0, _YAMNET_MUSIC])
