"""The pictures of a clip as JPEG, for a model behind a network."""

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2

from xsheet.annotate.vlm.client import FrameSelection
from xsheet.annotate.vlm.frames import frame_indices, frame_starts_us
from xsheet.curate.media.reader import open_media
from xsheet.schemas.errors import MediaError


@dataclass(frozen=True, slots=True, eq=False)
class JpegFrames:
    """What of a clip is sent."""

    jpegs: tuple[bytes, ...]
    indices: tuple[int, ...]
    stamps_us: tuple[int, ...]
    width: int
    height: int


def encode_jpeg_frames(selection: FrameSelection, *, quality: int) -> JpegFrames:
    """The frames of a film within its budget of pixels.

    Raises:
        MediaError: the clip cannot be read, or has fewer frames than it should.
    """
    indices = frame_indices(selection.frames, fps=selection.fps)
    wanted = frozenset(indices)
    with open_media(selection.media, root=selection.media.parent) as media:
        size = fit_size(
            *media.size, max_pixels=min(selection.max_frame_pixels, selection.max_clip_pixels // len(indices))
        )
        frames = islice(media.frames(size=size), indices[-1] + 1)
        jpegs = tuple(_encode_jpeg(frame.rgb, quality=quality) for frame in frames if frame.index in wanted)
    if len(jpegs) != len(indices):
        raise _decode_error(
            selection.media, expected_frames=selection.frames, got=f"{len(jpegs)} of the {len(indices)} to be shown"
        )
    return JpegFrames(jpegs, indices, frame_starts_us(indices), *size)


def fit_size(width: int, height: int, *, max_pixels: int) -> tuple[int, int]:
    """The largest even size of the same shape with at most so many pixels; never larger than the picture."""
    share = min(1.0, math.sqrt(max_pixels / (width * height)))
    wide, high = (max(2, int(side * share) // 2 * 2) for side in (width, height))
    return wide, high


def _encode_jpeg(rgb: cv2.typing.MatLike, *, quality: int) -> bytes:
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done  # of a picture in memory nothing can fail but memory
    return coded.tobytes()


def _decode_error(media: Path, *, expected_frames: int, got: str) -> MediaError:
    return MediaError(
        reason="decode_failed", where=media.name, expected=f"{expected_frames} frames", got=got,
        hint="write the clip again: `xsheet curate run`",
    )  # fmt: skip
