"""One block: self-attention, text cross-attention, audio attention inside each latent frame, feed-forward.

B batch, F latent frames, S tokens of a latent frame, N = F * S, M text tokens, K audio tokens, A their width, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from xsheet.model.audio import AudioAttention
from xsheet.model.binding import masked_text_attention
from xsheet.model.config import ActAvatarConfig, AudioDepthSchedule
from xsheet.model.wan import WanTransformerBlock


class ActAvatarBlock(WanTransformerBlock):
    """Wan's block with sound between text and feed-forward. Without sound it computes what Wan's computes, bit by bit.

    Wan's forward cannot be called in two halves, so it is written again here; a test compares the two. A variant puts
    another module in the place of `audio_attn`, which gets the tokens and what the variant's own `_hear` gave.
    """

    def __init__(self, config: ActAvatarConfig, *, index: int) -> None:
        super().__init__(
            config.hidden_dim, config.ffn_dim, config.num_attention_heads, config.qk_norm, True, config.eps
        )
        factor = audio_residual_scale(
            index, block_count=config.num_layers, schedule=config.audio_depth_schedule, gamma=config.audio_depth_gamma
        )
        self.audio_attn: nn.Module = AudioAttention(config, residual_scale=factor)

    def forward(  # type: ignore[override]  # takes sound, a phase mask, and time per latent frame
        self,
        x_BND: Tensor,
        text_BMD: Tensor,
        mod_BFS6D: Tensor,
        rotary: tuple[Tensor, Tensor],
        audio_BFKA: Tensor | None = None,
        bias_BFM: Tensor | None = None,
    ) -> Tensor:
        """Modulation comes per latent frame (S = 1), per token, or for the whole clip (F = S = 1)."""
        mod = (self.scale_shift_table + mod_BFS6D.float()).unbind(-2)
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = mod

        h_BND = modulate(self.norm1(x_BND.float()), shift, scale).type_as(x_BND)
        h_BND = self.attn1(h_BND, None, None, rotary)
        x_BND = (x_BND.float() + apply_gate(h_BND, gate)).type_as(x_BND)

        h_BND = self.norm2(x_BND.float()).type_as(x_BND)
        if bias_BFM is None:
            x_BND = x_BND + self.attn2(h_BND, text_BMD, None, None)
        else:
            x_BND = x_BND + masked_text_attention(self.attn2, h_BND, text_BMD, bias_BFM)

        if audio_BFKA is not None:
            x_BND = x_BND + self.audio_attn(x_BND, audio_BFKA)

        h_BND = modulate(self.norm3(x_BND.float()), ffn_shift, ffn_scale).type_as(x_BND)
        h_BND = self.ffn(h_BND)
        return (x_BND.float() + apply_gate(h_BND.float(), ffn_gate)).type_as(x_BND)


def modulate(x_BND: Tensor, shift_BFSD: Tensor, scale_BFSD: Tensor) -> Tensor:
    """Scaled by 1 + scale and shifted; at 28,160 tokens 2 MB of numbers per latent frame do for 2 GB per token."""
    x_BFSD = _split_by_frame(x_BND, shift_BFSD.shape[1])
    return (x_BFSD * (1 + scale_BFSD) + shift_BFSD).flatten(1, 2)


def apply_gate(x_BND: Tensor, gate_BFSD: Tensor) -> Tensor:
    """Times the gate, in the same way."""
    return (_split_by_frame(x_BND, gate_BFSD.shape[1]) * gate_BFSD).flatten(1, 2)


def _split_by_frame(x_BND: Tensor, frames: int) -> Tensor:
    return x_BND.reshape(len(x_BND), frames, -1, x_BND.shape[-1])


PAD = -1
NO_PHASE = 0


class PhaseTable(nn.Module):
    """E, (K_max + 1) x D, zero at the start; row 0 gets no gradient, so it is zero for ever.

    Row 0 serves the base block, the null prompt (all tokens 0) and pads (PAD): none of them gets anything added.
    """

    def __init__(self, max_phases: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max_phases + 1, dim))

    def forward(self, phase_BM: Tensor) -> Tensor:
        """(B, M) phase of each token, PAD, BASE or 1..K_max -> (B, M, D) to add to the text."""
        return functional.embedding(phase_BM.clamp(min=NO_PHASE), self.weight, padding_idx=NO_PHASE)


def audio_residual_scale(block_index: int, *, block_count: int, schedule: AudioDepthSchedule, gamma: float) -> float:
    """f(l) of the block with the 0-based index `block` = l - 1; 0 and 1 everywhere for `none` and `uniform`."""
    if schedule == "power":
        return float(((block_index + 1) / block_count) ** gamma)
    return {"none": 0.0, "uniform": 1.0}[schedule]
