"""Side, shape, palm direction and distances of hands from their 21 points. Pure.

    shape = hand_shape(points, world, side="left")         # open, point, pinch, palm direction, all of one frame
    gap = gap_to_face(points[:, :2], face)                 # face heights

The 21 points are those of MediaPipe Hands: the wrist, then base, two joints and tip of thumb, index, middle, ring and
little finger. A finger's extension follows from its bends, so it depends neither on the size nor on the direction of
the hand. The network gives the points twice, in the picture with a depth and in metres; their errors differ, so shapes
are means of both, and a palm on whose direction they disagree has none (docs/log/curate.md#hands).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Side = Literal["left", "right"]
# A hand belongs to the arm whose wrist is at most this far away, in picture heights.
_MAX_WRIST_DISTANCE = 0.15
_WRIST, _MIDDLE_BASE = 0, 9
# Wrist to tip of index, middle, ring and little finger.
_FINGERS = np.array([(0, 5, 6, 7, 8), (0, 9, 10, 11, 12), (0, 13, 14, 15, 16), (0, 17, 18, 19, 20)])
_INDEX_BASE, _LITTLE_BASE, _THUMB_TIP, _INDEX_TIP = 5, 17, 4, 8
# Sum of the bends of a finger's three joints, degrees. A relaxed straight finger has 20 to 40; a fist 220 to 260.
_STRAIGHT_DEG, _CURLED_DEG = 40.0, 200.0
# Distance of the tips of thumb and index finger by the length of the palm, wrist to base of the middle finger.
_PINCHED, _NOT_PINCHED = 0.25, 0.55
_MIN_AGREEMENT = 0.7  # length of the mean of two unit vectors; 0.71 is an angle of 90 degrees between them
# Half axes of the outline of a face, in its height from the hairline to the chin.
_FACE_HALF_WIDTH, _FACE_HALF_HEIGHT = 0.4, 0.55
_CHEST_BELOW_SHOULDERS = 0.6  # centre of the chest below the middle of the shoulders, face heights
_CHEST_RADIUS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandPoints:
    """One hand in one picture."""

    picture: Floats  # (21, 3) picture heights; the depth is relative to the wrist, away from the camera
    world: Floats  # (21, 3) metres about the middle of the hand; x right, y down, z away from the camera
    score: float  # 0..1
    looks_like: Side  # the side that the network reads from its look; it goes with the side of the palm

    @property
    def wrist(self) -> Floats:
        """(2,) picture heights."""
        return np.asarray(self.picture[_WRIST, :2])


@dataclass(frozen=True, slots=True, kw_only=True)
class HandShape:
    """Shape of one hand in one frame."""

    open: float  # 0..1, mean extension of the four fingers: 0 = fist, 1 = all straight
    point: float  # 0..1, index finger extended and the other three curled
    pinch: float  # 0..1, tips of thumb and index finger together
    palm: tuple[float, float, float]  # unit vector: inwards, up, to the camera; NaN if unsure


def hands_by_side(hands: Sequence[HandPoints], wrists: Floats) -> dict[Side, HandPoints]:
    """The most certain hand of each arm.

    Args:
        hands: of one picture.
        wrists: (2, 2) left and right wrist in picture heights, NaN if unknown.
    """
    found: dict[Side, HandPoints] = {}
    for hand in hands:
        side = _hand_side(hand, wrists)
        if side is not None and (side not in found or hand.score > found[side].score):
            found[side] = hand
    return found


def may_show_hands(wrists: Floats, aspect: float) -> bool:
    """Whether a hand in a picture could belong to one of the wrists, so that a search pays.

    Args:
        wrists: (2, 2) in picture heights, NaN if unknown.
        aspect: width / height of the picture.
    """
    if np.isnan(wrists).any():
        return True
    outside = np.maximum(np.maximum(-wrists, wrists - (aspect, 1.0)), 0.0)
    return bool((np.linalg.norm(outside, axis=1) <= _MAX_WRIST_DISTANCE).any())


def hand_shape(points: Floats, world: Floats, *, side: Side) -> HandShape:
    """Shape of a hand from its points, x to the right of the picture, y down, z away from the camera.

    Args:
        points: (21, 3) of the picture, in any unit of length.
        world: (21, 3) metric, in any unit of length.
        side: the subject's own.
    """
    both = (points, world)
    extension = np.mean([finger_extensions(one) for one in both], axis=0)
    tips = float(np.mean([_gap_of_tips(one) for one in both]))
    closed = float(np.clip((_NOT_PINCHED - tips) / (_NOT_PINCHED - _PINCHED), 0, 1))
    palm = np.mean([palm_direction(one, side=side) for one in both], axis=0)
    length = float(np.linalg.norm(palm))
    inwards, up, front = palm / length if length >= _MIN_AGREEMENT else np.full(3, np.nan)
    return HandShape(
        open=float(extension.mean()),
        point=min(float(extension[0]), 1 - float(extension[1:].mean())),
        # In a fist the tips are close too; a pinch keeps its index finger half bent at most.
        pinch=closed * float(np.clip(2 * extension[0], 0, 1)),
        palm=(float(inwards), float(up), float(front)),
    )


def finger_extensions(points: Floats) -> Floats:
    """(4,) extension of index, middle, ring and little finger, 0 = curled to 1 = straight."""
    bones = np.diff(points[_FINGERS], axis=1)  # (4, 4, 3)
    bones /= np.maximum(np.linalg.norm(bones, axis=2, keepdims=True), 1e-12)
    cosines = np.clip((bones[:, :-1] * bones[:, 1:]).sum(2), -1, 1)
    bends = np.degrees(np.arccos(cosines)).sum(1)
    return np.asarray(np.clip((_CURLED_DEG - bends) / (_CURLED_DEG - _STRAIGHT_DEG), 0, 1))


def palm_direction(points: Floats, *, side: Side) -> tuple[float, float, float]:
    """Unit normal out of the palm: towards the other side of the body, up, towards the camera."""
    along_index, along_little = points[_INDEX_BASE] - points[_WRIST], points[_LITTLE_BASE] - points[_WRIST]
    (ax, ay, az), (bx, by, bz) = along_index.tolist(), along_little.tolist()
    sign = -1 if side == "left" else 1
    right, down, away = sign * (ay * bz - az * by), sign * (az * bx - ax * bz), sign * (ax * by - ay * bx)
    length = max(math.hypot(right, down, away), 1e-12)
    inwards = -right if side == "left" else right  # the own left is on the right of the picture
    return inwards / length, -down / length, -away / length


def gap_to_face(points: Floats, face: Floats) -> float:
    """Distance of the nearest point of a hand from the outline of the face, face heights; 0 inside.

    Args:
        points: (21, 2) picture heights.
        face: (3,) centre x, y and height of the face, picture heights; the result is NaN if one is NaN.
    """
    x, y = ((points - face[:2]) / face[2]).T
    return _gap_to_ellipse(x, y, _FACE_HALF_WIDTH, _FACE_HALF_HEIGHT)


def gap_to_chest(points: Floats, shoulders: Floats, face_height: float) -> float:
    """Distance of the nearest point of a hand from the chest, a circle below the shoulders, face heights; 0 inside.

    Args:
        points: (21, 2) picture heights.
        shoulders: (2, 2) picture heights.
        face_height: picture heights.
    """
    x, y = ((points - shoulders.mean(0)) / face_height).T
    return _gap_to_ellipse(x, y - _CHEST_BELOW_SHOULDERS, _CHEST_RADIUS, _CHEST_RADIUS)


def gap_of_hands(left: Floats, right: Floats, face_height: float) -> float:
    """Least distance of the points of two hands, (21, 2) picture heights each, in face heights."""
    return float(np.linalg.norm(left[:, None] - right[None], axis=2).min() / face_height)


def _hand_side(hand: HandPoints, wrists: Floats) -> Side | None:
    """Side of a hand: that of the nearer wrist; its look if a wrist is unknown; None if both are far."""
    if np.isnan(wrists).any():
        return hand.looks_like
    distances = np.linalg.norm(wrists - hand.wrist, axis=1)
    if distances.min() > _MAX_WRIST_DISTANCE:
        return None
    return "left" if distances.argmin() == 0 else "right"


def _gap_to_ellipse(x: Floats, y: Floats, half_width: float, half_height: float) -> float:
    """Least distance of points from an ellipse about 0 along the line to its centre; 0 inside."""
    radius = np.hypot(x, y)
    share = np.hypot(x / half_width, y / half_height)  # 1 on the ellipse
    return float(np.min(radius * np.clip(1 - 1 / np.maximum(share, 1e-9), 0, 1)))


def _gap_of_tips(points: Floats) -> float:
    """Distance of the tips of thumb and index finger by the length of the palm."""
    palm_length = float(np.linalg.norm(points[_MIDDLE_BASE] - points[_WRIST]))
    return float(np.linalg.norm(points[_THUMB_TIP] - points[_INDEX_TIP])) / max(palm_length, 1e-9)
