"""Faces cropped frame by frame during the decode for the networks of sync, without storing pixels.

Faces are linked by box overlap from frame to frame; a gap ends a segment. Boxes are smoothed and crops made as in
SyncNet's own code, which that of Light-ASD shares.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.linker import Box, iou
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.schemas.source import FaceTrack

Floats = NDArray[np.float32]

CROP_PX = 224
_SMOOTHING_RADIUS_FRAMES = 6  # to each side: median over 13 boxes, as in the original
_MIN_IOU = 0.5  # as in the original
_PADDING_GREY = 110  # colour beyond the picture, as in the original


class CropReader(Protocol):
    """What a network makes of one face in consecutive frames."""

    def add(self, crop: Rgb) -> None:
        """Process the crop (224, 224, 3) of the next frame."""
        ...

    def close(self) -> None:
        """Process what is pending; no crop may follow."""
        ...

    def values(self) -> Floats:
        """(n, columns) after `close`: row k belongs to the k-th crop; there may be fewer rows than crops."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class _FaceSegment:
    """One face in consecutive frames."""

    start_frame: int
    reader: CropReader
    boxes: list[Box] = field(default_factory=list)  # in picture heights
    pending_frames: deque[Rgb] = field(default_factory=deque)  # frames whose box is not smoothed yet

    def box_at(self, frame: int) -> Box | None:
        """The box in a frame of the source, or None."""
        inside = 0 <= frame - self.start_frame < len(self.boxes)
        return self.boxes[frame - self.start_frame] if inside else None


class FaceCropStream:
    """Crops all faces of one video; each segment of a face goes to a reader of its own.

    Args:
        open_reader: makes the reader of a segment from the frame in which it starts.
        scale: margin around the face by half its side.
    """

    def __init__(self, open_reader: Callable[[int], CropReader], *, scale: float) -> None:
        self._open_reader = open_reader
        self._scale = scale
        self._open_segments: list[_FaceSegment] = []
        self._closed_segments: list[_FaceSegment] = []

    def add(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Process the faces of the next frame; boxes are (x0, y0, x1, y1) in pixels."""
        height = frame.rgb.shape[0]
        unmatched = list(self._open_segments)
        self._open_segments = []
        for x0, y0, x1, y1 in faces:
            box = (x0 / height, y0 / height, x1 / height, y1 / height)
            segment = max(unmatched, key=lambda candidate: iou(candidate.boxes[-1], box), default=None)
            if segment is None or iou(segment.boxes[-1], box) <= _MIN_IOU:
                segment = _FaceSegment(start_frame=frame.index, reader=self._open_reader(frame.index))
            else:
                unmatched.remove(segment)
            segment.boxes.append(box)
            segment.pending_frames.append(frame.rgb)
            self._open_segments.append(segment)
            if len(segment.pending_frames) > _SMOOTHING_RADIUS_FRAMES:
                self._crop_next(segment)
        for segment in unmatched:
            self._close_segment(segment)

    def close(self) -> None:
        """Process the pending frames; no frame may follow."""
        for segment in self._open_segments:
            self._close_segment(segment)
        self._open_segments = []

    def values(self, track: FaceTrack, columns: int) -> Floats:
        """(frames of the track, columns) of what the readers give for it, after `close`; NaN where they give none."""
        placed = np.full((track.frames, columns), np.nan, np.float32)
        last = track.start_frame + track.frames
        for segment in self._closed_segments:
            values = segment.reader.values()
            common = range(max(segment.start_frame, track.start_frame), min(segment.start_frame + len(values), last))
            if not any(_is_same_face(segment.box_at(t), _track_box(track, t)) for t in common[:1]):
                continue
            at = common.start - track.start_frame
            placed[at : at + len(common)] = values[common.start - segment.start_frame :][: len(common)]
        return placed

    def _crop_next(self, segment: _FaceSegment) -> None:
        """Crop the face from the oldest pending frame."""
        at = len(segment.boxes) - len(segment.pending_frames)
        neighbours = np.array(segment.boxes[max(0, at - _SMOOTHING_RADIUS_FRAMES) : at + _SMOOTHING_RADIUS_FRAMES + 1])
        rgb = segment.pending_frames.popleft()
        segment.reader.add(mouth_crop(rgb, smooth_box(neighbours, rgb.shape[0]), scale=self._scale))

    def _close_segment(self, segment: _FaceSegment) -> None:
        while segment.pending_frames:
            self._crop_next(segment)
        segment.reader.close()
        self._closed_segments.append(segment)


def smooth_box(boxes: NDArray[np.floating], height_px: int) -> tuple[float, float, float]:
    """(x, y, half side) in pixels: medians of (N, 4) neighbouring boxes in picture heights, as in the original.

    At the ends of a track the median is over the existing boxes; the original includes zeros.
    """
    x0, y0, x1, y1 = (boxes * height_px).T
    half = np.maximum(y1 - y0, x1 - x0) / 2
    return float(np.median((x0 + x1) / 2)), float(np.median((y0 + y1) / 2)), float(np.median(half))


def mouth_crop(rgb: Rgb, box: tuple[float, float, float], *, scale: float) -> Rgb:
    """Crop (224, 224, 3) as in the original: the face with margin at the sides and below, none above.

    Args:
        rgb: the frame.
        box: centre x, centre y and half side of the face, in pixels.
        scale: margin by half side.
    """
    x, y, half = box
    pad = int(half * (1 + 2 * scale))
    left, right = int(x + pad - half * (1 + scale)), int(x + pad + half * (1 + scale))
    top, bottom = int(y + pad - half), int(y + pad + half * (1 + 2 * scale))
    padded = cv2.copyMakeBorder(
        rgb, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(_PADDING_GREY, _PADDING_GREY, _PADDING_GREY)
    )
    region = padded[max(0, top) : max(1, bottom), max(0, left) : max(1, right)]
    if region.size == 0:  # the box lies outside the picture
        return np.full((CROP_PX, CROP_PX, 3), _PADDING_GREY, np.uint8)
    return np.asarray(cv2.resize(region, (CROP_PX, CROP_PX)), np.uint8)


def _track_box(track: FaceTrack, frame: int) -> Box | None:
    at = frame - track.start_frame
    box = (track.x0[at], track.y0[at], track.x1[at], track.y1[at])
    return None if None in box else box  # type: ignore[return-value] # no None remains


def _is_same_face(a: Box | None, b: Box | None) -> bool:
    return a is not None and b is not None and iou(a, b) > _MIN_IOU
