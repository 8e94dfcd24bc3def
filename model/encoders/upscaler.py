"""A small network that doubles the size of pictures of the analytic codec and removes its block edges.

The codec keeps 24 of 768 numbers of a cell, so that a tiny transformer has little to learn; the missing detail of a
face is mostly predictable from the rest. The weights are fitted on drawn people (benchmarks/fit_upscaler.py).

N pictures, H x W pixels.
"""

from importlib.resources import as_file, files
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SCALE = 2
UPSCALER_FILE = "upscaler.safetensors"


class Upscaler(nn.Module):
    """Residual blocks at the small size, then pixels from channels, added to the bilinear picture."""

    def __init__(self, *, width: int = 24, blocks: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, 3 * SCALE**2, 3, padding=1)

    @classmethod
    def load(cls) -> Self:
        """The upscaler of the package."""
        model = cls()
        with as_file(files("xsheet.model.encoders") / "weights" / UPSCALER_FILE) as file:
            model.load_state_dict({key: tensor.float() for key, tensor in load_file(file).items()})
        return model.eval().requires_grad_(requires_grad=False)

    def forward(self, small_N3HW: Tensor) -> Tensor:
        """Float pictures in -1..1, (N, 3, H, W) -> (N, 3, 2H, 2W)."""
        hidden = self.first(small_N3HW)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        detail: Tensor = functional.pixel_shuffle(self.last(hidden), SCALE)
        large: Tensor = functional.interpolate(small_N3HW, scale_factor=SCALE, mode="bilinear")
        return large + detail

    @torch.no_grad()
    def enlarge(self, picture_BTHW3: Tensor) -> Tensor:
        """Float pictures in -1..1, (B, T, H, W, 3) -> (B, T, 2H, 2W, 3); one clip at a time, which bounds memory."""
        clips = [self(clip.movedim(-1, 1)).movedim(1, -1) for clip in picture_BTHW3]
        return torch.stack(clips)
