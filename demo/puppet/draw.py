"""Draw a puppet and its backdrop frame by frame. Equal identity, size and pose give equal bytes."""

import cv2
import numpy as np
from numpy.random import Generator

from xsheet.demo.puppet.body import apply_lean, arm_joints, paint_arm, paint_trunk
from xsheet.demo.puppet.canvas import Picture, Projection, circle_polygon, fill
from xsheet.demo.puppet.face import PosedHead, paint_head, paint_mane, skin_tint
from xsheet.demo.puppet.head import build_head
from xsheet.demo.puppet.identity import Identity, Scene, blend, shade
from xsheet.demo.puppet.pose import Pose
from xsheet.demo.puppet.skull import CHIN, CROWN, Points

_ACCENTS = ((250, 248, 240), (90, 120, 110), (170, 110, 84), (84, 96, 124), (214, 180, 120))
_ARM_IN_FRONT_RAISE = 0.35  # an arm raised further than this passes in front of the head


class Puppet:
    """An identity prepared for drawing at one size; preparation takes some ten milliseconds, a frame far less."""

    def __init__(self, identity: Identity, *, height_px: int = 256) -> None:
        self._identity, self._size = identity, height_px
        self._head = build_head(identity)
        self._tint = skin_tint(identity, self._head.vertices[self._head.parts["skin"]])
        self._backdrop = draw_backdrop(identity.scene, size=height_px)

    def draw(self, pose: Pose) -> Picture:
        """Draw one frame, (height_px, height_px, 3) uint8 RGB."""
        picture, identity = self._backdrop.copy(), self._identity
        view = self._view(pose)
        space = {name: apply_lean(points, pose) for name, points in self._head.posed_parts(pose).items()}
        head = PosedHead.project(space, view)
        arms = {"left": pose.arm_left_raise, "right": pose.arm_right_raise}
        paint_mane(picture, head, identity)
        paint_trunk(picture, view, identity, pose)
        for side in (side for side, raised in arms.items() if raised <= _ARM_IN_FRONT_RAISE):
            paint_arm(picture, view, identity, pose, side)
        paint_head(picture, head, identity, self._tint)
        for side in (side for side, raised in arms.items() if raised > _ARM_IN_FRONT_RAISE):
            paint_arm(picture, view, identity, pose, side)
        return np.asarray(cv2.convertScaleAbs(picture, alpha=identity.scene.gain))

    def joints(self, pose: Pose, side: str) -> Points:
        """Return (3, 2) pixels of shoulder, elbow and wrist of the own "left" or "right" arm; may be out of frame."""
        limb = arm_joints(self._identity.proportions, pose, side)
        return self._view(pose).project(np.stack((limb.shoulder, limb.elbow, limb.wrist)))

    def background(self) -> Picture:
        """Return the picture without the puppet."""
        return np.asarray(cv2.convertScaleAbs(self._backdrop, alpha=self._identity.scene.gain))

    def _view(self, pose: Pose) -> Projection:
        scene, size = self._identity.scene, self._size
        return Projection(
            centre_x=(0.5 + scene.centre_x + pose.shift_x) * size,
            centre_y=(scene.eye_line - pose.shift_y) * size,
            unit=scene.head_share * size / (CROWN - CHIN),
        )


def draw(identity: Identity, pose: Pose, *, height_px: int = 256) -> Picture:
    """Draw one frame of one puppet; to draw many, build a `Puppet` once."""
    return Puppet(identity, height_px=height_px).draw(pose)


def side_by_side(*pictures: Picture) -> Picture:
    """Join pictures of equal height side by side."""
    return np.hstack(pictures)


def draw_backdrop(scene: Scene, *, size: int) -> Picture:
    """Draw a blurred wall with windows, shelves or pictures, (size, size, 3) uint8; a function of the scene alone."""
    rng = np.random.default_rng(scene.decor_seed)
    picture = np.full((size, size, 3), scene.wall, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        x, y = float(rng.uniform(-0.05, 0.95)), float(rng.uniform(-0.1, 0.6))
        width, height = float(rng.uniform(0.12, 0.34)), float(rng.uniform(0.14, 0.4))
        colour = blend(scene.wall, _ACCENTS[rng.integers(len(_ACCENTS))], float(rng.uniform(0.25, 0.55)))
        box = np.array(((x, y), (x + width, y), (x + width, y + height), (x, y + height))) * size
        if rng.random() < 0.3:
            fill(picture, circle_polygon(box.mean(0), 0.5 * min(width, height) * size, 40), colour)
            continue
        fill(picture, box, shade(colour, 0.9))
        fill(picture, box.mean(0) + (box - box.mean(0)) * 0.88, colour)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), size / 110))
    across = np.linspace(-1, 1, size)
    glow = 1 + 0.1 * np.sign(scene.light[0]) * across[None, :] - 0.07 * across[:, None]
    return np.asarray(np.clip(picture * glow[..., None], 0, 255), np.uint8)


def add_camera_noise(picture: Picture, rng: Generator, *, grain: float = 2.5, flicker: float = 0.004) -> Picture:
    """Add noise of standard deviation `grain` (of 255) and a random gain of about 1 ± `flicker`; advances rng."""
    # Half the chroma detail of a sensor is interpolated, so grain is mostly shared by the three channels.
    noise = rng.standard_normal(picture.shape[:2], np.float32) * grain
    gain = np.float32(1 + flicker * rng.standard_normal())
    return np.clip(picture * gain + (noise[..., None] + 0.5), 0, 255).astype(np.uint8)
