"""Track shoulders, arms and hands of one person over the frames of a kept clip.

    with PoseAnalyser(settings) as body:
        for frame in media.frames(...): body.add(frame)
        signals = replace(signals, **body.signals())
    motion = part_motion(signals)

Models: Pose (complexity 1) and Hands of the pinned mediapipe wheel; the Tasks bundles hold the same networks or lighter
ones. The models run on every second frame; the frames between are interpolated.
"""

from collections.abc import Sequence
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.series import array_to_series
from xsheet.schemas.columns import Series
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import FaceTrack

Floats = NDArray[np.float64]
# Landmark indices of MediaPipe Pose; left is the subject's left.
_JOINTS = {
    "shoulder_left": 11, "shoulder_right": 12, "elbow_left": 13, "elbow_right": 14, "wrist_left": 15, "wrist_right": 16,
}  # fmt: skip
_SIDES = ("left", "right")
# A hand belongs to the arm whose wrist is at most this far away, in picture heights.
_MAX_WRIST_DISTANCE = 0.15


class PoseSettings(StrictModel):
    """How the body is tracked."""

    frame_stride: int = Field(
        default=2, ge=1, le=2, description="frames between detections; 2 is 12.5 fps, and gestures last 0.2 s or more"
    )
    long_side_px: int = Field(
        default=640, ge=256, le=1920, description="longer side of the model input; the models work at 256"
    )
    min_visibility: float = Field(
        default=0.5, ge=0, le=1, description="visibility below which a joint is null; MediaPipe's default"
    )
    detect_hands: bool = Field(default=True, description="detect hands too; a third of the cost")


class PoseAnalyser:
    """Tracks one body. An instance serves one clip and one thread."""

    def __init__(self, settings: PoseSettings, *, window: tuple[float, float] | None = None) -> None:
        """`window`: left and right bound of the person in picture heights; None is the whole frame."""
        self._settings = settings
        self._window = window
        self._indices: list[int] = []
        self._rows: list[Floats] = []

    def open(self) -> None:
        """Load the models."""
        # Importing mediapipe takes a second and starts its logging, so only workers import it.
        from mediapipe.python.solutions.hands import Hands  # noqa: PLC0415
        from mediapipe.python.solutions.pose import Pose  # noqa: PLC0415

        self._pose: Any = Pose(model_complexity=1)
        self._hands: Any = Hands(max_num_hands=2) if self._settings.detect_hands else None

    def add(self, frame: Frame) -> None:
        """Process the next frame."""
        self._indices.append(frame.index)
        if (len(self._indices) - 1) % self._settings.frame_stride == 0:
            self._rows.append(self._detect(frame.rgb))

    def signals(self) -> dict[str, Series]:
        """The body series of Signals, one value per added frame."""
        names = [f"{joint}_{axis}" for joint in _JOINTS for axis in "xy"] + [f"hand_{side}_visible" for side in _SIDES]
        if not self._rows:
            return {}
        table = _interpolate_rows(np.stack(self._rows), stride=self._settings.frame_stride, frames=len(self._indices))
        return {name: array_to_series(values) for name, values in zip(names, table.T, strict=True)}

    def close(self) -> None:
        """Release the models."""
        self._pose.close()
        if self._hands is not None:
            self._hands.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _detect(self, rgb: Rgb) -> Floats:
        """(14,): x and y of each joint in picture heights, then visibility of each hand; NaN for invisible joints."""
        picture, shift_x = self._crop_person(rgb)
        height, width = picture.shape[:2]
        to_heights = np.array((width / height, 1.0))
        pose = self._pose.process(picture).pose_landmarks
        marks = [pose.landmark[k] for k in _JOINTS.values()] if pose else []
        points = np.array([(m.x, m.y) for m in marks] or np.full((len(_JOINTS), 2), np.nan))
        visibility = np.array([m.visibility for m in marks] or np.zeros(len(_JOINTS)))
        visibility = np.where(((points >= 0) & (points <= 1)).all(1), visibility, 0.0)
        points = points * to_heights
        hands = self._detect_hands(picture, points[4:], to_heights)
        visible = np.array([max(visibility[4 + k], hands[k][1] if k in hands else 0.0) for k in range(2)])
        points[visibility < self._settings.min_visibility] = np.nan
        for k, (wrist, _) in hands.items():
            points[4 + k] = wrist
        points[:, 0] += shift_x
        return np.concatenate((points.ravel(), visible))

    def _crop_person(self, rgb: Rgb) -> tuple[Rgb, float]:
        """Crop the person and scale the crop down; also return its left edge in picture heights."""
        height, width = rgb.shape[:2]
        left, right = self._window or (0.0, width / height)
        x0, x1 = max(0, round(left * height)), min(width, round(right * height))
        crop = rgb[:, x0:x1] if x1 - x0 >= height // 8 else rgb
        scale = min(1.0, self._settings.long_side_px / max(crop.shape[:2]))
        size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
        small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA) if scale < 1 else np.ascontiguousarray(crop)
        return np.asarray(small, np.uint8), (x0 / height if crop is not rgb else 0.0)

    def _detect_hands(self, picture: Rgb, wrists: Floats, to_heights: Floats) -> dict[int, tuple[Floats, float]]:
        """Wrist position and score of each detected hand, by side: 0 is the subject's left, 1 the right."""
        if self._hands is None:
            return {}
        result = self._hands.process(picture)
        hands: dict[int, tuple[Floats, float]] = {}
        for marks, kinds in zip(result.multi_hand_landmarks or (), result.multi_handedness or (), strict=True):
            wrist = np.array((marks.landmark[0].x, marks.landmark[0].y)) * to_heights
            kind = kinds.classification[0]
            side = _hand_side(wrist, wrists, labelled_left=kind.label == "Right")  # Hands assumes mirrored pictures
            if side is not None and (side not in hands or kind.score > hands[side][1]):
                hands[side] = wrist, float(kind.score)
        return hands


def person_window(track: FaceTrack, others: Sequence[FaceTrack], *, aspect: float) -> tuple[float, float] | None:
    """Bounds half-way to the nearest faces on both sides, in picture heights; None if there are no other faces.

    Args:
        track: the person's face.
        others: all other faces that share frames with it.
        aspect: picture width / height.
    """
    centre = _track_centre(track)
    left = [(_track_centre(other) + centre) / 2 for other in others if _track_centre(other) < centre]
    right = [(_track_centre(other) + centre) / 2 for other in others if _track_centre(other) > centre]
    return (max(left, default=0.0), min(right, default=aspect)) if left or right else None


def _track_centre(track: FaceTrack) -> float:
    return float(
        np.median([(a + b) / 2 for a, b in zip(track.x0, track.x1, strict=True) if a is not None and b is not None])
    )


def _hand_side(wrist: Floats, wrists: Floats, *, labelled_left: bool) -> int | None:
    """Side of a hand: that of the nearer wrist; the label of the model if no wrist is known; None if both are far."""
    if np.isnan(wrists).any():
        return 0 if labelled_left else 1
    distances = np.linalg.norm(wrists - wrist, axis=1)
    return int(distances.argmin()) if distances.min() <= _MAX_WRIST_DISTANCE else None


def _interpolate_rows(rows: Floats, *, stride: int, frames: int) -> Floats:
    """(frames, N) from rows of every `stride`-th frame: linear in between, NaN next to NaN."""
    at = np.minimum(np.arange(frames) / stride, len(rows) - 1)
    below = np.floor(at).astype(int)
    share = (at - below)[:, None]
    above = np.minimum(below + 1, len(rows) - 1)
    return np.asarray(np.where(share == 0, rows[below], (1 - share) * rows[below] + share * rows[above]))
