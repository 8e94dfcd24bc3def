"""Painting the head: hair, ears and lit skin, then eyes, brows, nose and mouth on top."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.demo.puppet.canvas import Picture, View, disc, fill, fill_all, hull, overlap, ribbon
from xsheet.demo.puppet.hair import CAP_COLUMNS, CAP_ROWS, CUTS
from xsheet.demo.puppet.identity import Colour, Identity, Look, blend, shade
from xsheet.demo.puppet.light import Tint, cast, lit_skin
from xsheet.demo.puppet.skull import Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """One posed head: each part in space and on the picture, and pixels per head unit at the face."""

    space: dict[str, Points]  # (N, 3)
    flat: dict[str, Points]  # (N, 2)
    unit: float

    @classmethod
    def seen(cls, space: dict[str, Points], view: View) -> "Posed":
        """The head as the view shows it."""
        names, stops = list(space), np.cumsum([len(points) for points in space.values()])
        flat = np.split(view.project(np.concatenate(list(space.values()))), stops[:-1])
        left, right = space["iris_left"][0], space["iris_right"][0]
        pair = view.project(np.stack((left, right)))
        scale = float(np.linalg.norm(pair[0] - pair[1]) / max(float(np.linalg.norm((left - right)[:2])), 1e-6))
        return cls(space=space, flat=dict(zip(names, flat, strict=True)), unit=scale)


def paint_mane(picture: Picture, head: Posed, identity: Identity) -> None:
    """The hair behind face, neck and shoulders."""
    cut, colour = CUTS[identity.look.hair], shade(identity.look.hair_colour, 0.82)
    knot = head.flat["mane"][-16:]
    if cut.length:
        fill(picture, head.flat["mane"][:-16], colour)
    if cut.knot:
        fill(picture, knot, shade(identity.look.hair_colour, 0.95))


def paint_head(picture: Picture, head: Posed, identity: Identity, tint: Tint) -> None:
    """Everything of the head but the mane; `tint` is the (ROWS * COLUMNS, 3) colour factor of the skin."""
    look, flat = identity.look, head.flat
    far, near = (
        ("left", "right") if head.space["iris_left"][0, 2] < head.space["iris_right"][0, 2] else ("right", "left")
    )
    _ear(picture, head, far, look.skin)
    outline, cells = hull(flat["skin"]), _cap_cells(flat["cap"])
    fill(picture, outline, look.skin)
    _fill_rows(picture, cells, look.hair_colour)
    if look.hair != "shaved":
        fill(
            picture,
            _sheen(flat["cap"], identity.scene.light, 0.1 * head.unit),
            blend(look.hair_colour, (255, 240, 225), 0.14),
        )
    mask = np.zeros(picture.shape[:2], np.uint8)
    fill(mask, outline, 255)
    _fill_rows(mask, cells, 255)
    colour, weight = lit_skin(head.space["skin"], identity.scene, tint)
    cast(picture, mask, flat["skin"], colour, weight)
    _ear(picture, head, near, shade(look.skin, float(np.average(colour[:, 0], weights=weight))))
    brows = blend(look.hair_colour, (24, 18, 18), 0.55)
    for side in ("left", "right"):
        _eye(picture, head, side, look)
        fill(picture, flat[f"brow_{side}"], brows)
    _nose(picture, head, look.skin)
    _mouth(picture, head, look.lips)
    if look.glasses:
        _glasses(picture, head)


def skin_tint(identity: Identity, rest_skin: Points) -> Tint:
    """(ROWS * COLUMNS, 3) colour factor of each point of the skin: flushed cheeks, deeper sockets, the beard."""
    x, y, z = rest_skin.T
    tint = np.ones((len(rest_skin), 3), np.float32)
    front = (z > 0)[:, None]

    def stain(amount: NDArray[np.floating], colour: tuple[float, float, float]) -> None:
        tint[...] += (amount[:, None] * front) * (np.array(colour) - 1) * tint

    cheeks = np.exp(-((((np.abs(x) - 0.4) / 0.17) ** 2) + ((y + 0.36) / 0.14) ** 2))
    sockets = np.exp(-((((np.abs(x) - 0.3) / 0.2) ** 2) + ((y - 0.05) / 0.11) ** 2))
    stain(0.45 * cheeks, (1.0, 0.82, 0.8))
    stain(0.6 * sockets, (0.88, 0.82, 0.82))
    strength = {"none": 0.0, "stubble": 0.3, "full": 0.66}[identity.look.beard]
    edge = -0.5 - 0.12 * np.cos(np.pi * np.clip(x / 0.7, -1, 1)) + 0.5 * np.clip(np.abs(x) - 0.42, 0, 1) * 2.2
    beard = np.clip((edge - y) / 0.08, 0, 1)
    beard *= 1 - 0.85 * np.exp(-((x / 0.2) ** 4) - ((y + 0.67) / 0.06) ** 2)
    hair = tuple(h / s for h, s in zip(shade(identity.look.hair_colour, 1.1), identity.look.skin, strict=True))
    stain(strength * beard, (hair[0], hair[1], hair[2]))
    return tint


def _fill_rows(picture: Picture, rows: list[list[Points]], colour: Colour | int) -> None:
    # What two polygons of one call share stays empty, and the slivers near the crown do overlap: one call for each row.
    for row in rows:
        fill_all(picture, row, colour)


def _cap_cells(cap: Points) -> list[list[Points]]:
    """The cells of the cap that face the camera, row by row."""
    grid = cap.reshape(CAP_ROWS, CAP_COLUMNS, 2)
    ring = np.concatenate((grid, grid[:, :1]), 1)
    cells = np.stack((ring[:-1, :-1], ring[:-1, 1:], ring[1:, 1:], ring[1:, :-1]), 2).reshape(-1, 4, 2)
    a, b = cells[:, 2] - cells[:, 0], cells[:, 3] - cells[:, 1]
    facing = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
    # The nape is always behind the neck, though thick hair flares there and would face the camera.
    row, column = np.divmod(np.arange(len(cells)), CAP_COLUMNS)
    nape = (np.abs(column / CAP_COLUMNS - 0.5) > 0.37) & (row < CAP_ROWS // 2)
    shown = facing & ~nape
    rows = [list(cells[shown & (row == k)]) for k in range(CAP_ROWS - 1)]
    return [*(cells for cells in rows if cells), [grid[-1]]]


def _sheen(cap: Points, light: tuple[float, float, float], width: float) -> Points:
    """The gleam on the hair, a tapered band where it faces the lamp."""
    row = cap.reshape(CAP_ROWS, CAP_COLUMNS, 2)[CAP_ROWS * 6 // 10]
    towards = round(CAP_COLUMNS * (0.5 + 0.7 * float(np.arctan2(light[0], light[2])) / (2 * np.pi)))
    band = row[towards - 7 : towards + 8]
    return ribbon(band, width * np.sin(np.pi * np.linspace(0.02, 0.98, len(band))))


def _ear(picture: Picture, head: Posed, side: str, skin: Colour) -> None:
    fill(picture, head.flat[f"ear_{side}"], shade(skin, 0.93))
    fill(picture, head.flat[f"ear_inside_{side}"], shade(skin, 0.8))


def _eye(picture: Picture, head: Posed, side: str, look: Look) -> None:
    upper, lower = head.flat[f"lid_{side}"], head.flat[f"under_{side}"]
    unit, centre = head.unit, head.flat[f"iris_{side}"][0]
    opening = np.concatenate((upper, lower[::-1]))
    dark = (38, 28, 28)
    taper = np.sin(np.pi * np.linspace(0.08, 0.96, len(upper)))
    fill(picture, ribbon(head.flat[f"crease_{side}"][1:-1], 0.018 * unit * taper[1:-1]), shade(look.skin, 0.72))
    lash = ribbon(upper, unit * (0.012 + 0.034 * taper))
    if np.linalg.norm(upper - lower, axis=1).max() < 0.03 * unit:
        fill(picture, lash, dark)
        return
    fill(picture, opening, (244, 242, 238))
    _fill_part(picture, opening, disc(centre, 0.088 * unit), shade(look.iris, 0.6))
    _fill_part(picture, opening, disc(centre, 0.072 * unit), look.iris)
    _fill_part(picture, opening, disc(centre, 0.04 * unit), (18, 14, 16))
    _fill_part(picture, opening, disc(centre + np.array((0.028, -0.03)) * unit, 0.02 * unit, 10), (255, 255, 255))
    fill(picture, lash, dark)
    fill(picture, ribbon(lower, unit * 0.012 * taper), blend(dark, (150, 100, 90), 0.5))


def _fill_part(picture: Picture, opening: Points, polygon: Points, colour: Colour) -> None:
    """Fill what of a convex polygon lies in a convex opening."""
    shared = overlap(opening, polygon)
    if len(shared) > 2:
        fill(picture, shared, colour)


def _nose(picture: Picture, head: Posed, skin: Colour) -> None:
    unit, bridge = head.unit, head.flat["nose_bridge"]
    pale = blend(skin, (255, 255, 255), 0.22)
    fill(picture, ribbon(bridge, 0.035 * unit * np.sin(np.pi * np.linspace(0.15, 0.95, len(bridge)))), pale)
    fill(picture, head.flat["nose_glint"], pale)
    fill(picture, head.flat["nose_base"], shade(skin, 0.74))
    for side in ("left", "right"):
        wing = head.flat[f"wing_{side}"]
        fill(picture, ribbon(wing, 0.024 * unit * np.sin(np.pi * np.linspace(0.1, 0.9, len(wing)))), shade(skin, 0.66))
        fill(picture, head.flat[f"nostril_{side}"], shade(skin, 0.34))


def _mouth(picture: Picture, head: Posed, lips: Colour) -> None:
    over, top, bottom, under = (head.flat[f"lip_{name}"] for name in ("over", "top", "bottom", "under"))
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
    fill(picture, ribbon(top, 0.018 * head.unit * edge), shade(lips, 0.5))


def _glasses(picture: Picture, head: Posed) -> None:
    frame, width = (44, 40, 44), 0.035 * head.unit
    for side in ("left", "right"):
        rim = head.flat[f"lens_{side}"]
        fill(picture, ribbon(np.concatenate((rim, rim[:2])), width), frame)
    left, right = head.flat["lens_left"], head.flat["lens_right"]
    fill(picture, ribbon(np.stack((left[9], right[1])), width), frame)
