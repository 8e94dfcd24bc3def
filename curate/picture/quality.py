"""Picture series per frame: luma, change, letterbox, camera motion, burnt-in text."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.picture.burnt_in_text import NetworkTextDetector, StrokeTextDetector
from xsheet.curate.picture.camera import background_motion
from xsheet.curate.shots.scores import shrink
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE

_TARGET_PIXELS = 57_600  # 320 × 180: averages grain, locates bars to half a percent
_BAR_RANGE = 12  # range of levels within a line of a bar; compression leaves some
_BAR_DRIFT = 6.0  # level difference between lines of one bar
_BAR_EDGE = 6.0  # median level difference along the edge of a bar; a plain wall has no straight edge
_MIN_BAR_SHARE = 0.01  # of the side


class PictureSettings(StrictModel):
    """How often the expensive measures run, and by what."""

    camera_interval_frames: int = Field(
        default=5,
        ge=1,
        le=25,
        description="frames between measurements of camera motion: 0.2 s shows slow motion, and half a picture height "
        "per second is still tracked",
    )
    text_interval_frames: int = Field(
        default=24,
        ge=1,
        le=250,
        description="frames between text detections; a readable caption lasts a second or more",
    )
    text_detector: Literal["strokes", "ppocr"] = Field(
        default="strokes",
        description="strokes: lines of thin strokes with high contrast. ppocr: the network of PP-OCRv3, a file of "
        "--models. Compared in docs/log/curate.md#burnt-in-text",
    )


class PictureAnalyser:
    """Computes the picture series of Timeline, one value per frame.

    `difference` compares pictures of about 160 × 90, so that a frozen picture scores 0 despite compression. `letterbox`
    is 0 for a picture of one plain colour. `camera_x` and `camera_y` are null where the background is not informative.
    `burnt_in_text` is null in frames between detections.
    """

    def __init__(self, settings: PictureSettings | None = None, *, models: Path | None = None) -> None:
        """`models`: folder of the text model, where the settings choose it."""
        self._settings = settings or PictureSettings()
        self._text = StrokeTextDetector() if self._settings.text_detector == "strokes" else NetworkTextDetector(models)
        self._rgb: Rgb | None = None
        self._small_luma: Rgb | None = None
        self._motion_reference: Rgb | None = None
        self._values: dict[str, list[float | None]] = {
            name: [] for name in ("difference", "luma", "letterbox", "camera_x", "camera_y", "burnt_in_text")
        }

    def add(self, frame: Frame) -> None:
        """Process the next frame; all have one size.

        Raises:
            ConfigError: the text model is missing or has another hash.
        """
        values, at = self._values, len(self._values["luma"])
        if frame.rgb is self._rgb:
            for name in ("luma", "letterbox"):
                values[name].append(values[name][-1])
            values["difference"].append(0.0)
        else:
            luma = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY)
            picture = shrink(np.asarray(luma), round((luma.size / _TARGET_PIXELS) ** 0.5))
            small = shrink(picture, 2)
            change = 0.0 if self._small_luma is None else cv2.norm(small, self._small_luma, cv2.NORM_L1) / small.size
            values["difference"].append(change)
            values["luma"].append(float(cv2.mean(small)[0]))
            values["letterbox"].append(letterbox_share(picture))
            self._rgb, self._small_luma = frame.rgb, small
        self._measure_camera_motion(at)
        is_tried = at % self._settings.text_interval_frames == 0
        values["burnt_in_text"].append(self._text(frame.rgb) if is_tried else None)

    def series(self) -> dict[str, tuple[float | None, ...]]:
        """Series of all frames so far, by field of Timeline."""
        return {name: tuple(values) for name, values in self._values.items()}

    def _measure_camera_motion(self, at: int) -> None:
        """Every few frames, measure the motion since the last measurement and assign it to the frames between."""
        interval, camera_x, camera_y = (
            self._settings.camera_interval_frames,
            self._values["camera_x"],
            self._values["camera_y"],
        )
        camera_x.append(None)
        camera_y.append(None)
        if at % interval:
            return
        small, previous, self._motion_reference = self._small_luma, self._motion_reference, self._small_luma
        if small is None or previous is None:
            return
        motion = background_motion(small, previous)
        if motion is not None:
            per_second = CLIP_RATE.num / interval
            camera_x[-interval:] = [motion[0] * per_second] * interval
            camera_y[-interval:] = [motion[1] * per_second] * interval


def letterbox_share(luma: Rgb) -> float:
    """Share 0..1 of a picture (height, width) covered by plain bars along its sides, of any colour."""
    height, width = luma.shape
    top, bottom = _plain_lines(luma), _plain_lines(luma[::-1])
    middle = luma[top : height - bottom]
    if not middle.size:
        return 0.0
    left, right = _plain_lines(middle.T), _plain_lines(middle.T[::-1])
    inside = middle[:, left : width - right]
    if not inside.size:
        return 0.0
    # The edge of a bar counts only between the other bars.
    top, bottom = _checked_bar_width(top, luma, inside), _checked_bar_width(bottom, luma[::-1], inside[::-1])
    left, right = _checked_bar_width(left, luma.T, inside.T), _checked_bar_width(right, luma.T[::-1], inside.T[::-1])
    return float(1.0 - (height - top - bottom) * (width - left - right) / (height * width))


def _plain_lines(lines: Rgb) -> int:
    """Number of leading lines (N, length) that are plain and match the first."""
    if int(lines[0].max()) - int(lines[0].min()) > _BAR_RANGE:  # so in most pictures, and the rest need not be read
        return 0
    extent = lines.max(axis=1).astype(int) - lines.min(axis=1)
    level = lines.mean(axis=1)
    plain = (extent <= _BAR_RANGE) & (np.abs(level - level[0]) <= _BAR_DRIFT)
    return len(level) if plain.all() else int(plain.argmin())


def _checked_bar_width(count: int, lines: Rgb, inside: Rgb) -> int:
    """Return `count` if that many lines form a bar with a straight inner edge, else 0."""
    if count < max(1.0, _MIN_BAR_SHARE * len(lines)):
        return 0
    # The first line inside may be a blend of bar and picture.
    edge = inside[min(1, len(inside) - 1)].astype(np.float32)
    return count if np.median(np.abs(edge - lines[0].mean())) >= _BAR_EDGE else 0
