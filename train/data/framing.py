"""Framing: which frames and pixels of a clip are encoded.

A bucket is (frames, height, width): clips of one bucket can stand in one batch.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsheet.runtime.executor import Rejected
from xsheet.schemas.clip import Clip
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us, frames_in, span_of_frames
from xsheet.train.data.settings import PictureEncodingSettings

FACE_CENTRE_HEIGHT = 0.4
"""Where a centred face stands in the height of the picture: portraits keep the eyes above the middle."""


class Bucket(NamedTuple):
    """Frames and pixels of an encoded clip."""

    frames: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.frames} x {self.height} x {self.width}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFit:
    """Scale, crop window and crop starts of a clip in its bucket."""

    bucket: Bucket
    crop_starts: tuple[int, ...]  # first frame of every crop, at the rate shown
    scaled_size: tuple[int, int]  # width and height that the whole picture is scaled to
    left: int  # of the cut, in scaled pixels
    top: int

    def crop_picture(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crop a scaled picture (or pictures, ..., H, W, 3) to the bucket."""
        _, height, width = self.bucket
        return rgb[..., self.top : self.top + height, self.left : self.left + width, :]

    def crop_spans(self, settings: PictureEncodingSettings) -> tuple[Span, ...]:
        """Span of every crop in the clip."""
        return tuple(span_of_frames(range(s, s + self.bucket.frames), settings.rate) for s in self.crop_starts)


def fit_to_bucket(
    clip: Clip, settings: PictureEncodingSettings, *, face: tuple[float, float, float] | None
) -> BucketFit | Rejected:
    """Fit a clip to a bucket, or say why it does not fit.

    Args:
        clip: the clip.
        settings: buckets and limits.
        face: x, y and height of the face over the clip, in picture heights from the top left corner; None = unknown.
    """
    frames_at_rate = len(frames_in(Span(0, frame_start_us(clip.frames, CLIP_RATE)), settings.rate))
    frames = max((length for length in settings.frame_counts if length <= frames_at_rate), default=None)
    if frames is None:
        return Rejected(
            "frame", "too_short", f"{frames_at_rate} frames at {settings.fps} fps, want {min(settings.frame_counts)}"
        )
    aspect = clip.width / clip.height
    height, width = min(settings.resolutions, key=lambda size: abs(math.log(aspect * size[0] / size[1])))
    scale = max(width / clip.width, height / clip.height)
    if face is not None and settings.min_face_height is not None:
        scale = max(scale, settings.min_face_height * height / (face[2] * clip.height))
    if scale > settings.max_upscale:
        return Rejected("frame", "too_small", f"{clip.width} x {clip.height}, {scale:.1f} times too small")
    scaled = max(width, round(clip.width * scale)), max(height, round(clip.height * scale))
    if face is None or settings.crop_centre == "picture":
        left, top = (scaled[0] - width) / 2, (scaled[1] - height) / 2
    else:
        left, top = face[0] * scaled[1] - width / 2, face[1] * scaled[1] - FACE_CENTRE_HEIGHT * height
    return BucketFit(
        bucket=Bucket(frames, height, width),
        crop_starts=_crop_starts(frames_at_rate - frames, settings.crops_per_clip),
        scaled_size=scaled,
        left=round(min(max(left, 0), scaled[0] - width)),
        top=round(min(max(top, 0), scaled[1] - height)),
    )


def _crop_starts(spare_frames: int, crops: int) -> tuple[int, ...]:
    """First frames of the crops, evenly spread; fewer where they would coincide."""
    if crops == 1:
        return (0,)
    return tuple(sorted({round(k * spare_frames / (crops - 1)) for k in range(crops)}))
