"""Wan's video diffusion transformer with phase embeddings and audio attention.

ActAvatarTransformer    patches, time and text embedding, phase vectors, blocks, velocity
ActAvatarBlock          self-attention, text cross-attention, audio attention, feed-forward
audio_residual_scale    depth schedule of the audio residual

How text is bound to phases and their times: xsheet.model.phases.

B batch, C latent channels, F latent frames, H x W latent cells, T video frames, M text tokens, E text width, D width,
S tokens of a latent frame, N = F * S video tokens, L x Q audio features per video frame, A width of an audio token,
K phases or audio tokens, P patch (h, w).
"""

from importlib.util import find_spec
from typing import Any

from torch import Generator, Tensor, is_grad_enabled, nn

from xsheet.model.audio import AudioAttention, AudioProjector
from xsheet.model.config import ActAvatarConfig, AudioDepthSchedule, config_from, latent_frames
from xsheet.model.phases import PhaseClock, PhaseTable, TextTiming, text_timing, timed_text_attention
from xsheet.torchvision_compat import import_torchvision

# diffusers imports torchvision if it is installed; beside a CPU build of torch that import fails without this.
if find_spec("torchvision") is not None:
    import_torchvision()

from diffusers.models.transformers.transformer_wan import WanTransformer3DModel, WanTransformerBlock


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
        self.phase_table = PhaseTable(config.max_phases, config.hidden_dim) if "table" in config.phase_binding else None
        self.interval_strength = config.interval_strength
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
        the text is bound to no phases; without `audio_BTLQ` audio attention is skipped. `window_BK2`, in video frames,
        is for bindings to times. `extra_conditioning` is for variants; None here.
        """
        frames, height, width = x_BCFHW.shape[2:]
        _check_audio_length(frames, audio_BTLQ)
        rotary = self.rope(x_BCFHW)
        x_BND = self.patch_embedding(x_BCFHW).flatten(2).transpose(1, 2).contiguous()
        time_BFSD, mod_BFS6D, text_BMD = self._embed_conditions(timestep, text_BME, frames, extra_conditioning)
        if phase_BM is not None and self.phase_table is not None:
            text_BMD = text_BMD + self.phase_table(phase_BM)
        audio = self._encode_audio(audio_BTLQ, extra_conditioning)
        timing = self._text_timing(phase_BM, window_BK2, frames)

        checkpoint: Any = self._gradient_checkpointing_func
        recompute = is_grad_enabled() and self.gradient_checkpointing
        for block in self.blocks:
            inputs = (x_BND, text_BMD, mod_BFS6D, rotary, audio, timing)
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

    def _text_timing(self, phase_BM: Tensor | None, window_BK2: Tensor | None, frames: int) -> TextTiming | None:
        if phase_BM is None:
            return None
        return text_timing(
            self.model_config,
            phase_BM=phase_BM,
            window_BK2=window_BK2,
            frames=frames,
            strength=self.interval_strength,
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
        self.phase_clock = PhaseClock(config.hidden_dim) if "clock" in config.phase_binding else None

    def forward(  # type: ignore[override]  # audio, times of phases, and time per latent frame
        self,
        x_BND: Tensor,
        text_BMD: Tensor,
        mod_BFS6D: Tensor,
        rotary: tuple[Tensor, Tensor],
        audio_BFKA: Tensor | None = None,
        timing: TextTiming | None = None,
    ) -> Tensor:
        """Apply the block; modulation is per latent frame (S = 1), per token, or per clip (F = S = 1)."""
        mod = (self.scale_shift_table + mod_BFS6D.float()).unbind(-2)
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = mod

        h_BND = modulate(self.norm1(x_BND.float()), shift, scale).type_as(x_BND)
        h_BND = self.attn1(h_BND, None, None, rotary)
        x_BND = (x_BND.float() + apply_gate(h_BND, gate)).type_as(x_BND)

        h_BND = self.norm2(x_BND.float()).type_as(x_BND)
        if timing is None:
            x_BND = x_BND + self.attn2(h_BND, text_BMD, None, None)
        else:
            x_BND = x_BND + timed_text_attention(self.attn2, h_BND, text_BMD, timing, clock=self.phase_clock)

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


def audio_residual_scale(block_index: int, *, block_count: int, schedule: AudioDepthSchedule, gamma: float) -> float:
    """Return f(l) of the block with 0-based index l - 1: (l / L)^γ for `power`, 0 for `none`, 1 for `uniform`."""
    if schedule == "power":
        return float(((block_index + 1) / block_count) ** gamma)
    return {"none": 0.0, "uniform": 1.0}[schedule]
