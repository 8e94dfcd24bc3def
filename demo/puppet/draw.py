"""A puppet drawn frame by frame. The same identity, size and pose give the same bytes."""

import cv2
import numpy as np

from xsheet.demo.puppet.body import arm, carry, paint_arm, paint_trunk
from xsheet.demo.puppet.canvas import Picture, View
from xsheet.demo.puppet.face import Posed, paint_head, paint_mane, skin_tint
from xsheet.demo.puppet.head import build
from xsheet.demo.puppet.identity import Identity
from xsheet.demo.puppet.pose import Pose
from xsheet.demo.puppet.scene import backdrop
from xsheet.demo.puppet.skull import CHIN, CROWN, Points

_UP = 0.35  # an arm raised further than this passes in front of the head


class Puppet:
    """An identity made ready to be drawn at one size; making it takes some ten milliseconds, a frame far less."""

    def __init__(self, identity: Identity, *, size: int = 256) -> None:
        self._identity, self._size = identity, size
        self._head = build(identity)
        self._tint = skin_tint(identity, self._head.vertices[self._head.parts["skin"]])
        self._backdrop = backdrop(identity.scene, size=size)

    def draw(self, pose: Pose) -> Picture:
        """One frame, (size, size, 3) uint8 RGB."""
        picture, identity = self._backdrop.copy(), self._identity
        view = self._view(pose)
        space = {name: carry(points, pose) for name, points in self._head.posed(pose).items()}
        head = Posed.seen(space, view)
        arms = {"left": pose.arm_left_raise, "right": pose.arm_right_raise}
        paint_mane(picture, head, identity)
        paint_trunk(picture, view, identity, pose)
        for side in (side for side, raised in arms.items() if raised <= _UP):
            paint_arm(picture, view, identity, pose, side)
        paint_head(picture, head, identity, self._tint)
        for side in (side for side, raised in arms.items() if raised > _UP):
            paint_arm(picture, view, identity, pose, side)
        return np.asarray(cv2.convertScaleAbs(picture, alpha=identity.scene.level))

    def joints(self, pose: Pose, side: str) -> Points:
        """(3, 2) pixels of shoulder, elbow and wrist of the own "left" or "right" arm, inside the picture or not."""
        limb = arm(self._identity.shape, pose, side)
        return self._view(pose).project(np.stack((limb.shoulder, limb.elbow, limb.wrist)))

    def empty(self) -> Picture:
        """The picture without the puppet."""
        return np.asarray(cv2.convertScaleAbs(self._backdrop, alpha=self._identity.scene.level))

    def _view(self, pose: Pose) -> View:
        scene, size = self._identity.scene, self._size
        return View(
            centre_x=(0.5 + scene.centre_x + pose.shift_x) * size,
            centre_y=(scene.eye_line - pose.shift_y) * size,
            unit=scene.head_share * size / (CROWN - CHIN),
        )


def draw(identity: Identity, pose: Pose, *, size: int = 256) -> Picture:
    """One frame of one puppet; whoever draws many makes a `Puppet` once."""
    return Puppet(identity, size=size).draw(pose)


def beside(*pictures: Picture) -> Picture:
    """Pictures of one height side by side, as one."""
    return np.hstack(pictures)
