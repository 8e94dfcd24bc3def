"""A frame number that a machine can read back from the picture, to prove which frame a decoder returned.

A block of 6 x 4 cells in the lower corner at the subject's own right: 16 bits of number, most significant first, then
8 bits of check; white is 1. The block is measured in shares of the picture's height, so it survives any scaling that
keeps the proportions of the picture.
"""

import cv2
import numpy as np

from xsheet.demo.puppet.canvas import Picture

MAX_FRAMES = 1 << 16
_COLUMNS, _ROWS = 6, 4
_CELL = 1 / 32  # share of the picture's height: 8 pixels at 256, a block of the codec's transform
_WEIGHTS = 1 << np.arange(_COLUMNS * _ROWS)[::-1]


def mark_frame(picture: Picture, number: int) -> Picture:
    """The picture with `number` (0 <= number < LIMIT) drawn into its corner, a new array."""
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
    """The number drawn by `mark_frame`, or None where there is none that can be trusted."""
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
