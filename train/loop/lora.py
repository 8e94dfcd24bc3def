"""Low-rank updates of the backbone's attention, through peft; merged into plain weights at the end of a stage."""

import math
import re
from collections.abc import Mapping

import torch
from peft import LoraConfig
from pydantic import Field
from torch import Generator, Tensor, nn

from xsheet.model.transformer import ActAvatarTransformer
from xsheet.schemas.settings import StrictModel

# Whole names: a match of parts of names would take the audio attention's to_q as well.
_TARGETS = r"blocks\.\d+\.attn[12]\.to_[qkv]"
_A, _B, _BASE = ".lora_A.default", ".lora_B.default", ".base_layer"


class LoraSettings(StrictModel):
    """Updates of query, key and value of both attentions, instead of training the backbone. Numbers are ours."""

    rank: int = Field(default=64, ge=1, le=1024, description="of each update")
    alpha: float = Field(default=64, gt=0, description="updates are scaled by alpha / rank")


def lora_targets(transformer: ActAvatarTransformer) -> frozenset[str]:
    """Keys of a plain transformer that updates are merged into."""
    return frozenset(
        key for key in transformer.state_dict() if re.fullmatch(_TARGETS, key.removesuffix(".weight")) is not None
    )


def add_lora(transformer: ActAvatarTransformer, settings: LoraSettings, *, rng: Generator) -> None:
    """Insert updates that start at zero. peft freezes all other weights of the transformer."""
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=_TARGETS)  # type: ignore[arg-type]
    with torch.random.fork_rng():  # peft draws first weights from the global stream; they are drawn again below
        transformer.add_adapter(config)
    for key, parameter in transformer.named_parameters():
        if _A in key:
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5), generator=rng)  # as peft does


def merged_key(key: str) -> str:
    """The key of a plain model that this key is merged into."""
    for inserted in (_A, _B, _BASE):
        key = key.replace(inserted, "")
    return key


def merge_lora(weights: Mapping[str, Tensor], settings: LoraSettings) -> dict[str, Tensor]:
    """Weights under the keys of a plain model: the base's with its update added, all others as they are."""
    plain = {key.replace(_BASE, ""): tensor for key, tensor in weights.items() if _A not in key and _B not in key}
    for key, down in weights.items():
        if _A in key:
            target, up = key.replace(_A, ""), weights[key.replace(_A, _B)]
            plain[target] = plain[target] + settings.alpha / settings.rank * (up @ down)
    return plain
