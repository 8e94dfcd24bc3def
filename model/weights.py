"""Load and save weights: key names, diffusers folders, safetensors. Nothing is downloaded.

Every read specifies the exact set of keys; a missing or extra key is an error before any tensor is read. Only
safetensors are opened, never pickles. Tensors are copied into the model's own dtype (float32 unless it was cast).
"""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import Generator, nn

from xsheet.model.config import ActAvatarConfig, config_from
from xsheet.model.encoders.pretrained import import_diffusers
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import decode_json, library_os_errors, read_json

if TYPE_CHECKING:
    from xsheet.model.transformer import ActAvatarTransformer

# Name here and in diffusers: name in the files of Wan's authors. Each layer has a weight and a bias.
_LAYERS = {
    "patch_embedding": "patch_embedding",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "proj_out": "head.head",
}
_BLOCK_LAYERS = {
    "attn1.to_q": "self_attn.q",
    "attn1.to_k": "self_attn.k",
    "attn1.to_v": "self_attn.v",
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_q": "cross_attn.q",
    "attn2.to_k": "cross_attn.k",
    "attn2.to_v": "cross_attn.v",
    "attn2.to_out.0": "cross_attn.o",
    "norm2": "norm3",  # the norm before the text; the other two have no weights
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
_BLOCK_TENSORS = {
    "attn1.norm_q.weight": "self_attn.norm_q.weight",
    "attn1.norm_k.weight": "self_attn.norm_k.weight",
    "attn2.norm_q.weight": "cross_attn.norm_q.weight",
    "attn2.norm_k.weight": "cross_attn.norm_k.weight",
    "scale_shift_table": "modulation",
}
_AUDIO_LAYERS = ("first", "later", "middle", "last", "norm")
_AUDIO_BLOCK_LAYERS = ("norm", "to_q", "to_kv", "to_out")


def backbone_keys(blocks: int) -> dict[str, str]:
    """Return every backbone key: name here and in diffusers -> name in Wan's files."""
    block = _with_weight_and_bias(_BLOCK_LAYERS) | _BLOCK_TENSORS
    return (
        _with_weight_and_bias(_LAYERS)
        | {"scale_shift_table": "head.modulation"}
        | {f"blocks.{i}.{ours}": f"blocks.{i}.{wan}" for i in range(blocks) for ours, wan in block.items()}
    )


def audio_keys(blocks: int) -> frozenset[str]:
    """Return every key of the audio path, which stage 1 trains."""
    projector = [f"audio_projector.{layer}" for layer in _AUDIO_LAYERS]
    attention = [f"blocks.{i}.audio_attn.{layer}" for i in range(blocks) for layer in _AUDIO_BLOCK_LAYERS]
    return frozenset(f"{layer}.{kind}" for layer in projector + attention for kind in ("weight", "bias"))


def phase_keys(config: ActAvatarConfig) -> frozenset[str]:
    """Return every key of the phase bindings; an interval rotation has none."""
    table = ["phase_table.weight"] if "table" in config.phase_binding else []
    clocks = range(config.num_layers) if "clock" in config.phase_binding else ()
    return frozenset([*table, *(f"blocks.{i}.phase_clock.weight" for i in clocks)])


def conditioning_keys(model: "ActAvatarTransformer") -> frozenset[str]:
    """Return every key except backbone and phases: the audio path, or the parts of a variant."""
    config = model.model_config
    return frozenset(model.state_dict()) - backbone_keys(config.num_layers).keys() - phase_keys(config)


def load_pretrained_backbone(
    source: Path,
    *,
    config: ActAvatarConfig,
    rng: Generator,
    model_class: "type[ActAvatarTransformer] | None" = None,
) -> "ActAvatarTransformer":
    """Load a pretrained Wan with newly initialised phases and audio; at interval strength 0 its output equals Wan's.

    Weights of TIE are Wan's in the names of Wan's authors, trained under the rotation: load them with interval binding
    at strength 1.

    Args:
        source: a transformer folder of diffusers, a folder of Wan's authors, or one .safetensors file of either.
        config: sizes; those of the backbone must match the folder.
        rng: for the initial weights of the new parts.
        model_class: a variant of the transformer; None is the transformer itself.

    Raises:
        ConfigError: no safetensors, different sizes, or different keys.
    """
    from xsheet.model.init import init_new_parts  # noqa: PLC0415 - imports diffusers

    found = index_tensors(source)
    _check_backbone_config(source, config)
    names = backbone_keys(config.num_layers)
    if "head.modulation" in found:
        ours = {wan: key for key, wan in names.items()}
        found = {ours.get(key, key): at for key, at in found.items()}
    model = (model_class or _transformer_class())(**config.model_dump())
    copy_tensors(found, model, keys=names, source=source)
    init_new_parts(model, rng=rng)
    return model


def load(folder: Path, *, model_class: "type[ActAvatarTransformer] | None" = None) -> "ActAvatarTransformer":
    """Load a complete model written by `save`; ConfigError on a missing, extra or misshapen tensor."""
    kind = model_class or _transformer_class()
    config = config_from(_config_json(folder), where=str(folder), config_class=kind.config_class)
    model = kind(**config.model_dump())
    copy_tensors(index_tensors(folder), model, keys=model.state_dict(), source=folder)
    return model


def _transformer_class() -> "type[ActAvatarTransformer]":
    from xsheet.model.transformer import ActAvatarTransformer  # noqa: PLC0415 - imports diffusers

    return ActAvatarTransformer


def save(model: "ActAvatarTransformer", folder: Path) -> None:
    """Save the complete model as a new folder in diffusers' format; ConfigError if the path exists."""
    model.register_to_config(interval_strength=model.interval_strength)  # type: ignore[no-untyped-call]
    with _new_folder(folder) as staging:
        model.save_pretrained(staging)


def export_backbone(model: "ActAvatarTransformer", folder: Path) -> None:
    """Save the backbone as a new folder for plain diffusers; equal output without phases and audio."""
    tensors = model.state_dict()
    with torch.device("meta"):  # a second copy of 20 GB is not needed
        plain = import_diffusers().WanTransformer3DModel(**model.model_config.backbone_fields())
    plain.load_state_dict({key: tensors[key] for key in backbone_keys(model.model_config.num_layers)}, assign=True)
    with _new_folder(folder) as staging:
        plain.save_pretrained(staging)


def load_part(model: nn.Module, file: Path, *, keys: Iterable[str]) -> None:
    """Load exactly these tensors from a file; ConfigError if the file has other keys."""
    copy_tensors(index_tensors(file), model, keys=keys, source=file)


TensorLocation = tuple[Path, str]
"""File, and the key there."""


def _with_weight_and_bias(layers: Mapping[str, str]) -> dict[str, str]:
    return {f"{ours}.{kind}": f"{wan}.{kind}" for ours, wan in layers.items() for kind in ("weight", "bias")}


def index_tensors(source: Path) -> dict[str, TensorLocation]:
    """Map each key to file and key, reading headers only."""
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else [source]
    found: dict[str, TensorLocation] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                found |= {key: (file, key) for key in opened.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as error:
            raise _weights_error(file, expected="a safetensors file", got=str(error)) from error
    if not found:
        raise _weights_error(source, expected="tensors in *.safetensors", got="none")
    return found


def copy_tensors(
    tensor_locations: Mapping[str, TensorLocation], model: nn.Module, *, keys: Iterable[str], source: Path
) -> None:
    """Copy exactly these tensors into a model, in its own dtype; ConfigError on other keys or shapes."""
    expected, targets = set(keys), model.state_dict()
    missing, extra = sorted(expected - tensor_locations.keys()), sorted(tensor_locations.keys() - expected)
    if missing or extra:
        got = f"{len(missing)} missing {missing[:3]}, {len(extra)} extra {extra[:3]}"
        raise _weights_error(source, expected=f"exactly {len(expected)} tensors", got=got)
    by_file: dict[Path, list[tuple[str, str]]] = {}
    for ours in sorted(expected):
        file, key = tensor_locations[ours]
        by_file.setdefault(file, []).append((ours, key))
    for file, pairs in by_file.items():
        with safe_open(file, framework="pt") as opened:
            for ours, key in pairs:
                tensor = opened.get_tensor(key)
                if tensor.shape != targets[ours].shape:
                    shape = f"{tuple(tensor.shape)}"
                    raise _weights_error(file, expected=f"{key} of shape {tuple(targets[ours].shape)}", got=shape)
                targets[ours].copy_(tensor)


def _config_json(folder: Path) -> dict[str, object]:
    try:
        fields = read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise _weights_error(folder, expected="a readable config.json", got=str(error)) from error
    if not isinstance(fields, dict):
        raise _weights_error(folder, expected="an object in config.json", got=type(fields).__name__)
    return fields


def _check_backbone_config(source: Path, config: ActAvatarConfig) -> None:
    """Compare with diffusers' config.json: heads, norms and rotary positions do not show in tensor shapes."""
    if not (source / "config.json").is_file():
        return
    stated, ours = _config_json(source), decode_json(config.model_dump_json())
    if "num_attention_heads" not in stated:  # config of Wan's authors, with other names
        return
    other = {key: stated[key] for key in config.backbone_fields() if key in stated and stated[key] != ours[key]}
    if other:
        expected = ", ".join(f"{key} {ours[key]}" for key in other)
        raise _weights_error(source, expected=expected, got=", ".join(f"{key} {value}" for key, value in other.items()))


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a staging folder that is renamed when everything is written."""
    if folder.exists():
        raise _weights_error(folder, expected="a folder that does not exist yet", got="one that does")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name[:40]}.{secrets.token_hex(8)}.tmp")
    staging.mkdir()
    try:
        with library_os_errors(folder):
            yield staging
        for file in staging.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _weights_error(where: Path, *, expected: str, got: str) -> ConfigError:
    return ConfigError(where=str(where), expected=expected, got=got, hint="check the path and the size")
