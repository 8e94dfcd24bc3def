"""From a coded picture to the picture as it is meant to be seen: upright, square pixels, RGB."""

import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]

# Averaging over the area keeps small faces free of moiré. Without full chroma white comes back as 253 (it costs 1 ms
# more for 720p shrunk to 405); bit-exact, so that pixels do not depend on the processor.
SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
_MAX_ASPECT = 4  # pixels more than four times as wide as high, or the reverse, are a broken header, not a format
_UNSPECIFIED_COLORSPACE = 2  # AVCOL_SPC_UNSPECIFIED
_HD_HEIGHT = 720  # from here on an untagged picture is BT.709, below it BT.601, as all players guess


@dataclass(frozen=True, slots=True)
class PictureTransform:
    """How to make a coded picture upright: turn it clockwise, then mirror it left to right."""

    clockwise_deg: int = 0
    is_mirrored: bool = False

    @property
    def swaps_axes(self) -> bool:
        """Whether width and height change places."""
        return self.clockwise_deg % 180 != 0

    def apply(self, picture: Rgb) -> Rgb:
        """The upright picture (height, width, 3); a view."""
        turned = np.rot90(picture, k=-self.clockwise_deg // 90)
        return turned[:, ::-1] if self.is_mirrored else turned


def display_transform(frame: VideoFrame) -> PictureTransform:
    """Turn asked for by a frame's display matrix, to the nearest quarter."""
    try:
        matrix = bytes(frame.side_data[Type.DISPLAYMATRIX])  # type: ignore[typeddict-item]  # PyAV's stub lacks the key
    except KeyError:
        return PictureTransform()
    except ValueError:  # side data of a kind that PyAV has no name for; the plain angle is still to be had
        return PictureTransform(clockwise_deg=round(-frame.rotation / 90) % 4 * 90)
    a, b, _, c, d = struct.unpack("<5i", matrix[:20])
    # Column vectors of the matrix say where the picture's x and y axes point on the screen: (a, b) and (c, d).
    swaps = abs(b) > abs(a)
    flips_x, flips_y = (c < 0, b < 0) if swaps else (a < 0, d < 0)
    return PictureTransform(clockwise_deg=90 * swaps + 180 * flips_y, is_mirrored=flips_x ^ flips_y ^ swaps)


def upright_size(
    width: int, height: int, *, pixel_aspect: Fraction | None, transform: PictureTransform
) -> tuple[int, int]:
    """Width and height as shown, in square pixels: the short side of a pixel is stretched, so nothing is lost."""
    aspect = pixel_aspect or Fraction(1)
    if not Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT:
        aspect = Fraction(1)
    wide, high = (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
    return (high, wide) if transform.swaps_axes else (wide, high)


def fit_size(width: int, height: int, *, long_side: int, multiple: int = 1) -> tuple[int, int]:
    """The size with this longer side, same shape, never larger than the picture; both sides multiples (2 to encode)."""
    share = min(Fraction(1), Fraction(long_side, max(width, height)))
    wide, high = (max(1, round(side * share / multiple)) * multiple for side in (width, height))
    return wide, high


class FrameRenderer:
    """Turns decoded frames into upright RGB of one size. Keeps its scaler between frames."""

    def __init__(self, size: tuple[int, int], *, transform: PictureTransform) -> None:
        self._transform = transform
        self._coded_size = (size[1], size[0]) if transform.swaps_axes else size
        self._scaler = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Rgb:
        """RGB (height, width, 3), contiguous and read-only, for several consumers share it."""
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
