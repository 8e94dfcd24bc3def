"""Optical flow inside the body parts of one person: speed of the picture, independent of the trackers.

    flow = FlowAnalyser()
    for frame in media.frames(...): flow.add(frame)
    signals = replace(signals, **flow.signals(signals))

The tracked points only place the boxes. The annotator does not read these series, so the audit has independent
evidence. DIS flow (Kroeger et al., arXiv 1603.03590) over two frames at a reduced size; the motion of the background is
subtracted.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.frames import Picture
from xsheet.curate.media.image import Rgb
from xsheet.curate.series import array_to_series, series_to_array
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import Series
from xsheet.schemas.time import CLIP_RATE

Floats = NDArray[np.float64]
Flow = NDArray[np.float32]
Luma = NDArray[np.uint8]
HEIGHT_PX = 144
"""Of the pictures that are compared: a wrist that moves .3 picture heights per second moves 3.5 px in two frames."""
_STRIDE = 2  # frames between two compared pictures, as many as between two poses
_SIDE_SHARE = 0.15  # strips on both sides that count as background
_MIN_BOX_PX = 36  # smaller boxes hold too few pixels
_LIMB_QUANTILE, _BODY_QUANTILE = 0.8, 0.5  # a hand fills a part of its box, a face most of it
# Boxes in face heights, from the points that they surround.
_HEAD_REACH = (0.38, 0.5, 0.15)  # to either side, up, down: without the mouth, which speech moves
_TORSO_DEPTH = 0.9
_LIMB_MARGIN = 0.35


class FlowAnalyser:
    """Keeps reduced pictures of one clip and measures their flow once the body is tracked."""

    def __init__(self) -> None:
        self._pictures: list[Luma] = []

    def add(self, frame: Picture) -> None:
        """Keep the next frame, reduced: some 20 kB. Only every second one is compared; the others stand for it."""
        is_compared = len(self._pictures) % _STRIDE == 0
        self._pictures.append(reduced_luma(frame.rgb) if is_compared else self._pictures[-1])

    def signals(self, signals: Signals) -> dict[str, Series]:
        """The flow series of Signals, one value per added frame; a part that is never visible has none."""
        return part_flow(self._pictures, signals)


def reduced_luma(rgb: Rgb) -> Luma:
    """(HEIGHT_PX, width) luma of a picture."""
    height, width = rgb.shape[:2]
    size = max(1, round(width * HEIGHT_PX / height)), HEIGHT_PX
    return np.asarray(cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA), np.uint8)


def part_flow(pictures: Sequence[Luma], signals: Signals) -> dict[str, Series]:
    """Flow by series name: picture heights per second inside each part's box, null where it is not visible.

    Args:
        pictures: (height, width) uint8, one per frame of the clip.
        signals: of the same clip; gives the boxes.
    """
    centres = np.arange(_STRIDE // 2, len(pictures) - _STRIDE // 2, _STRIDE)
    rows = np.full((len(centres), len(_BOXES)), np.nan)
    if len(centres):
        estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        points = _Points(signals)
        for row, k in zip(rows, centres.tolist(), strict=True):
            before, after = pictures[k - _STRIDE // 2], pictures[k + _STRIDE // 2]
            field = estimator.calc(before, after, np.zeros((*before.shape, 2), np.float32))
            flow = np.asarray(field, np.float32)
            flow = flow - _background(flow)
            speed = np.asarray(cv2.magnitude(*cv2.split(flow))) / before.shape[0] * float(CLIP_RATE) / _STRIDE
            row[:] = [_inside(speed, box(points, k), quantile) for box, quantile in _BOXES.values()]
    spread = (_spread(values, centres, len(pictures)) for values in rows.T)
    return {
        name: array_to_series(values) for name, values in zip(_BOXES, spread, strict=True) if np.isfinite(values).any()
    }


class _Points:
    """Tracked points of a clip in picture heights; NaN where they are not visible."""

    def __init__(self, signals: Signals) -> None:
        self._signals, self._series = signals, dict[str, Floats]()

    def value(self, name: str, frame: int) -> float:
        if name not in self._series:
            self._series[name] = series_to_array(getattr(self._signals, name), frames=self._signals.frames)
        series = self._series[name]
        return float(series[frame]) if frame < len(series) else float("nan")

    def point(self, name: str, frame: int) -> Floats:
        return np.array([self.value(f"{name}_x", frame), self.value(f"{name}_y", frame)])


def _head_box(points: _Points, frame: int) -> Floats:
    x, y = points.point("head", frame)
    side, up, down = points.value("head_height", frame) * np.array(_HEAD_REACH)
    return np.array([x - side, y - up, x + side, y + down])


def _torso_box(points: _Points, frame: int) -> Floats:
    left, right = points.point("shoulder_left", frame), points.point("shoulder_right", frame)
    x0, x1, top = min(left[0], right[0]), max(left[0], right[0]), min(left[1], right[1])
    return np.array([x0, top, x1, top + _TORSO_DEPTH * points.value("head_height", frame)])


def _limb_box(side: str) -> Callable[[_Points, int], Floats]:
    def box(points: _Points, frame: int) -> Floats:
        wrist, elbow = points.point(f"wrist_{side}", frame), points.point(f"elbow_{side}", frame)
        margin = _LIMB_MARGIN * points.value("head_height", frame)
        ends = np.stack([wrist, np.where(np.isfinite(elbow), elbow, wrist)])
        return np.concatenate([ends.min(axis=0) - margin, ends.max(axis=0) + margin])

    return box


_BOXES: dict[str, tuple[Callable[[_Points, int], Floats], float]] = {
    "flow_head": (_head_box, _BODY_QUANTILE),
    "flow_torso": (_torso_box, _BODY_QUANTILE),
    "flow_arm_left": (_limb_box("left"), _LIMB_QUANTILE),
    "flow_arm_right": (_limb_box("right"), _LIMB_QUANTILE),
}


def _background(flow: Flow) -> Flow:
    """(2,) motion of the background: the median of the strips on both sides."""
    width = max(1, round(_SIDE_SHARE * flow.shape[1]))
    strips = np.concatenate([flow[:, :width], flow[:, -width:]], axis=1)
    return np.asarray(np.median(strips.reshape(-1, 2), axis=0))


def _inside(speed: Flow, box: Floats, quantile: float) -> float:
    """Quantile of the speed inside a box in picture heights; NaN for a box that is unknown or outside the picture."""
    if not np.isfinite(box).all():
        return float("nan")
    height, width = speed.shape
    x0, y0, x1, y1 = (int(v) for v in np.clip(np.round(box * height), 0, (width, height, width, height)))
    part = speed[y0:y1, x0:x1]
    return float(np.quantile(part, quantile)) if part.size >= _MIN_BOX_PX else float("nan")


def _spread(values: Floats, centres: NDArray[np.int64], frames: int) -> Floats:
    """Values of the centre frames over all frames: each frame takes the nearest, so that gaps stay gaps."""
    if not len(centres):
        return np.full(frames, np.nan)
    nearest = np.clip(np.round((np.arange(frames) - centres[0]) / _STRIDE).astype(np.int64), 0, len(centres) - 1)
    return np.asarray(values[nearest])
