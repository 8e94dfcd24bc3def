"""What is behind the puppet: a wall lit from one side, a window, a shelf or pictures, all out of focus."""

import cv2
import numpy as np
from numpy.random import Generator

from xsheet.demo.puppet.canvas import Picture, circle_polygon, fill
from xsheet.demo.puppet.identity import Scene, blend, shade

_ACCENTS = ((250, 248, 240), (90, 120, 110), (170, 110, 84), (84, 96, 124), (214, 180, 120))


def draw_backdrop(scene: Scene, *, size: int) -> Picture:
    """(size, size, 3) uint8; a function of the scene alone."""
    rng = np.random.default_rng(scene.decor_seed)
    picture = np.full((size, size, 3), scene.wall, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        x, y = float(rng.uniform(-0.05, 0.95)), float(rng.uniform(-0.1, 0.6))
        width, height = float(rng.uniform(0.12, 0.34)), float(rng.uniform(0.14, 0.4))
        colour = blend(scene.wall, _ACCENTS[rng.integers(len(_ACCENTS))], float(rng.uniform(0.25, 0.55)))
        box = np.array(((x, y), (x + width, y), (x + width, y + height), (x, y + height))) * size
        if rng.random() < 0.3:
            fill(picture, circle_polygon(box.mean(0), 0.5 * min(width, height) * size, 40), colour)
            continue
        fill(picture, box, shade(colour, 0.9))
        fill(picture, box.mean(0) + (box - box.mean(0)) * 0.88, colour)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), size / 110))
    across = np.linspace(-1, 1, size)
    glow = 1 + 0.1 * np.sign(scene.light[0]) * across[None, :] - 0.07 * across[:, None]
    return np.asarray(np.clip(picture * glow[..., None], 0, 255), np.uint8)


def add_camera_noise(picture: Picture, rng: Generator, *, grain: float = 2.5, flicker: float = 0.004) -> Picture:
    """The picture with noise of standard deviation `grain` (of 255) and gain off by about `flicker`; advances rng."""
    # Half the chroma detail of a sensor is interpolated, so grain is mostly shared by the three channels.
    noise = rng.standard_normal(picture.shape[:2], np.float32) * grain
    gain = np.float32(1 + flicker * rng.standard_normal())
    return np.clip(picture * gain + (noise[..., None] + 0.5), 0, 255).astype(np.uint8)
