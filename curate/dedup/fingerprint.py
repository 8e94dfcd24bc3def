"""Fingerprint: one 32-bit word per frame, robust to re-encoding, scaling, dimming and frame rate conversion.

Picture: signs of the change over 0.4 s of differences between neighbouring cells, on a 4 × 9 grid (after Oostveen,
Kalker & Haitsma, 2002). Sound: the same for 33 bands from 300 to 2000 Hz (after Haitsma & Kalker, 2002). Both describe
change, so two people before the same background differ, unlike with a perceptual hash of key frames
(docs/log/curate.md#near-duplicates).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.frames import Frame
from xsheet.schemas.source import Fingerprint
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE

Samples = NDArray[np.float32]
Words = NDArray[np.uint32]
Mask = NDArray[np.bool_]

EXTRACTOR = "change-words@1"
_ROWS, _COLUMNS = 4, 9
_MIN_LINES = 128  # picture lines that suffice for means of four rows
_CELL_PX = 8  # cells are averaged from 8 × 8 pixels, because cv2 rounds means to integers
_PICTURE_LAG, _SOUND_LAG = 10, 5  # frames over which the change is measured
_MIN_MEAN_CHANGE = 0.15  # mean change in luma levels; below it signs are coding noise
_SAMPLES_PER_FRAME = AUDIO_RATE.num // CLIP_RATE.num
_WINDOW_SAMPLES = 5920  # 0.37 s
_FFT = 8192
_BANDS_HZ = np.geomspace(300, 2000, 34)
_MIN_POWER = 1e-6  # mean power of a window, -60 dB of full scale
_BLOCK_FRAMES = 500  # frames of sound per block, for constant memory


class FingerprintAnalyser:
    """Computes the fingerprint of a source during its decode."""

    def __init__(self) -> None:
        self._grids: list[NDArray[np.float32]] = []

    def add(self, frame: Frame) -> None:
        """Process the next frame."""
        step = max(1, min(frame.rgb.shape[:2]) // _MIN_LINES)
        luma = np.ascontiguousarray(cv2.cvtColor(frame.rgb[::step], cv2.COLOR_RGB2GRAY)[:, ::step])
        cells = cv2.resize(luma, (_COLUMNS * _CELL_PX, _ROWS * _CELL_PX), interpolation=cv2.INTER_AREA)
        grid = cells.reshape(_ROWS, _CELL_PX, _COLUMNS, _CELL_PX).mean(axis=(1, 3), dtype=np.float32)
        self._grids.append(grid)

    def fingerprint(self, source_id: str, *, sound: Samples | None) -> Fingerprint:
        """Return the fingerprint of the frames so far and of the sound (float32, 16 kHz, 640 samples per frame)."""
        picture = picture_words(np.reshape(self._grids, (-1, _ROWS, _COLUMNS)))
        sound_column = sound_words(sound) if sound is not None else None
        return Fingerprint(
            source_id=source_id,
            extractor=EXTRACTOR,
            frames=len(self._grids),
            picture=_to_column(*picture),
            sound=_to_column(*sound_column) if sound_column else (),
        )


def picture_words(grids: NDArray[np.floating]) -> tuple[Words, Mask]:
    """(frames,) words of luma grids (frames, 4, 9), and a mask of valid words (moving; never the last 0.4 s)."""
    changes = grids[_PICTURE_LAG:] - grids[:-_PICTURE_LAG]
    signs = np.diff(changes, axis=2).reshape(len(changes), 32)
    return _pack_words(signs, np.abs(signs).mean(axis=1) > _MIN_MEAN_CHANGE, frames=len(grids))


def sound_words(sound: Samples) -> tuple[Words, Mask]:
    """(frames,) words of (640 × frames,) samples, and a mask of valid words (not silent; never the last 0.2 s)."""
    frames = len(sound) // _SAMPLES_PER_FRAME
    before = (_WINDOW_SAMPLES - _SAMPLES_PER_FRAME) // 2
    around = np.pad(sound, (before, _WINDOW_SAMPLES))
    windows = np.lib.stride_tricks.sliding_window_view(around, _WINDOW_SAMPLES)[::_SAMPLES_PER_FRAME][:frames]
    parts = [_band_power(windows[at : at + _BLOCK_FRAMES]) for at in range(0, frames, _BLOCK_FRAMES)]
    if frames <= _SOUND_LAG:
        return np.zeros(frames, np.uint32), np.zeros(frames, dtype=bool)
    levels = np.diff(np.concatenate([bands for bands, _ in parts]), axis=1)
    loud = np.concatenate([power for _, power in parts]) > _MIN_POWER
    return _pack_words(
        levels[_SOUND_LAG:] - levels[:-_SOUND_LAG], loud[_SOUND_LAG:] & loud[:-_SOUND_LAG], frames=frames
    )


def _band_power(windows: Samples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, 33) log power of the bands, and (n,) mean power of each window."""
    power = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW_SAMPLES).astype(np.float32), _FFT)) ** 2
    places = np.searchsorted(np.fft.rfftfreq(_FFT, 1 / AUDIO_RATE.num), _BANDS_HZ)
    bands = np.add.reduceat(power, places, axis=1)[:, :-1]
    return np.log(bands + 1e-9).astype(np.float32), np.square(windows).mean(axis=1)


def _pack_words(signs: NDArray[np.floating], valid: Mask, *, frames: int) -> tuple[Words, Mask]:
    words, mask = np.zeros(frames, np.uint32), np.zeros(frames, dtype=bool)
    bits = np.packbits(signs > 0, axis=1).astype(np.uint32)
    words[: len(bits)] = bits[:, 0] << 24 | bits[:, 1] << 16 | bits[:, 2] << 8 | bits[:, 3]
    mask[: len(bits)] = valid
    return words, mask


def _to_column(words: Words, valid: Mask) -> tuple[int | None, ...]:
    return tuple(w if t else None for w, t in zip(words.view(np.int32).tolist(), valid.tolist(), strict=True))
