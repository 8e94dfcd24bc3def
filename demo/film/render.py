"""Render a film plan to pictures, with a machine-readable frame number in a corner.

The number proves which frame a decoder returned. It is a block of 6 x 4 cells in the lower corner at the subject's own
right: 16 bits of number, most significant first, then 8 check bits; white is 1. The block is measured in shares of the
picture's height, so it survives any scaling that keeps the aspect ratio.
"""

from collections.abc import Iterator
from itertools import chain, repeat

import cv2
import numpy as np

from xsheet.demo.film.plan import FilmPlan, ShotPlan
from xsheet.demo.puppet.canvas import Picture
from xsheet.demo.puppet.draw import Puppet, add_camera_noise, draw_backdrop, side_by_side
from xsheet.demo.puppet.identity import WAIST_SCALE, random_identity

FLASH_LUMA = 250
MAX_FRAMES = 1 << 16
_COLUMNS, _ROWS = 6, 4
_CELL = 1 / 32  # share of the picture's height: 8 pixels at 256, a block of the codec's transform
_WEIGHTS = 1 << np.arange(_COLUMNS * _ROWS)[::-1]


def render_film(plan: FilmPlan, *, height_px: int) -> Iterator[Picture]:
    """Yield all frames of a film, (height_px, columns × height_px, 3) uint8 RGB, with grain and frame numbers.

    A still repeats one picture bit for bit, hence without a number.
    """
    rng = np.random.default_rng((plan.seed, plan.index, 0xF11))
    pictures = _render_shots(plan, height_px)
    if plan.kind == "still":
        yield from repeat(add_camera_noise(next(pictures), rng), plan.frames)
        return
    for number, picture in enumerate(pictures):
        yield mark_frame(add_camera_noise(picture, rng), number)


def _render_shots(plan: FilmPlan, height_px: int) -> Iterator[Picture]:
    previous: Picture | None = None
    end = 0
    if any(shot.framing == "upper_body" for shot in plan.shots):
        height_px = 2 * round(0.5 * height_px / WAIST_SCALE)  # the face is as large as elsewhere
    columns = max(1, *(len(shot.cast_members) for shot in plan.shots))
    for shot in plan.shots:
        pictures = _render_shot(shot, height_px, columns=columns)
        first = next(pictures)
        if previous is not None:
            yield from _render_dissolve(previous, first, shot.frames.start - end)
        for previous in chain([first], pictures):
            yield previous
        end = shot.frames.stop


def _render_dissolve(before: Picture, after: Picture, frames: int) -> Iterator[Picture]:
    for step in range(1, frames + 1):
        share = step / (frames + 1)
        yield np.round(before * (1 - share) + after * share).astype(np.uint8)


def _render_shot(shot: ShotPlan, size: int, *, columns: int) -> Iterator[Picture]:
    if shot.flash:
        yield from repeat(np.full((size, columns * size, 3), FLASH_LUMA, np.uint8), len(shot.frames))
    elif not shot.cast_members:
        yield from repeat(draw_backdrop(random_identity(shot.backdrop_identity).scene, size=size), len(shot.frames))
    else:
        puppets = [Puppet(shot.identity(head), height_px=size) for head in shot.cast_members]
        for k in range(len(shot.frames)):
            yield side_by_side(
                *(puppet.draw(head.motion.at(k)) for puppet, head in zip(puppets, shot.cast_members, strict=True))
            )


def mark_frame(picture: Picture, number: int) -> Picture:
    """Copy the picture and draw `number` (0 <= number < MAX_FRAMES) into its corner."""
    if not 0 <= number < MAX_FRAMES:
        raise ValueError(f"expected a frame number from 0 to {MAX_FRAMES - 1}, got {number}")
    code = number << 8 | _check(number)
    bits = (code & _WEIGHTS > 0).reshape(_ROWS, _COLUMNS)
    marked, height = picture.copy(), picture.shape[0]
    left, top, right, bottom = (round(share * height) for share in (0, 1 - _CELL * _ROWS, _CELL * _COLUMNS, 1))
    block = cv2.resize(bits.astype(np.uint8) * 255, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    marked[top:bottom, left:right] = np.asarray(block)[..., None]
    return marked


def read_frame_number(picture: Picture) -> int | None:
    """Read the number that `mark_frame` drew; None if it is absent or fails its check."""
    height = picture.shape[0]
    cell = _CELL * height
    bits = np.zeros((_ROWS, _COLUMNS), bool)
    for row in range(_ROWS):
        for column in range(_COLUMNS):
            # The middle of a cell; its edges bleed into their neighbours when a picture is scaled or compressed.
            y = slice(*(round(height - cell * (_ROWS - row - share)) for share in (0.3, 0.7)))
            x = slice(*(round(cell * (column + share)) for share in (0.3, 0.7)))
            patch = picture[y, x]
            level = float(patch.mean()) if patch.size else 128.0
            if 80 < level < 176:
                return None
            bits[row, column] = level >= 176
    code = int((bits.reshape(-1) * _WEIGHTS).sum())
    number, check = code >> 8, code & 0xFF
    return number if check == _check(number) else None


def _check(number: int) -> int:
    # Not linear in the bits, and neither 0 for 0 nor 255 for 65535: a black or a white corner is no frame number.
    return (number * 40_503 + 0xA5 + (number >> 7) * 97) >> 3 & 0xFF
