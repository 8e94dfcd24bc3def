import io
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from xsheet.demo.film.render import MAX_FRAMES, mark_frame, read_frame_number
from xsheet.demo.puppet.draw import Puppet, add_camera_noise, side_by_side
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Pose

NUMBERS = (0, 1, 2, 255, 256, 12_345, 40_503, MAX_FRAMES - 1)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return add_camera_noise(Puppet(random_identity(3)).draw(Pose()), np.random.default_rng(0))


def test_number_is_read_back(picture: np.ndarray):
    assert [read_frame_number(mark_frame(picture, n)) for n in NUMBERS] == list(NUMBERS)


@pytest.mark.parametrize("height", [128, 200, 360, 720])
def test_number_survives_scaling(picture: np.ndarray, height: int):
    sizes = [cv2.resize(mark_frame(picture, n), (height, height), interpolation=cv2.INTER_AREA) for n in NUMBERS]
    assert [read_frame_number(scaled) for scaled in sizes] == list(NUMBERS)


def test_number_survives_jpeg(picture: np.ndarray):
    for number in NUMBERS:
        _, packed = cv2.imencode(".jpg", mark_frame(picture, number), [cv2.IMWRITE_JPEG_QUALITY, 60])
        assert read_frame_number(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))) == number


@pytest.mark.slow
@pytest.mark.parametrize("crf", ["23", "32"])
def test_every_number_survives_h264(crf: str):
    puppet, rng = Puppet(random_identity(8)), np.random.default_rng(1)
    frames = [mark_frame(add_camera_noise(puppet.draw(Pose(yaw_deg=k % 20)), rng), 1_000 + 37 * k) for k in range(30)]
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=Fraction(25), options={"crf": crf, "preset": "veryfast"})
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file) as video:
        read = [read_frame_number(frame.to_ndarray(format="rgb24")) for frame in video.decode(video=0)]
    assert read == [1_000 + 37 * k for k in range(30)]


def test_number_is_read_from_the_left_of_two_heads(picture: np.ndarray):
    assert read_frame_number(mark_frame(side_by_side(picture, picture), 77)) == 77


def test_an_unmarked_picture_has_no_number(picture: np.ndarray):
    black, white = np.zeros_like(picture), np.full_like(picture, 255)
    noise = np.random.default_rng(2).integers(0, 256, picture.shape, np.uint8)
    assert [read_frame_number(p) for p in (picture, black, white, noise)] == [None] * 4


def test_one_wrong_cell_is_noticed(picture: np.ndarray):
    marked = mark_frame(picture, 12_345)
    for row in range(4):
        for column in range(6):
            broken = marked.copy()
            cell = broken[256 - 8 * (4 - row) : 256 - 8 * (3 - row), 8 * column : 8 * (column + 1)]
            cell[...] = 255 - cell
            assert read_frame_number(broken) is None


def test_a_number_out_of_range_is_refused(picture: np.ndarray):
    with pytest.raises(ValueError, match="65535"):
        mark_frame(picture, MAX_FRAMES)
