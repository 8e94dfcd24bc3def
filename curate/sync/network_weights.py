"""Weights of the optional networks: read with their hash, and converted from the authors' pickles to safetensors."""

import hashlib
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xsheet.schemas.errors import ConfigError, RunError, install_extra
from xsheet.schemas.files import write_bytes, write_text

if TYPE_CHECKING:
    import torch


_DAMAGED_PICKLE = (EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError, ArithmeticError,
                   MemoryError, struct.error)  # fmt: skip
"""What torch's restricted unpickler raises on damaged bytes besides its own errors."""


def read_weights(path: Path, *, sha256: str | None = None) -> tuple[bytes, str]:
    """Read weights and verify them; return bytes and hash.

    Args:
        path: the file.
        sha256: its expected hash; None = the one that the conversion stored beside it.

    Raises:
        ConfigError: the file or its hash is missing, or it has another hash.
    """
    expected = sha256 or _stored_hash(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        got = error.strerror or str(error)
        raise ConfigError(where=str(path), expected="weights of a network", got=got, hint="check the path") from error
    digest = hashlib.sha256(raw).hexdigest()
    if digest != expected.lower():
        raise ConfigError(where=str(path), expected=f"SHA-256 {expected}", got=digest, hint="download the file again")
    return raw, digest


def load_tensors(raw: bytes, *, where: Path, network: str) -> "dict[str, torch.Tensor]":
    """The tensors of safetensors bytes; ConfigError if they are something else."""
    from safetensors import SafetensorError  # noqa: PLC0415 - with torch
    from safetensors.torch import load  # noqa: PLC0415 - needs torch

    try:
        return load(raw)
    except (SafetensorError, ValueError, KeyError) as error:
        got = " ".join(str(error).split())[:200]
        raise wrong_weights_error(where, got=got, network=network) from error


def converted_weights(models: Path | None, file: str, *, command: str) -> Path:
    """The converted weights of a sync scorer in the models folder; `command` makes them.

    Raises:
        ConfigError: they are not there.
    """
    path = None if models is None else models / file
    if path is None or not path.is_file():
        raise ConfigError(
            where="analysis.sync", expected=f"{file} in --models DIR",
            got="no --models" if path is None else f"no file {path}",
            hint=f"make it with `{command}`, or choose analysis.sync.name=lip_audio",
        )  # fmt: skip
    return path


def convert_pickle(source: Path, out: Path, *, network: str, sha256: str, check: Callable[[Any], None]) -> str:
    """Convert a pickle of tensors to safetensors; return the hash, which is also stored beside the file.

    Args:
        source: the pickle. Only tensors are loaded; no code in it runs.
        out: output file.
        network: its name, for messages.
        sha256: expected hash of `source`.
        check: raises ConfigError where the tensors are not those of the network.

    Raises:
        ConfigError: another hash, not a pickle of tensors, or unexpected tensors.
        RunError: torch is not installed.
    """
    try:
        import torch  # noqa: PLC0415 - heavy, and optional
        from safetensors.torch import save  # noqa: PLC0415 - needs torch
    except ImportError as error:
        hint = install_extra("syncnet")
        raise RunError(where="models convert", expected="the extra `syncnet`", got=str(error), hint=hint) from error
    raw, _ = read_weights(source, sha256=sha256)
    try:
        state = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, *_DAMAGED_PICKLE) as error:
        # Not torch's message, which advises to run the code of the pickle.
        got = f"no pickle of tensors alone ({type(error).__name__})"
        raise wrong_weights_error(source, got=got, network=network) from error
    check(state)
    converted = save({name: tensor.contiguous() for name, tensor in state.items()})
    write_bytes(out, converted)
    digest = hashlib.sha256(converted).hexdigest()
    write_text(_hash_path(out), f"{digest}  {out.name}\n")
    return digest


def wrong_weights_error(path: Path, *, got: str, network: str) -> ConfigError:
    """What to raise where the tensors of a file are not those of the network."""
    return ConfigError(
        where=str(path), expected=f"the tensors of {network}", got=got, hint="use the file that its authors publish"
    )


def _stored_hash(path: Path) -> str:
    side = _hash_path(path)
    if not side.is_file():
        hint = "create the weights with `xsheet models convert`, which stores their hash"
        raise ConfigError(where=str(side), expected="the SHA-256 of the weights", got="no such file", hint=hint)
    return side.read_text(encoding="ascii", errors="replace").split(" ")[0].strip()


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
