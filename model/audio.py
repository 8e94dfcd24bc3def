"""Audio conditioning: MultiTalk's projector, and attention restricted to one latent frame.

B batch, T video frames, F latent frames (T = 4(F - 1) + 1), S tokens of a latent frame, N = F * S, L layers of the
audio encoder, C numbers per layer, K audio tokens per latent frame, A their width, D width of the transformer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from xsheet.model.config import FRAMES_PER_LATENT, ActAvatarConfig

CONTEXT_FRAMES = 2
"""Video frames of audio on each side of a frame: a window of five slots."""
_FIRST_SLOTS = 2 * CONTEXT_FRAMES + 1
_LATER_SLOTS = FRAMES_PER_LATENT + 2 * CONTEXT_FRAMES


class AudioProjector(nn.Module):
    """Features per video frame -> K tokens per latent frame, after MultiTalk.

    Latent 0 gets the five slots around frame 0. Later latents get 3 + 1 + 1 + 3 slots: the first half of the window of
    their first frame, the centres of the two middle frames, the second half of the last: eight consecutive frames.
    Beyond the clip the first and last frame are repeated. Dropped audio (dropout, guidance) is zeros as input.
    """

    def __init__(self, config: ActAvatarConfig) -> None:
        super().__init__()
        slot, hidden = config.audio_layers * config.audio_channels, config.audio_hidden
        self.tokens = config.audio_tokens
        self.first = nn.Linear(_FIRST_SLOTS * slot, hidden)
        self.later = nn.Linear(_LATER_SLOTS * slot, hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, config.audio_tokens * config.audio_dim)
        self.norm = nn.LayerNorm(config.audio_dim)

    def forward(self, audio_BTLC: Tensor) -> Tensor:
        """(B, T, L, C) -> (B, F, K, A)."""
        first, later = audio_windows(audio_BTLC.flatten(2))
        hidden = torch.cat([self.first(first), self.later(later)], dim=1).relu()
        tokens = self.last(self.middle(hidden).relu())
        normed: Tensor = self.norm(tokens.unflatten(2, (self.tokens, -1)))
        return normed


def audio_windows(audio_BTX: Tensor) -> tuple[Tensor, Tensor]:
    """Return windows of latent 0, (B, 1, 5X), and of later latents j, frames 4j - 5 .. 4j + 2, (B, F - 1, 8X)."""
    padded = functional.pad(audio_BTX.mT, (CONTEXT_FRAMES, CONTEXT_FRAMES), mode="replicate").mT
    first = padded[:, :_FIRST_SLOTS].flatten(1)[:, None]
    if audio_BTX.shape[1] == 1:
        return first, padded.new_empty(padded.shape[0], 0, _LATER_SLOTS * padded.shape[2])
    later = padded[:, 1:].unfold(1, _LATER_SLOTS, FRAMES_PER_LATENT)
    return first, later.mT.flatten(2)


class AudioAttention(nn.Module):
    """Video tokens of a latent frame attend to the audio tokens of that frame; the residual is scaled by depth.

    The frames are folded into the batch, so no mask is needed. The output projection is initialised to zero: the block
    then equals Wan's, and the other weights here get their first gradient after the first update.
    """

    residual_scale: Tensor

    def __init__(self, config: ActAvatarConfig, *, residual_scale: float) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.norm = nn.LayerNorm(config.hidden_dim, eps=config.eps)
        self.to_q = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.to_kv = nn.Linear(config.audio_dim, 2 * config.hidden_dim)
        self.to_out = nn.Linear(config.hidden_dim, config.hidden_dim)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)
        # Follows from the config; not saved, so that weights of another config cannot override it.
        self.register_buffer("residual_scale", torch.tensor(residual_scale), persistent=False)

    def forward(self, x_BND: Tensor, audio_BFKA: Tensor) -> Tensor:
        """The residual, (B, N, D)."""
        split = (self.heads, -1)
        q = self.to_q(self.norm(x_BND)).unflatten(1, (audio_BFKA.shape[1], -1)).flatten(0, 1)
        k, v = self.to_kv(audio_BFKA.flatten(0, 1)).chunk(2, dim=-1)
        q, k, v = (t.unflatten(2, split).transpose(1, 2) for t in (q, k, v))
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        residual: Tensor = self.to_out(attended.reshape(x_BND.shape))
        return self.residual_scale * residual
