"""Thumbnails: one small JPEG per candidate at `SET/thumbnails/ab/<clip_id>.jpg`, so that reports need no decode."""

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.frames import Frame
from xsheet.schemas.clip import Measures
from xsheet.schemas.tables import write_bytes
from xsheet.schemas.time import CLIP_RATE, frame_at

MAX_HEIGHT_PX = 160
MAX_BYTES = 6_000
"""A thousand thumbnails in base64 add 8 MB to a page."""
_QUALITIES = (72, 60, 48, 36, 24, 12)
_JPEG_START = b"\xff\xd8\xff"
_MAX_THUMBNAILS = 4096


class ThumbnailCollector:
    """Keeps one thumbnail per second of a source, at most 4096; beyond that it drops every other one.

    Candidates are known only after the decode, so thumbnails are collected during it.
    """

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

    def save(self, candidate: Measures, set_folder: Path) -> None:
        """Write the thumbnail nearest to the middle of a candidate; none if no frame was added.

        Raises:
            OSError: the set folder is not writable.
        """
        middle = frame_at((candidate.start_us + candidate.end_us) // 2, CLIP_RATE)
        if self._thumbnails:
            nearest = min(self._thumbnails, key=lambda index: (abs(index - middle), index))
            write_bytes(thumbnail_path(set_folder, candidate.clip_id), self._thumbnails[nearest])


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


def thumbnail_path(set_folder: Path, clip_id: str) -> Path:
    """Path of the thumbnail of a candidate, in a subfolder by the first two digits of its hash."""
    return set_folder / "thumbnails" / _folder(clip_id) / f"{clip_id}.jpg"


def read_thumbnail(set_folder: Path, clip_id: str) -> bytes | None:
    """Read the thumbnail of a candidate; None if missing or not a small JPEG."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", clip_id):
        return None  # an unsafe id could escape the folder
    try:
        data = thumbnail_path(set_folder, clip_id).read_bytes()
    except OSError:
        return None
    return data if data.startswith(_JPEG_START) and len(data) <= 2 * MAX_BYTES else None


def _folder(clip_id: str) -> str:
    return clip_id.rpartition("_")[2][:2]
