"""Picture series: brightness, change, bars, camera motion and text of the whole picture, frame by frame."""

from pathlib import Path

import cv2
import numpy as np
from pydantic import Field

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.picture.burnt_in_text import MODEL_FILE, BurntInTextDetector
from xsheet.curate.picture.camera import background_motion
from xsheet.curate.shots.scores import shrink
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE

_TARGET_PIXELS = 57_600  # 320 × 180: grain averages out, a bar is still placed to half a percent
_BAR_RANGE = 12  # levels within a line of a bar; compression leaves a few beside a bright picture
_BAR_DRIFT = 6.0  # levels by which lines of one bar differ
_BAR_EDGE = 6.0  # levels, median along the edge between bar and picture: a plain wall ends in no straight edge
_MIN_BAR_SHARE = 0.01  # of the side


class PictureSettings(StrictModel):
    """How often the dearer looks are taken."""

    camera_interval_frames: int = Field(
        default=5,
        ge=1,
        le=25,
        description="frames; slow motion shows over 0.2 s, half a picture height a second is still followed",
    )
    text_interval_frames: int = Field(
        default=12, ge=1, le=250, description="frames; a caption that can be read stands for a second or more"
    )


class PictureAnalyser:
    """Watches frames; `series` gives one value per frame and quantity, by field of the timeline.

    `difference` is taken between pictures of about 160 × 90, so that a standing picture comes out at 0 despite its
    compression. `letterbox` is 0 in a picture that is one plain colour. `camera_x` and `camera_y` are null where the
    background tells nothing. `text` is empty without its model, and null in frames that were not looked at.
    """

    def __init__(self, settings: PictureSettings | None = None, *, models: Path | None = None) -> None:
        """`models` is the folder of optional models; None, or a folder without the one for text, measures no text."""
        self._settings = settings or PictureSettings()
        self._text = BurntInTextDetector(models) if models is not None and (models / MODEL_FILE).is_file() else None
        self._rgb: Rgb | None = None
        self._small_luma: Rgb | None = None
        self._motion_reference: Rgb | None = None
        self._values: dict[str, list[float | None]] = {
            name: [] for name in ("difference", "luma", "letterbox", "camera_x", "camera_y", "burnt_in_text")
        }

    def add(self, frame: Frame) -> None:
        """The next frame; all are of one size.

        Raises:
            ConfigError: the model for text is not the known file.
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
        if self._text is not None:
            values["burnt_in_text"].append(
                self._text(frame.rgb) if at % self._settings.text_interval_frames == 0 else None
            )

    def series(self) -> dict[str, tuple[float | None, ...]]:
        """The quantities of all frames so far."""
        return {name: tuple(values) for name, values in self._values.items()}

    def _measure_camera_motion(self, at: int) -> None:
        """Every so often, the motion since the last look, for all frames since."""
        every, camera_x, camera_y = (
            self._settings.camera_interval_frames,
            self._values["camera_x"],
            self._values["camera_y"],
        )
        camera_x.append(None)
        camera_y.append(None)
        if at % every:
            return
        small, before, self._motion_reference = self._small_luma, self._motion_reference, self._small_luma
        if small is None or before is None:
            return
        moved = background_motion(small, before)
        if moved is not None:
            per_second = CLIP_RATE.num / every
            camera_x[-every:] = [moved[0] * per_second] * every
            camera_y[-every:] = [moved[1] * per_second] * every


def letterbox_share(luma: Rgb) -> float:
    """Share 0..1 of a picture (height, width) inside plain bars along its sides, whatever their colour."""
    height, width = luma.shape
    top, bottom = _plain_lines(luma), _plain_lines(luma[::-1])
    across = luma[top : height - bottom].T
    if not across.size:
        return 0.0
    left, right = _plain_lines(across), _plain_lines(across[::-1])
    inside = luma[top : height - bottom, left : width - right]
    if not inside.size:
        return 0.0
    # A bar's edge is looked for between the other bars only.
    top, bottom = _checked_bar_width(top, luma, inside), _checked_bar_width(bottom, luma[::-1], inside[::-1])
    left, right = _checked_bar_width(left, luma.T, inside.T), _checked_bar_width(right, luma.T[::-1], inside.T[::-1])
    return float(1.0 - (height - top - bottom) * (width - left - right) / (height * width))


def _plain_lines(lines: Rgb) -> int:
    """How many lines of (lines, length) look like the first, which is plain."""
    low, high, level = lines.min(axis=1), lines.max(axis=1), lines.mean(axis=1)
    plain = (high - low <= _BAR_RANGE) & (np.abs(level - level[0]) <= _BAR_DRIFT)
    return len(lines) if plain.all() else int(plain.argmin())


def _checked_bar_width(count: int, lines: Rgb, inside: Rgb) -> int:
    """`count`, if so many lines are a bar: enough of them, and the picture inside begins with a straight edge."""
    if count < max(1.0, _MIN_BAR_SHARE * len(lines)):
        return 0
    # The very line at the edge may be a blend of bar and picture.
    edge = inside[min(1, len(inside) - 1)].astype(np.float32)
    return count if np.median(np.abs(edge - lines[0].mean())) >= _BAR_EDGE else 0
