"""Pose of the puppet in one frame, and Motion: the same quantities over time.

Signs are the SUBJECT'S OWN throughout, as in the measured signals: left is the subject's left hand, which appears on
the right of the picture.

    yaw     positive: turns to the own left          pitch   positive: looks up
    roll    positive: tilts to the own left shoulder  gaze_x  positive: eyes to the own left;  gaze_y  positive: up
    shift_x positive: moves to the own left           shift_y positive: moves up

The head turns by its yaw, then nods by its pitch about its own ear-to-ear axis, then tilts by its roll about its own
line of sight: R = Ry(yaw) Rx(pitch) Rz(roll) on column vectors.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """One frame. The defaults are the rest pose: facing the camera, mouth closed, eyes open, arms hanging."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    shift_x: float = 0.0  # of head and trunk together, share of the picture's height
    shift_y: float = 0.0  # the same
    lean: float = 0.0  # -0.7 far back .. 0 upright .. 1 far forward: the head comes nearer and grows by a quarter
    mouth_open: float = 0.0  # 0 lips touch .. 1 jaw fully down
    mouth_wide: float = 0.0  # -1 rounded as in "oo" .. 0 .. 1 spread as in "ee"
    smile: float = 0.0  # 0 .. 1
    brow_raise: float = 0.0  # 0 .. 1
    frown: float = 0.0  # 0 .. 1: brows down and together
    eye_left_open: float = 1.0  # 0 shut .. 1 open
    eye_right_open: float = 1.0
    gaze_x: float = 0.0  # -1 .. 1, the corners of the eye
    gaze_y: float = 0.0  # -1 .. 1
    shoulder_raise: float = 0.0  # 0 .. 1: a shrug
    torso_lean_x: float = 0.0  # -1 .. 1: the trunk sways to the own left, 6 degrees at 1
    arm_left_raise: float = 0.0  # 0 hanging .. 1 hand at head height
    arm_right_raise: float = 0.0
    hand_left_wave: float = 0.0  # degrees the forearm swings outwards from where the raise puts it
    hand_right_wave: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """The quantities of `Pose` over time: each a float32 array of shape (frames,). ValueError on anything else."""

    yaw_deg: Curve
    pitch_deg: Curve
    roll_deg: Curve
    shift_x: Curve
    shift_y: Curve
    lean: Curve
    mouth_open: Curve
    mouth_wide: Curve
    smile: Curve
    brow_raise: Curve
    frown: Curve
    eye_left_open: Curve
    eye_right_open: Curve
    gaze_x: Curve
    gaze_y: Curve
    shoulder_raise: Curve
    torso_lean_x: Curve
    arm_left_raise: Curve
    arm_right_raise: Curve
    hand_left_wave: Curve
    hand_right_wave: Curve

    def __post_init__(self) -> None:
        shape = np.shape(self.yaw_deg)
        for field in fields(self):
            curve = getattr(self, field.name)
            if curve.dtype != np.float32 or curve.ndim != 1 or curve.shape != shape or not np.isfinite(curve).all():
                got = f"{curve.dtype} of shape {curve.shape}"
                raise ValueError(f"Motion.{field.name}: expected finite float32 of one length {shape}, got {got}")

    def __len__(self) -> int:
        return len(self.yaw_deg)

    @classmethod
    def rest(cls, frames: int) -> Self:
        """Return `frames` frames of the rest pose; each curve is a separate writable array."""
        return cls(**{f.name: np.full(frames, f.default, np.float32) for f in fields(Pose)})

    def at(self, frame: int) -> Pose:
        """Return the pose of one frame; IndexError past the end."""
        return Pose(**{f.name: float(getattr(self, f.name)[frame]) for f in fields(self)})
