"""A small network that doubles the size of decoded pictures of the analytic codec and removes what is wrong in them.

The codec keeps 24 of 768 numbers of a cell, and a tiny transformer makes errors in those: block edges and blotches on
a face that moves. The network sees each frame with its neighbours and with the first frame of the clip, which is given
and therefore clean. The weights are fitted on drawn people, samples of the model against the drawing
(benchmarks/fit_upscaler.py).

T frames of a clip, H x W pixels.
"""

from importlib.resources import as_file, files
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SCALE = 2
UPSCALER_FILE = "upscaler.safetensors"
_COARSE = 2  # pixels of a side that the blocks see as one: they reach over a whole face of 64 pixels


class Upscaler(nn.Module):
    """Residual blocks at half the small size, then pixels from channels, added to the bilinear picture."""

    def __init__(self, *, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(4 * 3 * _COARSE**2, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, 3 * (_COARSE * SCALE) ** 2, 3, padding=1)

    @classmethod
    def load(cls) -> Self:
        """The upscaler of the package."""
        model = cls()
        with as_file(files("xsheet.model.encoders") / "weights" / UPSCALER_FILE) as file:
            model.load_state_dict({key: tensor.float() for key, tensor in load_file(file).items()})
        return model.eval().requires_grad_(requires_grad=False)

    def forward(self, seen_TXHW: Tensor) -> Tensor:
        """Frames with what `with_context` adds, X = 12 -> pictures in -1..1, (T, 3, 2H, 2W)."""
        hidden = self.first(functional.pixel_unshuffle(seen_TXHW, _COARSE))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        detail: Tensor = functional.pixel_shuffle(self.last(hidden), _COARSE * SCALE)
        large: Tensor = functional.interpolate(seen_TXHW[:, :3], scale_factor=SCALE, mode="bilinear")
        return large + detail

    @torch.no_grad()
    def enlarge(self, picture_BTHW3: Tensor) -> Tensor:
        """Float pictures of whole clips in -1..1, (B, T, H, W, 3) -> (B, T, 2H, 2W, 3); one clip at a time."""
        clips = [self(with_context(clip.movedim(-1, 1))).movedim(1, -1) for clip in picture_BTHW3]
        return torch.stack(clips)


def with_context(clip_T3HW: Tensor) -> Tensor:
    """Each frame with the one before, the one after and the first of its clip as further channels, (T, 12, H, W)."""
    first = clip_T3HW[:1]
    before, after = torch.cat([first, clip_T3HW[:-1]]), torch.cat([clip_T3HW[1:], clip_T3HW[-1:]])
    return torch.cat([clip_T3HW, before, after, first.expand_as(clip_T3HW)], dim=1)
