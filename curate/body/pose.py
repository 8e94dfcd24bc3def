"""Track shoulders, arms and hands of one person over the frames of a kept clip.

    with PoseAnalyser(settings) as body:
        for frame in media.frames(...): body.add(frame)
        signals = replace(signals, **body.signals(face=signals))
    motion = part_motion(signals)

The networks run on every second frame; the frames between are interpolated.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.body.hands import (
    HandPoints,
    Side,
    gap_of_hands,
    gap_to_chest,
    gap_to_face,
    hand_shape,
    hands_by_side,
    may_show_hands,
)
from xsheet.curate.body.networks import (
    HandNetworkName,
    PoseNetworkName,
    create_hand_network,
    create_pose_network,
)
from xsheet.curate.media.frames import Picture
from xsheet.curate.media.image import Rgb
from xsheet.curate.series import array_to_series, series_to_array
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import Series
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import FaceTrack

Floats = NDArray[np.float64]
# Landmark indices of MediaPipe Pose; left is the subject's left.
_JOINTS = {
    "shoulder_left": 11, "shoulder_right": 12, "elbow_left": 13, "elbow_right": 14, "wrist_left": 15, "wrist_right": 16,
}  # fmt: skip
_SIDES: tuple[Side, ...] = ("left", "right")
_POINTS = 21  # of a hand
_SHAPE = ("hand_{}_open", "hand_{}_point", "hand_{}_pinch", "palm_{}_in", "palm_{}_up", "palm_{}_front")
# Columns of a detection: joints, visibility and shape of the hands, and the points of both hands.
_NAMES = (
    *(f"{joint}_{axis}" for joint in _JOINTS for axis in "xy"),
    *(f"hand_{side}_visible" for side in _SIDES),
    *(name.format(side) for side in _SIDES for name in _SHAPE),
)


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
    pose_network: PoseNetworkName = Field(
        default="full",
        description="full: of the mediapipe wheel; lite, heavy: pose_landmarker_*.task in the models folder; see "
        "docs/log/curate.md#networks-for-the-body",
    )
    hand_network: HandNetworkName = Field(
        default="full",
        description="full, lite: of the mediapipe wheel; landmarker: hand_landmarker.task in the models folder",
    )
    detect_hands: bool = Field(default=True, description="detect hands too, where a wrist is in or near the picture")


def check_networks(settings: PoseSettings, models: Path | None) -> None:
    """Raise ConfigError unless the files of the chosen networks are there with their hashes; loads no network."""
    create_pose_network(settings.pose_network, models=models)
    create_hand_network(settings.hand_network, models=models)


class PoseAnalyser:
    """Tracks one body. An instance serves one clip and one thread."""

    def __init__(
        self, settings: PoseSettings, *, window: tuple[float, float] | None = None, models: Path | None = None
    ) -> None:
        """Loads nothing.

        Args:
            settings: networks and steps.
            window: left and right bound of the person in picture heights; None is the whole frame.
            models: the models folder, for networks that are files.
        """
        self._settings = settings
        self._window = window
        self._models = models
        self._indices: list[int] = []
        self._rows: list[Floats] = []

    def open(self) -> None:
        """Load the models; ConfigError if a file is missing or has another hash."""
        self._pose = create_pose_network(self._settings.pose_network, models=self._models)
        self._hands = (
            create_hand_network(self._settings.hand_network, models=self._models)
            if self._settings.detect_hands
            else None
        )
        self._pose.open()
        if self._hands is not None:
            self._hands.open()

    @property
    def name(self) -> str:
        """The networks, with versions or hashes; after open."""
        return "; ".join(network.name for network in (self._pose, self._hands) if network is not None)

    def add(self, frame: Picture) -> None:
        """Process the next frame."""
        self._indices.append(frame.index)
        if (len(self._indices) - 1) % self._settings.frame_stride == 0:
            self._rows.append(self._detect(frame.rgb))

    def signals(self, *, face: Signals | None = None) -> dict[str, Series]:
        """The body series of Signals, one value per added frame.

        Args:
            face: the clip's signals of the face; without it hands have no distances.
        """
        if not self._rows:
            return {}
        frames = len(self._indices)
        table = _interpolate_rows(np.stack(self._rows), stride=self._settings.frame_stride, frames=frames)
        series = dict(zip(_NAMES, table.T, strict=False))
        if face is not None:
            hands = table[:, len(_NAMES) :].reshape(frames, len(_SIDES), _POINTS, 2)
            series |= _hand_distances(hands, series, face)
        return {name: array_to_series(values) for name, values in series.items()}

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
        """Values of _NAMES, then x and y of the points of both hands in picture heights; NaN for what is invisible."""
        picture, shift_x = self._crop_person(rgb)
        height, width = picture.shape[:2]
        body = self._pose(picture)
        joints = np.full((len(_JOINTS), 3), np.nan) if body is None else body[list(_JOINTS.values())]
        points, visibility = joints[:, :2], np.nan_to_num(joints[:, 2])
        visibility = np.where(((points >= 0) & (points <= 1)).all(1), visibility, 0.0)
        points = points * (width / height, 1.0)
        hands: dict[Side, HandPoints] = {}
        if self._hands is not None and may_show_hands(points[4:], width / height):
            hands = hands_by_side(self._hands(picture), points[4:])
        scores = [hands[side].score if side in hands else 0.0 for side in _SIDES]
        points[visibility < self._settings.min_visibility] = np.nan
        for k, side in enumerate(_SIDES):
            if side in hands:
                points[4 + k] = hands[side].wrist
        all_points = np.concatenate((points, *(_picture_points(hands.get(side)) for side in _SIDES)))
        all_points[:, 0] += shift_x
        arms, fingers = all_points[: len(_JOINTS)], all_points[len(_JOINTS) :]
        shapes = [value for side in _SIDES for value in _shape_values(hands.get(side), side)]
        return np.concatenate((arms.ravel(), np.maximum(visibility[4:], scores), shapes, fingers.ravel()))

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


def _picture_points(hand: HandPoints | None) -> Floats:
    return np.full((_POINTS, 2), np.nan) if hand is None else hand.picture[:, :2]


def _shape_values(hand: HandPoints | None, side: Side) -> list[float]:
    """Values of _SHAPE. Where the network takes the hand for the other one, it has mistaken back and palm."""
    if hand is None:
        return [np.nan] * len(_SHAPE)
    shape = hand_shape(hand.picture, hand.world, side=side)
    palm = shape.palm if hand.looks_like == side else (np.nan,) * 3
    return [shape.open, shape.point, shape.pinch, *palm]


def _hand_distances(hands: Floats, body: Mapping[str, Floats], face: Signals) -> dict[str, Floats]:
    """Distances of the hands (frames, 2, 21, 2) to face, chest and each other, in face heights."""
    frames = len(hands)
    faces = np.stack([series_to_array(s, frames=frames) for s in (face.head_x, face.head_y, face.head_height)], axis=1)
    shoulders = np.stack([[body[f"shoulder_{side}_{axis}"] for axis in "xy"] for side in _SIDES]).transpose(2, 0, 1)
    both = zip(hands, faces, shoulders, strict=True)
    rows = [
        (
            *(gap_to_face(points, head) for points in pair),
            *(gap_to_chest(points, chest, head[2]) for points in pair),
            gap_of_hands(pair[0], pair[1], head[2]),
        )
        for pair, head, chest in both
    ]
    names = (*(f"hand_{side}_to_{part}" for part in ("face", "chest") for side in _SIDES), "hands_gap")
    return dict(zip(names, np.array(rows).T, strict=True))


def _interpolate_rows(rows: Floats, *, stride: int, frames: int) -> Floats:
    """(frames, N) from rows of every `stride`-th frame: linear in between, NaN next to NaN."""
    at = np.minimum(np.arange(frames) / stride, len(rows) - 1)
    below = np.floor(at).astype(int)
    share = (at - below)[:, None]
    above = np.minimum(below + 1, len(rows) - 1)
    return np.asarray(np.where(share == 0, rows[below], (1 - share) * rows[below] + share * rows[above]))
