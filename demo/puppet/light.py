"""Light on the head: a coarse map of what the lamp and the stains of the skin do to its colour."""

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.demo.puppet.canvas import Picture
from xsheet.demo.puppet.head import COLUMNS, ROWS
from xsheet.demo.puppet.identity import Scene
from xsheet.demo.puppet.skull import Points

SkinTint = NDArray[np.float32]
"""(ROWS * COLUMNS, 3) colour factor of each point of the skin."""
_COARSE = 40  # cells of the map along the head: light is smooth, edges are drawn as polygons
_MARGIN = 2  # cells around the head, so that blurring has something beyond the edge


def shade_skin(skin: Points, scene: Scene, tint: SkinTint) -> tuple[Points, Points]:
    """Colour factor (N, 3) of each posed point of the skin, and its weight (N,): how much of it faces the camera."""
    grid = skin.reshape(ROWS, COLUMNS, 3)
    across = np.roll(grid, -1, 1) - np.roll(grid, 1, 1)
    normal = np.cross(across, np.gradient(grid, axis=0)).reshape(-1, 3)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    lit = np.clip((normal @ np.array(scene.light, np.float32) + 0.3) / 1.3, 0, 1)
    gain = (1 - scene.contrast) * 0.98 + scene.contrast * (0.42 + 0.66 * lit)
    # Shadow on skin keeps its red longer than its blue.
    return gain[:, None] ** np.array((0.85, 1.05, 1.15)) * tint, np.where(normal[:, 2] > 0.05, normal[:, 2], 0)


def apply_light(picture: Picture, mask: Picture, points_2d: Points, colour: Points, weight: Points) -> None:
    """Multiply what the mask covers by the colour of the points (N, 2) around each pixel."""
    x0, y0, width, height = cv2.boundingRect(mask)
    if not width:  # the head is outside the picture
        return
    step = max(width, height) / _COARSE
    rows, columns = int(height / step) + 2 * _MARGIN + 1, int(width / step) + 2 * _MARGIN + 1
    cells = ((points_2d - (x0, y0)) / step + _MARGIN).astype(np.intp)
    seen = (weight > 0) & (cells >= 0).all(1) & (cells < (columns, rows)).all(1)
    index = cells[seen, 1] * columns + cells[seen, 0]
    layers = (weight[seen], *(weight[seen, None] * colour[seen]).T)
    sums = np.stack([np.bincount(index, layer, rows * columns) for layer in layers], -1).reshape(rows, columns, 4)
    near = cv2.GaussianBlur(sums.astype(np.float32), (0, 0), 0.9)
    total = near + 0.02 * cv2.GaussianBlur(near, (0, 0), 4.0) + 1e-6  # the wide blur reaches hair, where no skin is
    shift = -(_MARGIN - 0.5) * step - 0.5
    fine = cv2.warpAffine(
        total[..., 1:] / total[..., :1],
        np.array(((step, 0, shift), (0, step, shift)), np.float32),
        (width, height),
        borderMode=cv2.BORDER_REPLICATE,
    )
    part = (slice(y0, y0 + height), slice(x0, x0 + width))
    share = mask[part][..., None].astype(np.float32) / 255
    picture[part] = np.clip(picture[part] * (1 + share * (fine - 1)), 0, 255)
