"""Build 3D hair: a cap on the skull above the hairline, and a mane that hangs behind the face."""

from dataclasses import dataclass

import numpy as np

from xsheet.demo.puppet.identity import BodyProportions, Hair
from xsheet.demo.puppet.skull import CROWN, Points, skull_points

CAP_ROWS, CAP_COLUMNS = 13, 56


@dataclass(frozen=True, slots=True, kw_only=True)
class HairStyle:
    """Parameters of a hair style; the defaults are close to a short crop. Lengths in head units."""

    hairline: float = 0.68  # height of the hairline over the middle of the forehead
    sideburn: float = -0.1  # height at which the sideburns end
    thickness: float = 0.07
    top_thickness: float = 0.0  # more thickness on the top
    front_height: float = 0.0  # more height over the forehead
    parting_shift: float = 0.0  # shift of volume and hairline to one side
    waves: float = 0.0  # bumpiness of the outline
    mane_length: float = 0.0  # length of the mane below the eyes; 0: none
    bun_radius: float = 0.0  # radius of a bun on the crown


HAIR_STYLES: dict[Hair, HairStyle] = {
    "shaved": HairStyle(hairline=0.74, sideburn=0.05, thickness=0.012),
    "crop": HairStyle(thickness=0.07, top_thickness=0.05),
    "parted": HairStyle(hairline=0.64, thickness=0.1, top_thickness=0.12, parting_shift=0.16),
    "quiff": HairStyle(hairline=0.7, thickness=0.06, top_thickness=0.12, front_height=0.24, parting_shift=0.05),
    "curls": HairStyle(hairline=0.66, sideburn=0.02, thickness=0.36, top_thickness=0.06, waves=0.045),
    "bob": HairStyle(hairline=0.64, sideburn=-0.42, thickness=0.16, top_thickness=0.08, mane_length=0.95),
    "long": HairStyle(
        hairline=0.7, sideburn=-0.42, thickness=0.14, top_thickness=0.08, parting_shift=0.14, mane_length=2.0
    ),
    "bun": HairStyle(hairline=0.72, sideburn=-0.1, thickness=0.07, top_thickness=0.04, bun_radius=0.32),
}


def hair_cap(shape: BodyProportions, hair: Hair, parting: float) -> Points:
    """Return the (CAP_ROWS * CAP_COLUMNS, 3) grid from the hairline up to the crown."""
    cut = HAIR_STYLES[hair]
    around = np.linspace(-np.pi, np.pi, CAP_COLUMNS, endpoint=False)
    # Hairline on either side: front, temple, sideburn, behind the ear, nape.
    angles = np.radians((0, 30, 52, 64, 80, 92, 104, 140, 180))
    heights = (
        cut.hairline,
        cut.hairline - 0.03,
        cut.hairline - 0.16,
        0.22,
        cut.sideburn,
        cut.sideburn,
        -0.2,
        -0.7,
        -0.8,
    )
    hairline = np.interp(np.abs(around), angles, heights)
    hairline = hairline + cut.parting_shift * parting * np.sin(around) * np.exp(-((around / 0.8) ** 2))
    rise = np.linspace(0, 1, CAP_ROWS)[:, None]
    y = hairline + rise**0.8 * (CROWN - 0.002 - hairline)
    skull = skull_points(shape, np.broadcast_to(around, y.shape), y)
    centre = np.array((0.0, 0.25, -0.15))
    out = skull - centre
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    # The skull recedes over the nape: hair thickens more slowly there, so that it does not flare.
    ramp = rise ** np.where(np.abs(around) > 1.75, 1.1, 0.5)
    thick = (
        0.015
        + cut.thickness * ramp
        + cut.top_thickness * rise
        + cut.parting_shift * 0.4 * parting * np.sin(around) * rise
    )
    thick = thick + cut.front_height * np.exp(-((around / 0.9) ** 2)) * np.sin(np.pi * np.clip(rise * 1.4, 0, 1))
    ripple = np.sin(8 * around + 3 * np.sin(5 * rise)) + np.sin(11 * rise)
    grid = skull + out * (thick + cut.waves * ripple * np.sqrt(rise))[..., None]
    return np.reshape(grid, (-1, 3))


def hair_mane(shape: BodyProportions, hair: Hair) -> Points:
    """Return (N, 3) points whose projected outline is the hair behind face and neck; the last 16 are a bun."""
    cut = HAIR_STYLES[hair]
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    knot = np.stack(
        (cut.bun_radius * np.cos(turn), CROWN + 0.16 + cut.bun_radius * np.sin(turn), np.full(16, -0.35)), -1
    )
    if not cut.mane_length:
        return knot
    down = np.linspace(0, 1, 8)
    half = 0.755 * shape.face_width + cut.thickness * (0.7 + 0.9 * np.sin(np.pi * down * 0.75))
    y = 0.5 - down**1.1 * (cut.mane_length + 0.5)
    depth = np.full(8, -0.35)
    left, right = np.stack((half, y, depth), -1), np.stack((-half, y, depth), -1)
    return np.concatenate((left, right[::-1], knot))
