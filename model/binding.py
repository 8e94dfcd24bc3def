"""Ablation: text attention that sees a phase only around its window. The published method has no such mask.

Visibility depends on the latent frame alone, so the frames are folded into the batch with a mask over keys; the dense
(N x M) mask, 27 MB a clip at 704 x 1280, is never made. The text encoder mixes the phases before, so even the hard mask
does not keep them wholly apart. B batch, F latent frames, N video tokens, M text tokens, D width, K phases, H heads.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xsheet.model.config import FRAMES_PER_LATENT, PhaseMask


def phase_bias(
    mask: PhaseMask, *, phase_BM: Tensor, window_BK2: Tensor, latent_frames: int, soft_frames: float
) -> Tensor | None:
    """What is added to the attention of latent frame f to token m, (B, F, M) float32; None without a mask.

    Windows are [start, end) in video frames, one row per phase from 1 on; unused rows may hold anything. The base and
    pads are always seen. hard: 0 where a frame of the latent lies in the window, else -inf. soft: the log of a window
    whose sides are sigmoids of scale `soft_frames`, taken at the middle of the latent's frames.
    """
    if mask == "none":
        return None
    first, last = _frame_range_of_latents(latent_frames, device=window_BK2.device)
    start, end = window_BK2.float().unsqueeze(1).unbind(-1)  # each (B, 1, K), against (F, 1)
    if mask == "hard":
        bias_BFK = torch.zeros_like(start + first).masked_fill((last < start) | (first >= end), -torch.inf)
    else:
        middle = (first + last) / 2
        bias_BFK = functional.logsigmoid((middle - start) / soft_frames)
        bias_BFK = bias_BFK + functional.logsigmoid((end - middle) / soft_frames)
    by_phase = functional.pad(bias_BFK, (1, 0))  # phase 0, base and pads: nothing to add
    return by_phase.gather(2, phase_BM.clamp(min=0).unsqueeze(1).expand(-1, latent_frames, -1))


def masked_text_attention(attention: Any, x_BND: Tensor, text_BMD: Tensor, bias_BFM: Tensor) -> Tensor:
    """A WanAttention to text, with the bias of each latent frame; keys and values are computed once for all frames."""
    frames, split = bias_BFM.shape[1], (attention.heads, -1)
    q = attention.norm_q(attention.to_q(x_BND)).unflatten(1, (frames, -1)).flatten(0, 1)
    k, v = attention.norm_k(attention.to_k(text_BMD)), attention.to_v(text_BMD)
    k, v = (t.unsqueeze(1).expand(-1, frames, -1, -1).flatten(0, 1) for t in (k, v))
    q, k, v = (t.unflatten(2, split).transpose(1, 2) for t in (q, k, v))
    bias = bias_BFM.flatten(0, 1)[:, None, None].to(q.dtype)
    seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)
    out: Tensor = attention.to_out[0](seen.reshape(x_BND.shape))
    return out


def _frame_range_of_latents(frames: int, *, device: torch.device) -> tuple[Tensor, Tensor]:
    """First and last video frame of each latent frame, (F, 1): 0..0, 1..4, 5..8 and so on."""
    last = torch.arange(frames, device=device, dtype=torch.float32)[:, None] * FRAMES_PER_LATENT
    return (last - FRAMES_PER_LATENT + 1).clamp(min=0), last
