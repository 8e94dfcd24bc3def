"""Reduce the 478 landmarks of a face mesh to numbers: head pose, mouth, brows, eyes, gaze.

Points are in pixels of the frame: x to the right, y down, z away from the camera. Signs follow the subject: yaw
positive to the subject's left, pitch positive upwards, roll positive to the left shoulder, gaze as yaw and pitch. Head
rotation is R = Ry(yaw) Rx(pitch) Rz(roll) on column vectors; axes: x to the subject's left, y up, z ahead.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]
"""(N, 3) landmarks."""

MESH_POINTS = 468  # without the irises
FACE_SIGNALS = (
    "yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "mouth_wide", "smile", "brow_raise",
    "eye_left_open", "eye_right_open", "gaze_x", "gaze_y",
)  # fmt: skip
"""Keys of `face_signals`, by field of FaceTrack."""

# Landmarks that lips, brows, lids and jaw hardly move (index: position on an average head). Positions are the
# Procrustes mean of the meshes of 16 puppets in all poses, made symmetric; the unit is the face height from hairline to
# chin. With them the median pitch of 19 real clips is 0.1 degrees.
_RIGID = {
    1: (0.0, -0.139, 0.244), 4: (0.0, -0.101, 0.254), 5: (0.0, -0.053, 0.236), 2: (0.0, -0.181, 0.160),
    98: (-0.101, -0.170, 0.112), 327: (0.101, -0.170, 0.112), 6: (0.0, 0.066, 0.136), 168: (0.0, 0.116, 0.109),
    195: (0.0, -0.013, 0.202), 197: (0.0, 0.025, 0.168), 33: (-0.265, 0.083, -0.018), 133: (-0.095, 0.067, 0.019),
    263: (0.265, 0.083, -0.018), 362: (0.095, 0.067, 0.019), 127: (-0.410, 0.052, -0.300),
    356: (0.410, 0.052, -0.300), 162: (-0.408, 0.143, -0.248), 389: (0.408, 0.143, -0.248),
    234: (-0.403, -0.035, -0.320), 454: (0.403, -0.035, -0.320),
}  # fmt: skip
_RIGID_INDICES = np.array(list(_RIGID))
_RIGID_TEMPLATE = np.array(list(_RIGID.values()))

_UPPER_LIP, _LOWER_LIP, _LIP_TOP, _MOUTH_CORNERS = (82, 13, 312), (87, 14, 317), 0, (61, 291)
_BROWS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)
_EYE_CORNERS = (33, 133, 263, 362)
# Upper lid, lower lid, corners, iris of each eye; the subject's right eye is on the left of the picture.
_EYES = {
    "right": ((160, 159, 158), (144, 145, 153), (33, 133), 468),
    "left": ((387, 386, 385), (373, 374, 380), (263, 362), 473),
}
# Smile from the height of the mouth corners above the upper lip, mouth width and opening (which lowers the corners),
# least squares on the smiles of 16 puppets, r = .91. Real neutral mouths score 0 or below, wide smiles .7.
_SMILE_COEFFICIENTS = (11.0, 4.6, 4.8, -1.0)
# Rest height of the iris above the line of the eye corners, and its range, in half eye widths.
_GAZE_REST_Y, _GAZE_RANGE = 0.1, 0.5

# Degrees of pitch per face height of mouth opening: median of real clips (prior), and the puppet's (maximum). The prior
# weighs as much as two seconds of speech.
_JAW_PITCH_DEG, _MAX_JAW_PITCH_DEG, _JAW_PITCH_PRIOR_WEIGHT = 11.0, 32.0, 0.03
_ROI_SCALE = 1.5  # region side by face size, as the mesh was trained
_IMAGE_TO_HEAD_AXES = np.array((1.0, -1.0, -1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Roi:
    """A square region with a face, in pixels, rotated clockwise by `angle_rad`."""

    x: float  # centre
    y: float
    side: float
    angle_rad: float = 0.0
    score: float = 1.0  # confidence of the detector, 0..1


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: the box is asked for several times a frame
class FaceGeometry:
    """One face in one frame."""

    points: Points  # (478, 3)
    blendshapes: NDArray[np.float32] | None = None  # (52,), if the back-end has them

    @cached_property
    def box(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in pixels: the extent of the mesh; may exceed the picture."""
        low, high = self.points[:MESH_POINTS, :2].min(0), self.points[:MESH_POINTS, :2].max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @cached_property
    def roi(self) -> Roi:
        """Region for this face in the next frame."""
        x0, y0, x1, y1 = self.box
        across, down = (self.points[263] - self.points[33])[:2]
        side = _ROI_SCALE * max(x1 - x0, y1 - y0)
        return Roi(x=(x0 + x1) / 2, y=(y0 + y1) / 2, side=side, angle_rad=float(np.arctan2(down, across)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RigidFit:
    """Rigid fit of a face: its rotation, and its landmarks rotated back and scaled to face height 1."""

    rotation: NDArray[np.float64]  # (3, 3)
    points: Points  # (478, 3), x to the subject's left, y up, z ahead

    @property
    def angles_deg(self) -> tuple[float, float, float]:
        """Yaw, pitch, roll."""
        r = self.rotation
        pitch = np.arcsin(np.clip(r[1, 2], -1, 1))
        angles = np.degrees((np.arctan2(r[0, 2], r[2, 2]), pitch, np.arctan2(-r[1, 0], r[1, 1])))
        return float(angles[0]), float(angles[1]), float(angles[2])

    @property
    def turned_deg(self) -> float:
        """Larger of absolute yaw and pitch."""
        yaw, pitch, _ = self.angles_deg
        return max(abs(yaw), abs(pitch))


def fit_rigid(points: Points) -> RigidFit:
    """Fit rotation and scale of the average head to the face: least squares over the rigid landmarks (Kabsch)."""
    space = points * _IMAGE_TO_HEAD_AXES
    centre = space[_RIGID_INDICES].mean(0)
    observed, template = space[_RIGID_INDICES] - centre, _RIGID_TEMPLATE - _RIGID_TEMPLATE.mean(0)
    u, singular_values, vt = np.linalg.svd(observed.T @ template)
    signs = np.array((1.0, 1.0, np.sign(np.linalg.det(u @ vt))))
    rotation = (u * signs) @ vt
    scale = float((singular_values * signs).sum() / (observed**2).sum())
    return RigidFit(rotation=rotation, points=(space - centre) @ rotation * scale)


def face_signals(rigid_fit: RigidFit) -> dict[str, float]:
    """Compute the signals named by FACE_SIGNALS."""
    at = rigid_fit.points
    yaw, pitch, roll = rigid_fit.angles_deg
    corners = at[_MOUTH_CORNERS, :]
    opening = _mean_height(at, _UPPER_LIP) - _mean_height(at, _LOWER_LIP)
    width = float(np.linalg.norm(corners[1] - corners[0]))
    raise_weight, width_weight, opening_weight, offset = _SMILE_COEFFICIENTS
    corner_height = float(corners[:, 1].mean() - at[_LIP_TOP, 1])
    smile = raise_weight * corner_height + width_weight * width + opening_weight * opening + offset
    eyes = {side: _eye_signals(at, side) for side in _EYES}
    return {
        "yaw_deg": yaw,
        "pitch_deg": pitch,
        "roll_deg": roll,
        "mouth_open": max(opening, 0.0),
        "mouth_wide": width,
        "smile": min(max(smile, 0.0), 1.0),
        "brow_raise": _mean_height(at, _BROWS) - _mean_height(at, _EYE_CORNERS),
        "eye_left_open": eyes["left"][0],
        "eye_right_open": eyes["right"][0],
        "gaze_x": _gaze(eyes["left"][1] + eyes["right"][1], rest=0.0),
        "gaze_y": _gaze(eyes["left"][2] + eyes["right"][2], rest=_GAZE_REST_Y),
    }


def correct_pitch_for_jaw(pitch_deg: NDArray[np.floating], mouth_open: NDArray[np.floating]) -> NDArray[np.float64]:
    """Remove the effect of the opening jaw from pitch over time; NaN where either input is.

    The mesh interprets a longer face as upward pitch: 4 degrees for the puppet's wide open mouth, and the same sign in
    15 of 18 real clips. Heads do not nod at syllable rate, so the effect is the regression slope of fast pitch changes
    on fast opening changes, with the median of real clips as prior.
    """
    pitch, opening = np.asarray(pitch_deg, np.float64), np.asarray(mouth_open, np.float64)
    pitch_change, opening_change = pitch[2:] - pitch[:-2], opening[2:] - opening[:-2]
    both = np.isfinite(pitch_change) & np.isfinite(opening_change)
    weight = float((opening_change[both] ** 2).sum())
    slope = (float((pitch_change[both] * opening_change[both]).sum()) + _JAW_PITCH_PRIOR_WEIGHT * _JAW_PITCH_DEG) / (
        weight + _JAW_PITCH_PRIOR_WEIGHT
    )
    return pitch - min(max(slope, 0.0), _MAX_JAW_PITCH_DEG) * opening


def _mean_height(at: Points, indices: tuple[int, ...]) -> float:
    return float(at[indices, 1].mean())


def _eye_signals(at: Points, side: str) -> tuple[float, float, float]:
    """Lid distance by eye width, and iris position across and up in half eye widths."""
    upper, lower, (outer, inner), iris = _EYES[side]
    width = float(np.linalg.norm(at[outer] - at[inner]))
    lids = float(np.linalg.norm(at[upper, :] - at[lower, :], axis=1).mean())
    across, up, _ = 2 * (at[iris] - (at[outer] + at[inner]) / 2) / width
    return lids / width, float(across), float(up)


def _gaze(sum_of_eyes: float, *, rest: float) -> float:
    return min(max((sum_of_eyes / 2 - rest) / _GAZE_RANGE, -1.0), 1.0)
