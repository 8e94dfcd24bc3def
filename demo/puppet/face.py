"""Paint the head: hair, ears and lit skin, then eyes, brows, nose and mouth on top.

Skin is lit by a coarse map of the lamp and the skin's tint, since light is smooth and edges are drawn as polygons.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.demo.puppet.canvas import (
    Picture,
    Projection,
    circle_polygon,
    convex_hull,
    convex_intersection,
    fill,
    fill_all,
    stroke_outline,
)
from xsheet.demo.puppet.hair import CAP_COLUMNS, CAP_ROWS, HAIR_STYLES
from xsheet.demo.puppet.head import COLUMNS, ROWS
from xsheet.demo.puppet.identity import Appearance, Colour, Identity, Scene, blend, shade
from xsheet.demo.puppet.skull import Points

SkinTint = NDArray[np.float32]
"""(ROWS * COLUMNS, 3) colour factor of each point of the skin."""
_COARSE = 40  # cells of the light map along the head
_MARGIN = 2  # cells around the head, so that blurring has something beyond the edge


@dataclass(frozen=True, slots=True, kw_only=True)
class PosedHead:
    """One posed head: each part in 3D and in pixels, and pixels per head unit at the face."""

    points_3d: dict[str, Points]  # (N, 3)
    points_2d: dict[str, Points]  # (N, 2)
    unit: float

    @classmethod
    def project(cls, space: dict[str, Points], view: Projection) -> "PosedHead":
        """Project a head to the picture."""
        names, stops = list(space), np.cumsum([len(points) for points in space.values()])
        flat = np.split(view.project(np.concatenate(list(space.values()))), stops[:-1])
        left, right = space["iris_left"][0], space["iris_right"][0]
        pair = view.project(np.stack((left, right)))
        scale = float(np.linalg.norm(pair[0] - pair[1]) / max(float(np.linalg.norm((left - right)[:2])), 1e-6))
        return cls(points_3d=space, points_2d=dict(zip(names, flat, strict=True)), unit=scale)


def paint_mane(picture: Picture, head: PosedHead, identity: Identity) -> None:
    """Paint the hair behind face, neck and shoulders."""
    cut, colour = HAIR_STYLES[identity.appearance.hair], shade(identity.appearance.hair_colour, 0.82)
    knot = head.points_2d["mane"][-16:]
    if cut.mane_length:
        fill(picture, head.points_2d["mane"][:-16], colour)
    if cut.bun_radius:
        fill(picture, knot, shade(identity.appearance.hair_colour, 0.95))


def paint_head(picture: Picture, head: PosedHead, identity: Identity, tint: SkinTint) -> None:
    """Paint the head except the mane; `tint` is the (ROWS * COLUMNS, 3) colour factor of the skin."""
    appearance, flat = identity.appearance, head.points_2d
    far, near = (
        ("left", "right")
        if head.points_3d["iris_left"][0, 2] < head.points_3d["iris_right"][0, 2]
        else ("right", "left")
    )
    _ear(picture, head, far, appearance.skin)
    outline, cells = convex_hull(flat["skin"]), _cap_cells(flat["cap"])
    fill(picture, outline, appearance.skin)
    _fill_rows(picture, cells, appearance.hair_colour)
    if appearance.hair != "shaved":
        fill(
            picture,
            _sheen(flat["cap"], identity.scene.light, 0.1 * head.unit),
            blend(appearance.hair_colour, (255, 240, 225), 0.14),
        )
    mask = np.zeros(picture.shape[:2], np.uint8)
    fill(mask, outline, 255)
    _fill_rows(mask, cells, 255)
    colour, weight = shade_skin(head.points_3d["skin"], identity.scene, tint)
    apply_light(picture, mask, flat["skin"], colour, weight)
    _ear(picture, head, near, shade(appearance.skin, float(np.average(colour[:, 0], weights=weight))))
    brows = blend(appearance.hair_colour, (24, 18, 18), 0.55)
    for side in ("left", "right"):
        _eye(picture, head, side, appearance)
        fill(picture, flat[f"brow_{side}"], brows)
    _nose(picture, head, appearance.skin)
    _mouth(picture, head, appearance.lips)
    if appearance.glasses:
        _glasses(picture, head)


def skin_tint(identity: Identity, rest_skin: Points) -> SkinTint:
    """Return the (ROWS * COLUMNS, 3) colour factor of the skin: flushed cheeks, darker sockets, beard."""
    x, y, z = rest_skin.T
    tint = np.ones((len(rest_skin), 3), np.float32)
    front = (z > 0)[:, None]

    def stain(amount: NDArray[np.floating], colour: tuple[float, float, float]) -> None:
        tint[...] += (amount[:, None] * front) * (np.array(colour) - 1) * tint

    cheeks = np.exp(-((((np.abs(x) - 0.4) / 0.17) ** 2) + ((y + 0.36) / 0.14) ** 2))
    sockets = np.exp(-((((np.abs(x) - 0.3) / 0.2) ** 2) + ((y - 0.05) / 0.11) ** 2))
    stain(0.45 * cheeks, (1.0, 0.82, 0.8))
    stain(0.6 * sockets, (0.88, 0.82, 0.82))
    strength = {"none": 0.0, "stubble": 0.3, "full": 0.66}[identity.appearance.beard]
    edge = -0.5 - 0.12 * np.cos(np.pi * np.clip(x / 0.7, -1, 1)) + 0.5 * np.clip(np.abs(x) - 0.42, 0, 1) * 2.2
    beard = np.clip((edge - y) / 0.08, 0, 1)
    beard *= 1 - 0.85 * np.exp(-((x / 0.2) ** 4) - ((y + 0.67) / 0.06) ** 2)
    hair = tuple(
        h / s for h, s in zip(shade(identity.appearance.hair_colour, 1.1), identity.appearance.skin, strict=True)
    )
    stain(strength * beard, (hair[0], hair[1], hair[2]))
    return tint


def shade_skin(skin: Points, scene: Scene, tint: SkinTint) -> tuple[Points, Points]:
    """Return the colour factor (N, 3) of each posed skin point and its weight (N,), how much it faces the camera."""
    grid = skin.reshape(ROWS, COLUMNS, 3)
    across = np.roll(grid, -1, 1) - np.roll(grid, 1, 1)
    normal = np.cross(across, np.gradient(grid, axis=0)).reshape(-1, 3)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    lit = np.clip((normal @ np.array(scene.light, np.float32) + 0.3) / 1.3, 0, 1)
    gain = (1 - scene.contrast) * 0.98 + scene.contrast * (0.42 + 0.66 * lit)
    # Shadow on skin keeps its red longer than its blue.
    return gain[:, None] ** np.array((0.85, 1.05, 1.15)) * tint, np.where(normal[:, 2] > 0.05, normal[:, 2], 0)


def apply_light(picture: Picture, mask: Picture, points_2d: Points, colour: Points, weight: Points) -> None:
    """Multiply the masked pixels by the colour factors of the nearby points (N, 2)."""
    x0, y0, width, height = cv2.boundingRect(mask)
    if not width:  # the head is outside the picture
        return
    step = max(width, height) / _COARSE
    rows, columns = int(height / step) + 2 * _MARGIN + 1, int(width / step) + 2 * _MARGIN + 1
    cells = ((points_2d - (x0, y0)) / step + _MARGIN).astype(np.intp)
    visible = (weight > 0) & (cells >= 0).all(1) & (cells < (columns, rows)).all(1)
    index = cells[visible, 1] * columns + cells[visible, 0]
    layers = (weight[visible], *(weight[visible, None] * colour[visible]).T)
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


def _fill_rows(picture: Picture, rows: list[Points], colour: Colour | int) -> None:
    # One call per row: fillPoly leaves the overlap of two polygons empty, and cells near the crown overlap.
    for row in rows:
        fill_all(picture, row, colour)


def _cap_cells(cap: Points) -> list[Points]:
    """Return the (N, 4, 2) cells of the cap that face the camera, row by row."""
    grid = cap.reshape(CAP_ROWS, CAP_COLUMNS, 2)
    ring = np.concatenate((grid, grid[:, :1]), 1)
    cells = np.stack((ring[:-1, :-1], ring[:-1, 1:], ring[1:, 1:], ring[1:, :-1]), 2).reshape(-1, 4, 2)
    a, b = cells[:, 2] - cells[:, 0], cells[:, 3] - cells[:, 1]
    facing = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
    # The nape is always behind the neck, though thick hair flares there and would face the camera.
    row, column = np.divmod(np.arange(len(cells)), CAP_COLUMNS)
    nape = (np.abs(column / CAP_COLUMNS - 0.5) > 0.37) & (row < CAP_ROWS // 2)
    is_visible = facing & ~nape
    rows = [cells[is_visible & (row == k)] for k in range(CAP_ROWS - 1)]
    return [*(cells for cells in rows if len(cells)), grid[-1:]]


def _sheen(cap: Points, light: tuple[float, float, float], width: float) -> Points:
    """Return the highlight on the hair, a tapered band that faces the lamp."""
    row = cap.reshape(CAP_ROWS, CAP_COLUMNS, 2)[CAP_ROWS * 6 // 10]
    towards = round(CAP_COLUMNS * (0.5 + 0.7 * float(np.arctan2(light[0], light[2])) / (2 * np.pi)))
    band = row[towards - 7 : towards + 8]
    return stroke_outline(band, width * np.sin(np.pi * np.linspace(0.02, 0.98, len(band))))


def _ear(picture: Picture, head: PosedHead, side: str, skin: Colour) -> None:
    fill(picture, head.points_2d[f"ear_{side}"], shade(skin, 0.93))
    fill(picture, head.points_2d[f"ear_inside_{side}"], shade(skin, 0.8))


def _eye(picture: Picture, head: PosedHead, side: str, appearance: Appearance) -> None:
    upper, lower = head.points_2d[f"lid_{side}"], head.points_2d[f"under_{side}"]
    unit, centre = head.unit, head.points_2d[f"iris_{side}"][0]
    opening = np.concatenate((upper, lower[::-1]))
    dark = (38, 28, 28)
    taper = np.sin(np.pi * np.linspace(0.08, 0.96, len(upper)))
    fill(
        picture,
        stroke_outline(head.points_2d[f"crease_{side}"][1:-1], 0.018 * unit * taper[1:-1]),
        shade(appearance.skin, 0.72),
    )
    lash = stroke_outline(upper, unit * (0.012 + 0.034 * taper))
    if np.linalg.norm(upper - lower, axis=1).max() < 0.03 * unit:
        fill(picture, lash, dark)
        return
    fill(picture, opening, (244, 242, 238))
    _fill_clipped(picture, opening, circle_polygon(centre, 0.088 * unit), shade(appearance.iris, 0.6))
    _fill_clipped(picture, opening, circle_polygon(centre, 0.072 * unit), appearance.iris)
    _fill_clipped(picture, opening, circle_polygon(centre, 0.04 * unit), (18, 14, 16))
    _fill_clipped(
        picture, opening, circle_polygon(centre + np.array((0.028, -0.03)) * unit, 0.02 * unit, 10), (255, 255, 255)
    )
    fill(picture, lash, dark)
    fill(picture, stroke_outline(lower, unit * 0.012 * taper), blend(dark, (150, 100, 90), 0.5))


def _fill_clipped(picture: Picture, opening: Points, polygon: Points, colour: Colour) -> None:
    """Fill the part of a convex polygon that lies in a convex opening."""
    shared = convex_intersection(opening, polygon)
    if len(shared) > 2:
        fill(picture, shared, colour)


def _nose(picture: Picture, head: PosedHead, skin: Colour) -> None:
    unit, bridge = head.unit, head.points_2d["nose_bridge"]
    pale = blend(skin, (255, 255, 255), 0.22)
    fill(picture, stroke_outline(bridge, 0.035 * unit * np.sin(np.pi * np.linspace(0.15, 0.95, len(bridge)))), pale)
    fill(picture, head.points_2d["nose_glint"], pale)
    fill(picture, head.points_2d["nose_base"], shade(skin, 0.74))
    for side in ("left", "right"):
        wing = head.points_2d[f"wing_{side}"]
        fill(
            picture,
            stroke_outline(wing, 0.024 * unit * np.sin(np.pi * np.linspace(0.1, 0.9, len(wing)))),
            shade(skin, 0.66),
        )
        fill(picture, head.points_2d[f"nostril_{side}"], shade(skin, 0.34))


def _mouth(picture: Picture, head: PosedHead, lips: Colour) -> None:
    over, top, bottom, under = (head.points_2d[f"lip_{name}"] for name in ("over", "top", "bottom", "under"))
    gap = bottom - top
    depth = np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-6)
    fill(picture, np.concatenate((top, bottom[::-1])), (58, 18, 24))
    tongue = bottom - gap * np.minimum(0.1 * head.unit / depth, 0.28) * np.sin(np.linspace(0, np.pi, len(top)))[:, None]
    fill(picture, np.concatenate((tongue, bottom[::-1])), (128, 50, 56))
    teeth = top + gap * np.minimum(0.075 * head.unit / depth, 0.42)
    inner = slice(2, -2)
    fill(picture, np.concatenate((top[inner], teeth[inner][::-1])), (240, 236, 228))
    fill(picture, np.concatenate((over, top[::-1])), shade(lips, 0.88))
    fill(picture, np.concatenate((bottom, under[::-1])), lips)
    edge = np.sin(np.pi * np.linspace(0.05, 0.95, len(top)))
    fill(picture, stroke_outline(top, 0.018 * head.unit * edge), shade(lips, 0.5))


def _glasses(picture: Picture, head: PosedHead) -> None:
    frame, width = (44, 40, 44), 0.035 * head.unit
    for side in ("left", "right"):
        rim = head.points_2d[f"lens_{side}"]
        fill(picture, stroke_outline(np.concatenate((rim, rim[:2])), width), frame)
    left, right = head.points_2d["lens_left"], head.points_2d["lens_right"]
    fill(picture, stroke_outline(np.stack((left[9], right[1])), width), frame)
