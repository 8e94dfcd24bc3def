"""What a clip is conditioned on, what "nothing" means, and guidance from the one to the other.

B batch, M text tokens, E text width, T video frames, L x Q sound features per video frame, K phases.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from xsheet.model.flow import Velocity, precondition
from xsheet.model.transformer import NO_PHASE, ActAvatarTransformer
from xsheet.schemas.settings import StrictModel


class GuidanceSettings(StrictModel):
    """How far a sample is pushed from nothing towards its condition; 1 does not push. 5 and 5 are ActAvatar's."""

    scale: float = Field(default=5, ge=0, le=20, description="of text, and of sound unless that has its own")
    audio_scale: float | None = Field(default=None, ge=0, le=20, description="of sound alone; costs a third pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Inputs of the transformer besides the latent and its noise; windows only where the model has a phase mask."""

    text_BME: Tensor
    phase_BM: Tensor
    audio_BTLQ: Tensor
    window_BK2: Tensor | None = None
    extra_conditioning: Any = None  # what a variant is told besides

    def velocity(self, model: ActAvatarTransformer, x_BCFHW: Tensor, timestep_BF: Tensor) -> Tensor:
        """What the model says under this condition."""
        network: Velocity = partial(
            model,
            text_BME=self.text_BME,
            phase_BM=self.phase_BM,
            window_BK2=self.window_BK2,
            audio_BTLQ=self.audio_BTLQ,
            extra_conditioning=self.extra_conditioning,
        )
        return (precondition(network) if model.model_config.velocity_preconditioning else network)(x_BCFHW, timestep_BF)


def drop_conditions(condition: Condition, *, text_B: Tensor, audio_B: Tensor, null_text_ME: Tensor) -> Condition:
    """The condition without text or sound where told (bool). The one meaning of "nothing", in training and sampling.

    No text is the null prompt with no phase on any token; no sound is features of zero, before the projector.
    """
    return replace(
        condition,
        text_BME=torch.where(text_B[:, None, None], null_text_ME.to(condition.text_BME.dtype), condition.text_BME),
        phase_BM=condition.phase_BM.masked_fill(text_B[:, None], NO_PHASE),
        audio_BTLQ=condition.audio_BTLQ.masked_fill(audio_B[:, None, None, None], 0),
    )


def guided(cond: Velocity, *, uncond: Velocity, audio_only: Velocity, settings: GuidanceSettings) -> Velocity:
    """The velocity to follow.

    One scale s, two passes: v(0,0) + s [v(c,a) - v(0,0)]. With a scale for sound, three passes, after MultiTalk:
    v(0,0) + s_a [v(0,a) - v(0,0)] + s [v(c,a) - v(0,a)]; at s_a = s the two are the same.
    """

    def follow(x_BCFHW: Tensor, timestep_BF: Tensor) -> Tensor:
        of_neither, of_both = (said(x_BCFHW, timestep_BF) for said in (uncond, cond))
        if settings.audio_scale is None:
            return torch.lerp(of_neither, of_both, settings.scale)
        of_heard = audio_only(x_BCFHW, timestep_BF)
        return of_neither + settings.audio_scale * (of_heard - of_neither) + settings.scale * (of_both - of_heard)

    return follow
