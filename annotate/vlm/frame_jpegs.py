"""The pictures of a clip as JPEG, for a model behind a network."""

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2

from xsheet.annotate.vlm.client import Film
from xsheet.annotate.vlm.frames import frame_indices, stamps_us
from xsheet.curate.media.reader import open_media
from xsheet.schemas.errors import MediaError


@dataclass(frozen=True, slots=True, eq=False)
class Stills:
    """What of a clip is sent."""

    jpegs: tuple[bytes, ...]
    indices: tuple[int, ...]
    stamps_us: tuple[int, ...]
    width: int
    height: int


def stills(film: Film, *, quality: int) -> Stills:
    """The frames of a film within its budget of pixels.

    Raises:
        MediaError: the clip cannot be read, or has fewer frames than it should.
    """
    indices = frame_indices(film.frames, fps=film.fps)
    wanted = frozenset(indices)
    with open_media(film.media, root=film.media.parent) as media:
        size = fitting(*media.size, pixels=min(film.max_frame_pixels, film.max_clip_pixels // len(indices)))
        frames = islice(media.frames(size=size), indices[-1] + 1)
        jpegs = tuple(_jpeg(frame.rgb, quality=quality) for frame in frames if frame.index in wanted)
    if len(jpegs) != len(indices):
        raise _too_few(film.media, expected=film.frames, shown=f"{len(jpegs)} of the {len(indices)} to be shown")
    return Stills(jpegs, indices, stamps_us(indices), *size)


def fitting(width: int, height: int, *, pixels: int) -> tuple[int, int]:
    """The largest even size of the same shape with at most so many pixels; never larger than the picture."""
    share = min(1.0, math.sqrt(pixels / (width * height)))
    wide, high = (max(2, int(side * share) // 2 * 2) for side in (width, height))
    return wide, high


def _jpeg(rgb: cv2.typing.MatLike, *, quality: int) -> bytes:
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done  # of a picture in memory nothing can fail but memory
    return coded.tobytes()


def _too_few(media: Path, *, expected: int, shown: str) -> MediaError:
    return MediaError(
        reason="decode_failed", where=media.name, expected=f"{expected} frames", came=shown,
        todo="write the clip again: `xsheet curate run`",
    )  # fmt: skip
