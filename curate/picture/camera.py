"""Motion of the camera, from what lies at the sides and on top of the picture: people stand in the middle."""

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.media.image import Rgb

Floats = NDArray[np.float32]

_SIDE, _TOP, _BOTTOM = 0.2, 0.15, 0.75  # of the picture: strips that are looked at; shoulders reach the lower quarter
_MOST_POINTS = 100
_TEXTURE = 0.05  # of the best corner's; more would keep one lamp, less follows grain
_POINTS_APART_PX = 5
_BLOCK_PX = 5
_FLOW_PX = 11  # window; with three halvings it reaches some 20 px
_BACK_PX = 0.5  # a point that is not found again from the other side was not the same point
_APART_PX = 0.6  # motions that differ by less are one motion
_LEAST_POINTS = 6
_LEAST_SHARE = 0.5  # of the points move alike
_LEAST_SPREAD = 0.5  # of the width lies between them; an arm or hair at one side is no background


def background_motion(luma: Rgb, before: Rgb) -> tuple[float, float] | None:
    """Shift of the background between two pictures in picture heights, positive right and down.

    Args:
        luma: (height, width) uint8, about 180 × 101; its points follow up to some 20 px.
        before: an earlier one of the same size.

    Returns:
        None where too little of the background has texture, or no motion is shared by it: unknown, not zero.
    """
    corners = cv2.goodFeaturesToTrack(
        before, _MOST_POINTS, _TEXTURE, _POINTS_APART_PX, mask=_surroundings(before), blockSize=_BLOCK_PX
    )
    if corners is None or len(corners) < _LEAST_POINTS:
        return None
    points = np.asarray(corners, np.float32)
    there, found = _followed(before, luma, points)
    back, found_back = _followed(luma, before, there)
    same = found & found_back & (np.linalg.norm((back - points)[:, 0], axis=1) < _BACK_PX)
    shift = _shared((there - points)[same, 0], points[same, 0], width=luma.shape[1])
    return None if shift is None else (float(shift[0]) / luma.shape[0], float(shift[1]) / luma.shape[0])


def _followed(start: Rgb, end: Rgb, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Where the points (N, 1, 2) of one picture are in the other, and which were found."""
    there = np.empty_like(points)
    window = (_FLOW_PX, _FLOW_PX)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(start, end, points, there, winSize=window, maxLevel=3)
    return np.asarray(moved, np.float32), np.asarray(found).ravel() > 0


def _surroundings(luma: Rgb) -> NDArray[np.uint8]:
    height, width = luma.shape
    mask = np.zeros((height, width), np.uint8)
    side = max(1, round(_SIDE * width))
    mask[: max(1, round(_TOP * height))] = 255
    mask[:, :side] = mask[:, -side:] = 255
    mask[round(_BOTTOM * height) :] = 0
    return mask


def _shared(moves: Floats, points: Floats, *, width: int) -> Floats | None:
    """The mean of the moves (N, 2) that most points share, if these lie on both sides."""
    if len(moves) < _LEAST_POINTS:
        return None
    alike = np.linalg.norm(moves[:, None] - moves[None], axis=2) < _APART_PX
    group = alike[alike.sum(axis=1).argmax()]
    across = points[group, 0]
    if group.sum() < max(_LEAST_POINTS, _LEAST_SHARE * len(moves)) or np.ptp(across) < _LEAST_SPREAD * width:
        return None
    return np.asarray(moves[group].mean(axis=0))
