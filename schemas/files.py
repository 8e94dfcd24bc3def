"""Files that appear whole or not at all, JSON files, and errors of the file system."""

import errno
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces `path` after success and is removed after an error.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.tmp{path.suffix[:16]}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the umask: a set may be private
    try:
        with library_os_errors(path):
            yield temporary
        sync_to_disk(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_to_disk(path.parent)


@contextmanager
def library_os_errors(path: Path) -> Iterator[None]:
    """Raise the OSError that a library reports as text, e.g. safetensors on a full disk, or without the file."""
    try:
        yield
    except OSError as error:
        # Python's own write names no file, a copy the source first.
        if error.errno in _DISK_ERRNOS and (error.filename is None or error.filename2 is not None):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    except Exception as error:
        if number := _RUST_OS_ERROR.search(str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise


_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_RUST_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def remove_temporary_files(folder: Path) -> None:
    """Remove temporary files that killed writers left in a folder; call it only while nothing writes there."""
    for leftover in folder.glob(".*.tmp*"):
        leftover.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_json(path: Path) -> Any:
    """The value of a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: not JSON, not UTF-8, or nested too deeply for the parser.
        OSError: the file cannot be read.
    """
    return decode_json(path.read_text(encoding="utf-8-sig"))


def decode_json(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON text; `parse_constant` gets NaN and infinities.

    Raises:
        ValueError: not JSON, or nested too deeply for the parser, which alone raises RecursionError.
    """
    try:
        return json.loads(text, parse_constant=parse_constant)
    except RecursionError as error:
        raise ValueError("the document is nested too deeply") from error


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file atomically."""
    write_bytes(path, text.encode())


def sync_to_disk(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
