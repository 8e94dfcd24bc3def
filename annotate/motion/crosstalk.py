"""What one measured quantity of a face adds to another, taken off: a mesh has no perfect separation of pose and face.

The shares are least squares on the puppet, whose quantities are planted one by one (docs/log/annotate.md#motion).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HEIGHT_BY_MOUTH = 0.8  # share by which the box of a face grows per face height of mouth opening
_SHIFT_BY_YAW, _SHIFT_BY_ROLL = 0.24, 0.0053  # face heights, for sin(yaw) = 1 and per degree: the mesh is a mask
_BROWS_BY_MOUTH, _BROWS_BY_YAW, _BROWS_BY_PITCH = -0.046, -0.0002, -0.0006  # face heights, per degree
_SMILE_BY_WIDTH, _SMILE_BY_MOUTH = 3.6, 0.9  # speech spreads the lips, a smile raises their corners
_GAZE_BY_YAW = -0.008  # per degree: an eye seen from the side is narrower
_GAZE_WEIGHT = 400.0  # deg²: as much as a turn by some 20 degrees tells of one face


def remove_crosstalk(raw: Mapping[str, Floats]) -> dict[str, Floats]:
    """Series of a face by their names in Signals, each without what the others add to it."""
    yaw, pitch, roll, mouth = (raw[name] for name in ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open"))
    height = raw["head_height"] / (1 + _HEIGHT_BY_MOUTH * mouth)
    wide = raw["mouth_wide"] if np.isfinite(raw["mouth_wide"]).any() else np.zeros_like(mouth)
    return {
        **raw,
        "head_height": height,
        "head_x": raw["head_x"] - (_SHIFT_BY_YAW * np.sin(np.radians(yaw)) + _SHIFT_BY_ROLL * roll) * height,
        "head_y": raw["head_y"] - _HEIGHT_BY_MOUTH / 2 * mouth * height,
        "gaze_x": raw["gaze_x"] - _gaze_by_yaw(raw["gaze_x"], yaw) * yaw,
        "brow_raise": raw["brow_raise"]
        - (_BROWS_BY_MOUTH * mouth + _BROWS_BY_YAW * np.abs(yaw) + _BROWS_BY_PITCH * pitch),
        "smile": raw["smile"] - _SMILE_BY_WIDTH * wide - _SMILE_BY_MOUTH * mouth,
    }


def _gaze_by_yaw(gaze: Floats, yaw: Floats) -> float:
    """The slope of fast changes of gaze on those of yaw, drawn towards the puppets': faces differ."""
    turned, looked = yaw[2:] - yaw[:-2], gaze[2:] - gaze[:-2]
    both = np.isfinite(turned + looked)
    weight = float((turned[both] ** 2).sum()) + _GAZE_WEIGHT
    slope = (float((turned[both] * looked[both]).sum()) + _GAZE_WEIGHT * _GAZE_BY_YAW) / weight
    return min(max(slope, 3 * _GAZE_BY_YAW), 0.0)
