"""Cut scores: four numbers per frame, from downscaled frames; `shots.detect` finds shots from them.

The analyser keeps a dozen small pictures and no full frame.
"""

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb

Floats = NDArray[np.float32]

HISTOGRAM_RADIUS = 6
"""Frames before and after between which histograms are compared: half a second, the length of a quick dissolve."""
BLEND_RADIUS = 4
"""Frames before and after for the blend score; fewer are lost in grain, more blur the ends of a dissolve."""

_TARGET_PIXELS = 57_600  # 320 × 180: about PySceneDetect's scale, for which its thresholds were chosen
_BLEND_LEVELS_PER_FRAME = 0.75  # levels per frame from which a pixel counts in full; motion is faster in fewer pixels
_SMOOTHING_KERNEL = np.array([0.25, 0.5, 0.25], np.float32)
_BLOCKS = 144  # 16 × 9 of a wide picture
_KEPT_BLOCK_SHARE = 0.9  # share of blocks used; captions and subtitles change the rest


class CutScoreAnalyser:
    """Computes four scores per frame. Repeated frames cost nothing.

    `cut_content`: PySceneDetect's content score: mean change of hue, saturation and brightness.
    `cut_jump`: luma change in levels that favours spread over concentrated change: squared mean of the roots over
    blocks, without flicker and without the tenth of blocks that changed most. A jump cut changes many blocks a little,
    a caption few blocks a lot.
    `cut_histogram`: Bhattacharyya distance 0..1 of the colours a quarter of a second before and after. Motion within a
    scene hardly changes colours.
    `cut_blend`: share 0..1 of the picture that changes evenly from four frames before to four frames after. Moving
    edges jump between two values; dissolves and fades pass through all values between.
    """

    def __init__(self) -> None:
        from scenedetect import ContentDetector  # noqa: PLC0415 - takes half a second; only the decode needs it

        self._detector = ContentDetector(min_scene_len=0)
        self._content: list[float] = []
        self._jump: list[float] = []
        self._histogram: list[float] = []
        self._blend_score: list[float] = []
        self._rgb: Rgb | None = None
        self._luma: Floats | None = None
        self._histograms: deque[Floats] = deque(maxlen=2 * HISTOGRAM_RADIUS + 1)
        self._thumbnails: deque[Floats] = deque(maxlen=2 * BLEND_RADIUS + 1)

    def add(self, frame: Frame) -> None:
        """Process the next frame; all have one size."""
        if frame.rgb is self._rgb:
            self._content.append(0.0)
            self._jump.append(0.0)
            self._histograms.append(self._histograms[-1])
            self._thumbnails.append(self._thumbnails[-1])
        else:
            self._add_changed(frame.rgb)
        if len(self._content) > HISTOGRAM_RADIUS:
            self._histogram.append(_bhattacharyya_distance(self._histograms[0], self._histograms[-1]))
        if len(self._thumbnails) == 2 * BLEND_RADIUS + 1:
            self._blend_score.append(_blend_score(self._thumbnails))

    def series(self) -> dict[str, tuple[float | None, ...]]:
        """Scores of all frames so far, by field of Timeline."""
        return {
            "cut_content": tuple(self._content),
            "cut_jump": tuple(self._jump),
            "cut_histogram": (*self._histogram, *self._trailing_distances()),
            "cut_blend": self._padded_blend(),
        }

    def _add_changed(self, rgb: Rgb) -> None:
        small = shrink(rgb, round((rgb.shape[0] * rgb.shape[1] / _TARGET_PIXELS) ** 0.5))
        half = shrink(small, 2)
        luma = cv2.cvtColor(half, cv2.COLOR_RGB2GRAY).astype(np.float32)
        self._content.append(self._content_score(small))
        self._jump.append(0.0 if self._luma is None else _jump_score(luma, self._luma))
        self._rgb, self._luma = rgb, luma
        thumbnail = shrink(half, 3)
        self._histograms.append(_root_histogram(thumbnail))
        self._thumbnails.append(thumbnail.astype(np.float32))

    def _content_score(self, small: Rgb) -> float:
        # The public StatsManager also computes edges (0.8 ms per frame), which no score uses, and keeps every value.
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        return float(self._detector._calculate_frame_score(len(self._content), bgr))

    def _trailing_distances(self) -> list[float]:
        """Distances of the last frames, whose later neighbour is missing: against the last frame."""
        kept = list(self._histograms)
        pending = len(self._content) - len(self._histogram)
        return [
            _bhattacharyya_distance(kept[max(0, at - HISTOGRAM_RADIUS)], kept[-1])
            for at in range(len(kept) - pending, len(kept))
        ]

    def _padded_blend(self) -> tuple[float, ...]:
        """Blend scores with zeros at both ends, where one side is missing."""
        around = [0.0] * min(BLEND_RADIUS, len(self._content))
        return (*around, *self._blend_score, *around)[: len(self._content)]


def shrink(picture: Rgb, factor: int) -> Rgb:
    """Average a picture over squares of `factor` pixels; incomplete squares at the edges are cut off.

    Integer factors are ten times as fast as others in OpenCV. A picture narrower than the factor becomes one pixel.
    """
    high, wide = (max(1, side // max(1, factor)) for side in picture.shape[:2])
    whole = picture[: high * factor, : wide * factor] if factor > 1 else picture
    return np.asarray(cv2.resize(whole, (wide, high), interpolation=cv2.INTER_AREA))


def _jump_score(luma: Floats, previous: Floats) -> float:
    height, width = luma.shape
    columns = min(width, max(1, round((_BLOCKS * width / height) ** 0.5)))
    size = (columns, min(height, max(1, round(_BLOCKS / columns))))
    change = luma - previous
    flicker = np.median(cv2.resize(change, size, interpolation=cv2.INTER_AREA))
    roots = np.sqrt(cv2.resize(np.abs(change - flicker), size, interpolation=cv2.INTER_AREA)).ravel()
    roots.sort()
    return float(roots[: max(1, round(_KEPT_BLOCK_SHARE * len(roots)))].mean() ** 2)


def _root_histogram(rgb: Rgb) -> Floats:
    """Square roots of a Lab histogram, smoothed so that flicker across a bin edge counts little."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    # One empty bin at each end of L; no sRGB colour reaches the ends of a and b.
    counts: Floats = np.asarray(cv2.calcHist([lab], [0, 1, 2], None, [18, 32, 32], [-16, 272, 0, 256, 0, 256]))
    chroma = cv2.sepFilter2D(counts.reshape(-1, counts.shape[2]), -1, _SMOOTHING_KERNEL, _SMOOTHING_KERNEL)
    smooth = cv2.sepFilter2D(chroma.reshape(counts.shape[0], -1), -1, np.ones(1, np.float32), _SMOOTHING_KERNEL)
    return np.asarray(np.sqrt(smooth / max(1.0, float(smooth.sum()))), np.float32)


def _bhattacharyya_distance(before: Floats, after: Floats) -> float:
    """1 minus the Bhattacharyya coefficient of two root histograms: 0 = same colours, 1 = none in common."""
    return max(0.0, 1.0 - float(np.vdot(before, after)))


def _blend_score(around: Sequence[Floats]) -> float:
    to_here, from_here = around[len(around) // 2] - around[0], around[-1] - around[len(around) // 2]
    # The smaller of two steps in the same direction; negative where directions differ.
    even = np.maximum(np.minimum(to_here, from_here), -np.maximum(to_here, from_here))
    # Channel by channel: a numpy maximum over an axis of three takes four times as long.
    largest = np.maximum(np.maximum(even[..., 0], even[..., 1]), even[..., 2]) / (
        BLEND_RADIUS * _BLEND_LEVELS_PER_FRAME
    )
    return float(np.clip(largest, 0, 1).mean())
