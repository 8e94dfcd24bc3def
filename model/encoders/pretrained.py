"""Shared by pretrained encoders: importing transformers and diffusers, freezing, hashing weights, local folders."""

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
    """Import transformers, also if torchvision's operators are missing."""
    return _import_after_torchvision("transformers")


def import_diffusers() -> Any:
    """Import diffusers, also if torchvision's operators are missing."""
    return _import_after_torchvision("diffusers")


def _import_after_torchvision(name: str) -> Any:
    if find_spec("torchvision") is not None:
        import_torchvision()
    return import_module(name)


def freeze(module: M) -> M:
    """Put the module in eval mode and disable gradients."""
    module.eval().requires_grad_(False)
    return module


def weights_sha256(module: nn.Module) -> str:
    """Return the hex SHA-256 over names, dtypes, shapes and bytes of all tensors; some seconds for 10 GB."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_model_folder(folder: Path, *, contents: str) -> Path:
    """Return the folder; ConfigError if missing, so that no library takes the path for a model id to download."""
    if not folder.is_dir():
        raise ConfigError(
            where=str(folder),
            expected=f"a folder with {contents}",
            got="a file" if folder.exists() else "nothing",
            hint="download the model and pass the path of its folder",
        )
    return folder
