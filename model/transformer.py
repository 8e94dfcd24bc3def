"""Wan's video diffusion transformer with phase embeddings and audio attention.

ActAvatarTransformer    patches, time and text embedding, phase vectors, blocks, velocity
ActAvatarBlock          self-attention, text cross-attention, audio attention, feed-forward
PhaseTable              a learned vector per phase, added to the text tokens of the phase
audio_residual_scale    depth schedule of the audio residual
phase_bias              ablation: text attention that sees a phase only around its window

B batch, C latent channels, F latent frames, H x W latent cells, T video frames, M text tokens, E text width, D width,
S tokens of a latent frame, N = F * S video tokens, L x Q audio features per video frame, A width of an audio token,
K phases or audio tokens, P patch (h, w).
"""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Generator, Tensor, is_grad_enabled, nn
from torch.nn import functional

from xsheet.model.audio import AudioAttention, AudioProjector
from xsheet.model.config import (
    FRAMES_PER_LATENT,
    ActAvatarConfig,
    AudioDepthSchedule,
    PhaseMask,
    config_from,
    latent_frames,
)
from xsheet.torchvision_compat import import_torchvision

# diffusers imports torchvision if it is installed; beside a CPU build of torch that import fails without this.
if find_spec("torchvision") is not None:
    import_torchvision()

from diffusers.models.transformers.transformer_wan import WanTransformer3DModel, WanTransformerBlock

PAD = -1
NO_PHASE = 0


class ActAvatarTransformer(WanTransformer3DModel):
    """Predict the velocity (noise - clean) of a latent. With new parts just initialised it equals Wan, bit by bit.

    diffusers passes no further inputs to Wan's blocks, hence a subclass with its own forward; saving, loading, gradient
    checkpointing and LoRA are inherited.
    """

    config_class: type[ActAvatarConfig] = ActAvatarConfig
    """Config class; a variant has its own."""

    _no_split_modules = ["ActAvatarBlock"]  # noqa: RUF012 - as in the base class
    _repeated_blocks = ["ActAvatarBlock"]  # noqa: RUF012
    # Context parallelism would have to split sequences between latent frames; diffusers' plan does not.
    _cp_plan = None  # type: ignore[assignment]

    def __init__(self, **fields: Any) -> None:
        config = config_from(fields, where=type(self).__name__, config_class=self.config_class)
        super().__init__(**{**config.backbone_fields(), "num_layers": 0})  # no Wan blocks: they would be replaced
        self.register_to_config(**config.model_dump())  # type: ignore[no-untyped-call]
        self.model_config = config
        self.blocks = nn.ModuleList(ActAvatarBlock(config, index=i) for i in range(config.num_layers))
        self.phase_table = PhaseTable(config.max_phases, config.hidden_dim)
        self.audio_projector: nn.Module = AudioProjector(config)

    @classmethod  # static in diffusers, but called on the class to build
    def _get_init_keys(cls, input_class: type) -> set[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the config.json keys for the constructor; diffusers would read them off the signature."""
        return {"self", *cls.config_class.model_fields}

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - names unlike Wan's, see below
        self,
        x_BCFHW: Tensor,
        timestep: Tensor,
        text_BME: Tensor,
        *,
        phase_BM: Tensor | None = None,
        window_BK2: Tensor | None = None,
        audio_BTLQ: Tensor | None = None,
        extra_conditioning: Any = None,
    ) -> Tensor:
        """Return the velocity, (B, C, F, H, W). Arguments are not named as Wan's, so that a call meant for Wan fails.

        `timestep` is 1000 σ per clip (B,), per latent frame (B, F) or, as in Wan, per token (B, N). Without `phase_BM`
        no phase vectors are added; without `audio_BTLQ` audio attention is skipped. `window_BK2` is in video frames and
        only used by a phase mask. `extra_conditioning` is for variants; None here.
        """
        frames, height, width = x_BCFHW.shape[2:]
        _check_audio_length(frames, audio_BTLQ)
        rotary = self.rope(x_BCFHW)
        x_BND = self.patch_embedding(x_BCFHW).flatten(2).transpose(1, 2).contiguous()
        time_BFSD, mod_BFS6D, text_BMD = self._embed_conditions(timestep, text_BME, frames, extra_conditioning)
        if phase_BM is not None:
            text_BMD = text_BMD + self.phase_table(phase_BM)
        audio = self._encode_audio(audio_BTLQ, extra_conditioning)
        bias_BFM = self._phase_bias(phase_BM, window_BK2, frames)

        checkpoint: Any = self._gradient_checkpointing_func
        recompute = is_grad_enabled() and self.gradient_checkpointing
        for block in self.blocks:
            inputs = (x_BND, text_BMD, mod_BFS6D, rotary, audio, bias_BFM)
            x_BND = checkpoint(block, *inputs) if recompute else block(*inputs)

        shift, scale = (self.scale_shift_table + time_BFSD.unsqueeze(-2)).unbind(-2)
        x_BND = self.proj_out(modulate(self.norm_out(x_BND.float()), shift, scale).type_as(x_BND))
        _, p_h, p_w = self.model_config.patch_size
        grid: Tensor = x_BND.reshape(len(x_BND), frames, height // p_h, width // p_w, p_h, p_w, -1)
        return grid.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)

    def _encode_audio(self, audio_BTLQ: Tensor | None, extra_conditioning: Any) -> Any:
        """Return the second input of every block's `audio_attn`; None skips audio attention."""
        if extra_conditioning is not None:
            raise TypeError(
                f"{type(self).__name__}: expected no extra_conditioning, got {type(extra_conditioning).__name__}"
            )
        return None if audio_BTLQ is None else self.audio_projector(audio_BTLQ)

    def _embed_conditions(
        self, timestep: Tensor, text_BME: Tensor, frames: int, extra_conditioning: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return time (B, F, S, D), modulation (B, F, S, 6, D), text (B, M, D); F = S = 1 if the timestep is shared."""
        per_clip = timestep.ndim == 1
        time, mod, text_BMD, _ = self.condition_embedder(
            timestep.flatten(), text_BME, None, timestep_seq_len=1 if per_clip else timestep.shape[1]
        )
        time_BFSD = time.unflatten(1, (1 if per_clip else frames, -1))
        mod_BFS6D = mod.unflatten(1, (1 if per_clip else frames, -1)).unflatten(-1, (6, -1))
        return time_BFSD, mod_BFS6D, text_BMD

    def init_conditioning(self, rng: Generator) -> None:
        """Initialise the weights that a variant adds."""

    def _phase_bias(self, phase_BM: Tensor | None, window_BK2: Tensor | None, frames: int) -> Tensor | None:
        if self.model_config.phase_mask == "none" or phase_BM is None:
            return None
        if window_BK2 is None:
            raise ValueError(f"expected window_BK2 with phase_mask={self.model_config.phase_mask}, got None")
        soft_frames = self.model_config.phase_mask_soft_frames
        return phase_bias(
            self.model_config.phase_mask,
            phase_BM=phase_BM,
            window_BK2=window_BK2,
            latent_frames=frames,
            soft_frames=soft_frames,
        )


def _check_audio_length(frames: int, audio_BTLQ: Tensor | None) -> None:
    """ValueError if audio and latent differ in length: nothing else would detect the misalignment."""
    if audio_BTLQ is not None and latent_frames(audio_BTLQ.shape[1]) != frames:
        raise ValueError(f"expected audio for {frames} latent frames, got {audio_BTLQ.shape[1]} video frames")


class ActAvatarBlock(WanTransformerBlock):
    """Wan's block with audio attention between text and feed-forward. Without audio it equals Wan's, bit by bit.

    Wan's forward cannot be called in two halves, so it is repeated here; a test compares the two. A variant replaces
    `audio_attn`; that module receives the video tokens and the result of the variant's `_encode_audio`.
    """

    def __init__(self, config: ActAvatarConfig, *, index: int) -> None:
        super().__init__(
            config.hidden_dim, config.ffn_dim, config.num_attention_heads, config.qk_norm, True, config.eps
        )
        factor = audio_residual_scale(
            index, block_count=config.num_layers, schedule=config.audio_depth_schedule, gamma=config.audio_depth_gamma
        )
        self.audio_attn: nn.Module = AudioAttention(config, residual_scale=factor)

    def forward(  # type: ignore[override]  # audio, a phase mask, and time per latent frame
        self,
        x_BND: Tensor,
        text_BMD: Tensor,
        mod_BFS6D: Tensor,
        rotary: tuple[Tensor, Tensor],
        audio_BFKA: Tensor | None = None,
        bias_BFM: Tensor | None = None,
    ) -> Tensor:
        """Apply the block; modulation is per latent frame (S = 1), per token, or per clip (F = S = 1)."""
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
    """Scale by 1 + scale and shift; per latent frame this takes 2 MB instead of 2 GB per token at 28,160 tokens."""
    x_BFSD = _split_by_frame(x_BND, shift_BFSD.shape[1])
    return (x_BFSD * (1 + scale_BFSD) + shift_BFSD).flatten(1, 2)


def apply_gate(x_BND: Tensor, gate_BFSD: Tensor) -> Tensor:
    """Multiply by the gate, per latent frame."""
    return (_split_by_frame(x_BND, gate_BFSD.shape[1]) * gate_BFSD).flatten(1, 2)


def _split_by_frame(x_BND: Tensor, frames: int) -> Tensor:
    return x_BND.reshape(len(x_BND), frames, -1, x_BND.shape[-1])


class PhaseTable(nn.Module):
    """Phase embedding, (K_max + 1) x D, initially zero; row 0 gets no gradient and stays zero.

    Row 0 is for tokens outside any phase: the base caption, the null prompt and pads (PAD).
    """

    def __init__(self, max_phases: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(max_phases + 1, dim))

    def forward(self, phase_BM: Tensor) -> Tensor:
        """(B, M) phase of each token (PAD, NO_PHASE or 1..K_max) -> (B, M, D) to add to the text."""
        return functional.embedding(phase_BM.clamp(min=NO_PHASE), self.weight, padding_idx=NO_PHASE)


def audio_residual_scale(block_index: int, *, block_count: int, schedule: AudioDepthSchedule, gamma: float) -> float:
    """Return f(l) of the block with 0-based index l - 1: (l / L)^γ for `power`, 0 for `none`, 1 for `uniform`."""
    if schedule == "power":
        return float(((block_index + 1) / block_count) ** gamma)
    return {"none": 0.0, "uniform": 1.0}[schedule]


def phase_bias(
    mask: PhaseMask, *, phase_BM: Tensor, window_BK2: Tensor, latent_frames: int, soft_frames: float
) -> Tensor | None:
    """Return the bias added to the attention of latent frame f to token m, (B, F, M) float32; None without a mask.

    An ablation: the published method has no such mask. Windows are [start, end) in video frames, one row per phase
    from 1 on; unused rows may hold anything. Base caption and pads stay visible. hard: 0 if a frame of the latent lies
    in the window, else -inf. soft: the log of a window with sigmoid edges of scale `soft_frames`, evaluated at the
    middle of the latent's frames. The text encoder mixes phases before this, so not even `hard` separates them fully.
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
    by_phase = functional.pad(bias_BFK, (1, 0))  # phase 0, base caption and pads: no bias
    return by_phase.gather(2, phase_BM.clamp(min=0).unsqueeze(1).expand(-1, latent_frames, -1))


def masked_text_attention(attention: Any, x_BND: Tensor, text_BMD: Tensor, bias_BFM: Tensor) -> Tensor:
    """Apply a WanAttention to text with a bias per latent frame; keys and values are computed once for all frames.

    The frames are folded into the batch: a dense (N x M) mask would take 27 MB per clip at 704 x 1280.
    """
    frames, split = bias_BFM.shape[1], (attention.heads, -1)
    q = attention.norm_q(attention.to_q(x_BND)).unflatten(1, (frames, -1)).flatten(0, 1)
    k, v = attention.norm_k(attention.to_k(text_BMD)), attention.to_v(text_BMD)
    k, v = (t.unsqueeze(1).expand(-1, frames, -1, -1).flatten(0, 1) for t in (k, v))
    q, k, v = (t.unflatten(2, split).transpose(1, 2) for t in (q, k, v))
    bias = bias_BFM.flatten(0, 1)[:, None, None].to(q.dtype)
    attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)
    out: Tensor = attention.to_out[0](attended.reshape(x_BND.shape))
    return out


def _frame_range_of_latents(frames: int, *, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the first and last video frame of each latent frame, (F, 1): 0..0, 1..4, 5..8 and so on."""
    last = torch.arange(frames, device=device, dtype=torch.float32)[:, None] * FRAMES_PER_LATENT
    return (last - FRAMES_PER_LATENT + 1).clamp(min=0), last
