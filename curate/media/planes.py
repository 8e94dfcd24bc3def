"""8-bit YUV pictures to RGB and back by whole planes: a quarter of the cost of an exact conversion in swscale.

Colours: ITU-T H.273. Results agree with swscale's exact conversion within a level or two of 255
(docs/log/curate.md#cost).
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
"""(height, width), or (height, width, 2) of interleaved chroma."""

_SEPARATE = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"})
_INTERLEAVED = "nv12"  # what hardware decoders return
_LUMA_WEIGHTS = {  # of red and blue, by H.273 matrix
    1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593),
}  # fmt: skip
BT601, BT709 = 6, 1
_SAME_AS_BT601 = (5, BT601)
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
# Half the cost of OpenCV's area averaging, but for factors 1 and 2.
_SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def has_planes(frame: VideoFrame) -> bool:
    """Whether `planes_to_rgb` can convert a frame."""
    is_known = frame.format.name in _SEPARATE or frame.format.name == _INTERLEAVED
    return is_known and all(plane.line_size > 0 for plane in frame.planes)


def planes_to_rgb(
    frame: VideoFrame, size: tuple[int, int], *, default_matrix: int, scaler: VideoReformatter
) -> NDArray[np.uint8]:
    """RGB (height, width, 3) of a frame that `has_planes`.

    Args:
        frame: from the decoder.
        size: width and height of the result.
        default_matrix: H.273 code for a frame that states none.
        scaler: reused between frames.
    """
    if (frame.width, frame.height) not in (size, (2 * size[0], 2 * size[1])):
        frame = scaler.reformat(frame, width=size[0], height=size[1], interpolation=_SCALING, threads=1)
    yuv = cv2.merge([_resized(plane, size) for plane in _planes(frame)])
    matrix, is_full = _colours(frame, default_matrix)
    return np.asarray(cv2.transform(yuv, _to_rgb_matrix(matrix, is_full=is_full)), np.uint8)


def planes_to_clip(
    frame: VideoFrame, size: tuple[int, int], *, default_matrix: int, scaler: VideoReformatter
) -> list[Plane]:
    """Y (height, width), U and V (half of both) of a clip: BT.601, limited range. Arguments as in `planes_to_rgb`.

    Luma and chroma are converted where they are, without a detour over RGB in full size; both sides are even.
    """
    half = (size[0] // 2, size[1] // 2)
    if (frame.width, frame.height) not in (size, (2 * size[0], 2 * size[1])):
        frame = scaler.reformat(frame, width=size[0], height=size[1], interpolation=_SCALING, threads=1)
    luma, *chroma = _planes(frame)
    luma = _resized(luma, size)
    if len(chroma) == 1:  # interleaved
        chroma = _split(chroma[0])
    chroma = [_resized(plane, half) for plane in chroma]
    matrix, is_full = _colours(frame, default_matrix)
    if not is_full and matrix in _SAME_AS_BT601:
        return [luma, *chroma]
    linear = _to_yuv_matrix(BT601) @ np.vstack([_to_rgb_matrix(matrix, is_full=is_full), (0, 0, 0, 1)])
    merged = cv2.merge(chroma)
    # What luma owes to chroma, at most 40 levels, in half levels about 128: interpolating bytes is quick.
    share = cv2.transform(merged, np.array([(*2 * linear[0, 1:3], 2 * linear[0, 3] + 128)]))
    share = cv2.resize(share, size, interpolation=cv2.INTER_LINEAR)
    mixed = np.asarray(cv2.addWeighted(luma, linear[0, 0], share, 0.5, -64), np.uint8)
    return [mixed, *_split(cv2.transform(merged, linear[1:, 1:]))]


def clip_to_rgb(planes: Plane) -> NDArray[np.uint8]:
    """RGB (height, width, 3) of I420 as in a clip; chroma is repeated and not interpolated."""
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8)


def join_planes(planes: Sequence[Plane]) -> Plane:
    """I420 (height × 3/2, width) of Y, U and V."""
    height, width = planes[0].shape
    return np.concatenate([plane.ravel() for plane in planes]).reshape(height * 3 // 2, width)


def split_planes(picture: Plane) -> list[Plane]:
    """Y (height, width), U and V (half of both) of I420 with even sides, as views."""
    height, width = picture.shape[0] * 2 // 3, picture.shape[1]
    return [picture[:height], *picture[height:].reshape(2, height // 2, width // 2)]


def rgb_to_planes(rgb: NDArray[np.uint8]) -> Plane:
    """I420 (height × 3/2, width) of RGB with even sides: BT.601, limited range; chroma is the mean of four pixels."""
    height, width = rgb.shape[:2]
    planes = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
    # OpenCV takes the chroma of one pixel in four.
    half = cv2.resize(rgb, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma = cv2.split(cv2.transform(half, _to_yuv_matrix(BT601)))[1:]
    planes[height:] = np.reshape(chroma, (height // 2, width))
    return planes


def _colours(frame: VideoFrame, default_matrix: int) -> tuple[int, bool]:
    """H.273 matrix, and whether the range is full."""
    is_full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    return (frame.colorspace if frame.colorspace in _LUMA_WEIGHTS else default_matrix), is_full


def _planes(frame: VideoFrame) -> list[Plane]:
    levels = [np.frombuffer(plane, np.uint8) for plane in frame.planes]  # type: ignore[call-overload]  # PyAV's stub
    planes = [
        level.reshape(-1, plane.line_size)[: plane.height] for level, plane in zip(levels, frame.planes, strict=True)
    ]
    if frame.format.name == _INTERLEAVED:
        wide = frame.planes[1].width
        return [planes[0][:, : frame.width], planes[1][:, : 2 * wide].reshape(-1, wide, 2)]
    return [rows[:, : plane.width] for rows, plane in zip(planes, frame.planes, strict=True)]


def _split(planes: Any) -> list[Plane]:
    """Interleaved planes (height, width, N) one by one."""
    return [np.asarray(plane, np.uint8) for plane in cv2.split(planes)]


def _resized(plane: Plane, size: tuple[int, int]) -> Plane:
    height, width = plane.shape[:2]
    if (width, height) == size:
        return plane
    is_larger = width > size[0]
    return np.asarray(
        cv2.resize(plane, size, interpolation=cv2.INTER_AREA if is_larger else cv2.INTER_LINEAR), np.uint8
    )


def _to_rgb_matrix(matrix: int, *, is_full: bool) -> NDArray[np.float64]:
    """(3, 4): levels of RGB from levels of YUV and 1."""
    red, blue = _LUMA_WEIGHTS[matrix]
    green = 1 - red - blue
    luma, chroma, black = (1.0, 1.0, 0) if is_full else (255 / 219, 255 / 224, 16)
    from_u, from_v = 2 * (1 - blue) * chroma, 2 * (1 - red) * chroma
    linear = np.array(
        [[luma, 0, from_v], [luma, -from_u * blue / green, -from_v * red / green], [luma, from_u, 0]]
    )  # fmt: skip
    return np.column_stack([linear, linear @ (-black, -128, -128)])


def _to_yuv_matrix(matrix: int) -> NDArray[np.float64]:
    """(3, 4): levels of limited-range YUV from levels of RGB and 1."""
    inverse = np.linalg.inv(_to_rgb_matrix(matrix, is_full=False)[:, :3])
    return np.column_stack([inverse, (16, 128, 128)])
