"""How much arithmetic a training step is: multiply-adds count as two, recomputed activations not at all.

N = F * S video tokens of a clip, M text tokens, D width.
"""

import re
from dataclasses import dataclass

from xsheet.model.config import ActAvatarConfig

_PEAK_TFLOPS_BF16 = {"H200": 989, "H100": 989, "H800": 989, "H20": 148, "A100": 312, "A800": 312, "L40S": 362}
"""Dense bfloat16 of the data sheets, by what torch calls the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFlops:
    """Of one clip forward: matrix products with weights, and those of attention, which have none."""

    tokens: int
    linear: float
    attention: float

    def training(self, trained_share: float) -> float:
        """Forward and backward. Attention costs 3 times its forward, frozen weights 2 times, trained ones 3 times."""
        return 3 * self.attention + (2 + trained_share) * self.linear


def clip_flops(size: ActAvatarConfig, *, frames: int, height: int, width: int) -> ClipFlops:
    """Of a latent of F x H x W cells through the blocks; embeddings at both ends (below 1 %) are left out."""
    tokens = frames * (height // size.patch_size[1]) * (width // size.patch_size[2])
    dim, text, sound = size.dim, size.text_tokens, frames * size.audio_tokens
    video_weights = 4 * dim * dim + 2 * dim * dim + 2 * dim * size.ffn_dim + 2 * dim * dim  # self, text, ffn, sound
    linear = 2 * (tokens * video_weights + text * 2 * dim * dim + sound * 2 * dim * size.audio_dim)
    attention = 4 * dim * tokens * (tokens + text + size.audio_tokens)
    return ClipFlops(tokens=tokens, linear=size.num_layers * linear, attention=size.num_layers * attention)


def peak_flops(device_name: str) -> float | None:
    """Dense bfloat16 operations per second of a device by its name; None for one that the table does not know."""
    found = [peak for name, peak in _PEAK_TFLOPS_BF16.items() if name in re.split(r"[\s-]", device_name)]
    return found[0] * 1e12 if found else None
