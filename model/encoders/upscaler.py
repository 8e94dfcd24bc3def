"""A small network that doubles the size of decoded pictures of the analytic codec and removes what is wrong in them.

The codec keeps 24 of 768 numbers of a cell, so what moves fast comes back smeared, and a tiny transformer makes errors
of its own. The first frame of a clip is given and therefore clean. The network estimates from where in it each pixel of
a frame has moved, moves the enlarged first frame along, as the first order motion model does (arXiv 2003.00196), and
blends it with the frame itself, enlarged, where that shows more: an open mouth, an ear. The weights are fitted on drawn
people, samples of the model against the drawing (benchmarks/fit_upscaler.py).

N clips, T frames of a clip, H x W pixels.
"""

from collections.abc import Iterable
from importlib.resources import as_file, files
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

SCALE = 2
UPSCALER_FILE = "upscaler.safetensors"
CONTEXT_CHANNELS = 12
"""Channels of a frame with its context: itself, the frame before, the one after, and the first of the clip."""
_COARSE = 2  # pixels of a side that the blocks see as one: they reach over a whole face of 64 pixels


class FlowEstimator(nn.Module):
    """Optical flow from each frame back to the first of its clip; a U-Net of three sizes."""

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 96)) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.first = nn.Conv2d(CONTEXT_CHANNELS * _COARSE**2, fine, 3, padding=1)
        self.down1, self.down2 = nn.Conv2d(fine, middle, 3, 2, 1), nn.Conv2d(middle, coarse, 3, 2, 1)
        self.e0, self.e1, self.e2 = _residuals(fine, 1), _residuals(middle, 2), _residuals(coarse, 3)
        self.up2, self.up1 = nn.Conv2d(coarse, middle, 3, padding=1), nn.Conv2d(middle, fine, 3, padding=1)
        self.d1, self.d0 = _residuals(middle, 2), _residuals(fine, 1)
        self.last = nn.Conv2d(fine, 2 * _COARSE**2, 3, padding=1)

    def forward(self, seen_TXHW: Tensor) -> Tensor:
        """Frames with context, X = 12 -> flow (T, 2, H, W): x and y in half picture sides."""
        fine = _run(self.e0, self.first(functional.pixel_unshuffle(seen_TXHW, _COARSE)))
        middle = _run(self.e1, functional.gelu(self.down1(fine)))
        coarse = _run(self.e2, functional.gelu(self.down2(middle)))
        middle = _run(self.d1, middle + self.up2(_larger(coarse)))
        fine = _run(self.d0, fine + self.up1(_larger(middle)))
        flow: Tensor = functional.pixel_shuffle(self.last(fine), _COARSE) * 0.1  # faces move by a tenth of the picture
        return flow


class Upscaler(nn.Module):
    """Frames with context -> pictures of twice the size."""

    def __init__(self, *, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.motion = FlowEstimator()
        self.first = nn.Conv2d((CONTEXT_CHANNELS + 3) * _COARSE**2, width, 3, padding=1)
        self.blocks = _residuals(width, blocks)
        self.last = nn.Conv2d(width, 4 * (_COARSE * SCALE) ** 2, 3, padding=1)

    @classmethod
    def load(cls) -> Self:
        """The upscaler of the package."""
        model = cls()
        with as_file(files("xsheet.model.encoders") / "weights" / UPSCALER_FILE) as file:
            model.load_state_dict({key: tensor.float() for key, tensor in load_file(file).items()})
        return model.eval().requires_grad_(requires_grad=False)

    def forward(self, seen_NTXHW: Tensor) -> Tensor:
        """Clips of `with_context`, of which the first frame must be there, X = 12 -> (N, T, 3, 2H, 2W) in -1..1."""
        clips, frames = seen_NTXHW.shape[:2]
        seen, first = seen_NTXHW.flatten(0, 1), seen_NTXHW[:, 0]
        flow = self.motion(seen)
        drawn, share = self._enlarged(seen, moved(seen[:, -3:], flow))
        clean, _ = self._enlarged(first, first[:, -3:])
        carried = moved(clean.repeat_interleave(frames, 0), _larger(flow))
        large: Tensor = share * carried + (1 - share) * drawn
        return large.reshape(clips, frames, *large.shape[1:])

    def _enlarged(self, seen_TXHW: Tensor, moved_T3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Each frame by itself (T, 3, 2H, 2W), and the share of the moved first frame in the result (T, 1, 2H, 2W)."""
        hidden = self.first(functional.pixel_unshuffle(torch.cat([seen_TXHW, moved_T3HW], 1), _COARSE))
        detail = functional.pixel_shuffle(self.last(_run(self.blocks, hidden)), _COARSE * SCALE)
        return _larger(seen_TXHW[:, :3]) + detail[:, :3], torch.sigmoid(detail[:, 3:])

    @torch.no_grad()
    def enlarge(self, picture_BTHW3: Tensor) -> Tensor:
        """Float pictures of whole clips in -1..1, (B, T, H, W, 3) -> (B, T, 2H, 2W, 3); one clip at a time."""
        clips = [self(with_context(clip.movedim(-1, 1))[None])[0].movedim(1, -1) for clip in picture_BTHW3]
        return torch.stack(clips)


def moved(picture_T3HW: Tensor, flow_T2HW: Tensor) -> Tensor:
    """The pictures read where the flow points, (T, 3, H, W); outside, their edge goes on."""
    height, width = picture_T3HW.shape[-2:]
    y = torch.linspace(1 / height - 1, 1 - 1 / height, height, device=flow_T2HW.device)
    x = torch.linspace(1 / width - 1, 1 - 1 / width, width, device=flow_T2HW.device)
    grid_HW2 = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
    return functional.grid_sample(
        picture_T3HW, grid_HW2 + flow_T2HW.movedim(1, -1), padding_mode="border", align_corners=False
    )


def with_context(clip_T3HW: Tensor) -> Tensor:
    """Each frame with the one before, the one after and the first of its clip as further channels, (T, 12, H, W)."""
    first = clip_T3HW[:1]
    before, after = torch.cat([first, clip_T3HW[:-1]]), torch.cat([clip_T3HW[1:], clip_T3HW[-1:]])
    return torch.cat([clip_T3HW, before, after, first.expand_as(clip_T3HW)], dim=1)


def _residuals(width: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))
        for _ in range(count)
    )


def _run(residuals: Iterable[nn.Module], hidden: Tensor) -> Tensor:
    for block in residuals:
        hidden = hidden + block(hidden)
    return hidden


def _larger(picture: Tensor) -> Tensor:
    return functional.interpolate(picture, scale_factor=2, mode="bilinear")
