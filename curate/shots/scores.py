"""Cut scores: four numbers per frame that shots are found with later, from pictures that shrink in whole steps.

All four compare shrunken pictures; the analyser keeps a dozen of those and no frame. Finding the shots in the scores is
`xsheet.curate.shots.detect`, which needs no pictures.
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
"""Frames before and after over which histograms are compared: half a second in all, the length of a quick dissolve."""
BLEND_RADIUS = 4
"""Frames before and after that a blend is tested against; fewer drown in grain, more round off its two ends."""

_TARGET_PIXELS = 57_600  # 320 × 180: about what PySceneDetect scales to, on which its thresholds were chosen
_BLEND_LEVELS_PER_FRAME = (
    0.75  # levels per frame from which a place counts in full; a person's motion is far faster in far fewer places
)
_SMOOTHING_KERNEL = np.array([0.25, 0.5, 0.25], np.float32)
_BLOCKS = 144  # 16 × 9 of a wide picture
_KEPT_BLOCK_SHARE = 0.9  # of the blocks; a line of subtitles or a caption changes the rest


class CutScoreAnalyser:
    """Watches frames; `series` gives one value per frame and score. A shown frame that repeats the last costs nothing.

    `cut_content`: PySceneDetect's content score: mean change of hue, saturation and brightness.
    `cut_jump`: luma change, in levels, where change that is spread counts for more than change in one spot: the mean
    root over blocks, squared, without flicker and without the tenth of the blocks that changed most. A person who jumps
    changes many blocks a little, a caption a few of them a lot.
    `cut_histogram`: distance 0..1 of the colours a quarter of a second before and after. Movement leaves colours where
    they are, another scene does not.
    `cut_blend`: share 0..1 of the picture that runs evenly through this frame on its way from the picture four frames
    before to the one four after. Edges that move jump from one value to the other; a dissolve, and a fade, takes all
    between.
    """

    def __init__(self) -> None:
        from scenedetect import ContentDetector  # noqa: PLC0415  # half a second that deciding anew can do without

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
        """The next frame; all are of one size."""
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
        """The scores of all frames so far, by field of the timeline."""
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
        # Its public way, a StatsManager, also finds edges that no score uses, 0.8 ms a frame, and keeps all it is told.
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        return float(self._detector._calculate_frame_score(len(self._content), bgr))

    def _trailing_distances(self) -> list[float]:
        """Of the last frames, which have fewer after them than the reach: against the very last one."""
        kept = list(self._histograms)
        waiting = len(self._content) - len(self._histogram)
        return [
            _bhattacharyya_distance(kept[max(0, at - HISTOGRAM_RADIUS)], kept[-1])
            for at in range(len(kept) - waiting, len(kept))
        ]

    def _padded_blend(self) -> tuple[float, ...]:
        """Nothing runs through the first and the last frames: one side of them is missing."""
        around = [0.0] * min(BLEND_RADIUS, len(self._content))
        return (*around, *self._blend_score, *around)[: len(self._content)]


def shrink(picture: Rgb, factor: int) -> Rgb:
    """A picture averaged over squares of `factor` pixels, what does not fill one cut off.

    Whole factors are ten times as fast as others in OpenCV. A picture narrower than the factor shrinks to one pixel.
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
    """Roots of a histogram in Lab, smoothed so that a flicker across the edge of a bin is no change."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    # An empty bin at either end of L; no colour of sRGB reaches the ends of a and b, where rows of bins meet.
    counts: Floats = np.asarray(cv2.calcHist([lab], [0, 1, 2], None, [18, 32, 32], [-16, 272, 0, 256, 0, 256]))
    chroma = cv2.sepFilter2D(counts.reshape(-1, counts.shape[2]), -1, _SMOOTHING_KERNEL, _SMOOTHING_KERNEL)
    smooth = cv2.sepFilter2D(chroma.reshape(counts.shape[0], -1), -1, np.ones(1, np.float32), _SMOOTHING_KERNEL)
    return np.asarray(np.sqrt(smooth / max(1.0, float(smooth.sum()))), np.float32)


def _bhattacharyya_distance(before: Floats, after: Floats) -> float:
    """1 minus the Bhattacharyya coefficient of two histograms of roots: 0 the same colours, 1 none in common."""
    return max(0.0, 1.0 - float(np.vdot(before, after)))


def _blend_score(around: Sequence[Floats]) -> float:
    to_here, from_here = around[len(around) // 2] - around[0], around[-1] - around[len(around) // 2]
    # The smaller of two steps in the same direction; negative where they part.
    even = np.maximum(np.minimum(to_here, from_here), -np.maximum(to_here, from_here))
    # Channel by channel: numpy's own maximum over an axis of three takes four times as long.
    most = np.maximum(np.maximum(even[..., 0], even[..., 1]), even[..., 2]) / (BLEND_RADIUS * _BLEND_LEVELS_PER_FRAME)
    return float(np.clip(most, 0, 1).mean())
