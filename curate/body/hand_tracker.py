"""Find the hands of one person in a picture and give each to its arm.

with HandTracker() as hands:
    found = hands(picture, wrists)             # {"left": HandPoints, "right": HandPoints}, or fewer
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.body.hands import Side
from xsheet.curate.media.image import Rgb

Floats = NDArray[np.float64]
# A hand belongs to the arm whose wrist is at most this far away, in picture heights.
_MAX_WRIST_DISTANCE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandPoints:
    """One hand in one picture: 21 points as in curate.body.hands."""

    picture: Floats  # (21, 3) picture heights; the depth is relative to the wrist, away from the camera
    world: Floats  # (21, 3) metres about the middle of the hand; x right, y down, z away from the camera
    score: float  # 0..1
    looks_like: Side  # the side that the network reads from its look, which is right only if the palm is

    @property
    def wrist(self) -> Floats:
        """(2,) picture heights."""
        return np.asarray(self.picture[0, :2])


class HandTracker:
    """Tracks up to two hands; the full network of the pinned mediapipe wheel. Serves one clip and one thread."""

    def open(self) -> None:
        """Load the models."""
        # Importing mediapipe takes a second and starts its logging, so only workers import it.
        from mediapipe.python.solutions.hands import Hands  # noqa: PLC0415

        self._hands: Any = Hands(max_num_hands=2)

    def __call__(self, picture: Rgb, wrists: Floats) -> dict[Side, HandPoints]:
        """Hands of the next picture by the subject's own side.

        Args:
            picture: (H, W, 3).
            wrists: (2, 2) left and right wrist in picture heights, NaN if unknown.
        """
        result = self._hands.process(picture)
        hands: dict[Side, HandPoints] = {}
        detected = (result.multi_hand_landmarks, result.multi_hand_world_landmarks, result.multi_handedness)
        for marks, world, kinds in zip(*(part or () for part in detected), strict=True):
            hand = _hand_points(marks, world, kinds.classification[0], aspect=picture.shape[1] / picture.shape[0])
            side = _hand_side(hand, wrists)
            if side is not None and (side not in hands or hand.score > hands[side].score):
                hands[side] = hand
        return hands

    def close(self) -> None:
        """Release the models."""
        self._hands.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _hand_points(marks: Any, world: Any, kind: Any, *, aspect: float) -> HandPoints:
    return HandPoints(
        picture=np.array([(m.x * aspect, m.y, m.z * aspect) for m in marks.landmark]),
        world=np.array([(m.x, m.y, m.z) for m in world.landmark]),
        score=float(kind.score),
        looks_like="left" if kind.label == "Right" else "right",  # Hands assumes mirrored pictures
    )


def _hand_side(hand: HandPoints, wrists: Floats) -> Side | None:
    """Side of a hand: that of the nearer wrist; its look if a wrist is unknown; None if both are far."""
    if np.isnan(wrists).any():
        return hand.looks_like
    distances = np.linalg.norm(wrists - hand.wrist, axis=1)
    if distances.min() > _MAX_WRIST_DISTANCE:
        return None
    return "left" if distances.argmin() == 0 else "right"
