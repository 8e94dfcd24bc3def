"""Likelihood of burnt-in text, by the PP-OCRv3 text detector (optional model file)."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.image import Rgb
from xsheet.curate.weights import read_model

MODEL_FILE = "text-detection-en-ppocrv3-2023may.onnx"

_LONG_SIDE_PX = 320  # finds lines from 3 % of the picture's height; 480 costs twice as much and adds prints on shirts
_MULTIPLE = 32  # the network halves its input five times
_MEAN, _SCALE = (122.68, 116.67, 104.01), 1 / 255 / 0.226  # blue, green, red; as the model was trained
_PIXEL_THRESHOLD = 0.3  # probability from which a pixel counts, the detector's published threshold
_MIN_LINE_AREA_PX = 30  # area of a line at that scale
_MIN_LINE_ASPECT = 1.5  # width / height of a line


class BurntInTextDetector:
    """Likelihood that a picture contains a line of text: captions, subtitles and signs alike."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self._network: cv2.dnn.Net | None = None

    def open(self) -> None:
        """Load the network; ConfigError if the file is missing or has another hash."""
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
