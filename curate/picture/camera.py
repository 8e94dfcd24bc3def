"""Camera motion from the sides and the top of the picture; people are assumed in the middle."""

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.image import Rgb

Floats = NDArray[np.float32]

_SIDE_SHARE, _TOP_SHARE = 0.2, 0.15  # strips that count as background
_BOTTOM_SHARE = 0.75  # below it are shoulders
_MAX_CORNERS = 100
_CORNER_QUALITY = 0.05  # of the best corner; a higher value keeps only a lamp, a lower one follows grain
_MIN_CORNER_DISTANCE_PX = 5
_BLOCK_PX = 5
_FLOW_WINDOW_PX = 11  # with three pyramid levels it reaches about 20 px
_MAX_BACKWARD_ERROR_PX = 0.5  # forward-backward check
_MAX_MOTION_DIFFERENCE_PX = 0.6  # points within this distance share one motion
_MIN_POINTS = 6
_MIN_INLIER_SHARE = 0.5  # of the points must share the motion
_MIN_SPREAD_SHARE = 0.5  # of the width they must span; an arm or hair on one side is not background


def background_motion(luma: Rgb, previous: Rgb) -> tuple[float, float] | None:
    """Background shift between two pictures in picture heights, positive right and down.

    Args:
        luma: (height, width) uint8, about 180 × 101; shifts up to about 20 px are found.
        previous: an earlier one of the same size.

    Returns:
        None (unknown, not zero) if the background has too little texture or no common motion.
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
    moved, found = _track_points(previous, luma, points)
    back, found_back = _track_points(luma, previous, moved)
    same = found & found_back & (np.linalg.norm((back - points)[:, 0], axis=1) < _MAX_BACKWARD_ERROR_PX)
    shift = _dominant_motion((moved - points)[same, 0], points[same, 0], width=luma.shape[1])
    return None if shift is None else (float(shift[0]) / luma.shape[0], float(shift[1]) / luma.shape[0])


def _track_points(start: Rgb, end: Rgb, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Positions of the points (N, 1, 2) in the other picture, and which were found."""
    initial = np.empty_like(points)
    window = (_FLOW_WINDOW_PX, _FLOW_WINDOW_PX)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(start, end, points, initial, winSize=window, maxLevel=3)
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
    """Mean of the displacements (N, 2) that most points share, if these points span the picture."""
    if len(displacements) < _MIN_POINTS:
        return None
    similar = np.linalg.norm(displacements[:, None] - displacements[None], axis=2) < _MAX_MOTION_DIFFERENCE_PX
    group = similar[similar.sum(axis=1).argmax()]
    across = points[group, 0]
    if (
        group.sum() < max(_MIN_POINTS, _MIN_INLIER_SHARE * len(displacements))
        or np.ptp(across) < _MIN_SPREAD_SHARE * width
    ):
        return None
    return np.asarray(displacements[group].mean(axis=0))
