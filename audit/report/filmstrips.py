"""Strips: a clip as one small picture, its frames side by side, each where it stands on the time axis."""

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.reader import open_media
from xsheet.runtime.executor import Execution, Item, Row, run_task
from xsheet.schemas import ids
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import MediaError
from xsheet.schemas.tables import write_bytes
from xsheet.schemas.time import CLIP_RATE, frame_start_us, seconds_from_us

WIDTH_PX, HEIGHT_PX = 960, 104
"""Of a strip; a page 1,120 px wide shows it at its own size."""
MAX_BYTES = 60_000
_QUALITIES = (70, 55, 40, 25, 10)
_MAX_FRAMES = 16


@dataclass(frozen=True, slots=True)
class Filmstrip:
    """Frames of one clip side by side, evenly over its length."""

    jpeg: bytes
    frame_times_s: tuple[float, ...]  # when each was shown

    @property
    def data_uri(self) -> str:
        """The picture as a page carries it."""
        return jpeg_data_uri(self.jpeg)


@dataclass(frozen=True, slots=True)
class _FilmstripRequest:
    """What the task is given of a clip."""

    media: Path
    frames: tuple[int, ...]
    out: Path


class FilmstripTask:
    """Decodes one clip up to the last frame shown and writes its strip. The payload of an item says which frames."""

    name = "strips"

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """No row: the strip is a file."""
        wanted: _FilmstripRequest = item.payload
        tile = WIDTH_PX // len(wanted.frames)
        with open_media(wanted.media, root=wanted.media.parent) as media:
            width, height = media.size
            size = tile, max(2, round(tile * height / width))
            frames = islice(media.frames(size=size), wanted.frames[-1] + 1)
            tiles = [frame.rgb for frame in frames if frame.index in wanted.frames]
        if len(tiles) != len(wanted.frames):
            raise MediaError(
                reason="decode_failed", where=wanted.media.name, expected=f"{len(wanted.frames)} frames",
                got=str(len(tiles)), hint="write the clip again: `xsheet curate run`",
            )  # fmt: skip
        write_bytes(wanted.out, encode_jpeg(np.concatenate(tiles, axis=1)))
        return ()


def render_filmstrips(set_folder: Path, clips: Sequence[Clip], *, execution: Execution) -> dict[str, Filmstrip]:
    """Strips by clip id; a clip whose film cannot be read has none.

    Args:
        set_folder: the set.
        clips: those to show, decoded in processes of their own.
        execution: how many at a time, and what each may take.

    Raises:
        RunError: no worker starts, or the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="xsheet-strips-") as scratch:
        there = [clip for clip in clips if (set_folder / clip.media_path).is_file()]
        items = [_item(set_folder, clip, Path(scratch)) for clip in there]
        run_task(FilmstripTask(), items, out=Path(scratch), execution=execution)
        return {item.name: strip for item in items if (strip := _read_filmstrip(item)) is not None}


def evenly_spaced_frames(clip: Clip) -> tuple[int, ...]:
    """Frames in the middle of as many equal stretches as pictures of this shape fit side by side."""
    fitting = round(WIDTH_PX / HEIGHT_PX * clip.height / clip.width)
    count = min(max(fitting, 3), _MAX_FRAMES, clip.frames)
    return tuple((2 * k + 1) * clip.frames // (2 * count) for k in range(count))


def encode_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """A picture as a JPEG of at most MAX_BYTES, or of the lowest quality; the same picture gives the same bytes."""
    bgr, data = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), b""
    for quality in _QUALITIES:
        _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
        data = coded.tobytes()
        if len(data) <= MAX_BYTES:
            break
    return data


def jpeg_data_uri(jpeg: bytes) -> str:
    """A JPEG as the source of a picture."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _item(set_folder: Path, clip: Clip, scratch: Path) -> Item:
    frames = evenly_spaced_frames(clip)
    key = ids.content_key("strip", clip.clip_id, clip.media_sha256, frames)
    media = (set_folder / clip.media_path).absolute()
    return Item(key=key, name=clip.clip_id, payload=_FilmstripRequest(media, frames, scratch / f"{key}.jpg"))


def _read_filmstrip(item: Item) -> Filmstrip | None:
    """What the task wrote; nothing where it failed."""
    wanted: _FilmstripRequest = item.payload
    if not wanted.out.is_file():
        return None
    at = (seconds_from_us(frame_start_us(frame, CLIP_RATE)) for frame in wanted.frames)
    return Filmstrip(wanted.out.read_bytes(), tuple(at))
