"""Surface of the bare head: a profile of rings, and a relief of nose, brow, sockets, cheeks and chin."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from xsheet.demo.puppet.identity import BodyProportions

Floats = NDArray[np.floating]
Points = NDArray[np.floating]
"""(..., 2) or (..., 3) coordinates."""

CHIN, CROWN = -1.15, 1.15

# Height, half-width, front, back, and the depth at which a ring is widest.
_PROFILE = np.array(
    [
        (-1.15, 0.16, 0.70, 0.44, 0.55),
        (-1.10, 0.31, 0.79, 0.28, 0.46),
        (-0.92, 0.485, 0.82, -0.05, 0.32),
        (-0.66, 0.61, 0.83, -0.45, 0.15),
        (-0.40, 0.70, 0.83, -0.80, 0.02),
        (-0.10, 0.76, 0.80, -0.98, -0.06),
        (0.20, 0.785, 0.83, -1.06, -0.10),
        (0.50, 0.775, 0.81, -1.06, -0.14),
        (0.78, 0.69, 0.66, -0.92, -0.18),
        (0.98, 0.52, 0.40, -0.72, -0.20),
        (1.10, 0.30, 0.12, -0.46, -0.20),
        (1.15, 0.06, -0.12, -0.27, -0.20),
    ]
)
# Bumps on the face: x, y, radius across, radius up, height. Those beside the middle are mirrored.
_RELIEF_GAUSSIANS = {
    "bridge": (0.0, -0.12, 0.075, 0.17, 0.16),
    "tip": (0.0, -0.31, 0.1, 0.11, 0.34),
    "wing": (0.12, -0.36, 0.06, 0.06, 0.05),
    "socket": (0.3, 0.0, 0.17, 0.13, -0.1),
    "brow": (0.28, 0.24, 0.22, 0.09, 0.035),
    "cheek": (0.4, -0.3, 0.17, 0.15, 0.045),
    "lips": (0.0, -0.66, 0.2, 0.13, 0.05),
    "dip": (0.0, -0.83, 0.2, 0.06, -0.03),
    "chin": (0.0, -1.0, 0.17, 0.11, 0.05),
}
_FINE_Y = np.linspace(CHIN, CROWN, 231)


@cache
def _smooth_profile() -> tuple[Floats, ...]:
    """Half-width, front, back and depth of the widest point at _FINE_Y; every skull scales them."""
    smooth = np.hanning(27) / np.hanning(27).sum()
    columns = (np.interp(_FINE_Y, _PROFILE[:, 0], column) for column in _PROFILE[:, 1:].T)
    return tuple(np.convolve(np.pad(column, 13, mode="edge"), smooth, mode="valid") for column in columns)


def skull_points(shape: BodyProportions, around: Floats, y: Floats, *, raised_cheeks: float = 0.0) -> Points:
    """Return skin points (..., 3) at angle `around` (radians, 0 front, positive to the own left) and height `y`."""
    half, front, back, middle = _ring(shape, y)
    x = half * np.sin(around)
    ahead = np.cos(around) > 0
    # A face is flatter than an ellipse: the exponent 2.5 on the front half.
    depth = np.where(
        ahead, (front - middle) * (1 - np.abs(np.sin(around)) ** 2.5) ** 0.45, (middle - back) * np.cos(around)
    )
    z = middle + depth + np.where(ahead, _relief(shape, x, y, raised_cheeks), 0.0)
    return np.stack((x, _scale_lower_face(shape, y), z), -1)


def face_points(shape: BodyProportions, x: Floats, y: Floats, *, lift: float = 0.0) -> Points:
    """Return points (N, 3) on the front of the skin at (x, y), raised by `lift`."""
    half, _, _, _ = _ring(shape, y)
    points = skull_points(shape, np.arcsin(np.clip(x / half, -0.98, 0.98)), y)
    points[..., 0] = x
    points[..., 2] += lift
    return points


def _scale_lower_face(shape: BodyProportions, y: Floats) -> Floats:
    return np.where(y < 0, y * shape.face_length, y)


def _ring(shape: BodyProportions, y: Floats) -> tuple[Floats, ...]:
    half, *rest = _smooth_profile()
    jaw = 1 + (shape.jaw_width - 1) * np.clip((-0.25 - _FINE_Y) / 0.4, 0, 1)
    return tuple(np.interp(y, _FINE_Y, column) for column in (half * shape.face_width * jaw, *rest))


def _relief(shape: BodyProportions, x: Floats, y: Floats, raised_cheeks: float) -> Floats:
    gains = {"bridge": shape.nose_height, "tip": shape.nose_height, "wing": shape.nose_width}
    gains |= {"cheek": shape.cheeks + 1.2 * raised_cheeks}
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for name, (aside, height, across, up, rise) in _RELIEF_GAUSSIANS.items():
        on_nose = name in ("tip", "wing")
        wide, long = (shape.nose_width, shape.nose_length) if on_nose else (1.0, 1.0)
        for side in (aside, -aside) if aside else (0.0,):
            reach = ((x - side * wide) / (across * wide)) ** 2 + ((y - height * long) / up) ** 2
            total = total + rise * gains.get(name, 1.0) * np.exp(-reach)
    return total
