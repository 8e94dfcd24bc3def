"""Paint the puppet below the head: neck, trunk, arms and hands, in head units and axes."""

from dataclasses import dataclass

import numpy as np

from xsheet.demo.puppet.canvas import Picture, Projection, fill, is_outside, smooth_polygon, stroke_outline
from xsheet.demo.puppet.identity import Appearance, BodyProportions, Identity, shade
from xsheet.demo.puppet.pose import Pose
from xsheet.demo.puppet.skull import Points

SHOULDER_X, SHOULDER_Y = 1.58, -2.36
UPPER_ARM, FOREARM = 2.75, 2.4
_HIP = np.array((0.0, -6.0, 0.0))
_LEAN_Z = 2.9  # head units towards a camera 16 away: the head grows by a quarter

# Half of the trunk's outline, from the side of the neck to the hip: x, y, and the share of a shrug's lift.
_TRUNK = np.array(
    [
        (0.42, -1.48, 0.10),
        (0.66, -1.66, 0.35),
        (1.20, -1.84, 0.80),
        (1.62, -2.00, 1.00),
        (1.90, -2.30, 1.00),
        (1.96, -2.75, 0.80),
        (1.78, -3.60, 0.40),
        (1.60, -5.00, 0.10),
        (1.60, -9.00, 0.00),
    ]
)
# A hand seen from its palm: base and tip of thumb and fingers; x to the thumb, y to the finger tips.
_FINGERS = np.array(
    [
        ((0.26, 0.30), (0.58, 0.66), (0.155, 0.155)),
        ((0.25, 0.72), (0.33, 1.36), (0.15, 0.15)),
        ((0.085, 0.76), (0.10, 1.47), (0.15, 0.15)),
        ((-0.085, 0.74), (-0.13, 1.38), (0.145, 0.145)),
        ((-0.245, 0.66), (-0.37, 1.16), (0.125, 0.125)),
    ]
)
_PALM = np.array(((-0.2, -0.06), (-0.34, 0.35), (-0.33, 0.8), (0.0, 0.9), (0.34, 0.82), (0.36, 0.4), (0.2, -0.06)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmJoints:
    """Joints of one arm, (3,) each."""

    shoulder: Points
    elbow: Points
    wrist: Points


def apply_lean(points: Points, pose: Pose, *, forward: float = 1.0) -> Points:
    """Apply the trunk's sway and lean to points of the upper body; `forward` is their share of the lean."""
    angle = np.radians(6.0 * pose.torso_lean_x)
    across, up = points[..., 0] - _HIP[0], points[..., 1] - _HIP[1]
    x = across * np.cos(angle) + up * np.sin(angle)
    y = up * np.cos(angle) - across * np.sin(angle) + _HIP[1]
    return np.stack((x, y - 0.35 * forward * pose.lean, points[..., 2] + _LEAN_Z * forward * pose.lean), -1)


def arm_joints(shape: BodyProportions, pose: Pose, side: str) -> ArmJoints:
    """Return the joints of the subject's own "left" or "right" arm."""
    sign, raised, wave_deg = (
        (1, pose.arm_left_raise, pose.hand_left_wave)
        if side == "left"
        else (-1, pose.arm_right_raise, pose.hand_right_wave)
    )
    shoulder = np.array((SHOULDER_X * shape.shoulder_width, SHOULDER_Y + 0.45 * pose.shoulder_raise, -0.1))
    # The upper arm swings a little outwards and forwards; the elbow folds in front of the body, not beside it.
    out, ahead = np.radians(7 + 2 * raised), np.radians(52 * raised)
    upper = np.array((np.sin(out), -np.cos(out), 0.0)) * np.cos(ahead) + np.array((0.0, 0.0, np.sin(ahead)))
    elbow = shoulder + UPPER_ARM * upper
    fold, swing = np.radians(6 + 166 * raised), np.radians(wave_deg + 4 - 14 * raised)
    fore = np.array((0.0, -np.cos(fold), np.sin(fold)))
    fore = np.array((np.sin(swing) * abs(fore[1]) + 0.04, np.cos(swing) * fore[1], fore[2]))
    wrist = elbow + FOREARM * fore / np.linalg.norm(fore)
    joints = apply_lean(np.stack((shoulder, elbow, wrist)) * (sign, 1, 1), pose, forward=0.6)
    return ArmJoints(shoulder=joints[0], elbow=joints[1], wrist=joints[2])


def paint_trunk(picture: Picture, view: Projection, identity: Identity, pose: Pose) -> None:
    """Paint neck and clothes."""
    appearance, wide = identity.appearance, np.array((identity.proportions.shoulder_width, 1.0))
    half = _TRUNK[:, :2] * wide + np.stack((np.zeros(len(_TRUNK)), 0.45 * pose.shoulder_raise * _TRUNK[:, 2]), -1)
    outline = np.concatenate((half, half[::-1] * (-1, 1)))
    skin = shade(appearance.skin, 0.9)
    neck = np.array(((0.5, -0.5), (0.46, -1.3), (0.62, -1.8), (0.0, -2.2), (-0.62, -1.8), (-0.46, -1.3), (-0.5, -0.5)))
    fill(picture, smooth_polygon(_project_outline(view, outline, pose), 1), appearance.clothes)
    fill(picture, smooth_polygon(_project_outline(view, neck, pose)), skin)
    shadow = np.array(((0.47, -0.7), (0.44, -1.32), (0.0, -1.62), (-0.44, -1.32), (-0.47, -0.7)))
    fill(picture, smooth_polygon(_project_outline(view, shadow, pose)), shade(appearance.skin, 0.7))
    _collar(picture, view, appearance, pose)


def paint_arm(picture: Picture, view: Projection, identity: Identity, pose: Pose, side: str) -> None:
    """Paint one arm and its hand; the palm faces the camera when the arm is raised."""
    appearance, joints = identity.appearance, arm_joints(identity.proportions, pose, side)
    raised = pose.arm_left_raise if side == "left" else pose.arm_right_raise
    shoulder, elbow, wrist = view.project(np.stack((joints.shoulder, joints.elbow, joints.wrist)))
    near = [_pixels_per_unit(view, joint) for joint in (joints.shoulder, joints.elbow, joints.wrist)]
    edge, cloth = shade(appearance.clothes, 0.72), shade(appearance.clothes, 0.94)
    fore, fore_edge = (cloth, edge) if appearance.long_sleeves else (appearance.skin, shade(appearance.skin, 0.75))
    _limb(picture, (shoulder, elbow), (0.74 * near[0], 0.62 * near[1]), (cloth, edge))
    if not appearance.long_sleeves:
        bare = shoulder + 0.62 * (elbow - shoulder)
        _limb(picture, (bare, elbow), (0.54 * near[1], 0.5 * near[1]), (fore, fore_edge))
        _limb(picture, (shoulder, bare), (0.74 * near[0], 0.7 * near[1]), (cloth, edge))
    _limb(
        picture,
        (elbow, wrist),
        ((0.6 if appearance.long_sleeves else 0.5) * near[1], 0.36 * near[2]),
        (fore, fore_edge),
    )
    _hand(picture, wrist, wrist - elbow, near[2] * (1 if side == "left" else -1), raised, appearance)


def _project_outline(view: Projection, outline: Points, pose: Pose) -> Points:
    return view.project(apply_lean(np.column_stack((outline, np.full(len(outline), -0.2))), pose, forward=0.6))


def _pixels_per_unit(view: Projection, joint: Points) -> float:
    """Return pixels per head unit at a joint."""
    pair = view.project(np.stack((joint, joint + np.array((1.0, 0.0, 0.0)))))
    return float(pair[1, 0] - pair[0, 0])


def _limb(
    picture: Picture,
    ends: tuple[Points, Points],
    widths: tuple[float, float],
    colours: tuple[tuple[int, int, int], ...],
) -> None:
    """Paint a tapered limb with round ends and a thin darker edge."""
    (a, b), (colour, edge) = ends, colours
    if is_outside(picture, np.stack(ends), max(widths)):  # arms at rest are mostly below the picture
        return
    for grow, tone in ((1.09, edge), (1.0, colour)):
        fill(picture, _capsule(a, b, grow * widths[0] / 2, grow * widths[1] / 2), tone)


def _capsule(a: Points, b: Points, radius_a: float, radius_b: float) -> Points:
    along = b - a
    heading = np.arctan2(along[1], along[0])
    half = np.linspace(-np.pi / 2, np.pi / 2, 9)

    def cap(centre: Points, radius: float, turn: float) -> Points:
        return centre + radius * np.stack((np.cos(half + turn), np.sin(half + turn)), -1)

    return np.concatenate((cap(b, radius_b, heading), cap(a, radius_a, heading + np.pi)))


def _hand(picture: Picture, wrist: Points, along: Points, unit: float, raised: float, appearance: Appearance) -> None:
    """Paint an open hand that continues the forearm; `unit` is negative for the right hand, which is mirrored."""
    if is_outside(picture, wrist[None], 2 * abs(unit)):
        return
    # A forearm that points at the camera has no direction on the picture: the hand then turns upwards.
    up = np.array((0.0, -1.0))
    heading = along / abs(unit) + up * (1.2 if raised > 0.35 else -1.2)
    heading /= max(float(np.linalg.norm(heading)), 1e-6)
    across = np.array((heading[1], -heading[0]))
    # Palm to the camera: the thumbs of raised hands point at each other.
    frame = np.stack((across * unit * (1 if raised > 0.35 else -1) * -1, heading * abs(unit)))
    length = 1.0 if raised > 0.35 else 0.94
    skin, edge = appearance.skin, shade(appearance.skin, 0.68)

    def place(points: Points) -> Points:
        return np.asarray(points * (1, length) @ frame + wrist)

    for grow, size, tone in ((1.28, 1.06, edge), (1.0, 1.0, skin)):
        for base, tip, width in _FINGERS:
            ends = place(np.stack((base, tip)))
            radius = 0.5 * width[0] * abs(unit) * grow
            fill(picture, _capsule(ends[0], ends[1], radius * 1.06, radius * 0.9), tone)
        centre = _PALM.mean(0)
        fill(picture, smooth_polygon(place(centre * (1 - size) + _PALM * size)), tone)
    for base, tip, _ in _FINGERS[1:]:
        crease = place(base + np.array(((-0.02,), (0.35,))) * (tip - base) + np.array((0.083, 0.0)))
        fill(picture, stroke_outline(crease, 0.022 * abs(unit)), edge)


def _collar(picture: Picture, view: Projection, appearance: Appearance, pose: Pose) -> None:
    def place(outline: list[tuple[float, float]]) -> Points:
        return _project_outline(view, np.array(outline), pose)

    if appearance.top == "shirt":
        for sign in (1, -1):
            wing = [(sign * x, y) for x, y in ((0.62, -1.55), (0.78, -1.95), (0.34, -2.3), (0.02, -2.08), (0.36, -1.9))]
            fill(picture, place(wing), appearance.collar)
        fill(picture, place([(-0.03, -2.1), (0.03, -2.1), (0.03, -8), (-0.03, -8)]), shade(appearance.clothes, 0.8))
        return
    arc = np.linspace(-1, 1, 13)
    depth = 2.12 if appearance.top == "tee" else 2.02
    line = np.stack((0.68 * arc, -depth + (depth - 1.62) * np.abs(arc) ** 2.2), -1)
    width = (0.13 if appearance.top == "tee" else 0.26) * _pixels_per_unit(view, np.array((0.0, -2.0, 0.0)))
    fill(picture, stroke_outline(_project_outline(view, line, pose), width), appearance.collar)
    if appearance.top == "hoodie":
        for x in (-0.2, 0.2):
            fill(
                picture,
                stroke_outline(place([(x, -2.1), (x * 1.1, -2.5), (x * 1.05, -2.9)]), width * 0.25),
                (240, 238, 232),
            )
