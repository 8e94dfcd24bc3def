"""Text in the picture, on drawn captions."""

import cv2
import numpy as np
import pytest

from xsheet.curate.media.frames import Frame
from xsheet.curate.picture.burnt_in_text import StrokeTextDetector
from xsheet.curate.picture.quality import PictureAnalyser, PictureSettings
from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.schemas.errors import ConfigError


def picture(person: int) -> np.ndarray:
    return Puppet(random_identity(person), height_px=360).draw(Motion.rest(1).at(0))


def with_caption(rgb: np.ndarray, text: str, *, scale: float, box: bool = False) -> np.ndarray:
    drawn, width = rgb.copy(), rgb.shape[1]
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)
    at = ((width - wide) // 2, round(0.9 * len(rgb)))
    if box:
        cv2.rectangle(drawn, (at[0] - 4, at[1] - high - 4), (at[0] + wide + 4, at[1] + 4), (255, 230, 0), -1)
    else:
        cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, (0, 0, 0), 4, cv2.LINE_AA)
    color = (0, 0, 0) if box else (255, 255, 255)
    cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, color, 1, cv2.LINE_AA)
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "box"), [(0.45, False), (0.55, False), (0.45, True)])
def test_a_caption_is_text_and_the_picture_without_it_is_not(scale, box):
    detect = StrokeTextDetector()
    for person in (3, 8, 15):
        rgb = picture(person)
        captioned = with_caption(rgb, "we went to the river", scale=scale, box=box)
        assert (detect(rgb) < 0.5, detect(captioned) >= 0.5) == (True, True)


@pytest.mark.parametrize("period", [6, 12, 24])
def test_stripes_are_no_text(period):
    rows = np.broadcast_to((np.arange(480) % period < period // 2)[:, None, None] * np.uint8(200), (480, 640, 3))
    assert StrokeTextDetector()(np.ascontiguousarray(rows)) == 0


@pytest.mark.slow
def test_text_is_measured_without_a_model():
    analyser = PictureAnalyser(PictureSettings(text_interval_frames=2))
    rgb = with_caption(picture(3), "we went to the river", scale=0.6)
    for index in range(3):
        analyser.add(Frame(index, 40_000 * index, rgb, index, 40_000 * index))
    first, second, third = analyser.series()["burnt_in_text"]
    assert first == third
    assert first is not None
    assert first >= 0.5
    assert second is None


@pytest.mark.slow
def test_the_network_without_its_file_is_an_error_that_names_the_command():
    analyser = PictureAnalyser(PictureSettings(text_detector="ppocr"))
    with pytest.raises(ConfigError, match="models pull text-detection"):
        analyser.add(Frame(0, 0, picture(3), 0, 0))
