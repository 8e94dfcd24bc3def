"""What pretrained encoders share: the door to transformers, and a hash of what they are."""

import hashlib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from xsheet.schemas.errors import ConfigError
from xsheet.torchvision_compat import import_torchvision

M = TypeVar("M", bound=nn.Module)


def import_transformers() -> Any:
    """The library, importable also where torchvision's operators are missing."""
    if find_spec("torchvision") is not None:
        import_torchvision()
    return import_module("transformers")


def freeze(module: M) -> M:
    """The module without dropout and gradients."""
    module.eval().requires_grad_(False)
    return module


def weights_sha256(module: nn.Module) -> str:
    """Hex SHA-256 over names, types, shapes and bytes of all tensors, wherever they lie; some seconds for 10 GB."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_model_folder(folder: Path, *, contents: str) -> Path:
    """The folder; ConfigError if it is none, before a library would take its name for that of a model to fetch."""
    if not folder.is_dir():
        raise ConfigError(
            where=str(folder),
            expected=f"a folder with {contents}",
            got="a file" if folder.exists() else "nothing",
            hint="download the model yourself and name its folder",
        )
    return folder
