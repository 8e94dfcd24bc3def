"""Paint anti-aliased polygons with sub-pixel corners, and project head units to pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.demo.puppet.identity import Colour
from xsheet.demo.puppet.skull import Points

Picture = NDArray[np.uint8]
"""(H, W, 3) red, green, blue."""

_SHIFT = 4  # corners are rounded to 1/16 pixel, so that the last bit of a sine cannot change a pixel
_CAMERA_DISTANCE = 16.0  # head units; an ordinary portrait lens


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Perspective projection: position of the puppet's origin and size of a head unit, in pixels."""

    centre_x: float
    centre_y: float
    unit: float

    def project(self, points: Points) -> Points:
        """Project (N, 3) points to (N, 2) pixels."""
        scale = self.unit * _CAMERA_DISTANCE / (_CAMERA_DISTANCE - points[:, 2:])
        return points[:, :2] * scale * (1, -1) + (self.centre_x, self.centre_y)


def fill(picture: Picture, polygon: Points, colour: Colour | int) -> None:
    """Fill one closed polygon of (N, 2) pixels."""
    fill_all(picture, polygon[None], colour)


def fill_all(picture: Picture, polygons: Points, colour: Colour | int) -> None:
    """Fill (M, N, 2) polygons that do not overlap."""
    corners = np.rint(polygons * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(picture, list(corners), colour, lineType=cv2.LINE_AA, shift=_SHIFT)


def is_outside(picture: Picture, points: Points, reach: float) -> bool:
    """Whether everything within `reach` pixels of (N, 2) points is outside the picture."""
    low, high = points.min(0) - reach - 1, points.max(0) + reach + 1  # a pixel for anti-aliasing
    height, width = picture.shape[:2]
    return bool(high[0] < 0 or high[1] < 0 or low[0] > width or low[1] > height)


def stroke_outline(line: Points, width: Points | float) -> Points:
    """Return the (2N, 2) outline of a stroke along (N, 2) points; `width` may vary per point."""
    along = np.asarray(np.gradient(line, axis=0))
    across = np.stack((-along[:, 1], along[:, 0]), -1)
    across *= 0.5 * np.reshape(width, (-1, 1)) / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    return np.concatenate((line + across, (line - across)[::-1]))


def smooth_polygon(polygon: Points, iterations: int = 2) -> Points:
    """Cut the corners of a closed polygon `iterations` times (Chaikin); approximates a quadratic spline."""
    for _ in range(iterations):
        following = np.roll(polygon, -1, axis=0)
        polygon = np.stack((0.75 * polygon + 0.25 * following, 0.25 * polygon + 0.75 * following), 1).reshape(-1, 2)
    return polygon


def circle_polygon(centre: Points, radius: float, sides: int = 20) -> Points:
    """Return a circle about a (2,) point as a (sides, 2) polygon."""
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    return centre + radius * np.stack((np.cos(turn), np.sin(turn)), -1)


def convex_hull(points: Points) -> Points:
    """Return the (M, 2) convex hull of (N, 2) points."""
    return np.asarray(cv2.convexHull(points.astype(np.float32)), np.float32)[:, 0]


def convex_intersection(a: Points, b: Points) -> Points:
    """Intersect two convex polygons, (M, 2); M = 0 if they are disjoint."""
    _, shared = cv2.intersectConvexConvex(convex_hull(a), convex_hull(b))
    return np.empty((0, 2), np.float32) if shared is None else np.asarray(shared, np.float32).reshape(-1, 2)
