"""Thumbnails: one small JPEG per second of a source, so that reports need no decode.

`SET/thumbnails/ab/<source_id>.zip` holds them uncompressed, each under its frame number at 25 fps. A candidate shows
the one nearest to its middle.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.frames import Frame
from xsheet.schemas.files import write_bytes
from xsheet.schemas.time import CLIP_RATE, Span, frame_at

MAX_HEIGHT_PX = 160
MAX_BYTES = 6_000
"""A thousand thumbnails in base64 add 8 MB to a page."""
_QUALITIES = (72, 60, 48, 36, 24, 12)
_JPEG_START = b"\xff\xd8\xff"
_MAX_THUMBNAILS = 4096


class ThumbnailCollector:
    """Keeps one thumbnail per second of a source, at most 4096; beyond that it drops every other one."""

    def __init__(self) -> None:
        self._interval_frames = CLIP_RATE.num
        self._thumbnails: dict[int, bytes] = {}

    def add(self, frame: Frame) -> None:
        """Keep a thumbnail of every `_interval_frames`-th frame."""
        if frame.index % self._interval_frames:
            return
        self._thumbnails[frame.index] = encode_thumbnail(frame.rgb)
        if len(self._thumbnails) > _MAX_THUMBNAILS:
            self._interval_frames *= 2
            self._thumbnails = {
                index: jpeg for index, jpeg in self._thumbnails.items() if index % self._interval_frames == 0
            }

    def save(self, set_folder: Path, source_id: str) -> None:
        """Write the thumbnails of a source; none if no frame was added.

        Raises:
            OSError: the set folder is not writable.
        """
        if self._thumbnails:
            write_thumbnails(set_folder, source_id, self._thumbnails)


def write_thumbnails(set_folder: Path, source_id: str, thumbnails: Mapping[int, bytes]) -> None:
    """Write the thumbnails of a source, by frame number; the same thumbnails give the same bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for frame, jpeg in sorted(thumbnails.items()):
            file.writestr(zipfile.ZipInfo(f"{frame}.jpg"), jpeg)  # an entry without the time of writing
    write_bytes(thumbnails_path(set_folder, source_id), archive.getvalue())


def encode_thumbnail(rgb: NDArray[np.uint8]) -> bytes:
    """Encode a frame as JPEG of at most 160 px height and 6 kB; deterministic.

    Args:
        rgb: (height, width, 3), uint8 RGB.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, MAX_HEIGHT_PX / height, 2 * MAX_HEIGHT_PX / width)
    while True:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        for quality in _QUALITIES:
            _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
            if len(data) <= MAX_BYTES:
                return data.tobytes()
        scale *= 0.7  # noise compresses badly at any quality, so shrink further


def thumbnails_path(set_folder: Path, source_id: str) -> Path:
    """Path of the thumbnails of a source, in a subfolder by the first two digits of its hash."""
    return set_folder / "thumbnails" / source_id.rpartition("_")[2][:2] / f"{source_id}.zip"


def read_thumbnail(set_folder: Path, source_id: str, span: Span) -> bytes | None:
    """Read the thumbnail nearest to the middle of a span; None if there is none, or it is not a small JPEG."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", source_id):
        return None  # an unsafe id could escape the folder
    middle = frame_at((span.start_us + span.end_us) // 2, CLIP_RATE)
    try:
        with zipfile.ZipFile(thumbnails_path(set_folder, source_id)) as file:
            frames = [int(name[:-4]) for name in file.namelist() if re.fullmatch(r"\d{1,9}\.jpg", name)]
            if not frames:
                return None
            nearest = file.getinfo(f"{min(frames, key=lambda frame: (abs(frame - middle), frame))}.jpg")
            if nearest.compress_type != zipfile.ZIP_STORED or nearest.file_size > 2 * MAX_BYTES:
                return None
            data = file.read(nearest)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):  # another file of that name
        return None
    return data if data.startswith(_JPEG_START) else None
