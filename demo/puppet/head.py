"""Build the 3D head: a skin surface, features on it, and linear blendshapes.

Axes: x to the subject's own left, y up, z out of the face; origin between the eyes. The unit is a decimetre of an
average adult: eyes 0.33 to either side, chin at y = -1.15, crown at 1.15. All vertices of a head are one (V, 3) array
and each blendshape is one (V, 3) displacement, so a posed head is a weighted sum and a rotation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.demo.puppet.hair import hair_cap, hair_mane
from xsheet.demo.puppet.identity import BodyProportions, Identity
from xsheet.demo.puppet.pose import Pose
from xsheet.demo.puppet.skull import CHIN, CROWN, Floats, Points, face_points, skull_points

ROWS, COLUMNS = 44, 64
NECK_JOINT = np.array((0.0, -0.62, -0.25), np.float32)
EYE_X, BROW_Y, NOSE_Y, MOUTH_Y = 0.33, 0.25, -0.4, -0.66
JAW_DROP = 0.34
# A chin that drops as far as the lip looks like a head tilted back: the correlation of measured pitch drops by .01.
CHIN_SHARE = 0.5

# A drawing shows less depth than a photograph: at true depth MediaPipe measures two thirds of a planted pitch, with a
# deeper head nine tenths (and a quarter too much yaw).
_AXIS_SCALE = (1.0, 1.0, 1.38)
# Each pose moves one parameter to its limit; the resulting displacement is one blendshape.
_REST_POSE = Pose()
_BLENDSHAPE_POSES = (
    Pose(mouth_open=1),
    Pose(mouth_wide=1),
    Pose(mouth_wide=-1),
    Pose(smile=1),
    Pose(brow_raise=1),
    Pose(frown=1),
    Pose(eye_left_open=0),
    Pose(eye_right_open=0),
    Pose(gaze_x=1),
    Pose(gaze_y=1),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """A head at rest and its blendshapes. `parts` names slices of the vertices; `skin` is a ROWS x COLUMNS grid."""

    vertices: NDArray[np.float32]  # (V, 3)
    blendshapes: NDArray[np.float32]  # (len(_BLENDSHAPE_POSES), V * 3)
    parts: dict[str, slice]

    def posed_parts(self, pose: Pose) -> dict[str, Points]:
        """Return the vertices (N, 3) of each part with expression and rotation, in head units about the rest origin."""
        moved = self.vertices + (_blendshape_weights(pose) @ self.blendshapes).reshape(-1, 3)
        turned: Points = (moved - NECK_JOINT) @ rotation(pose).T + NECK_JOINT
        return {name: turned[part] for name, part in self.parts.items()}


def build_head(identity: Identity) -> Head:
    """Build the head of one identity; takes some milliseconds."""
    rest = _parts(identity, _REST_POSE)
    stops = np.cumsum([0] + [len(points) for points in rest.values()]).tolist()
    vertices = np.concatenate(list(rest.values())) * _AXIS_SCALE
    shapes = [
        np.concatenate(list(_parts(identity, key).values())) * _AXIS_SCALE - vertices for key in _BLENDSHAPE_POSES
    ]
    return Head(
        vertices=vertices.astype(np.float32),
        blendshapes=np.stack(shapes).reshape(len(_BLENDSHAPE_POSES), -1).astype(np.float32),
        parts={name: slice(a, b) for name, a, b in zip(rest, stops[:-1], stops[1:], strict=True)},
    )


def rotation(pose: Pose) -> NDArray[np.float32]:
    """Return the (3, 3) rotation of the head, Ry(yaw) Rx(pitch) Rz(roll), with the signs of `pose`."""
    yaw, pitch, roll = np.radians((pose.yaw_deg, pose.pitch_deg, pose.roll_deg))
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    nod = np.array(((1, 0, 0), (0, cp, sp), (0, -sp, cp)))
    tilt = np.array(((cr, sr, 0), (-sr, cr, 0), (0, 0, 1)))
    return np.asarray(turn @ nod @ tilt, np.float32)


def _blendshape_weights(pose: Pose) -> NDArray[np.float32]:
    wide, narrow = max(pose.mouth_wide, 0.0), max(-pose.mouth_wide, 0.0)
    mouth = (pose.mouth_open, wide, narrow, pose.smile)
    brows_and_lids = (pose.brow_raise, pose.frown, 1 - pose.eye_left_open, 1 - pose.eye_right_open)
    return np.array((*mouth, *brows_and_lids, pose.gaze_x, pose.gaze_y), np.float32)


def _parts(identity: Identity, pose: Pose) -> dict[str, Points]:
    shape, hair = identity.proportions, identity.appearance.hair
    skin = {
        "skin": _skin(shape, pose),
        "cap": hair_cap(shape, hair, identity.appearance.parting),
        "mane": hair_mane(shape, hair),
    }
    return skin | _eyes(shape, pose) | _brows(shape, pose) | _nose(shape, pose) | _mouth(shape, pose) | _ears(shape)


def _skin(shape: BodyProportions, pose: Pose) -> Points:
    y = 0.5 * (CROWN + CHIN) - 0.5 * (CROWN - CHIN) * np.cos(np.linspace(0.04, np.pi - 0.04, ROWS))
    around = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    points = skull_points(shape, *np.meshgrid(around, y), raised_cheeks=pose.smile)
    points[..., 1] -= _jaw(points[..., 1], points[..., 2], pose)
    return points.reshape(-1, 3)


def _jaw(y: Floats, z: Floats, pose: Pose) -> Floats:
    """Return how far the jaw lowers each skin point; 0 above the mouth and behind the jaw."""
    below = np.clip((MOUTH_Y - y) / 0.22, 0, 1)
    return np.asarray(CHIN_SHARE * JAW_DROP * pose.mouth_open * below * np.clip((z + 0.35) / 0.6, 0, 1))


def _eyes(shape: BodyProportions, pose: Pose) -> dict[str, Points]:
    parts: dict[str, Points] = {}
    for side, sign, is_open in (("left", 1, pose.eye_left_open), ("right", -1, pose.eye_right_open)):
        out = np.linspace(-1, 1, 11)  # from the inner to the outer corner
        half, x0 = 0.165 * shape.eye_size, EYE_X * shape.eye_spacing
        tilt = shape.eye_tilt * half * out
        bow = (1 - out**2) ** 0.62
        lower = tilt - 0.068 * shape.eye_size * bow * (1 - 0.25 * pose.smile)
        upper = tilt + 0.105 * shape.eye_size * bow * (1 + 0.12 * pose.brow_raise)
        upper = lower + (upper - lower) * is_open
        x = sign * (x0 + half * out)
        iris_x = sign * x0 + 0.075 * shape.eye_size * pose.gaze_x
        iris_y = 0.022 + 0.05 * pose.gaze_y
        crease = tilt + shape.eye_size * 0.15 * bow - 0.05 * (1 - is_open)
        parts |= {
            f"lid_{side}": face_points(shape, x, upper),
            f"under_{side}": face_points(shape, x, lower),
            f"crease_{side}": face_points(shape, x, crease),
            f"iris_{side}": face_points(shape, np.array([iris_x]), np.array([iris_y]), lift=0.02),
            f"lens_{side}": _lens(shape, sign * x0 * 1.04),
        }
    return parts


def _lens(shape: BodyProportions, x0: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    # A rounded rectangle: a superellipse of exponent 3.
    x = 0.25 * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.67
    y = 0.2 * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.67 - 0.03
    flat = float(face_points(shape, np.array([0.12]), np.array([0.05]))[0, 2])
    return np.stack((x0 + x, y, np.full_like(x, flat + 0.03) - 0.12 * np.abs(x0 + x)), -1)


def _brows(shape: BodyProportions, pose: Pose) -> dict[str, Points]:
    parts: dict[str, Points] = {}
    for side, sign in (("left", 1), ("right", -1)):
        out = np.linspace(0, 1, 8)
        x = EYE_X * shape.eye_spacing + np.linspace(-0.2, 0.235, 8) - 0.05 * pose.frown * (1 - out)
        arch = 0.055 * np.sin(np.pi * (0.15 + 0.72 * out)) - 0.03 * out
        y = BROW_Y * shape.brow_height + arch + 0.10 * pose.brow_raise - 0.115 * pose.frown * (1 - 0.8 * out)
        thick = 0.036 * shape.brow_thickness * np.sqrt(np.sin(np.pi * (0.12 + 0.84 * out)))
        edge_y = np.concatenate((y + thick, (y - thick)[::-1]))
        parts[f"brow_{side}"] = face_points(shape, sign * np.concatenate((x, x[::-1])), edge_y, lift=0.02)
    return parts


def _nose(shape: BodyProportions, pose: Pose) -> dict[str, Points]:
    y0, width = NOSE_Y * shape.nose_length, shape.nose_width * (1 + 0.08 * pose.smile)
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    arc = np.linspace(-1.3, 1.3, 7)
    under = np.linspace(-1, 1, 9)
    middle = 1 - under**2
    # The base of the nose runs back from its tip to the lip, so a head that looks up shows more of it.
    lip_z = float(face_points(shape, np.zeros(1), np.array([y0 - 0.09]))[0, 2])
    tip_z = float(face_points(shape, np.zeros(1), np.array([y0 + 0.08]))[0, 2])
    below = np.stack((0.13 * width * under, y0 - 0.03 * middle, lip_z + 0.02 * middle), -1)
    above = np.stack((0.155 * width * under, y0 + 0.05 - 0.035 * middle, lip_z + (tip_z - lip_z) * middle), -1)
    parts: dict[str, Points] = {"nose_base": np.concatenate((below, above[::-1]))}
    glint = face_points(shape, 0.04 * np.cos(turn), y0 + 0.1 + 0.035 * np.sin(turn), lift=0.01)
    bridge = face_points(shape, np.zeros(6), np.linspace(y0 + 0.16, -0.02, 6), lift=0.01)
    parts |= {"nose_glint": glint, "nose_bridge": bridge}
    for side, sign in (("left", 1), ("right", -1)):
        hole_x = sign * width * (0.075 + 0.038 * np.cos(turn))
        hole_y = y0 + 0.006 + 0.02 * np.sin(turn) - 0.012 * np.cos(turn)
        parts[f"nostril_{side}"] = np.stack((hole_x, hole_y, lip_z + 0.45 * (tip_z - lip_z) + 0 * turn), -1)
        wing_x = sign * width * (0.11 + 0.065 * np.cos(arc))
        parts[f"wing_{side}"] = face_points(shape, wing_x, y0 + 0.045 + 0.065 * np.sin(arc))
    for points in parts.values():
        points[:, 1] *= shape.face_length
    return parts


def _mouth(shape: BodyProportions, pose: Pose) -> dict[str, Points]:
    across = np.linspace(-1, 1, 15)  # from the own right corner to the own left one
    middle = 1 - across**2
    half = 0.265 * shape.mouth_width * (1 + 0.27 * pose.mouth_wide + 0.28 * pose.smile - 0.1 * pose.mouth_open)
    thick = shape.lip_thickness * (1 - 0.18 * pose.mouth_wide - 0.15 * pose.smile)
    corner = (0.022 + 0.068 * pose.smile) * np.abs(across) ** 1.6 - 0.012 * pose.smile * middle
    line = MOUTH_Y + corner
    drop = JAW_DROP * pose.mouth_open * (0.3 + 0.7 * middle**0.65)
    # The upper lip follows the corners and stays in the middle.
    follow = JAW_DROP * pose.mouth_open * 0.3 * (1 - middle**0.5)
    bow = middle**0.6 * (1 - 0.2 * np.exp(-((across / 0.16) ** 2)))
    top, bottom = line - follow, line - drop
    rows = {
        "lip_over": top + 0.075 * thick * bow,
        "lip_top": top + 0.004,
        "lip_bottom": bottom - 0.004,
        "lip_under": bottom - 0.1 * thick * middle**0.55,
    }
    pout = -0.06 * min(pose.mouth_wide, 0.0)
    parts: dict[str, Points] = {}
    for name, y in rows.items():
        parts[name] = face_points(shape, half * across, np.maximum(y, CHIN + 0.06), lift=0.02 + pout)
        parts[name][:, 1] = y * shape.face_length
    return parts


def _ears(shape: BodyProportions) -> dict[str, Points]:
    turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    parts: dict[str, Points] = {}
    for side, sign in (("left", 1), ("right", -1)):
        root = skull_points(shape, np.array([sign * np.pi * 0.52]), np.array([-0.12]))[0]
        out, up = 0.1 * np.cos(turn) * (1 + 0.3 * np.sin(turn)), 0.235 * np.sin(turn)
        for name, size in (("ear", 1.0), ("ear_inside", 0.58)):
            offset = np.stack((sign * (0.04 + size * out), 0.02 + size * up, -0.7 * (0.05 + size * out)), -1)
            parts[f"{name}_{side}"] = root + offset * shape.ear_size
    return parts
