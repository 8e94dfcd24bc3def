"""Which frames of a clip a model sees, with their times, and the frames as JPEG. Never a library's default choice.

The frame spacing limits the timing: at 2 fps in pairs (1.1 s apart) half of all phases of 0.6 s can reach tIoU 0.5, at
4 fps 86 %, at 8 fps all (snapping to the frames of a 5 s clip).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.vlm.client import FrameSelection
from xsheet.schemas.errors import MediaError
from xsheet.schemas.time import CLIP_RATE, US_PER_S, frame_start_us

MIN_VIDEO_FRAMES = 4  # of both Qwen families (their FPS_MIN_FRAMES)
TEMPORAL_PATCH_SIZE = 2  # frames that Qwen-VL merges in time; hence an even count


def frame_indices(frames: int, *, fps: float) -> tuple[int, ...]:
    """Frame indices of a clip at 25 fps, evenly spaced from the first to the last frame.

    The count is duration × `fps` rounded to an even number, at least 4 and at most the clip's frames.
    Index k is k·(frames - 1)/(count - 1), rounded half up; strictly increasing.

    Raises:
        ValueError: fewer than 4 frames, or fps <= 0.
    """
    if frames < MIN_VIDEO_FRAMES or not fps > 0:
        raise ValueError(f"expected at least {MIN_VIDEO_FRAMES} frames and fps > 0, got {frames} frames and {fps} fps")
    requested = TEMPORAL_PATCH_SIZE * round(
        frames * min(fps, float(CLIP_RATE)) / float(CLIP_RATE) / TEMPORAL_PATCH_SIZE
    )
    count = min(max(MIN_VIDEO_FRAMES, requested), frames - frames % TEMPORAL_PATCH_SIZE)
    steps = count - 1
    return tuple((2 * k * (frames - 1) + steps) // (2 * steps) for k in range(count))


def frame_starts_us(indices: Sequence[int]) -> tuple[int, ...]:
    """Start of each frame, µs of the clip."""
    return tuple(frame_start_us(index, CLIP_RATE) for index in indices)


def mean_fps(indices: Sequence[int]) -> float:
    """Mean frames per second of the indices; single steps differ by one frame."""
    shown_us = frame_start_us(indices[-1], CLIP_RATE) - frame_start_us(indices[0], CLIP_RATE)
    return (len(indices) - 1) * US_PER_S / shown_us


@dataclass(frozen=True, slots=True, eq=False)
class JpegFrames:
    """Encoded frames of a clip."""

    jpegs: tuple[bytes, ...]
    indices: tuple[int, ...]
    stamps_us: tuple[int, ...]
    width: int
    height: int


def encode_jpeg_frames(selection: FrameSelection, *, quality: int) -> JpegFrames:
    """Decode the selected frames and encode them as JPEG within the pixel limits.

    Raises:
        MediaError: the clip cannot be decoded, or has too few frames.
    """
    from xsheet.curate.media.reader import open_media  # noqa: PLC0415 - loads the decoder

    indices = frame_indices(selection.frames, fps=selection.fps)
    requested = frozenset(indices)
    with open_media(selection.media, root=selection.media.parent) as media:
        size = fit_size(
            *media.size, max_pixels=min(selection.max_frame_pixels, selection.max_clip_pixels // len(indices))
        )
        frames = islice(media.frames(size=size), indices[-1] + 1)
        jpegs = tuple(_encode_jpeg(frame.rgb, quality=quality) for frame in frames if frame.index in requested)
    if len(jpegs) != len(indices):
        raise _decode_error(
            selection.media, expected_frames=selection.frames, got=f"{len(jpegs)} of the {len(indices)} requested"
        )
    return JpegFrames(jpegs, indices, frame_starts_us(indices), *size)


def fit_size(width: int, height: int, *, max_pixels: int) -> tuple[int, int]:
    """The largest even size of the same aspect ratio within `max_pixels`; never larger than the frame."""
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    new_width, new_height = (max(2, int(side * scale) // 2 * 2) for side in (width, height))
    return new_width, new_height


def _encode_jpeg(rgb: NDArray[np.uint8], *, quality: int) -> bytes:
    import cv2  # noqa: PLC0415 - the token arithmetic needs no pictures

    ok, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok  # encoding in memory fails only without memory
    return encoded.tobytes()


def _decode_error(media: Path, *, expected_frames: int, got: str) -> MediaError:
    return MediaError(
        reason="decode_failed", where=media.name, expected=f"{expected_frames} frames", got=got,
        hint="write the clip again: `xsheet curate run`",
    )  # fmt: skip
