"""FantasyTalking as a variant: attention to the audio of the clip or of the frame, identity, and motion intensity.

After arXiv 2504.04842 and its published inference code (docs/references.md). Z' = Z + λ1 Attn(Q, audio) +
λ2 Attn(Q, face). All three attentions share the query and output projection of the text, so only keys and values are
new.

B batch, T video frames, F latent frames, N video tokens, L x Q sound features per video frame, A width of an audio
token, I identity tokens, X numbers of an identity vector, D width. The network is in fantasy_talking_network.py:
settings are read without it, whose imports take seconds.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from xsheet.model.config import ActAvatarConfig, AudioDepthSchedule
from xsheet.model.variants.base import (
    NEUTRAL_INTENSITY,
    ConfigAndClass,
    Draws,
    Generators,
    VariantBatch,
    check_identity,
    identity_or_zeros,
)
from xsheet.schemas.settings import StrictModel

if TYPE_CHECKING:
    from xsheet.model.transformer import ActAvatarTransformer


class FantasyTalkingSettings(StrictModel):
    """The paper's numbers unless marked ours."""

    audio_scope: Literal["clip", "frame"] = Field(
        default="frame",
        description="clip: every token attends to the audio of the whole clip (the paper's first 80 K steps); "
        "frame: to that of its frame (20 K more)",
    )
    audio_weight: float = Field(default=1, ge=0, le=4, description="λ1 of the paper")
    identity_weight: float = Field(default=0.5, ge=0, le=4, description="λ2 of the paper")
    identity_width: int = Field(
        default=18, ge=1, description="width of an identity vector; our choice, ArcFace has 512"
    )
    identity_tokens: int = Field(default=32, ge=1, description="tokens made from an identity vector; our choice")
    identity_layers: int = Field(
        default=4, ge=0, description="layers of the network that makes these tokens; our choice"
    )
    motion_width: int = Field(default=256, ge=1, description="width of the embedding of each intensity; our choice")


class FantasyTalking(FantasyTalkingSettings):
    """The variant: section `variant` of the training settings."""

    reads_motion: ClassVar[bool] = False
    name: Literal["fantasy_talking"] = "fantasy_talking"
    mouth_only_probability: float = Field(
        default=0.8, ge=0, le=1, description="share of training samples whose loss is restricted to the mouth"
    )

    def build_config(self, config: ActAvatarConfig) -> ConfigAndClass:
        """Config and transformer class at the size of `config`; audio is equally strong in all blocks."""
        from xsheet.model.variants.fantasy_talking_network import (  # noqa: PLC0415 - imports diffusers
            FantasyTalkingTransformer,
        )

        settings = FantasyTalkingSettings(**self.model_dump(exclude={"name", "mouth_only_probability"}))
        fields = config.model_dump(exclude={"audio_depth_schedule"})
        return FantasyTalkingConfig(**fields, fantasy_talking=settings), FantasyTalkingTransformer

    def check_cache(self, *, identity_dim: int | None, motion_dim: int) -> None:
        """Raise ValueError unless the cache keeps identities of this width."""
        del motion_dim
        check_identity(self.name, identity_width=self.identity_width, identity_dim=identity_dim)

    def draw(self, generators: Generators) -> Draws:
        """`mouth_only_B`: bool, the clips whose loss counts the mouth alone."""
        drawn = [rng.random() < self.mouth_only_probability for rng in generators("lips")]
        return {"mouth_only_B": torch.tensor(drawn)}

    def conditioning(
        self, batch: VariantBatch, *, without_identity_B: Tensor, draws: Draws
    ) -> "FantasyTalkingConditioning":
        """Identity and motion intensity; a batch without intensity gets the neutral one."""
        del draws
        motion_B2 = batch.intensity_B2
        if motion_B2 is None:
            motion_B2 = batch.latent_BCFHW.new_full((len(batch.audio_BTLQ), 2), NEUTRAL_INTENSITY)
        identity_BX = identity_or_zeros(batch, width=self.identity_width, without_identity_B=without_identity_B)
        return FantasyTalkingConditioning(identity_BX=identity_BX, motion_B2=motion_B2)

    def clip_loss(self, error_BFHW: Tensor, batch: VariantBatch, draws: Draws) -> Tensor:
        """The mean over all cells or, for the drawn clips, over the mouth; (B,)."""
        if "mouth_only_B" not in draws:
            return error_BFHW.mean((1, 2, 3))
        mouth_only_B = draws["mouth_only_B"].to(error_BFHW.device)
        return mouth_loss(error_BFHW, mouth_BFHW=batch.mouth_BFHW, mouth_only_B=mouth_only_B)

    def conditioning_keys(self, transformer: "ActAvatarTransformer") -> frozenset[str]:
        """All keys that backbone and phases do not have."""
        from xsheet.model.weights import conditioning_keys  # noqa: PLC0415 - imports diffusers

        return conditioning_keys(transformer)


class FantasyTalkingConfig(ActAvatarConfig):
    """The transformer with the variant's settings; the audio residual has the same scale in all blocks."""

    audio_depth_schedule: AudioDepthSchedule = Field(
        default="uniform", description="the paper has no schedule over depth"
    )
    fantasy_talking: FantasyTalkingSettings = FantasyTalkingSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class FantasyTalkingConditioning:
    """Conditioning of a clip besides text and audio; None = no identity, or no motion intensity."""

    identity_BX: Tensor | None = None  # identity vector of the face; zeros = no identity, as in dropout and guidance
    motion_B2: Tensor | None = None  # how much face and body move, 0..1; .5 neutral, .1 subtle, 1 intense


def mouth_loss(error_BFHW: Tensor, *, mouth_BFHW: Tensor, mouth_only_B: Tensor) -> Tensor:
    """Loss of each clip, (B,): the mean over all cells or, where drawn (.8 of the time in the paper), over the mouth.

    The paper only multiplies by the mask; here the sum is divided by the sum of the mask, so that a small mouth counts
    as much; a clip without a visible mouth uses the mean over all cells.

    Args:
        error_BFHW: of the latent frames from 1 on.
        mouth_BFHW: share of each cell that is mouth, of all latent frames.
        mouth_only_B: bool, drawn for each clip.
    """
    mouth = mouth_BFHW[:, 1:].to(error_BFHW.dtype)
    area = mouth.sum((1, 2, 3))
    mouth_mean = (error_BFHW * mouth).sum((1, 2, 3)) / area.clamp(min=1e-6)
    return torch.where(mouth_only_B & (area > 0), mouth_mean, error_BFHW.mean((1, 2, 3)))
