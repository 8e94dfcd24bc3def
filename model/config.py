"""Sizes of the transformer, and the two named models.

Backbone fields have the names of diffusers' Wan, so either can read the other's config.json. The shapes that encoders
must deliver are plain numbers here; the encoders do not depend on this module.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel

FRAMES_PER_LATENT = 4
"""Video frames that one latent frame stands for; latent 0 is frame 0 alone. The same in every Wan codec."""

AudioDepthSchedule = Literal["none", "uniform", "power"]
PhaseBinding = Literal["table", "interval", "clock"]
PHASE_BINDINGS: tuple[PhaseBinding, ...] = ("table", "interval")
"""The default, chosen by measurement (docs/log/train.md#time-binding)."""


def latent_frames(frames: int) -> int:
    """Return the latent frames of a clip: frame 0 alone, then groups of four; ValueError unless frames = 4k + 1."""
    if frames < 1 or (frames - 1) % FRAMES_PER_LATENT:
        raise ValueError(f"expected 4k + 1 frames, got {frames}")
    return 1 + (frames - 1) // FRAMES_PER_LATENT


class WanConfig(StrictModel):
    """The backbone: every field of diffusers' WanTransformer3DModel. Grids are (time, height, width)."""

    patch_size: tuple[int, int, int] = Field(default=(1, 2, 2), description="latent cells per token")
    num_attention_heads: int = Field(ge=1)
    attention_head_dim: int = Field(
        ge=6, multiple_of=2, description="width of an attention head; at least one rotary pair per axis"
    )
    in_channels: int = Field(ge=1, description="channels of the video codec's latent")
    out_channels: int = Field(ge=1, description="channels of the predicted velocity; equal to in_channels")
    text_dim: int = Field(ge=1, description="width of the text encoder")
    freq_dim: int = Field(
        default=256, ge=2, multiple_of=2, description="sinusoids of the timestep embedding, as in Wan"
    )
    ffn_dim: int = Field(ge=1)
    num_layers: int = Field(ge=1)
    cross_attn_norm: Literal[True] = Field(
        default=True, description="normalise the input of text cross-attention, as in Wan"
    )
    qk_norm: str = Field(
        default="rms_norm_across_heads", description="normalisation of queries and keys; the only one in Wan"
    )
    eps: float = Field(default=1e-6, gt=0, description="epsilon of every norm, as in Wan")
    image_dim: None = Field(
        default=None, description="always null: the picture enters as latent 0, never as image tokens"
    )
    added_kv_proj_dim: None = None
    rope_max_seq_len: int = Field(default=1024, ge=1, description="maximum positions per axis, as in Wan")
    pos_embed_seq_len: None = None

    @property
    def hidden_dim(self) -> int:
        """Width of a token inside the transformer."""
        return self.num_attention_heads * self.attention_head_dim


class ActAvatarConfig(WanConfig):
    """The backbone with phases and audio. Defaults are ActAvatar's (docs/references.md) unless marked ours."""

    latent_stride: tuple[int, int, int] = Field(
        default=(FRAMES_PER_LATENT, 16, 16), description="frames and pixels per latent cell, of the video codec"
    )
    text_tokens: int = Field(
        default=512, ge=1, description="length of every prompt in tokens, padding included (Wan attends to padding)"
    )

    velocity_preconditioning: bool = Field(
        default=False, description="wrap the network in flow.precondition; our addition, not in Wan"
    )

    max_phases: int = Field(default=6, ge=1, le=64, description="rows of the phase table besides row 0; our choice")
    phase_binding: tuple[PhaseBinding, ...] = Field(
        default=PHASE_BINDINGS,
        description="how text is bound to phases: table (the paper's vectors), interval (TIE's rotation), clock "
        "(our addition); [] = by the words alone",
    )
    frame_rate: float = Field(
        default=25,
        gt=0,
        le=120,
        description="video frames per second; converts frames to the seconds of phase intervals",
    )
    interval_theta: float = Field(default=1e4, gt=1, description="base of the rotation frequencies, as in TIE")
    interval_units_per_s: float = Field(
        default=4, gt=0, description="radians per second of the fastest rotation, as in TIE"
    )
    interval_strength: float = Field(
        default=1, ge=0, le=1, description="factor on the rotation frequencies; 0 = the plain backbone"
    )

    audio_layers: int = Field(default=12, ge=1, description="hidden layers of the audio encoder")
    audio_channels: int = Field(default=768, ge=1, description="features per layer and video frame")
    audio_hidden: int = Field(default=512, ge=1, description="width inside the projector, as in MultiTalk")
    audio_tokens: int = Field(default=32, ge=1, description="tokens per latent frame, as in MultiTalk")
    audio_dim: int = Field(default=768, ge=1, description="width of an audio token, as in MultiTalk")
    audio_depth_schedule: AudioDepthSchedule = Field(
        default="power", description="scale of the audio residual by depth: none 0, uniform 1, power (l/L)^γ"
    )
    audio_depth_gamma: float = Field(default=1.5, ge=0, le=8, description="exponent γ of the schedule `power`")

    @model_validator(mode="after")
    def _check_consistency(self) -> "ActAvatarConfig":
        if self.patch_size[0] != 1:
            raise ValueError(f"expected a patch_size of one latent frame, got {self.patch_size[0]}")
        if self.latent_stride[0] != FRAMES_PER_LATENT:
            raise ValueError(f"expected a latent_stride of {FRAMES_PER_LATENT} frames, got {self.latent_stride[0]}")
        if len(set(self.phase_binding)) != len(self.phase_binding):
            raise ValueError(f"expected each binding once in phase_binding, got {', '.join(self.phase_binding)}")
        return self

    def backbone_fields(self) -> dict[str, Any]:
        """Return the backbone fields."""
        return self.model_dump(include=set(WanConfig.model_fields))


def config_from(
    fields: Mapping[str, Any], *, where: str, config_class: type[ActAvatarConfig] = ActAvatarConfig
) -> ActAvatarConfig:
    """Build a config from the fields of a config.json (lists for tuples; keys with an underscore are ignored).

    Args:
        fields: all fields.
        where: location for the error.
        config_class: ActAvatarConfig or that of a variant.

    Raises:
        ConfigError: a field is missing, unknown or outside its range.
    """
    plain = {key: value for key, value in fields.items() if not key.startswith("_")}
    try:
        return config_class.model_validate_json(json.dumps(plain))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(
            where=f"{where}: {'.'.join(map(str, first['loc'])) or 'size'}",
            expected=first["msg"][0].lower() + first["msg"][1:],
            got="nothing" if first["type"] == "missing" else repr(first["input"])[:200],
            hint="take the config.json of a Wan text-and-image-to-video transformer, or one that xsheet wrote",
        ) from error


def tiny_config() -> ActAvatarConfig:
    """2.7 million parameters, for a CPU: 96 numbers per token into a width of 128.

    The width must stay well above the numbers per token: 288 numbers at width 192 never removed the noise from the
    picture (docs/log/). The latent is 16 luma and 4 + 4 chroma bands per 8 x 8 cell.
    """
    return ActAvatarConfig(
        num_attention_heads=4,
        attention_head_dim=32,
        in_channels=24,
        out_channels=24,
        text_dim=128,
        ffn_dim=768,
        num_layers=6,
        rope_max_seq_len=128,
        latent_stride=(FRAMES_PER_LATENT, 8, 8),
        text_tokens=96,  # annotations of the puppet take up to 80; longer ones get a shorter base caption
        velocity_preconditioning=True,  # after 100 steps the loss is 11 % lower, after 300 3 % (docs/log/train.md#tiny)
        audio_layers=4,  # steps of 10 ms in a video frame at 25 fps
        audio_channels=20,  # log-mel bands
        audio_hidden=128,
        audio_tokens=4,
        audio_dim=64,
    )


def motion_prior_config() -> ActAvatarConfig:
    """2.4 million parameters over the measured series of a clip: one token per latent frame, four bands per series.

    Text, phases and audio are those of `tiny_config`, so that both follow a script by the same binding.
    """
    tiny, series = tiny_config(), 24
    return tiny.model_copy(
        update={
            "in_channels": FRAMES_PER_LATENT * series,
            "out_channels": FRAMES_PER_LATENT * series,
            "patch_size": (1, 1, 1),
            "latent_stride": (FRAMES_PER_LATENT, 1, 1),
        }
    )


def wan2_2_ti2v_5b_config() -> ActAvatarConfig:
    """Wan2.2-TI2V-5B (30 blocks, 24 heads x 128) with ActAvatar's parts: 5.0 + 0.78 billion parameters."""
    return ActAvatarConfig(
        num_attention_heads=24,
        attention_head_dim=128,
        in_channels=48,
        out_channels=48,
        text_dim=4096,
        ffn_dim=14336,
        num_layers=30,
    )
