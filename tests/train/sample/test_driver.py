"""The motion of a driver video."""

import numpy as np
import pytest

from xsheet.curate.media.writer import write_clip
from xsheet.demo.drawn_set import acting_film
from xsheet.demo.film.render import render_film
from xsheet.demo.puppet.script import place_action
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import FrameRate
from xsheet.train.data.conditioning import DRIVING_SERIES
from xsheet.train.sample.driver import read_driver

FRAMES = 40
TEN = FrameRate(10, 1)


@pytest.fixture(scope="module")
def turning_film():
    """A drawn person who turns the head once, in the second half."""

    def turn(rng, frames):
        return [place_action("turn_head", 18, side="left", amplitude=3, speed=2, repetitions=1, rng=rng)]

    return acting_film(3, seed=5, frames=FRAMES, actions=turn)


@pytest.mark.slow
def test_a_driver_moves_as_its_face_does_and_not_at_all_after_its_end(turning_film, tmp_path, caplog):
    file = tmp_path / "driver.mp4"
    write_clip(file, frames=render_film(turning_film, height_px=256), sound=turning_film.sound)
    motion_TS = read_driver(file, 33, rate=TEN).numpy()
    assert motion_TS.shape == (33, len(DRIVING_SERIES))
    planted = turning_film.shots[0].cast_members[0].motion.yaw_deg[::5] / DRIVING_SERIES["yaw_deg"]
    yaw = motion_TS[: FRAMES * 10 // 25, list(DRIVING_SERIES).index("yaw_deg")]
    assert np.corrcoef(yaw[::2], planted)[0, 1] > 0.95
    assert not motion_TS[FRAMES * 10 // 25 + 1 :].any()
    assert "is seen for 1.6 s" in caplog.text


@pytest.mark.slow
def test_a_driver_without_a_face_is_refused(turning_film, tmp_path):
    blank = [np.full((128, 128, 3), 90, np.uint8)] * 10
    write_clip(tmp_path / "blank.mp4", frames=blank, sound=turning_film.sound[: 10 * 640])
    with pytest.raises(ConfigError, match=r"a video with a face"):
        read_driver(tmp_path / "blank.mp4", 5, rate=TEN)
