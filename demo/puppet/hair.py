"""Hair in three dimensions: a cap on the skull above the hairline, and a mane that hangs behind the face."""

from dataclasses import dataclass

import numpy as np

from xsheet.demo.puppet.identity import Hair, Shape
from xsheet.demo.puppet.skull import CROWN, Points, on_skull

CAP_ROWS, CAP_COLUMNS = 13, 56


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How a hair style differs from a short crop. Lengths in head units."""

    line: float = 0.68  # height of the hairline over the middle of the forehead
    side: float = -0.1  # where the sideburns end
    thick: float = 0.07
    top: float = 0.0  # more thickness on the top
    front: float = 0.0  # more height over the forehead
    lean: float = 0.0  # how far the parting shifts volume and hairline to one side
    waves: float = 0.0  # bumpiness of the outline
    length: float = 0.0  # how far the mane hangs below the eyes; 0 none
    knot: float = 0.0  # radius of a bun on the crown


CUTS: dict[Hair, Cut] = {
    "shaved": Cut(line=0.74, side=0.05, thick=0.012),
    "crop": Cut(thick=0.07, top=0.05),
    "parted": Cut(line=0.64, thick=0.1, top=0.12, lean=0.16),
    "quiff": Cut(line=0.7, thick=0.06, top=0.12, front=0.24, lean=0.05),
    "curls": Cut(line=0.66, side=0.02, thick=0.36, top=0.06, waves=0.045),
    "bob": Cut(line=0.64, side=-0.42, thick=0.16, top=0.08, length=0.95),
    "long": Cut(line=0.7, side=-0.42, thick=0.14, top=0.08, lean=0.14, length=2.0),
    "bun": Cut(line=0.72, side=-0.1, thick=0.07, top=0.04, knot=0.32),
}


def cap(shape: Shape, hair: Hair, parting: float) -> Points:
    """(CAP_ROWS * CAP_COLUMNS, 3) grid from the hairline up to the crown."""
    cut = CUTS[hair]
    around = np.linspace(-np.pi, np.pi, CAP_COLUMNS, endpoint=False)
    # Front, temple, sideburn, behind the ear, nape: where the hairline runs on either side.
    angles = np.radians((0, 30, 52, 64, 80, 92, 104, 140, 180))
    heights = (cut.line, cut.line - 0.03, cut.line - 0.16, 0.22, cut.side, cut.side, -0.2, -0.7, -0.8)
    hairline = np.interp(np.abs(around), angles, heights)
    hairline = hairline + cut.lean * parting * np.sin(around) * np.exp(-((around / 0.8) ** 2))
    rise = np.linspace(0, 1, CAP_ROWS)[:, None]
    y = hairline + rise**0.8 * (CROWN - 0.002 - hairline)
    skull = on_skull(shape, np.broadcast_to(around, y.shape), y)
    centre = np.array((0.0, 0.25, -0.15))
    out = skull - centre
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    # Over the nape the skull recedes; hair that thickened as fast there as on the sides would flare like a skirt.
    ramp = rise ** np.where(np.abs(around) > 1.75, 1.1, 0.5)
    thick = 0.015 + cut.thick * ramp + cut.top * rise + cut.lean * 0.4 * parting * np.sin(around) * rise
    thick = thick + cut.front * np.exp(-((around / 0.9) ** 2)) * np.sin(np.pi * np.clip(rise * 1.4, 0, 1))
    ripple = np.sin(8 * around + 3 * np.sin(5 * rise)) + np.sin(11 * rise)
    grid = skull + out * (thick + cut.waves * ripple * np.sqrt(rise))[..., None]
    return np.reshape(grid, (-1, 3))


def mane(shape: Shape, hair: Hair) -> Points:
    """(N, 3) points whose outline on the picture is the hair behind face and neck; a bun is the last 16 of them."""
    cut = CUTS[hair]
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    knot = np.stack((cut.knot * np.cos(turn), CROWN + 0.16 + cut.knot * np.sin(turn), np.full(16, -0.35)), -1)
    if not cut.length:
        return knot
    down = np.linspace(0, 1, 8)
    half = 0.755 * shape.face_width + cut.thick * (0.7 + 0.9 * np.sin(np.pi * down * 0.75))
    y = 0.5 - down**1.1 * (cut.length + 0.5)
    depth = np.full(8, -0.35)
    left, right = np.stack((half, y, depth), -1), np.stack((-half, y, depth), -1)
    return np.concatenate((left, right[::-1], knot))
