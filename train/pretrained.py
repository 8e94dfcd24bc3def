"""A whole trained avatar as initial weights: transformer with audio and phases, and the text encoder.

pretrained_avatar: tiny-base      the base of the package, for the preset `tiny` (train/weights/tiny-base.md)
pretrained_avatar: FOLDER         an export of `xsheet train export`
pretrained_avatar: FILE           .safetensors with keys of TrainableModel, e.g. of a stage that trained every part
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from xsheet.model.weights import TensorLocation, copy_tensors, index_tensors
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import content_key, file_sha256
from xsheet.train.loop.lora import LORA_FOLDER
from xsheet.train.loop.model import TrainableModel, part_keys

TINY_BASE = "tiny-base"
_BINDING_LAYERS = {"phase_table", "phase_clock"}  # a model may bind phases in fewer ways than its base


def avatar_sha256(source: str) -> str:
    """Hash of the files of an avatar, for the identity of a run; ConfigError if there are none."""
    return _files_sha256("avatar", _tensors(source))


def backbone_sha256(source: str) -> str:
    """Hash of the files of a backbone, for the identity of a run; ConfigError if there are none."""
    return _files_sha256("backbone", index_tensors(Path(source)))


def avatar_keys(model: TrainableModel, source: str) -> frozenset[str]:
    """Keys of `model` that an avatar has: backbone and text encoder whole, audio whole or not at all, and phases.

    Raises:
        ConfigError: no such file, or tensors that the model has not.
    """
    found, parts = _tensors(source), part_keys(model)
    audio = parts["audio"] if parts["audio"] & found.keys() else frozenset[str]()
    keys = parts["backbone"] | parts["text"] | audio | (parts["phases"] & found.keys())
    missing = sorted(keys - found.keys())
    extra = sorted(key for key in found.keys() - keys if not _BINDING_LAYERS & set(key.split(".")))
    if missing or extra:
        raise ConfigError(
            where=f"pretrained_avatar: {source}",
            expected=f"the {len(keys)} tensors of an avatar of this size",
            got=f"{len(missing)} missing {missing[:3]}, {len(extra)} extra {extra[:3]}",
            hint="take an avatar that was trained with the same `cache.model`, encoders and `variant`",
        )
    return keys


def load_avatar(model: TrainableModel, source: str) -> None:
    """Copy the weights of an avatar into a new model; ConfigError as `avatar_keys`, or for other shapes."""
    keys, found = avatar_keys(model, source), _tensors(source)
    copy_tensors({key: found[key] for key in keys}, model, keys=keys, source=Path(source))


def _files_sha256(kind: str, tensor_locations: Mapping[str, TensorLocation]) -> str:
    return content_key(kind, sorted(file_sha256(file) for file in {file for file, _ in tensor_locations.values()}))


def _tensors(source: str) -> Mapping[str, TensorLocation]:
    """File and key there of every tensor, by the keys of TrainableModel."""
    if source == TINY_BASE:
        return index_tensors(Path(str(files("xsheet.train") / "weights" / "tiny-base.safetensors")))
    folder = Path(source)
    if not folder.is_dir():
        return index_tensors(folder)
    if (folder / LORA_FOLDER).is_dir():
        raise ConfigError(
            where=f"pretrained_avatar: {source}", expected="an export with merged weights", got=f"{LORA_FOLDER}/",
            hint="export the run again with --merge-lora",
        )  # fmt: skip
    found = {f"transformer.{key}": at for key, at in index_tensors(folder / "avatar").items()}
    if (folder / "text").is_dir():
        found |= {f"text.{key}": at for key, at in index_tensors(folder / "text").items()}
    return found
