"""Convert decoded frames to upright RGB with square pixels."""

import struct
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from xsheet.curate.media.planes import (
    BT601,
    BT709,
    Plane,
    has_planes,
    join_planes,
    planes_to_clip,
    planes_to_rgb,
    rgb_to_planes,
)
from xsheet.curate.media.tone_map import HLG, PQ, tone_map

Rgb = NDArray[np.uint8]

# Of pictures that are not 8-bit YUV, and of fields. Area averaging avoids moiré on small faces. Without full chroma,
# white becomes 253. Bit-exact, so that pixels do not depend on the processor.
_SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
_MAX_ASPECT = 4  # a more extreme pixel aspect is a broken header
_UNSPECIFIED_COLORSPACE = 2  # AVCOL_SPC_UNSPECIFIED
_MAX_SHAPE_CHANGE = 0.03
_MIN_FIELD_LINES = 16
_HD_HEIGHT = 720  # untagged video is BT.709 from this height on, BT.601 below, as players assume


@dataclass(frozen=True, slots=True)
class PictureTransform:
    """Rotation and mirroring that make a coded frame upright: rotate clockwise, then flip left to right."""

    clockwise_deg: int = 0
    is_mirrored: bool = False

    @property
    def swaps_axes(self) -> bool:
        """Whether width and height are exchanged."""
        return self.clockwise_deg % 180 != 0

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the upright picture or plane (height, width, ...) as a view."""
        rotated = np.rot90(picture, k=-self.clockwise_deg // 90)
        return rotated[:, ::-1] if self.is_mirrored else rotated


def display_transform(frame: VideoFrame) -> PictureTransform:
    """Read the transform from the display matrix of a frame, rounded to quarter turns."""
    try:
        matrix = bytes(frame.side_data[Type.DISPLAYMATRIX])  # type: ignore[typeddict-item]  # PyAV's stub lacks the key
    except KeyError:
        return PictureTransform()
    except ValueError:  # side data of a kind unknown to PyAV; the plain angle is still available
        return PictureTransform(clockwise_deg=round(-frame.rotation / 90) % 4 * 90)
    a, b, _, c, d = struct.unpack("<5i", matrix[:20])
    # (a, b) and (c, d) are the screen directions of the x and y axes of the picture.
    swaps = abs(b) > abs(a)
    flips_x, flips_y = (c < 0, b < 0) if swaps else (a < 0, d < 0)
    return PictureTransform(clockwise_deg=90 * swaps + 180 * flips_y, is_mirrored=flips_x ^ flips_y ^ swaps)


def upright_size(
    width: int, height: int, *, pixel_aspect: Fraction | None, transform: PictureTransform
) -> tuple[int, int]:
    """Displayed width and height in square pixels; pixels are only stretched, so no detail is lost."""
    aspect = pixel_aspect or Fraction(1)
    if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        aspect = Fraction(1)
    wide, high = (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
    return (high, wide) if transform.swaps_axes else (wide, high)


def fit_size(width: int, height: int, *, long_side: int, multiple: int = 1) -> tuple[int, int]:
    """Scale a size down to this longer side, keeping its shape; both sides become multiples of `multiple`."""
    share = min(Fraction(1), Fraction(long_side, max(width, height)))
    wide, high = (max(1, round(side * share / multiple)) * multiple for side in (width, height))
    return wide, high


def is_same_shape(aspect: float, reference: float) -> bool:
    """Whether two aspects are equal within the rounding of encoders, which scale to multiples of 16."""
    return abs(aspect / reference - 1) <= _MAX_SHAPE_CHANGE


class FrameRenderer:
    """Converts decoded frames to upright pictures of one size; reuses its scaler."""

    def __init__(self, size: tuple[int, int], *, transform: PictureTransform) -> None:
        self._transform = transform
        self._coded_size = (size[1], size[0]) if transform.swaps_axes else size
        self._scaler = VideoReformatter()
        self._shape: float | None = None  # width by height of the first coded frame

    def __call__(self, frame: VideoFrame) -> Rgb:
        """Return RGB (height, width, 3), contiguous and read-only because several analysers share it."""
        width, height = self._coded_size
        self._shape = self._shape or frame.width / frame.height
        if not is_same_shape(frame.width / frame.height, self._shape):
            return self._finish(self._between_bars(frame))
        return self._finish(self._convert(frame, width, height))

    def planes(self, frame: VideoFrame) -> Plane:
        """Return I420 (height × 3/2, width) as a clip stores it: BT.601, limited range; for even sizes."""
        self._shape = self._shape or frame.width / frame.height
        if not (is_same_shape(frame.width / frame.height, self._shape) and _is_plain(frame)):
            return rgb_to_planes(self(frame))
        planes = planes_to_clip(frame, self._coded_size, default_matrix=_guess_matrix(frame), scaler=self._scaler)
        return join_planes([self._transform.apply(plane) for plane in planes])

    def _finish(self, picture: Rgb) -> Rgb:
        rgb = np.ascontiguousarray(self._transform.apply(picture))
        rgb.setflags(write=False)
        return rgb

    def _between_bars(self, frame: VideoFrame) -> Rgb:
        """Letterbox a frame whose shape differs from the first frame's."""
        assert self._shape is not None
        width, height = self._coded_size
        pixel_aspect = width / height / self._shape  # of the first frame; the stream states only one
        wide = frame.width * pixel_aspect
        scale = min(width / wide, height / frame.height)
        inner = max(2, round(wide * scale)), max(2, round(frame.height * scale))
        canvas = np.zeros((height, width, 3), np.uint8)
        left, top = (width - min(inner[0], width)) // 2, (height - min(inner[1], height)) // 2
        picture = self._convert(frame, min(inner[0], width), min(inner[1], height))
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return canvas

    def _convert(self, frame: VideoFrame, width: int, height: int) -> Rgb:
        matrix = _guess_matrix(frame)
        if _is_plain(frame):
            return planes_to_rgb(frame, (width, height), default_matrix=matrix, scaler=self._scaler)
        is_hdr, full_size = _is_hdr(frame), _has_fields(frame)
        guess = Colorspace.ITU709 if matrix == BT709 else Colorspace.ITU601
        flat = self._scaler.reformat(
            frame,
            width=frame.width if full_size else width,
            height=frame.height if full_size else height,
            format="rgb48le" if is_hdr else "rgb24",
            src_colorspace=guess if frame.colorspace == _UNSPECIFIED_COLORSPACE else None,
            interpolation=_SCALING,
            threads=1,
        )
        pixels = flat.to_ndarray()
        picture = np.asarray(
            tone_map(np.asarray(pixels, np.uint16), transfer=frame.color_trc) if is_hdr else pixels, np.uint8
        )
        if full_size:
            # One field: half the lines, and no comb at moving edges.
            field = np.ascontiguousarray(picture[::2])
            return np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        return picture


def _guess_matrix(frame: VideoFrame) -> int:
    """H.273 matrix of a frame that states none."""
    return BT709 if frame.height >= _HD_HEIGHT else BT601


def _is_plain(frame: VideoFrame) -> bool:
    """Whether the planes of a frame can be converted one by one."""
    return has_planes(frame) and not _is_hdr(frame) and not _has_fields(frame)


def _is_hdr(frame: VideoFrame) -> bool:
    return frame.color_trc in (PQ, HLG)


def _has_fields(frame: VideoFrame) -> bool:
    return bool(frame.interlaced_frame and frame.height >= _MIN_FIELD_LINES)
