"""Convert decoded frames to upright RGB with square pixels."""

import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]

# Area averaging avoids moiré on small faces. Without full chroma, white becomes 253 (costs 1 ms more for 720p to 405).
# Bit-exact, so that pixels do not depend on the processor.
SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
_MAX_ASPECT = 4  # a more extreme pixel aspect is a broken header
_UNSPECIFIED_COLORSPACE = 2  # AVCOL_SPC_UNSPECIFIED
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

    def apply(self, picture: Rgb) -> Rgb:
        """Return the upright picture (height, width, 3) as a view."""
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
    """Displayed width and height in square pixels; the short side of a pixel is stretched, so no detail is lost."""
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


class FrameRenderer:
    """Converts decoded frames to upright RGB of one size; reuses its scaler."""

    def __init__(self, size: tuple[int, int], *, transform: PictureTransform) -> None:
        self._transform = transform
        self._coded_size = (size[1], size[0]) if transform.swaps_axes else size
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Rgb:
        """Return RGB (height, width, 3), contiguous and read-only because several analysers share it."""
        width, height = self._coded_size
        guess = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
        flat = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=guess if frame.colorspace == _UNSPECIFIED_COLORSPACE else None,
            interpolation=SCALING,
            threads=1,
        )
        rgb = np.ascontiguousarray(self._transform.apply(np.asarray(flat.to_ndarray(), np.uint8)))
        rgb.setflags(write=False)
        return rgb
