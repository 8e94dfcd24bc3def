"""A weak measure of identity that needs no model: proportions of the face, and the tones of skin and hair.

It tells most people apart within one corpus and fails on look-alikes and under other light; the numbers are in
docs/log.md#identity. An embedding network would do far better; its place is `FaceTrack.shape` too, under a
`shape_model` of its own.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.landmarks import Face, Fit
from xsheet.curate.picture import Rgb

SHAPE_MODEL = "mesh-proportions+tones@1"
MOST_TURN_DEG = 20.0
"""A head turned further than this shows its proportions badly and is not asked."""

# Pairs of points whose distance, by face height, differs between people and hardly with what the face does.
_SPANS = (
    (234, 454), (172, 397), (54, 284), (133, 362), (33, 263), (129, 358), (168, 4), (4, 0), (10, 168), (50, 280),
    (152, 0), (105, 159), (61, 291),
)  # fmt: skip
_CHEEKS, _HAIRLINE, _CHIN = (50, 280), 10, 152
# One unit of each number is its spread within one person: distances by face height, then L, a and b of skin and hair.
_UNIT_SPAN, _UNIT_TONE = 0.02, 12.0


def shape_of(rgb: Rgb, face: Face, fitted: Fit) -> NDArray[np.float32]:
    """(19,) proportions and tones, each in units of its spread within one person; NaN where the picture ends."""
    at = fitted.points
    spans = [np.linalg.norm(at[a] - at[b]) / _UNIT_SPAN for a, b in _SPANS]
    points = face.points[:, :2]
    up = points[_HAIRLINE] - points[_CHIN]
    size = max(1, round(0.04 * float(np.linalg.norm(up))))
    skin = np.mean([_tone(rgb, points[cheek], size) for cheek in _CHEEKS], axis=0)
    hair = _tone(rgb, points[_HAIRLINE] + 0.15 * up, size)
    return np.array((*spans, *(skin / _UNIT_TONE), *(hair / _UNIT_TONE)), np.float32)


def _tone(rgb: Rgb, at: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Mean L, a, b (0..255 each) of a square around a point."""
    x, y = round(float(at[0])), round(float(at[1]))
    height, width = rgb.shape[:2]
    if not (size <= x < width - size and size <= y < height - size):
        return np.full(3, np.nan, np.float32)
    mean = rgb[y - size : y + size + 1, x - size : x + size + 1].mean((0, 1))
    lab = cv2.cvtColor(mean.astype(np.uint8).reshape(1, 1, 3), cv2.COLOR_RGB2LAB)
    return np.asarray(lab, np.float32).reshape(3)
