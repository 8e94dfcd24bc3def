"""Models other than ActAvatar's that the same trainer runs: which one the settings mean, and what it is told besides.

B clips, T video frames, X numbers of a face or of its motion.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from xsheet.model.config import ActAvatarConfig
from xsheet.model.transformer import ActAvatarTransformer
from xsheet.model.variants.actalker import (
    ACTalkerConditioning,
    ACTalkerConfig,
    ACTalkerSettings,
    ACTalkerTransformer,
    sample_gates,
)
from xsheet.model.variants.fantasy_talking import (
    FantasyTalkingConditioning,
    FantasyTalkingConfig,
    FantasyTalkingSettings,
    FantasyTalkingTransformer,
)
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.conditioning import DRIVING_SERIES, NEUTRAL_INTENSITY
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.data.settings import ExtraConditioningSettings

VariantSettings = FantasyTalkingSettings | ACTalkerSettings


def variant_model(
    model_config: ActAvatarConfig, variant: VariantSettings | None
) -> tuple[ActAvatarConfig, type[ActAvatarTransformer]]:
    """Config and class of a model of that size; the variants have no schedule over depth."""
    plain = model_config.model_dump(exclude={"audio_depth_schedule"})
    if isinstance(variant, FantasyTalkingSettings):
        return FantasyTalkingConfig(**plain, fantasy_talking=variant), FantasyTalkingTransformer
    if isinstance(variant, ACTalkerSettings):
        return ACTalkerConfig(**plain, actalker=variant), ACTalkerTransformer
    return model_config, ActAvatarTransformer


def check_extra_conditioning(variant: VariantSettings, cached: ExtraConditioningSettings | None) -> None:
    """ValueError unless the cache keeps what the variant is told, in as many numbers."""
    if cached is None:
        raise ValueError("fantasy_talking and actalker are told more than ActAvatar: set cache.control={}, cache again")
    if variant.identity_width != cached.identity_dim:
        raise ValueError(
            f"identity_width is {variant.identity_width}, cache.control.face_numbers {cached.identity_dim}"
        )
    if isinstance(variant, ACTalkerSettings) and variant.motion_width != len(DRIVING_SERIES):
        raise ValueError(f"actalker.motion_width is {variant.motion_width}, of {len(DRIVING_SERIES)} series that drive")


def variant_conditioning(
    transformer: ActAvatarTransformer, batch: Batch, *, without_identity_B: Tensor, gates_B2: Tensor | None = None
) -> Any:
    """What a variant is told of a batch besides text and sound; None for models that need nothing.

    What the batch does not hold is "nothing in particular": nobody's face, ordinary motion, a face that keeps still.

    Args:
        transformer: of the variant.
        batch: clips.
        without_identity_B: bool, clips whose face is not told.
        gates_B2: which of sound and motion drive ACTalker's clips; all that is there, where nobody says.
    """
    size, of = transformer.model_config, batch.latent_BCFHW
    clips, frames = batch.audio_BTLQ.shape[:2]
    if isinstance(size, FantasyTalkingConfig):
        face_BX = _or_zeros(batch.identity_BX, (clips, size.fantasy_talking.identity_width), of)
        motion_B2 = of.new_full((clips, 2), NEUTRAL_INTENSITY) if batch.intensity_B2 is None else batch.intensity_B2
        return FantasyTalkingConditioning(
            identity_BX=face_BX.masked_fill(without_identity_B[:, None], 0), motion_B2=motion_B2
        )
    if isinstance(size, ACTalkerConfig):
        face_BX = _or_zeros(batch.identity_BX, (clips, size.actalker.identity_width), of)
        has_motion = batch.motion_BTX is not None
        everything = torch.tensor([[True, has_motion]]).expand(clips, -1)
        return ACTalkerConditioning(
            mouth_BFHW=batch.mouth_BFHW,
            face_BFHW=batch.face_BFHW,
            gates_B2=(everything if gates_B2 is None else gates_B2).to(of.device),
            identity_BX=face_BX.masked_fill(without_identity_B[:, None], 0),
            motion_BTX=_or_zeros(batch.motion_BTX, (clips, frames, size.actalker.motion_width), of),
        )
    return None


def gate_states(sample_keys: Sequence[SampleKey], *, seed: int) -> Tensor:
    """Which of sound and motion drives each clip in training, bool (B, 2)."""
    rng, drawn = Generator(), []
    for showing in sample_keys:
        rng.manual_seed(int(seeded_random.generator(seed, "gates", showing).integers(2**63)))
        drawn.append(sample_gates(1, rng=rng))
    return torch.cat(drawn)


def _or_zeros(value: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return like.new_zeros(shape) if value is None else value
