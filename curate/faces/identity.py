"""Identity embedding without a model: facial proportions, and the tones of skin and hair.

It separates most people within one corpus; it fails on look-alikes, changed hair and coloured light
(docs/log/curate.md#identity). Embeddings are compared by root mean square difference, in units of the spread within one
person. The network in `identity_network` is much more accurate.
"""

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.mesh import FaceGeometry, RigidFit
from xsheet.curate.media.image import Rgb


class IdentityEmbedder(Protocol):
    """Embedding of a face whose distance tells people apart."""

    @property
    def model(self) -> str:
        """Model and version; only embeddings of one model can be compared."""
        ...

    @property
    def interval_frames(self) -> int:
        """Frames between two embeddings of a tracked face."""
        ...

    def open(self) -> None:
        """Load the model."""
        ...

    def __call__(
        self, rgb: Rgb, face: FaceGeometry, rigid_fit: RigidFit, /, *, angle_deg: float
    ) -> NDArray[np.float32] | None:
        """(K,) embedding; None where the head is turned too far.

        Args:
            rgb: (H, W, 3) picture.
            face: landmarks in pixels of the picture.
            rigid_fit: landmarks without head rotation.
            angle_deg: larger of absolute yaw and pitch.
        """
        ...


IDENTITY_MODEL = "mesh-proportions+tones@1"
MAX_HEAD_ANGLE_DEG = 20.0
"""Heads turned further than this get no embedding: their proportions are distorted."""

# Pairs of landmarks whose distance by face height differs between people, and the standard deviation of that distance
# between files of one person, which is the unit.
_DISTANCE_STD = {
    (234, 454): 0.0086, (172, 397): 0.0111, (54, 284): 0.0088, (133, 362): 0.0129, (33, 263): 0.0064,
    (129, 358): 0.0055, (168, 4): 0.0060, (4, 0): 0.0060, (10, 168): 0.0071, (50, 280): 0.0045, (152, 0): 0.0168,
    (105, 159): 0.0103, (61, 291): 0.0144,
}  # fmt: skip
# The same for a and b of skin, a and b of hair (CIELAB), and the logarithm of hair lightness by skin lightness
# (lightness alone would depend on the exposure).
_TONE_STD = np.array((3.0, 2.6, 1.7, 1.9, 0.22))
_CHEEKS, _HAIRLINE, _CHIN = (50, 280), 10, 152


class ProportionsEmbedder:
    """IdentityEmbedder without a model."""

    model = IDENTITY_MODEL
    interval_frames = 5  # the mean over a track hardly changes with more

    def open(self) -> None:
        """There is nothing to load."""

    def __call__(
        self, rgb: Rgb, face: FaceGeometry, rigid_fit: RigidFit, /, *, angle_deg: float
    ) -> NDArray[np.float32] | None:
        """(18,) embedding; None where the head is turned too far."""
        return None if angle_deg > MAX_HEAD_ANGLE_DEG else compute_identity_embedding(rgb, face, rigid_fit)


def compute_identity_embedding(rgb: Rgb, face: FaceGeometry, rigid_fit: RigidFit) -> NDArray[np.float32]:
    """(18,) proportions and tones in units of their spread within one person; NaN outside the picture."""
    at = rigid_fit.points
    distances = [float(np.linalg.norm(at[a] - at[b])) / std for (a, b), std in _DISTANCE_STD.items()]
    points = face.points[:, :2]
    up = points[_HAIRLINE] - points[_CHIN]
    half_side = max(1, round(0.04 * float(np.linalg.norm(up))))
    skin = np.mean([_mean_lab(rgb, points[cheek], half_side) for cheek in _CHEEKS], axis=0)
    hair = _mean_lab(rgb, points[_HAIRLINE] + 0.15 * up, half_side)
    lightness_ratio = np.log((hair[0] + 8.0) / (skin[0] + 8.0))
    return np.array((*distances, *(np.array((*skin[1:], *hair[1:], lightness_ratio)) / _TONE_STD)), np.float32)


def _mean_lab(rgb: Rgb, point: NDArray[np.floating], half_side: int) -> NDArray[np.float32]:
    """Mean L, a, b (0..255 each) of a square around a point; NaN if it leaves the picture."""
    x, y = round(float(point[0])), round(float(point[1]))
    height, width = rgb.shape[:2]
    if not (half_side <= x < width - half_side and half_side <= y < height - half_side):
        return np.full(3, np.nan, np.float32)
    mean = rgb[y - half_side : y + half_side + 1, x - half_side : x + half_side + 1].mean((0, 1))
    lab = cv2.cvtColor(mean.astype(np.uint8).reshape(1, 1, 3), cv2.COLOR_RGB2LAB)
    return np.asarray(lab, np.float32).reshape(3)
