"""Picture series: what is planted in a picture comes out, and what is not there is not claimed."""

import cv2
import numpy as np
import pytest

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import fit_size
from xsheet.curate.media.reader import open_media
from xsheet.curate.picture.burnt_in_text import MODEL_FILE
from xsheet.curate.picture.quality import PictureAnalyser, PictureSettings, letterbox_share
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import CLIP_RATE, frame_start_us

HEIGHT, WIDTH = 180, 320


def textured(height=HEIGHT, width=WIDTH, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 220, (height // 12, width // 12, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def series_of(rgbs, **how):
    analyser = PictureAnalyser(**how)
    for index, rgb in enumerate(rgbs):
        start_us = frame_start_us(index, CLIP_RATE)
        analyser.add(Frame(index, start_us, rgb, index, start_us))
    return analyser.series()


def real(path, **how):
    with open_media(path, root=path.parent) as media:
        analyser = PictureAnalyser(**how)
        for frame in media.frames(size=fit_size(*media.size, long_side=720)):
            analyser.add(frame)
    return {name: np.array(values, np.float64) for name, values in analyser.series().items()}


# ---- brightness and change


def test_luma_is_the_mean_of_the_picture():
    grey = [np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in (10, 200)]
    assert series_of(grey)["luma"] == pytest.approx((10, 200), abs=1)


def test_difference_is_what_changed_and_nothing_in_a_repeated_frame():
    a, b = np.full((HEIGHT, WIDTH, 3), 100, np.uint8), np.full((HEIGHT, WIDTH, 3), 107, np.uint8)
    assert series_of([a, b, b])["difference"] == pytest.approx((0, 7, 0), abs=0.1)


@pytest.mark.slow
def test_a_frozen_picture_stands_still_despite_its_compression(shared):
    difference = real(shared / "data/derived/frozen-picture.mp4")["difference"]
    moving = real(shared / "data/videos/latentsync-demo1-woman-seated.mp4")["difference"]
    assert (difference[55:] <= 0.05).mean() > 0.97
    assert (moving[1:] <= 0.05).mean() < 0.03  # a small face in a wide picture still moves it


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 400), (400, 5)])
def test_a_picture_of_any_size_is_measured(size):
    rng = np.random.default_rng(0)
    series = series_of(rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(7))
    assert {len(values) for name, values in series.items() if name != "burnt_in_text"} == {7}


# ---- bars


@pytest.mark.parametrize("level", [0, 16, 255])
@pytest.mark.parametrize(("across", "down"), [(0, 20), (30, 0), (40, 25)])
def test_bars_of_any_colour_are_measured(level, across, down):
    luma = cv2.cvtColor(textured(), cv2.COLOR_RGB2GRAY)
    inside = luma[down : HEIGHT - down, across : WIDTH - across]
    barred = cv2.copyMakeBorder(inside, down, down, across, across, cv2.BORDER_CONSTANT, value=level)
    share = 1 - inside.size / luma.size
    assert letterbox_share(np.asarray(barred)) == pytest.approx(share, abs=0.01)


def test_a_plain_wall_and_a_plain_picture_have_no_bars():
    wall = np.full((HEIGHT, WIDTH), 230, np.uint8)
    assert letterbox_share(wall) == 0
    cv2.ellipse(wall, (WIDTH // 2, HEIGHT), (60, 120), 0, 0, 360, 90, -1)
    assert letterbox_share(wall) == 0


@pytest.mark.slow
def test_bars_of_a_real_film_and_of_no_other(shared):
    assert np.median(real(shared / "data/derived/letterboxed.mp4")["letterbox"]) == pytest.approx(0.64, abs=0.02)
    for name in ("dance-fullbody-music-s13.mp4", "retalk-woman-blue-700.mp4", "hdtf-radio-man-458.mp4"):
        assert np.median(real(shared / "data/videos" / name)["letterbox"]) == 0


# ---- camera


@pytest.mark.parametrize(("x", "y"), [(0.2, 0.0), (-0.1, 0.05), (0.5, 0.0)])
def test_a_moving_camera_is_measured_in_picture_heights_per_second(x, y):
    world = textured(3 * HEIGHT, 4 * WIDTH)
    views = []
    for k in range(11):
        shift = np.float32([[1, 0, -1.5 * WIDTH + x * HEIGHT * k / 25], [0, 1, -HEIGHT + y * HEIGHT * k / 25]])
        views.append(np.asarray(cv2.warpAffine(world, shift, (WIDTH, HEIGHT))))
    series = series_of(views)
    assert series["camera_x"][0] is None
    assert series["camera_x"][1:] == pytest.approx([x] * 10, abs=0.01)
    assert series["camera_y"][1:] == pytest.approx([y] * 10, abs=0.01)


def test_a_moving_person_is_no_camera_motion():
    room, coat = textured(), textured(seed=1)
    views = []
    for k in range(21):
        view, left = room.copy(), round(110 + 30 * np.sin(k / 4))
        view[50:, left : left + 110] = coat[50:, left % 40 : left % 40 + 110]
        views.append(view)
    series = series_of(views)
    assert series["camera_x"][1:] == pytest.approx([0] * 20, abs=0.01)
    assert series["camera_y"][1:] == pytest.approx([0] * 20, abs=0.01)


def test_motion_before_a_plain_background_is_unknown_not_zero():
    plain = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    assert set(series_of([plain, plain.copy()] * 6)["camera_x"]) == {None}


@pytest.mark.nightly
def test_cameras_of_real_films(shared):
    def speed(name):
        series = real(shared / "data/videos" / name)
        return np.nanmedian(np.hypot(series["camera_x"], series["camera_y"]))

    moving = [speed(name) for name in ("still-woman-music-s18.mp4", "no-person-great-wall.mp4")]
    standing = [
        speed(name)
        for name in ("hdtf-radio-man-458.mp4", "latentsync-demo3-man-gestures.mp4", "retalk-woman-blue-700.mp4")
    ]
    assert min(moving) > 0.025 > max(standing)


# ---- text


def test_a_model_that_is_not_the_known_one_is_refused(tmp_path):
    (tmp_path / MODEL_FILE).write_bytes(b"something else")
    with pytest.raises(ConfigError, match="sha256"):
        series_of([textured()], settings=PictureSettings(text_detector="ppocr"), models=tmp_path)


@pytest.mark.slow
def test_subtitles_are_text_and_a_room_is_not(shared):
    how = {"settings": PictureSettings(text_detector="ppocr"), "models": shared / "models"}
    with_text = real(shared / "data/derived/burned-subtitle.mp4", **how)["burnt_in_text"]
    without = real(shared / "data/derived/60fps.mp4", **how)["burnt_in_text"]
    assert np.isfinite(with_text).sum() == -(-len(with_text) // 24)
    assert np.nanmedian(with_text) > 0.9
    assert np.nanmax(without) < 0.1
