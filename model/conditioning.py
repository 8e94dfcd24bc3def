"""Conditioning inputs, their dropout, and classifier-free guidance.

B batch, M text tokens, E text width, T video frames, L x Q audio features per video frame, K phases.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from xsheet.model.flow import Velocity, precondition
from xsheet.model.phases import PAD
from xsheet.schemas.settings import StrictModel

if TYPE_CHECKING:
    from xsheet.model.transformer import ActAvatarTransformer


class GuidanceSettings(StrictModel):
    """Guidance scales; 1 is no guidance. 5 and 5 are ActAvatar's."""

    scale: float = Field(
        default=5, ge=0, le=20, description="guidance scale of the text, and of the audio unless audio_scale is set"
    )
    audio_scale: float | None = Field(
        default=None, ge=0, le=20, description="separate guidance scale of the audio; costs a third forward pass"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Inputs of the transformer besides the latent and its noise; windows only where text is bound to times."""

    text_BME: Tensor
    phase_BM: Tensor
    audio_BTLQ: Tensor
    window_BK2: Tensor | None = None
    extra_conditioning: Any = None  # further inputs of a variant

    def velocity(self, model: "ActAvatarTransformer", x_BCFHW: Tensor, timestep_BF: Tensor) -> Tensor:
        """Predict the velocity under this condition."""
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
    """Drop text or audio where the masks are true; the same definition for training dropout and guidance.

    Dropped text is the null prompt, which is only padding and so not bound to a time; dropped audio is zero features
    before the projector.
    """
    return replace(
        condition,
        text_BME=torch.where(text_B[:, None, None], null_text_ME.to(condition.text_BME.dtype), condition.text_BME),
        phase_BM=condition.phase_BM.masked_fill(text_B[:, None], PAD),
        audio_BTLQ=condition.audio_BTLQ.masked_fill(audio_B[:, None, None, None], 0),
    )


def guided(cond: Velocity, *, uncond: Velocity, audio_only: Velocity, settings: GuidanceSettings) -> Velocity:
    """Return the guided velocity.

    One scale s, two passes: v(0,0) + s [v(c,a) - v(0,0)]. With an audio scale, three passes, after MultiTalk:
    v(0,0) + s_a [v(0,a) - v(0,0)] + s [v(c,a) - v(0,a)]; at s_a = s the two are the same.
    """

    def velocity(x_BCFHW: Tensor, timestep_BF: Tensor) -> Tensor:
        v_uncond, v_cond = (predict(x_BCFHW, timestep_BF) for predict in (uncond, cond))
        if settings.audio_scale is None:
            return torch.lerp(v_uncond, v_cond, settings.scale)
        v_audio = audio_only(x_BCFHW, timestep_BF)
        return v_uncond + settings.audio_scale * (v_audio - v_uncond) + settings.scale * (v_cond - v_audio)

    return velocity
