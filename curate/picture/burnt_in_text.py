"""Likelihood of burnt-in text: lines of thin strokes with high contrast, or the PP-OCRv3 detector (a model file).

Both find captions, subtitles, signs and prints alike. Measured in docs/log/curate.md#burnt-in-text.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.image import Rgb
from xsheet.curate.weights import read_model
from xsheet.schemas.errors import ConfigError

MODEL_FILE = "text-detection-en-ppocrv3-2023may.onnx"

_LONG_SIDE_PX = 320  # finds lines from 3 % of the picture's height; 480 costs twice as much and adds prints on shirts
_MULTIPLE = 32  # the network halves its input five times
_MEAN, _SCALE = (122.68, 116.67, 104.01), 1 / 255 / 0.226  # blue, green, red; as the model was trained
_PIXEL_THRESHOLD = 0.3  # probability from which a pixel counts, the detector's published threshold
_MIN_LINE_AREA_PX = 30  # area of a line at that scale
_MIN_LINE_ASPECT = 1.5  # width / height of a line


_STROKES_LONG_SIDE_PX = 640
_STROKE_PX = 9  # thickest stroke; a line of 12 % of the picture has strokes of a tenth of its height
_MIN_STROKE_CONTRAST = 55  # levels of lightness
_LETTER_GAP_PX = 15  # letters and words that are nearer belong to one line
_LINE_HEIGHT = (0.016, 0.12)  # of the long side
_LINE_ASPECT = 5.0  # least width / height of a line
_LINE_SOLIDITY = 0.55  # least share of the line's box between its first and last strokes
_INK_SHARE = (0.2, 0.6)  # strokes by box
_STROKES_PER_HEIGHT = (1.2, 3.2)  # crossed along a row, per line height: letters are about half as wide as high
_CONTRAST_RANGE = (60.0, 140.0)  # median contrast of a line that maps to 0 and 1: prints on cloth have 80, captions 100


class StrokeTextDetector:
    """Likelihood that a picture contains a line of text, from the strokes of letters; needs no model."""

    def __call__(self, rgb: Rgb) -> float:
        """Contrast of the clearest line, 0..1; 0 without a line."""
        height, width = rgb.shape[:2]
        scale = _STROKES_LONG_SIDE_PX / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        light = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[:, :, 0], np.uint8)
        low, high = _CONTRAST_RANGE
        return max((min(1.0, max(0.0, (one - low) / (high - low))) for one in _line_contrasts(light)), default=0.0)


def _line_contrasts(light: Rgb) -> Iterator[float]:
    """Median contrast of the strokes of each line of text, bright or dark."""
    for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        contrast = np.asarray(cv2.morphologyEx(light, hat, np.ones((_STROKE_PX, _STROKE_PX), np.uint8)))
        strokes = (contrast >= _MIN_STROKE_CONTRAST).astype(np.uint8)
        lines = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((1, _LETTER_GAP_PX), np.uint8))
        lines = cv2.morphologyEx(lines, cv2.MORPH_OPEN, np.ones((3, _STROKE_PX), np.uint8))
        _, _, boxes, _ = cv2.connectedComponentsWithStats(lines)
        for x, y, width, height, area in boxes[1:].tolist():  # the first one is the background
            inside = slice(y, y + height), slice(x, x + width)
            if area >= _LINE_SOLIDITY * width * height and _looks_like_text(strokes[inside], max(light.shape)):
                yield float(np.median(contrast[inside][strokes[inside] > 0]))


def _looks_like_text(strokes: NDArray[np.uint8], long_side_px: int) -> bool:
    """Whether the strokes (height, width) in a box have the size and the rhythm of letters in a line."""
    height, width = strokes.shape
    if not (_LINE_HEIGHT[0] <= height / long_side_px <= _LINE_HEIGHT[1] and width >= _LINE_ASPECT * height):
        return False
    if not _INK_SHARE[0] <= strokes.mean() <= _INK_SHARE[1]:
        return False
    middle = strokes[height // 4 : height - height // 4].astype(np.int8)
    crossed = float(np.abs(np.diff(middle, axis=1)).sum(axis=1).mean()) / 2
    return bool(_STROKES_PER_HEIGHT[0] <= crossed * height / width <= _STROKES_PER_HEIGHT[1])


class NetworkTextDetector:
    """Likelihood that a picture contains a line of text, from the PP-OCRv3 network."""

    def __init__(self, models: Path | None) -> None:
        self._models = models
        self._network: cv2.dnn.Net | None = None

    def open(self) -> None:
        """Load the network; ConfigError if the file is missing or has another hash."""
        if self._models is None:
            raise ConfigError(
                where="analysis.picture.text_detector", expected=f"a models folder with {MODEL_FILE}", got="none",
                hint=f"run `xsheet models pull {MODEL_FILE}`, and give --models",
            )  # fmt: skip
        data = np.frombuffer(read_model(self._models, MODEL_FILE), np.uint8)
        self._network = cv2.dnn.readNetFromONNX(data)

    def __call__(self, rgb: Rgb) -> float:
        """Mean probability 0..1 of the most likely line; 0 without a line."""
        if self._network is None:
            self.open()
        assert self._network is not None
        height, width = rgb.shape[:2]
        scale = _LONG_SIDE_PX / max(height, width)
        size = tuple(max(1, round(side * scale / _MULTIPLE)) * _MULTIPLE for side in (width, height))
        self._network.setInput(cv2.dnn.blobFromImage(rgb, _SCALE, size, _MEAN, swapRB=True))
        return _max_line_probability(np.asarray(self._network.forward(), np.float32).reshape(size[1], size[0]))


def _max_line_probability(probability: NDArray[np.float32]) -> float:
    text = (probability > _PIXEL_THRESHOLD).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(text)
    lines = [
        float(probability[labels == part].mean())
        for part in range(1, count)  # label 0 is background
        if stats[part, cv2.CC_STAT_AREA] >= _MIN_LINE_AREA_PX
        and stats[part, cv2.CC_STAT_WIDTH] > _MIN_LINE_ASPECT * stats[part, cv2.CC_STAT_HEIGHT]
    ]
    return max(lines, default=0.0)
