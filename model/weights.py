"""Weights in and out: which key belongs to what, folders of diffusers, safetensors. Nothing is fetched from anywhere.

Every read names the exact set of keys it wants; a missing or a further key is an error before a tensor is read. Only
safetensors are opened, never a pickle. Tensors are copied into the model's own dtype (float32 unless it was cast).
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Generator

from xsheet.model.config import ActAvatarConfig, config_from
from xsheet.model.init import start_new_parts
from xsheet.model.transformer import ActAvatarTransformer
from xsheet.model.wan import WanTransformer3DModel
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.tables import replacing

# Ours and diffusers' name: the name in the files that Wan's authors publish. Layers have a weight and a bias.
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

PHASE_KEYS = frozenset({"phase_table.weight"})


def base_keys(blocks: int) -> dict[str, str]:
    """Every key of the base, ours and diffusers' -> Wan's own."""
    block = _with_parameters(_BLOCK_LAYERS) | _BLOCK_TENSORS
    return (
        _with_parameters(_LAYERS)
        | {"scale_shift_table": "head.modulation"}
        | {f"blocks.{i}.{ours}": f"blocks.{i}.{wan}" for i in range(blocks) for ours, wan in block.items()}
    )


def audio_keys(blocks: int) -> frozenset[str]:
    """Every key of the audio path: what stage 1 trains and hands over."""
    projector = [f"audio_projector.{layer}" for layer in _AUDIO_LAYERS]
    attention = [f"blocks.{i}.audio_attn.{layer}" for i in range(blocks) for layer in _AUDIO_BLOCK_LAYERS]
    return frozenset(f"{layer}.{kind}" for layer in projector + attention for kind in ("weight", "bias"))


def control_keys(model: ActAvatarTransformer) -> frozenset[str]:
    """Every key besides the base's and the phases': the audio path, or all that a variant has in its place."""
    return frozenset(model.state_dict()) - base_keys(model.size.num_layers).keys() - PHASE_KEYS


def load_base(
    source: Path, *, config: ActAvatarConfig, rng: Generator, kind: type[ActAvatarTransformer] = ActAvatarTransformer
) -> ActAvatarTransformer:
    """A pretrained Wan with fresh phases and sound; its output is Wan's.

    Args:
        source: a transformer folder of diffusers, a folder of Wan's authors, or one .safetensors file of either.
        config: the size; the base's part of it must be what the folder says.
        rng: for the first weights of the new parts.
        kind: the transformer or a variant of it.

    Raises:
        ConfigError: no safetensors, another size, or other keys than the base's.
    """
    found = _tensors_in(source)
    _check_base(source, config)
    names = base_keys(config.num_layers)
    if "head.modulation" in found:
        ours = {wan: key for key, wan in names.items()}
        found = {ours.get(key, key): at for key, at in found.items()}
    model = kind(**config.model_dump())
    _copy(found, model, keys=names, where=source)
    start_new_parts(model, rng=rng)
    return model


def load(folder: Path, *, kind: type[ActAvatarTransformer] = ActAvatarTransformer) -> ActAvatarTransformer:
    """A whole model that `save` wrote; ConfigError on any missing, further or misshapen tensor."""
    config = config_from(_config_json(folder), where=str(folder), kind=kind.config_type)
    model = kind(**config.model_dump())
    _copy(_tensors_in(folder), model, keys=model.state_dict(), where=folder)
    return model


def save(model: ActAvatarTransformer, folder: Path) -> None:
    """The whole model as a new folder in diffusers' form; ConfigError if something is there already."""
    with _new_folder(folder) as staging:
        model.save_pretrained(staging)


def export(model: ActAvatarTransformer, folder: Path) -> None:
    """The base alone as a new folder that plain diffusers loads, with the same output without phases and sound."""
    tensors = model.state_dict()
    with torch.device("meta"):  # a second copy of 20 GB is not needed
        plain = WanTransformer3DModel(**model.size.base())
    plain.load_state_dict({key: tensors[key] for key in base_keys(model.size.num_layers)}, assign=True)
    with _new_folder(folder) as staging:
        plain.save_pretrained(staging)


def save_part(model: ActAvatarTransformer, file: Path, *, keys: Iterable[str]) -> None:
    """Exactly these tensors as one safetensors file, e.g. the audio path at the end of stage 1."""
    tensors = model.state_dict()
    with replacing(file) as temporary:
        save_file({key: tensors[key].contiguous() for key in sorted(keys)}, temporary)


def load_part(model: ActAvatarTransformer, file: Path, *, keys: Iterable[str]) -> None:
    """Exactly these tensors from a file into the model; ConfigError if the file holds fewer, more or other ones."""
    _copy(_tensors_in(file), model, keys=keys, where=file)


_Where = tuple[Path, str]


def _with_parameters(layers: Mapping[str, str]) -> dict[str, str]:
    return {f"{ours}.{kind}": f"{wan}.{kind}" for ours, wan in layers.items() for kind in ("weight", "bias")}


def _tensors_in(source: Path) -> dict[str, _Where]:
    """Key -> file and key, from the headers alone."""
    files = sorted(source.glob("*.safetensors")) if source.is_dir() else [source]
    found: dict[str, _Where] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                found |= {key: (file, key) for key in opened.keys()}  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as error:
            raise _refused(file, expected="a safetensors file", came=str(error)) from error
    if not found:
        raise _refused(source, expected="tensors in *.safetensors", came="none")
    return found


def _copy(found: Mapping[str, _Where], model: ActAvatarTransformer, *, keys: Iterable[str], where: Path) -> None:
    wanted, targets = set(keys), model.state_dict()
    missing, further = sorted(wanted - found.keys()), sorted(found.keys() - wanted)
    if missing or further:
        came = f"{len(missing)} missing {missing[:3]}, {len(further)} further {further[:3]}"
        raise _refused(where, expected=f"exactly {len(wanted)} tensors", came=came)
    by_file: dict[Path, list[tuple[str, str]]] = {}
    for ours in sorted(wanted):
        file, key = found[ours]
        by_file.setdefault(file, []).append((ours, key))
    for file, pairs in by_file.items():
        with safe_open(file, framework="pt") as opened:
            for ours, key in pairs:
                tensor = opened.get_tensor(key)
                if tensor.shape != targets[ours].shape:
                    shape = f"{tuple(tensor.shape)}"
                    raise _refused(file, expected=f"{key} of shape {tuple(targets[ours].shape)}", came=shape)
                targets[ours].copy_(tensor)


def _config_json(folder: Path) -> dict[str, object]:
    try:
        fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(folder, expected="a readable config.json", came=str(error)) from error
    if not isinstance(fields, dict):
        raise _refused(folder, expected="an object in config.json", came=type(fields).__name__)
    return fields


def _check_base(source: Path, config: ActAvatarConfig) -> None:
    """Heads, norms and rotary positions leave no trace in shapes, so diffusers' config.json must agree."""
    if not (source / "config.json").is_file():
        return
    stated, ours = _config_json(source), json.loads(config.model_dump_json())
    if "num_attention_heads" not in stated:  # of Wan's authors, who use other names
        return
    other = {key: stated[key] for key in config.base() if key in stated and stated[key] != ours[key]}
    if other:
        expected = ", ".join(f"{key} {ours[key]}" for key in other)
        raise _refused(source, expected=expected, came=", ".join(f"{key} {value}" for key, value in other.items()))


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A staging folder beside it that takes its name when all is written."""
    if folder.exists():
        raise _refused(folder, expected="a folder that does not exist yet", came="one that does")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        yield staging
        for file in staging.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        staging.chmod(0o755)
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _refused(where: Path, *, expected: str, came: str) -> ConfigError:
    return ConfigError(where=str(where), expected=expected, came=came, todo="check the path and the size")
