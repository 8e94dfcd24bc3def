"""Filmstrips: frames of a clip side by side in one picture, evenly over its duration."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from xsheet.curate.media.reader import open_media
from xsheet.pages.images import encode_jpeg, jpeg_data_uri
from xsheet.runtime.executor import Execution, Item, Row, run_task
from xsheet.schemas import ids
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import MediaError
from xsheet.schemas.files import write_bytes
from xsheet.schemas.time import CLIP_RATE, frame_start_us, seconds_from_us

WIDTH_PX, HEIGHT_PX = 960, 104
"""Of a filmstrip; the page shows it at this size or smaller."""
_MAX_FRAMES = 16


@dataclass(frozen=True, slots=True)
class Filmstrip:
    """Frames of one clip side by side."""

    jpeg: bytes
    frame_times_s: tuple[float, ...]  # time of each frame

    @property
    def data_uri(self) -> str:
        """The picture as the value of `src`."""
        return jpeg_data_uri(self.jpeg)


@dataclass(frozen=True, slots=True)
class _FilmstripRequest:
    """Payload of an item: the clip, the frames, the file to write."""

    media: Path
    frames: tuple[int, ...]
    out: Path


class FilmstripTask:
    """Decodes one clip up to the last frame of its filmstrip and writes the filmstrip."""

    name = "filmstrips"

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """Returns no rows: the filmstrip is a file."""
        request: _FilmstripRequest = item.payload
        tile = WIDTH_PX // len(request.frames)
        with open_media(request.media, root=request.media.parent) as media:
            width, height = media.size
            size = tile, max(2, round(tile * height / width))
            frames = islice(media.frames(size=size), request.frames[-1] + 1)
            tiles = [frame.rgb for frame in frames if frame.index in request.frames]
        if len(tiles) != len(request.frames):
            raise MediaError(
                reason="decode_failed", where=request.media.name, expected=f"{len(request.frames)} frames",
                got=str(len(tiles)), hint="rerun `xsheet curate run` to write the clip again",
            )  # fmt: skip
        write_bytes(request.out, encode_jpeg(np.concatenate(tiles, axis=1)))
        return ()


def render_filmstrips(set_folder: Path, clips: Sequence[Clip], *, execution: Execution) -> dict[str, Filmstrip]:
    """Filmstrips by clip id; a clip that cannot be decoded has none.

    Args:
        set_folder: the set.
        clips: the clips; each is decoded in a worker process.
        execution: number and limits of the workers.

    Raises:
        RunError: no worker starts, or the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="xsheet-filmstrips-") as scratch:
        existing = [clip for clip in clips if (set_folder / clip.media_path).is_file()]
        items = [_item(set_folder, clip, Path(scratch)) for clip in existing]
        run_task(FilmstripTask(), items, out=Path(scratch), execution=execution)
        return {item.name: filmstrip for item in items if (filmstrip := _read_filmstrip(item)) is not None}


def evenly_spaced_frames(clip: Clip) -> tuple[int, ...]:
    """Middle frames of equal intervals, as many as fit side by side."""
    fitting = round(WIDTH_PX / HEIGHT_PX * clip.height / clip.width)
    count = min(max(fitting, 3), _MAX_FRAMES, clip.frames)
    return tuple((2 * k + 1) * clip.frames // (2 * count) for k in range(count))


def _item(set_folder: Path, clip: Clip, scratch: Path) -> Item:
    frames = evenly_spaced_frames(clip)
    key = ids.content_key("filmstrip", clip.clip_id, clip.media_sha256, frames)
    media = (set_folder / clip.media_path).absolute()
    return Item(key=key, name=clip.clip_id, payload=_FilmstripRequest(media, frames, scratch / f"{key}.jpg"))


def _read_filmstrip(item: Item) -> Filmstrip | None:
    """The filmstrip of an item; None where the task failed."""
    request: _FilmstripRequest = item.payload
    if not request.out.is_file():
        return None
    times_s = (seconds_from_us(frame_start_us(frame, CLIP_RATE)) for frame in request.frames)
    return Filmstrip(request.out.read_bytes(), tuple(times_s))
