"""SyncNet beside the one decode: mouths are cut out and compared with the sound as frames come; pixels are not kept.

    net.open()
    watcher = SyncNetAnalyser(net, sound)
    for frame in media.frames(...):
        faces.add(frame)
        watcher.add(frame, [face.box for face in faces.faces])
    watcher.close()
    score = watcher.scorer(timeline)(track, range(50, 150), shift=0)

Of each face and frame, 43 distances stay. A face is followed by overlap from frame to frame; where it is lost, windows
across the gap do not exist.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.audio.features import VOICE_THRESHOLD, series_to_array
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.sync.lip_audio import DEFAULT_SETTINGS as LIPS
from xsheet.curate.sync.lip_audio import LipAudioSettings, shift_series, valid_frames
from xsheet.curate.sync.syncnet import (
    CROP_PX,
    DEFAULT_SETTINGS,
    WINDOW_FRAMES,
    SyncNet,
    SyncNetSettings,
    VoiceFeatures,
    syncnet_score,
)
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.source import FaceTrack, Timeline

Box = tuple[float, float, float, float]
Floats = NDArray[np.float32]

_SMOOTHING_RADIUS_FRAMES = 6  # to each side: the original's median over 13 boxes
_MIN_IOU = 0.5  # the original's
_PADDING_GREY = 110  # the original's colour beyond the picture


@dataclass(slots=True, kw_only=True, eq=False)
class _FaceSegment:
    """One face in frames that follow each other."""

    start_frame: int
    boxes: list[Box] = field(default_factory=list)  # in picture heights
    pending_frames: deque[Rgb] = field(default_factory=deque)  # pictures whose box is not smooth yet
    crops: list[Rgb] = field(default_factory=list)  # of windows that are not complete yet
    distances: list[Floats] = field(default_factory=list)  # parts of (windows, 2 reach + 1)
    windows: int = 0

    def box_at(self, frame: int) -> Box | None:
        """Its box in a frame of the source."""
        inside = 0 <= frame - self.start_frame < len(self.boxes)
        return self.boxes[frame - self.start_frame] if inside else None


class SyncNetAnalyser:
    """Compares every face of one video with its sound."""

    def __init__(self, net: SyncNet, sound: Samples, *, settings: SyncNetSettings = DEFAULT_SETTINGS) -> None:
        self._net = net
        self._voice = VoiceFeatures(net, sound)
        self._settings = settings
        self._open_segments: list[_FaceSegment] = []
        self._closed_segments: list[_FaceSegment] = []

    def add(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Look at the faces of the next frame; boxes are (x0, y0, x1, y1) in its pixels."""
        height = frame.rgb.shape[0]
        going = list(self._open_segments)
        self._open_segments = []
        for x0, y0, x1, y1 in faces:
            box = (x0 / height, y0 / height, x1 / height, y1 / height)
            same = max(going, key=lambda chain: _iou(chain.boxes[-1], box), default=None)
            if same is None or _iou(same.boxes[-1], box) <= _MIN_IOU:
                same = _FaceSegment(start_frame=frame.index)
            else:
                going.remove(same)
            same.boxes.append(box)
            same.pending_frames.append(frame.rgb)
            self._open_segments.append(same)
            if len(same.pending_frames) > _SMOOTHING_RADIUS_FRAMES:
                self._crop_next(same)
        for lost in going:
            self._close_segment(lost)

    def close(self) -> None:
        """No frame comes after this."""
        for chain in self._open_segments:
            self._close_segment(chain)
        self._open_segments = []

    def distances(self, track: FaceTrack, frames: int) -> Floats:
        """(frames of the source, 2 reach + 1) distances of the windows of a track; NaN where it has none."""
        found = np.full((frames, 2 * self._settings.max_lag_frames + 1), np.nan, np.float32)
        last = track.start_frame + track.frames
        for chain in self._closed_segments:
            common = range(max(chain.start_frame, track.start_frame), min(chain.start_frame + chain.windows, last))
            if not any(_is_same_face(chain.box_at(t), _track_box(track, t)) for t in common[:1]):
                continue
            parts = np.concatenate(chain.distances)
            found[common.start : common.stop] = parts[common.start - chain.start_frame :][: len(common)]
        return found

    def scorer(self, timeline: Timeline, *, lip_audio: LipAudioSettings = LIPS) -> "SyncNetScorer":
        """Scores tracks over spans from the distances that were kept."""
        return SyncNetScorer(self, timeline, name=self._net.name, settings=self._settings, lip_audio=lip_audio)

    def _crop_next(self, chain: _FaceSegment) -> None:
        """Cut the mouth out of the oldest waiting picture, and embed when a batch of windows is complete."""
        at = len(chain.boxes) - len(chain.pending_frames)
        near = np.array(chain.boxes[max(0, at - _SMOOTHING_RADIUS_FRAMES) : at + _SMOOTHING_RADIUS_FRAMES + 1])
        rgb = chain.pending_frames.popleft()
        chain.crops.append(mouth_crop(rgb, smooth_box(near, rgb.shape[0]), scale=self._settings.crop_scale))
        if len(chain.crops) == self._settings.batch_size + WINDOW_FRAMES - 1:
            self._embed_windows(chain)

    def _close_segment(self, chain: _FaceSegment) -> None:
        while chain.pending_frames:
            self._crop_next(chain)
        if len(chain.crops) >= WINDOW_FRAMES:
            self._embed_windows(chain)
        chain.crops.clear()
        if chain.windows:
            self._closed_segments.append(chain)

    def _embed_windows(self, chain: _FaceSegment) -> None:
        first = chain.start_frame + chain.windows
        count = min(len(chain.crops) - WINDOW_FRAMES + 1, self._voice.windows - first)
        if count > 0:
            mouths = self._net.embed_mouths(np.stack(chain.crops[: count + WINDOW_FRAMES - 1]))
            chain.distances.append(self._voice.distances(mouths, first, max_lag_frames=self._settings.max_lag_frames))
            chain.windows += count
        del chain.crops[: 1 - WINDOW_FRAMES]


class SyncNetScorer:
    """Scores face tracks of one source, on voiced windows."""

    def __init__(
        self,
        analyser: SyncNetAnalyser,
        timeline: Timeline,
        *,
        name: str,
        settings: SyncNetSettings,
        lip_audio: LipAudioSettings,
    ) -> None:
        self._analyser = analyser
        self._voice = series_to_array(timeline.voice)
        self._name = name
        self._settings = settings
        self._lip_audio = lip_audio

    def __call__(self, track: FaceTrack, frames: range, *, shift: int = 0) -> SyncScore | None:
        """The score over frames of the source, with the sound taken `shift` frames later; None without sound."""
        if not len(self._voice):
            return None
        span = slice(frames.start, max(frames.start, frames.stop - WINDOW_FRAMES))  # windows that end inside
        distances = self._analyser.distances(track, len(self._voice))[span]
        voiced = shift_series(self._voice, shift)[span] >= VOICE_THRESHOLD
        if len(voiced) < self._lip_audio.min_counted_frames:
            return SyncScore(scorer=self._name, windows=0, not_measurable="short")
        counted, windows = valid_frames(~np.isnan(distances[:, 0]), voiced, settings=self._lip_audio)
        if not windows:
            hidden = np.isnan(distances[:, 0]).mean() > 1 - self._lip_audio.min_mouth_visible_share
            return SyncScore(scorer=self._name, windows=0, not_measurable="face_hidden" if hidden else "unvoiced")
        return syncnet_score(distances, counted, scorer=self._name, shift=shift, settings=self._settings)


def smooth_box(boxes: NDArray[np.floating], height_px: int) -> tuple[float, float, float]:
    """(x, y, half side) in pixels from (N, 4) neighbouring boxes in picture heights: medians, as in the original.

    At the ends of a track the median is over the boxes there are; the original counts zeros among them.
    """
    x0, y0, x1, y1 = (boxes * height_px).T
    half = np.maximum(y1 - y0, x1 - x0) / 2
    return float(np.median((x0 + x1) / 2)), float(np.median((y0 + y1) / 2)), float(np.median(half))


def mouth_crop(rgb: Rgb, box: tuple[float, float, float], *, scale: float) -> Rgb:
    """(224, 224, 3) of the original's region: the face without its forehead's room, with room beside and below.

    Args:
        rgb: the picture.
        box: centre x, centre y and half side of the face, in pixels.
        scale: room, by half side.
    """
    x, y, half = box
    pad = int(half * (1 + 2 * scale))
    left, right = int(x + pad - half * (1 + scale)), int(x + pad + half * (1 + scale))
    top, bottom = int(y + pad - half), int(y + pad + half * (1 + 2 * scale))
    padded = cv2.copyMakeBorder(
        rgb, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(_PADDING_GREY, _PADDING_GREY, _PADDING_GREY)
    )
    region = padded[max(0, top) : max(1, bottom), max(0, left) : max(1, right)]
    if region.size == 0:  # a box that lies beyond the picture altogether
        return np.full((CROP_PX, CROP_PX, 3), _PADDING_GREY, np.uint8)
    return np.asarray(cv2.resize(region, (CROP_PX, CROP_PX)), np.uint8)


def _track_box(track: FaceTrack, frame: int) -> Box | None:
    at = frame - track.start_frame
    box = (track.x0[at], track.y0[at], track.x1[at], track.y1[at])
    return None if None in box else box  # type: ignore[return-value] # no None is left


def _is_same_face(one: Box | None, other: Box | None) -> bool:
    return one is not None and other is not None and _iou(one, other) > _MIN_IOU


def _iou(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, wide) * max(0.0, high)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / both if both > 0 else 0.0
