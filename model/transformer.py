"""The transformer: Wan's, that also reads which phase a text token speaks of, and hears.

B batch, C latent channels, F latent frames, H x W latent cells, T video frames, M text tokens, E text width, D width,
N video tokens, L x Q sound features per video frame, K phases, P patch (h, w).
"""

from typing import Any

from torch import Generator, Tensor, is_grad_enabled, nn

from xsheet.model.audio import AudioProjector
from xsheet.model.binding import phase_bias
from xsheet.model.block import ActAvatarBlock, PhaseTable, modulate
from xsheet.model.config import ActAvatarConfig, config_from, latent_frames
from xsheet.model.wan import WanTransformer3DModel


class ActAvatarTransformer(WanTransformer3DModel):
    """Predicts the velocity (noise - clean) of a clip's latent. With fresh parts it equals Wan, bit by bit.

    diffusers hands no further inputs to Wan's blocks, hence a subclass with a forward of its own; saving, loading,
    checkpointing and LoRA are inherited.
    """

    config_class: type[ActAvatarConfig] = ActAvatarConfig
    """What a variant's sizes are read as."""

    _no_split_modules = ["ActAvatarBlock"]  # noqa: RUF012 - as the base has them
    _repeated_blocks = ["ActAvatarBlock"]  # noqa: RUF012
    # Shards of a sequence would have to end with a latent frame; diffusers' plan does not see to that.
    _cp_plan = None  # type: ignore[assignment]

    def __init__(self, **fields: Any) -> None:
        config = config_from(fields, where=type(self).__name__, config_class=self.config_class)
        super().__init__(
            **{**config.backbone_fields(), "num_layers": 0}
        )  # Wan's blocks would be made only to be thrown away
        self.register_to_config(**config.model_dump())  # type: ignore[no-untyped-call]
        self.model_config = config
        self.blocks = nn.ModuleList(ActAvatarBlock(config, index=i) for i in range(config.num_layers))
        self.phase_table = PhaseTable(config.max_phases, config.hidden_dim)
        self.audio_projector: nn.Module = AudioProjector(config)

    @classmethod  # diffusers' is static, but it is asked of the class that is to be built
    def _get_init_keys(cls, input_class: type) -> set[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What diffusers hands to the constructor from a config.json; it would read the names off the signature."""
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
        """Velocity, (B, C, F, H, W). Arguments are not named as Wan's, so that a call meant for Wan fails at once.

        `timestep` is 1000 σ per clip (B,), per latent frame (B, F) or, as in Wan, per token (B, N). Without phases no
        token gets a vector; without sound no block hears. Windows are in video frames, for a phase mask only.
        `control` is what a variant is told besides; there is none here.
        """
        frames, height, width = x_BCFHW.shape[2:]
        _check_audio_length(frames, audio_BTLQ)
        rotary = self.rope(x_BCFHW)
        x_BND = self.patch_embedding(x_BCFHW).flatten(2).transpose(1, 2).contiguous()
        time_BFSD, mod_BFS6D, text_BMD = self._embed_conditions(timestep, text_BME, frames, extra_conditioning)
        if phase_BM is not None:
            text_BMD = text_BMD + self.phase_table(phase_BM)
        heard = self._encode_audio(audio_BTLQ, extra_conditioning)
        bias_BFM = self._phase_bias(phase_BM, window_BK2, frames)

        checkpoint: Any = self._gradient_checkpointing_func
        recompute = is_grad_enabled() and self.gradient_checkpointing
        for block in self.blocks:
            inputs = (x_BND, text_BMD, mod_BFS6D, rotary, heard, bias_BFM)
            x_BND = checkpoint(block, *inputs) if recompute else block(*inputs)

        shift, scale = (self.scale_shift_table + time_BFSD.unsqueeze(-2)).unbind(-2)
        x_BND = self.proj_out(modulate(self.norm_out(x_BND.float()), shift, scale).type_as(x_BND))
        _, p_h, p_w = self.model_config.patch_size
        grid: Tensor = x_BND.reshape(len(x_BND), frames, height // p_h, width // p_w, p_h, p_w, -1)
        return grid.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)

    def _encode_audio(self, audio_BTLQ: Tensor | None, extra_conditioning: Any) -> Any:
        """What every block's `audio_attn` is handed beside the tokens; None and it is not called."""
        if extra_conditioning is not None:
            raise TypeError(
                f"expected no control, got {type(extra_conditioning).__name__}: {type(self).__name__} is no variant"
            )
        return None if audio_BTLQ is None else self.audio_projector(audio_BTLQ)

    def _embed_conditions(
        self, timestep: Tensor, text_BME: Tensor, frames: int, extra_conditioning: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Time (B, F, S, D), modulation (B, F, S, 6, D), text (B, M, D); F and S are 1 where the time is the same."""
        per_clip = timestep.ndim == 1
        time, mod, text_BMD, _ = self.condition_embedder(
            timestep.flatten(), text_BME, None, timestep_seq_len=1 if per_clip else timestep.shape[1]
        )
        time_BFSD = time.unflatten(1, (1 if per_clip else frames, -1))
        mod_BFS6D = mod.unflatten(1, (1 if per_clip else frames, -1)).unflatten(-1, (6, -1))
        return time_BFSD, mod_BFS6D, text_BMD

    def init_conditioning(self, rng: Generator) -> None:
        """First weights of what a variant has besides."""

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
    """A sound of another length would be heard at the wrong time, and nothing else would notice."""
    if audio_BTLQ is not None and latent_frames(audio_BTLQ.shape[1]) != frames:
        raise ValueError(f"expected sound for {frames} latent frames, got {audio_BTLQ.shape[1]} video frames")
