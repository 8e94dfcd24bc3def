"""Models other than ActAvatar's that the same trainer runs: which one the settings mean, and what it is told besides.

What the cache does not hold (whose face it is, motion of the face, how much to move) is "nothing in particular" here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from xsheet.model.actalker import ACTalkerConfig, ACTalkerControl, ACTalkerSettings, ACTalkerTransformer, draw_gates
from xsheet.model.config import ActAvatarConfig
from xsheet.model.fantasy_talking import FantasyTalkingConfig, FantasyTalkingSettings, FantasyTalkingTransformer
from xsheet.model.transformer import ActAvatarTransformer
from xsheet.train import draws
from xsheet.train.batch import Batch
from xsheet.train.draws import Showing

Variant = FantasyTalkingSettings | ACTalkerSettings


def model_of(size: ActAvatarConfig, variant: Variant | None) -> tuple[ActAvatarConfig, type[ActAvatarTransformer]]:
    """Config and class of a model of that size; the variants have no schedule over depth."""
    plain = size.model_dump(exclude={"audio_depth"})
    if isinstance(variant, FantasyTalkingSettings):
        return FantasyTalkingConfig(**plain, fantasy_talking=variant), FantasyTalkingTransformer
    if isinstance(variant, ACTalkerSettings):
        return ACTalkerConfig(**plain, actalker=variant), ACTalkerTransformer
    return size, ActAvatarTransformer


def control_of(transformer: ActAvatarTransformer, batch: Batch, *, gates_B2: Tensor | None = None) -> Any:
    """What a variant is told besides text and sound, from what a batch holds; None for models that need nothing.

    Without gates, ACTalker's sound drives alone: there is no motion to follow.
    """
    if not isinstance(transformer, ACTalkerTransformer):
        return None
    assert isinstance(transformer.size, ACTalkerConfig)
    settings, device = transformer.size.actalker, batch.x0_BCFHW.device
    clips, frames = batch.audio_BTLQ.shape[:2]
    sound_alone = torch.tensor([[True, False]]).expand(clips, -1)
    return ACTalkerControl(
        mouth_BFHW=batch.mouth_BFHW,
        face_BFHW=batch.face_BFHW,
        gates_B2=(sound_alone if gates_B2 is None else gates_B2).to(device),
        identity_BX=torch.zeros(clips, settings.identity_width, device=device),
        motion_BTX=torch.zeros(clips, frames, settings.motion_width, device=device),
    )


def gates(showings: Sequence[Showing], *, seed: int) -> Tensor:
    """Which of sound and motion drives each clip in training, bool (B, 2)."""
    rng, drawn = Generator(), []
    for showing in showings:
        rng.manual_seed(int(draws.generator(seed, "gates", showing).integers(2**63)))
        drawn.append(draw_gates(1, rng=rng))
    return torch.cat(drawn)
