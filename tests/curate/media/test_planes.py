"""Colours of YUV pictures by their definition, and decoding where there is no card."""

from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.media.planes import (
    BT601,
    BT709,
    clip_to_rgb,
    has_planes,
    join_planes,
    planes_to_clip,
    planes_to_rgb,
    rgb_to_planes,
)
from xsheet.curate.media.reader import open_media
from xsheet.schemas.time import Span

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
# Levels of the recommendations: ITU-R BT.601 and BT.709, limited range; JFIF, full range.
YUV = {
    (BT601, 1): {RED: (81, 90, 240), GREEN: (145, 54, 34), WHITE: (235, 128, 128)},
    (BT709, 1): {RED: (63, 102, 240), GREEN: (173, 42, 26), WHITE: (235, 128, 128)},
    (BT601, 2): {RED: (76, 85, 255), GREEN: (150, 44, 21), WHITE: (255, 128, 128)},
}


def plain(yuv, *, colour_range=1, size=(16, 8)) -> VideoFrame:
    width, height = size
    y, u, v = (np.full(n, level, np.uint8) for n, level in zip((height * width, *[height * width // 4] * 2), yuv,
                                                                strict=True))  # fmt: skip
    frame = VideoFrame.from_ndarray(np.concatenate([y, u, v]).reshape(height * 3 // 2, width), format="yuv420p")
    frame.color_range = colour_range
    return frame


@pytest.mark.parametrize("size", [(16, 8), (8, 4), (5, 3), (32, 16)])
@pytest.mark.parametrize("matrix", YUV)
def test_colours_follow_matrix_and_range(matrix, size):
    for rgb, yuv in YUV[matrix].items():
        picture = planes_to_rgb(
            plain(yuv, colour_range=matrix[1]), size, default_matrix=matrix[0], scaler=VideoReformatter()
        )
        assert picture.shape == (size[1], size[0], 3)
        assert np.abs(picture.astype(int) - rgb).max() <= 2


def test_interleaved_chroma_gives_the_same_picture():
    rng = np.random.default_rng(0)
    separate = VideoFrame.from_ndarray(rng.integers(16, 236, (48, 64), dtype=np.uint8), format="yuv420p")
    interleaved = separate.reformat(format="nv12")
    assert has_planes(interleaved)
    first, second = (
        planes_to_rgb(frame, (64, 32), default_matrix=BT601, scaler=VideoReformatter())
        for frame in (separate, interleaved)
    )
    assert np.array_equal(first, second)
    first, second = (
        join_planes(planes_to_clip(frame, (64, 32), default_matrix=BT709, scaler=VideoReformatter()))
        for frame in (separate, interleaved)
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize("size", [(16, 8), (8, 4), (12, 6), (32, 16)])
@pytest.mark.parametrize("matrix", YUV)
def test_planes_of_a_clip_have_the_levels_of_bt601(matrix, size):
    for rgb, yuv in YUV[matrix].items():
        planes = planes_to_clip(
            plain(yuv, colour_range=matrix[1]), size, default_matrix=matrix[0], scaler=VideoReformatter()
        )
        assert [plane.shape[::-1] for plane in planes] == [size, *[(size[0] // 2, size[1] // 2)] * 2]
        for plane, level in zip(planes, YUV[BT601, 1][rgb], strict=True):
            assert np.abs(plane.astype(int) - level).max() <= 1
        assert np.abs(clip_to_rgb(join_planes(planes)).astype(int) - rgb).max() <= 3


def test_planes_of_a_clip_are_those_of_a_source_in_bt601(film, tmp_path):
    noise = np.random.default_rng(0).integers(16, 236, (72, 64), dtype=np.uint8)
    frame = VideoFrame.from_ndarray(noise, format="yuv420p")
    planes = planes_to_clip(frame, (64, 48), default_matrix=BT601, scaler=VideoReformatter())
    assert np.array_equal(join_planes(planes), noise)


@pytest.mark.parametrize(
    "planted", [{}, {"rotation_deg": 90}, {"mirrored": True}, {"size": (96, 64), "aspect": Fraction(3, 2)}]
)
def test_frames_of_a_clip_show_what_frames_show(planted, film, tmp_path):
    path = film(picture=corners, **planted)
    with open_media(path, root=tmp_path) as media:
        size = tuple(side // 2 * 2 for side in media.size)
        shown = [frame.rgb.astype(int) for frame in media.frames(size=size)]
        clip = [frame.rgb.astype(int) for frame in media.clip_frames(Span(0, 1_000_000), size=size)]
    assert len(clip) == len(shown)
    # Only the middles: at edges the chroma of a clip is repeated.
    inside = (slice(4, -4), slice(4, -4))
    assert all(np.median(np.abs(a[inside] - b[inside])) <= 2 for a, b in zip(clip, shown, strict=True))


def corners(index: int, size: tuple[int, int]) -> np.ndarray:
    """Another colour in each quarter."""
    picture = np.full((size[1], size[0], 3), (40 + 4 * index, 80, 120), np.uint8)
    picture[: size[1] // 2, : size[0] // 2] = (200, 30, 30)
    picture[size[1] // 2 :, size[0] // 2 :] = (30, 200, 30)
    return picture


def test_a_ten_bit_picture_has_no_such_planes():
    assert not has_planes(VideoFrame(64, 32, "yuv420p10le"))


def test_written_planes_read_as_the_same_colours():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    frame = VideoFrame.from_ndarray(rgb_to_planes(blocks), format="yuv420p")
    again = planes_to_rgb(frame, (96, 64), default_matrix=BT601, scaler=VideoReformatter())
    middles = (slice(4, None, 16), slice(4, None, 16))
    assert np.abs(again[middles].astype(int) - blocks[middles]).max() <= 3


def test_without_a_card_nvdec_decodes_in_software(film, tmp_path):
    path = film(frames=10, rate=Fraction(25))
    pictures = []
    for decoder in ("software", "nvdec"):
        with open_media(path, root=tmp_path, limits=MediaLimits(decoder=decoder)) as media:
            pictures.append(np.stack([frame.rgb for frame in media.frames()]).astype(int))
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).max() <= 2
