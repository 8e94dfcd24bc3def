"""The network of FantasyTalking: audio and identity attention that shares the query of the text, motion intensity.

See fantasy_talking.py for sources and choices.

B batch, T video frames, F latent frames, N video tokens, L x Q sound features per video frame, A width of an audio
token, I identity tokens, X numbers of an identity vector, D width.
"""

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from xsheet.model.config import FRAMES_PER_LATENT, ActAvatarConfig
from xsheet.model.init import init_linears
from xsheet.model.transformer import ActAvatarBlock, ActAvatarTransformer, audio_residual_scale
from xsheet.model.variants.fantasy_talking import FantasyTalkingConditioning, FantasyTalkingConfig

_FRAMES_BEFORE, _WINDOW_FRAMES = 5, 8
"""Latent frame j attends to the audio of video frames 4j - 5 .. 4j + 2; 17 steps of 20 ms in the authors' code are 7.9
frames at 23 fps."""


class FantasyTalkingTransformer(ActAvatarTransformer):
    """ActAvatarTransformer with another audio module in each block. With initial weights it equals Wan, bit by bit."""

    config_class = FantasyTalkingConfig

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        assert isinstance(self.model_config, FantasyTalkingConfig)
        self.audio_projector = AudioFrameProjector(self.model_config)
        self.identity_tokens = IdentityProjector(self.model_config)
        self.motion_intensity = MotionIntensityEmbedding(self.model_config)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, ActAvatarBlock)
            block.audio_attn = SharedQueryAttention(self.model_config, block=block, index=index)

    def _encode_audio(self, audio_BTLQ: Tensor | None, extra_conditioning: FantasyTalkingConditioning | None) -> Any:
        face = None if extra_conditioning is None else extra_conditioning.identity_BX
        if audio_BTLQ is None and face is None:
            return None
        return FantasyTalkingBlockInputs(
            audio_BTA=None if audio_BTLQ is None else self.audio_projector(audio_BTLQ),
            identity_BIA=None if face is None else self.identity_tokens(face),
        )

    def _embed_conditions(
        self, timestep: Tensor, text_BME: Tensor, frames: int, extra_conditioning: FantasyTalkingConditioning | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        time_BFSD, mod_BFS6D, text_BMD = super()._embed_conditions(timestep, text_BME, frames, extra_conditioning)
        if extra_conditioning is None or extra_conditioning.motion_B2 is None:
            return time_BFSD, mod_BFS6D, text_BMD
        time_BFSD = time_BFSD + self.motion_intensity(extra_conditioning.motion_B2)[:, None, None]
        embedder = self.condition_embedder
        mod_BFS6D = embedder.time_proj(embedder.act_fn(time_BFSD)).unflatten(-1, (6, -1))
        return time_BFSD, mod_BFS6D, text_BMD

    def init_conditioning(self, rng: Generator) -> None:
        """Initialise the weights so that audio, identity and intensity have no effect."""
        for part in (self.audio_projector, self.identity_tokens, self.motion_intensity):
            init_linears(part, rng=rng)
        nn.init.normal_(self.identity_tokens.queries, std=0.02, generator=rng)
        self.motion_intensity.zero_init()
        for module in self.modules():
            if isinstance(module, SharedQueryAttention):
                module.zero_init()


class FantasyTalkingBlockInputs(NamedTuple):
    """Inputs of the variant's module in a block."""

    audio_BTA: Tensor | None
    identity_BIA: Tensor | None


class AudioFrameProjector(nn.Module):
    """One token per video frame: a linear map without bias, and a norm."""

    def __init__(self, config: ActAvatarConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.audio_layers * config.audio_channels, config.audio_dim, bias=False)
        self.norm = nn.LayerNorm(config.audio_dim)

    def forward(self, audio_BTLQ: Tensor) -> Tensor:
        """(B, T, L, Q) -> (B, T, A)."""
        normed: Tensor = self.norm(self.project(audio_BTLQ.flatten(2)))
        return normed


class IdentityProjector(nn.Module):
    """One vector -> I tokens: a Q-Former; its attention sees one vector only, so it reduces to a linear map."""

    def __init__(self, config: FantasyTalkingConfig) -> None:
        super().__init__()
        settings, width = config.fantasy_talking, config.audio_dim
        self.queries = nn.Parameter(torch.zeros(settings.identity_tokens, width))
        self.value_layers = nn.ModuleList(
            nn.Linear(settings.identity_width, width) for _ in range(max(1, settings.identity_layers))
        )
        self.ffn = nn.ModuleList(_mlp(width, 2 * width, width) for _ in range(settings.identity_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, identity_BX: Tensor) -> Tensor:
        """(B, X) -> (B, I, A)."""
        x_BIA = self.queries.expand(len(identity_BX), -1, -1)
        for index, value_layer in enumerate(self.value_layers):
            x_BIA = x_BIA + value_layer(identity_BX)[:, None]
            if index < len(self.ffn):
                x_BIA = x_BIA + self.ffn[index](functional.layer_norm(x_BIA, x_BIA.shape[-1:]))
        normed: Tensor = self.norm(x_BIA)
        return normed


class MotionIntensityEmbedding(nn.Module):
    """(ω of the face, ω of the body) -> a vector added to the time embedding; initially zero."""

    def __init__(self, config: FantasyTalkingConfig) -> None:
        super().__init__()
        width = config.fantasy_talking.motion_width
        self.per_part = nn.ModuleList(_mlp(1, width, width) for _ in range(2))
        self.joint = _mlp(2 * width, 2 * width, 2 * width)
        self.output = nn.Linear(2 * width, config.hidden_dim)
        self.zero_init()

    def forward(self, motion_B2: Tensor) -> Tensor:
        """(B, 2) -> (B, D)."""
        hidden = torch.cat([mlp(motion_B2[:, k : k + 1]) for k, mlp in enumerate(self.per_part)], dim=1)
        added: Tensor = self.output(hidden + self.joint(hidden))
        return added

    def zero_init(self) -> None:
        """Set the last layer to zero."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)


class SharedQueryAttention(nn.Module):
    """Attention to audio and identity with the query and output projection of the block's text attention.

    The published code computes it before the text is added; here it comes after, so that the block is unchanged. Keys
    and values start at zero, so attention is uniform and the residual is zero.
    """

    def __init__(self, config: FantasyTalkingConfig, *, block: ActAvatarBlock, index: int) -> None:
        super().__init__()
        settings = config.fantasy_talking
        depth = audio_residual_scale(
            index, block_count=config.num_layers, schedule=config.audio_depth_schedule, gamma=config.audio_depth_gamma
        )
        self.audio_scope = settings.audio_scope
        self.residual_weights = settings.audio_weight * depth, settings.identity_weight
        self.audio_kv = nn.Linear(config.audio_dim, 2 * config.hidden_dim, bias=False)
        self.identity_kv = nn.Linear(config.audio_dim, 2 * config.hidden_dim, bias=False)
        # In a tuple, or their weights would be counted twice: they are the block's.
        self.text_attention: tuple[Any, Any] = (block.norm2, block.attn2)
        self.zero_init()

    def forward(self, x_BND: Tensor, audio: FantasyTalkingBlockInputs) -> Tensor:
        """The residual, (B, N, D)."""
        norm, text = self.text_attention
        q_BND = text.norm_q(text.to_q(norm(x_BND.float()).type_as(x_BND)))
        gathered = torch.zeros_like(q_BND)
        if audio.audio_BTA is not None:
            gathered = gathered + self.residual_weights[0] * self._attend_audio(
                q_BND, audio.audio_BTA, heads=text.heads
            )
        if audio.identity_BIA is not None:
            kv = self.identity_kv(audio.identity_BIA)
            gathered = gathered + self.residual_weights[1] * _attention(q_BND, kv, heads=text.heads)
        return functional.linear(gathered, text.to_out[0].weight)  # its bias came with the text

    def _attend_audio(self, q_BND: Tensor, audio_BTA: Tensor, *, heads: int) -> Tensor:
        kv_BTC = self.audio_kv(audio_BTA)
        if self.audio_scope == "clip":
            return _attention(q_BND, kv_BTC, heads=heads)
        kv_BFWC = kv_BTC[:, frame_windows(audio_BTA.shape[1], device=audio_BTA.device)]
        frames = kv_BFWC.shape[1]
        folded = q_BND.reshape(len(q_BND) * frames, -1, q_BND.shape[-1])
        return _attention(folded, kv_BFWC.flatten(0, 1), heads=heads).reshape(q_BND.shape)

    def zero_init(self) -> None:
        """Set keys and values to zero, as in the published code."""
        nn.init.zeros_(self.audio_kv.weight)
        nn.init.zeros_(self.identity_kv.weight)


def frame_windows(frames: int, *, device: torch.device | None = None) -> Tensor:
    """Video frames whose audio each latent frame attends to, (F, 8); the first and last are repeated at the ends."""
    latents = 1 + (frames - 1) // FRAMES_PER_LATENT
    first = FRAMES_PER_LATENT * torch.arange(latents, device=device)[:, None] - _FRAMES_BEFORE
    return (first + torch.arange(_WINDOW_FRAMES, device=device)).clamp(0, frames - 1)


def _attention(q_BND: Tensor, kv_BMC: Tensor, *, heads: int) -> Tensor:
    k, v = kv_BMC.chunk(2, dim=-1)
    q, k, v = (t.reshape(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q_BND, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
