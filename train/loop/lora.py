"""Low-rank updates of the backbone, through peft: insert, save separately, merge.

OUT/STAGE/lora/pytorch_lora_weights.safetensors    diffusers: transformer.load_lora_adapter(FOLDER, weight_name=FILE)
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field, field_validator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from xsheet.model.weights import backbone_keys
from xsheet.schemas.files import atomic_path, decode_json
from xsheet.schemas.settings import StrictModel
from xsheet.train.loop.frozen import FrozenDtype

if TYPE_CHECKING:
    from xsheet.model.transformer import ActAvatarTransformer

LoraTarget = Literal["q", "k", "v", "o", "ffn"]
LORA_FOLDER, LORA_FILE = "lora", "pytorch_lora_weights.safetensors"
"""diffusers looks for a file of this name in a folder."""
_MODULES: Mapping[LoraTarget, tuple[str, ...]] = MappingProxyType({
    "q": ("attn1.to_q", "attn2.to_q"), "k": ("attn1.to_k", "attn2.to_k"), "v": ("attn1.to_v", "attn2.to_v"),
    "o": ("attn1.to_out.0", "attn2.to_out.0"), "ffn": ("ffn.net.0.proj", "ffn.net.2"),
})  # fmt: skip
_A, _B, _BASE = ".lora_A.default", ".lora_B.default", ".base_layer"


class LoraSettings(StrictModel):
    """Low-rank updates instead of training the backbone. The default values are ours."""

    rank: int = Field(default=64, ge=1, le=1024, description="rank of each update")
    alpha: float = Field(default=64, gt=0, description="updates are scaled by alpha / rank")
    frozen_dtype: FrozenDtype = Field(
        default="float32",
        description="type in which frozen linear layers of the blocks are stored; int8 and float8 take a byte per "
        "weight. Merged and exported weights are the original ones plus the updates",
    )
    targets: tuple[LoraTarget, ...] = Field(
        default=("q", "k", "v"),
        min_length=1,
        description="layers with an update: query, key, value and output of both attentions, both layers of the "
        "feed-forward",
    )

    @field_validator("targets")
    @classmethod
    def _check_unique(cls, targets: tuple[LoraTarget, ...]) -> tuple[LoraTarget, ...]:
        if len(set(targets)) != len(targets):
            raise ValueError("targets names a layer twice")
        return targets

    @property
    def modules(self) -> tuple[str, ...]:
        """Names inside a block of the modules that are updated."""
        return tuple(module for target in self.targets for module in _MODULES[target])

    @property
    def pattern(self) -> str:
        """Whole names of the modules: a match of parts of names would take the audio attention's as well."""
        return rf"blocks\.\d+\.(?:{'|'.join(map(re.escape, self.modules))})"


def lora_targets(transformer: "ActAvatarTransformer", settings: LoraSettings) -> frozenset[str]:
    """Keys of a plain transformer that updates are merged into."""
    keys = (key for key in transformer.state_dict() if key.endswith(".weight"))
    return frozenset(key for key in keys if re.fullmatch(settings.pattern, key.removesuffix(".weight")) is not None)


def add_lora(transformer: "ActAvatarTransformer", settings: LoraSettings, *, rng: Generator) -> None:
    """Insert updates that start at zero. peft freezes all other weights of the transformer."""
    from peft import LoraConfig  # noqa: PLC0415 - it imports torchvision, so after xsheet.model.transformer only

    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=settings.pattern)
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


def save_lora(weights: Mapping[str, Tensor], settings: LoraSettings, folder: Path) -> None:
    """Write the updates among `weights` for diffusers and PEFT; alpha is in the metadata."""
    tensors = {
        key.replace(".default.", "."): tensor.contiguous() for key, tensor in weights.items() if _A in key or _B in key
    }
    about = {"r": settings.rank, "lora_alpha": settings.alpha, "target_modules": list(settings.modules)}
    packed = {f"transformer.{name}": value for name, value in about.items()}
    folder.mkdir(exist_ok=True)
    with atomic_path(folder / LORA_FILE) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", "lora_adapter_metadata": json.dumps(packed)})


def convert_lora_to_comfyui(source: Path, file: Path, *, blocks: int) -> None:
    """Write updates that `save_lora` wrote under the names of Wan's authors, as ComfyUI's loaders read them.

    `diffusion_model.blocks.0.self_attn.q.lora_A.weight`, the same with lora_B, and `.alpha`, one number per layer.
    """
    names = backbone_keys(blocks)
    converted: dict[str, Tensor] = {}
    with safe_open(source, framework="pt") as opened:
        alpha = decode_json(opened.metadata()["lora_adapter_metadata"])["transformer.lora_alpha"]
        for key in opened.keys():  # noqa: SIM118 - not a dict
            module, matrix = key.removeprefix("transformer.").rsplit(".lora_", 1)
            wan = f"diffusion_model.{names[f'{module}.weight'].removesuffix('.weight')}"
            converted[f"{wan}.lora_{matrix}"] = opened.get_tensor(key)
            converted[f"{wan}.alpha"] = torch.tensor(float(alpha))
    with atomic_path(file) as temporary:
        save_file(converted, temporary, metadata={"format": "pt"})
