"""Motion of the camera, from what lies at the sides and on top of the picture: people stand in the middle."""

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.image import Rgb

Floats = NDArray[np.float32]

_SIDE_SHARE, _TOP_SHARE, _BOTTOM_SHARE = (
    0.2,
    0.15,
    0.75,
)  # of the picture: strips that are looked at; shoulders reach the lower quarter
_MAX_CORNERS = 100
_CORNER_QUALITY = 0.05  # of the best corner's; more would keep one lamp, less follows grain
_MIN_CORNER_DISTANCE_PX = 5
_BLOCK_PX = 5
_FLOW_WINDOW_PX = 11  # window; with three halvings it reaches some 20 px
_MAX_BACKWARD_ERROR_PX = 0.5  # a point that is not found again from the other side was not the same point
_MAX_MOTION_DIFFERENCE_PX = 0.6  # motions that differ by less are one motion
_MIN_POINTS = 6
_MIN_INLIER_SHARE = 0.5  # of the points move alike
_MIN_SPREAD_SHARE = 0.5  # of the width lies between them; an arm or hair at one side is no background


def background_motion(luma: Rgb, previous: Rgb) -> tuple[float, float] | None:
    """Shift of the background between two pictures in picture heights, positive right and down.

    Args:
        luma: (height, width) uint8, about 180 × 101; its points follow up to some 20 px.
        previous: an earlier one of the same size.

    Returns:
        None where too little of the background has texture, or no motion is shared by it: unknown, not zero.
    """
    corners = cv2.goodFeaturesToTrack(
        previous,
        _MAX_CORNERS,
        _CORNER_QUALITY,
        _MIN_CORNER_DISTANCE_PX,
        mask=_background_mask(previous),
        blockSize=_BLOCK_PX,
    )
    if corners is None or len(corners) < _MIN_POINTS:
        return None
    points = np.asarray(corners, np.float32)
    there, found = _track_points(previous, luma, points)
    back, found_back = _track_points(luma, previous, there)
    same = found & found_back & (np.linalg.norm((back - points)[:, 0], axis=1) < _MAX_BACKWARD_ERROR_PX)
    shift = _dominant_motion((there - points)[same, 0], points[same, 0], width=luma.shape[1])
    return None if shift is None else (float(shift[0]) / luma.shape[0], float(shift[1]) / luma.shape[0])


def _track_points(start: Rgb, end: Rgb, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Where the points (N, 1, 2) of one picture are in the other, and which were found."""
    there = np.empty_like(points)
    window = (_FLOW_WINDOW_PX, _FLOW_WINDOW_PX)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(start, end, points, there, winSize=window, maxLevel=3)
    return np.asarray(moved, np.float32), np.asarray(found).ravel() > 0


def _background_mask(luma: Rgb) -> NDArray[np.uint8]:
    height, width = luma.shape
    mask = np.zeros((height, width), np.uint8)
    side = max(1, round(_SIDE_SHARE * width))
    mask[: max(1, round(_TOP_SHARE * height))] = 255
    mask[:, :side] = mask[:, -side:] = 255
    mask[round(_BOTTOM_SHARE * height) :] = 0
    return mask


def _dominant_motion(displacements: Floats, points: Floats, *, width: int) -> Floats | None:
    """The mean of the moves (N, 2) that most points share, if these lie on both sides."""
    if len(displacements) < _MIN_POINTS:
        return None
    alike = np.linalg.norm(displacements[:, None] - displacements[None], axis=2) < _MAX_MOTION_DIFFERENCE_PX
    group = alike[alike.sum(axis=1).argmax()]
    across = points[group, 0]
    if (
        group.sum() < max(_MIN_POINTS, _MIN_INLIER_SHARE * len(displacements))
        or np.ptp(across) < _MIN_SPREAD_SHARE * width
    ):
        return None
    return np.asarray(displacements[group].mean(axis=0))
