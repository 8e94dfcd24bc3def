"""ACTalker as a variant: audio drives the mouth and motion the rest of the face, each by a scan over its own tokens.

After arXiv 2504.02542 and its published inference code (docs/references.md), in the paper's form: residual, scan over
the whole clip. A branch drops the tokens outside its region, scans the remaining ones together with the identity and
the driving signal, and writes the result back. The published code scans each frame separately; that is a setting.

B batch, T video frames, F latent frames, S tokens of a latent frame, N = F * S, J tokens that a branch keeps of it,
K tokens of what drives, A their width, X numbers of a face or of motion, D width, H x W cells. The network is in
actalker_network.py: settings are read without it, whose imports take seconds.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from xsheet.model.config import ActAvatarConfig, AudioDepthSchedule
from xsheet.model.variants.base import (
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

GATE_STATES = ((True, True), (True, False), (False, True))
"""(sound, motion): at least one of them drives."""


class ACTalkerSettings(StrictModel):
    """The paper's numbers unless marked ours."""

    scan_scope: Literal["clip", "frame"] = Field(
        default="clip", description="range of one scan; a frame in the authors' code"
    )
    state_dim: int = Field(default=16, ge=1, description="state size of the scan per channel")
    expand: int = Field(default=2, ge=1, description="channels of the scan / width of the transformer")
    identity_width: int = Field(
        default=18, ge=1, description="width of an identity vector; our choice, ArcFace has 512"
    )
    motion_width: int = Field(default=8, ge=1, description="motion features per frame; our choice")


class ACTalker(ACTalkerSettings):
    """The variant: section `variant` of the training settings."""

    reads_motion: ClassVar[bool] = True
    name: Literal["actalker"] = "actalker"

    def build_config(self, config: ActAvatarConfig) -> ConfigAndClass:
        """Config and transformer class at the size of `config`; audio is equally strong in all blocks."""
        from xsheet.model.variants.actalker_network import ACTalkerTransformer  # noqa: PLC0415 - imports diffusers

        settings = ACTalkerSettings(**self.model_dump(exclude={"name"}))
        fields = config.model_dump(exclude={"audio_depth_schedule"})
        return ACTalkerConfig(**fields, actalker=settings), ACTalkerTransformer

    def check_cache(self, *, identity_dim: int | None, motion_dim: int) -> None:
        """Raise ValueError unless the cache keeps identities and motion of these widths."""
        check_identity(self.name, identity_width=self.identity_width, identity_dim=identity_dim)
        if self.motion_width != motion_dim:
            raise ValueError(
                f"expected variant.motion_width {motion_dim}, the motion series of the cache, got {self.motion_width}"
            )

    def draw(self, generators: Generators) -> Draws:
        """`gates_B2`: bool, whether audio and motion drive each clip."""
        rng, drawn = Generator(), []
        for stream in generators("gates"):
            rng.manual_seed(int(stream.integers(2**63)))
            drawn.append(sample_gates(1, rng=rng))
        return {"gates_B2": torch.cat(drawn)}

    def conditioning(self, batch: VariantBatch, *, without_identity_B: Tensor, draws: Draws) -> "ACTalkerConditioning":
        """Masks, identity, motion and gates; without a draw all that the batch holds drives."""
        clips, frames = batch.audio_BTLQ.shape[:2]
        everything_B2 = torch.tensor([[True, batch.motion_BTX is not None]]).expand(clips, -1)
        motion_BTX = batch.motion_BTX
        if motion_BTX is None:
            motion_BTX = batch.latent_BCFHW.new_zeros((clips, frames, self.motion_width))
        return ACTalkerConditioning(
            mouth_BFHW=batch.mouth_BFHW,
            face_BFHW=batch.face_BFHW,
            gates_B2=draws.get("gates_B2", everything_B2).to(batch.latent_BCFHW.device),
            identity_BX=identity_or_zeros(batch, width=self.identity_width, without_identity_B=without_identity_B),
            motion_BTX=motion_BTX,
        )

    def clip_loss(self, error_BFHW: Tensor, batch: VariantBatch, draws: Draws) -> Tensor:
        """The mean over all cells, (B,)."""
        del batch, draws
        return error_BFHW.mean((1, 2, 3))

    def conditioning_keys(self, transformer: "ActAvatarTransformer") -> frozenset[str]:
        """All keys that backbone and phases do not have."""
        from xsheet.model.weights import conditioning_keys  # noqa: PLC0415 - imports diffusers

        return conditioning_keys(transformer)


class ACTalkerConfig(ActAvatarConfig):
    """The transformer with the variant's settings; the audio residual has the same scale in all blocks."""

    audio_depth_schedule: AudioDepthSchedule = Field(
        default="uniform", description="the paper has no schedule over depth"
    )
    actalker: ACTalkerSettings = ACTalkerSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class ACTalkerConditioning:
    """Conditioning of a clip besides its sound; masks are shares of latent cells, as the cache holds them."""

    mouth_BFHW: Tensor
    face_BFHW: Tensor
    gates_B2: Tensor  # bool: whether sound and motion drive
    identity_BX: Tensor  # identity vector of the face; zeros = no identity
    motion_BTX: Tensor  # of every video frame; zeros = none


def sample_gates(count: int, *, rng: Generator) -> Tensor:
    """Gates of `count` clips, bool (B, 2): the three states are equally likely (the paper does not specify it)."""
    return torch.tensor(GATE_STATES)[torch.randint(len(GATE_STATES), (count,), generator=rng)]
