"""What a cheap camera adds to a drawn picture: grain and a flicker of its gain."""

import numpy as np
from numpy.random import Generator

from xsheet.demo.canvas import Picture


def camera(picture: Picture, rng: Generator, *, grain: float = 2.5, flicker: float = 0.004) -> Picture:
    """The picture with noise of standard deviation `grain` (of 255) and gain off by about `flicker`; advances rng."""
    # Half the chroma detail of a sensor is interpolated, so grain is mostly shared by the three channels.
    noise = rng.standard_normal(picture.shape[:2], np.float32) * grain
    gain = np.float32(1 + flicker * rng.standard_normal())
    return np.clip(picture * gain + (noise[..., None] + 0.5), 0, 255).astype(np.uint8)
