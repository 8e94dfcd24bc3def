"""A puppet drawn frame by frame. The same identity, size and pose give the same bytes."""

import cv2
import numpy as np

from xsheet.demo.puppet.body import apply_lean, arm_joints, paint_arm, paint_trunk
from xsheet.demo.puppet.canvas import Picture, Projection
from xsheet.demo.puppet.face import PosedHead, paint_head, paint_mane, skin_tint
from xsheet.demo.puppet.head import build_head
from xsheet.demo.puppet.identity import Identity
from xsheet.demo.puppet.pose import Pose
from xsheet.demo.puppet.scene import draw_backdrop
from xsheet.demo.puppet.skull import CHIN, CROWN, Points

_ARM_IN_FRONT_RAISE = 0.35  # an arm raised further than this passes in front of the head


class Puppet:
    """An identity made ready to be drawn at one size; making it takes some ten milliseconds, a frame far less."""

    def __init__(self, identity: Identity, *, height_px: int = 256) -> None:
        self._identity, self._size = identity, height_px
        self._head = build_head(identity)
        self._tint = skin_tint(identity, self._head.vertices[self._head.parts["skin"]])
        self._backdrop = draw_backdrop(identity.scene, size=height_px)

    def draw(self, pose: Pose) -> Picture:
        """One frame, (size, size, 3) uint8 RGB."""
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
        """(3, 2) pixels of shoulder, elbow and wrist of the own "left" or "right" arm, inside the picture or not."""
        limb = arm_joints(self._identity.proportions, pose, side)
        return self._view(pose).project(np.stack((limb.shoulder, limb.elbow, limb.wrist)))

    def background(self) -> Picture:
        """The picture without the puppet."""
        return np.asarray(cv2.convertScaleAbs(self._backdrop, alpha=self._identity.scene.gain))

    def _view(self, pose: Pose) -> Projection:
        scene, size = self._identity.scene, self._size
        return Projection(
            centre_x=(0.5 + scene.centre_x + pose.shift_x) * size,
            centre_y=(scene.eye_line - pose.shift_y) * size,
            unit=scene.head_share * size / (CROWN - CHIN),
        )


def draw(identity: Identity, pose: Pose, *, height_px: int = 256) -> Picture:
    """One frame of one puppet; whoever draws many makes a `Puppet` once."""
    return Puppet(identity, height_px=height_px).draw(pose)


def side_by_side(*pictures: Picture) -> Picture:
    """Pictures of one height side by side, as one."""
    return np.hstack(pictures)
