"""SyncNet during the decode: crop mouths and compare them with the sound frame by frame, without storing pixels.

    net.open()
    analyser = SyncNetAnalyser(net, sound)
    for frame in media.frames(...):
        faces.add(frame)
        analyser.add(frame, [face.box for face in faces.faces])
    analyser.close()
    distances = analyser.distances(faces.tracks(source_id))

For each face and frame it keeps 43 distances. Faces are linked by box overlap from frame to frame; a gap ends a
segment, and no window spans it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.linker import Box, iou
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.sync.base import SyncDistances
from xsheet.curate.sync.syncnet import CROP_PX, WINDOW_FRAMES, SyncNet, VoiceFeatures
from xsheet.schemas.source import FaceTrack

Floats = NDArray[np.float32]

_SMOOTHING_RADIUS_FRAMES = 6  # to each side: median over 13 boxes, as in the original
_MIN_IOU = 0.5  # as in the original
_PADDING_GREY = 110  # colour beyond the picture, as in the original


@dataclass(slots=True, kw_only=True, eq=False)
class _FaceSegment:
    """One face in consecutive frames."""

    start_frame: int
    boxes: list[Box] = field(default_factory=list)  # in picture heights
    pending_frames: deque[Rgb] = field(default_factory=deque)  # frames whose box is not smoothed yet
    crops: list[Rgb] = field(default_factory=list)  # of incomplete windows
    distances: list[Floats] = field(default_factory=list)  # parts of (windows, 2 max_lag_frames + 1)
    windows: int = 0

    def box_at(self, frame: int) -> Box | None:
        """The box in a frame of the source, or None."""
        inside = 0 <= frame - self.start_frame < len(self.boxes)
        return self.boxes[frame - self.start_frame] if inside else None


class SyncNetAnalyser:
    """Compares all faces of one video with its sound."""

    def __init__(self, net: SyncNet, sound: Samples) -> None:
        self._net = net
        self._voice = VoiceFeatures(net, sound)
        self._settings = net.settings
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
                segment = _FaceSegment(start_frame=frame.index)
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

    def distances(self, tracks: Sequence[FaceTrack]) -> list[SyncDistances]:
        """One row per track; call it after `close`."""
        return [
            SyncDistances.of(
                self.track_distances(track), track_id=track.track_id, scorer=self._net.name,
                start_frame=track.start_frame, max_lag_frames=self._settings.max_lag_frames,
            )
            for track in tracks
        ]  # fmt: skip

    def track_distances(self, track: FaceTrack) -> Floats:
        """(frames of the track, 2 max_lag_frames + 1) distances of its windows; NaN where it has none."""
        distances = np.full((track.frames, 2 * self._settings.max_lag_frames + 1), np.nan, np.float32)
        last = track.start_frame + track.frames
        for segment in self._closed_segments:
            common = range(
                max(segment.start_frame, track.start_frame), min(segment.start_frame + segment.windows, last)
            )
            if not any(_is_same_face(segment.box_at(t), _track_box(track, t)) for t in common[:1]):
                continue
            parts = np.concatenate(segment.distances)
            at = common.start - track.start_frame
            distances[at : at + len(common)] = parts[common.start - segment.start_frame :][: len(common)]
        return distances

    def _crop_next(self, segment: _FaceSegment) -> None:
        """Crop the mouth from the oldest pending frame; embed when a batch of windows is complete."""
        at = len(segment.boxes) - len(segment.pending_frames)
        neighbours = np.array(segment.boxes[max(0, at - _SMOOTHING_RADIUS_FRAMES) : at + _SMOOTHING_RADIUS_FRAMES + 1])
        rgb = segment.pending_frames.popleft()
        segment.crops.append(mouth_crop(rgb, smooth_box(neighbours, rgb.shape[0]), scale=self._settings.crop_scale))
        if len(segment.crops) == self._settings.batch_size + WINDOW_FRAMES - 1:
            self._embed_windows(segment)

    def _close_segment(self, segment: _FaceSegment) -> None:
        while segment.pending_frames:
            self._crop_next(segment)
        if len(segment.crops) >= WINDOW_FRAMES:
            self._embed_windows(segment)
        segment.crops.clear()
        if segment.windows:
            self._closed_segments.append(segment)

    def _embed_windows(self, segment: _FaceSegment) -> None:
        first = segment.start_frame + segment.windows
        count = min(len(segment.crops) - WINDOW_FRAMES + 1, self._voice.windows - first)
        if count > 0:
            mouths = self._net.embed_mouths(np.stack(segment.crops[: count + WINDOW_FRAMES - 1]))
            segment.distances.append(self._voice.distances(mouths, first, max_lag_frames=self._settings.max_lag_frames))
            segment.windows += count
        del segment.crops[: 1 - WINDOW_FRAMES]


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
