"""Paths of input files: any POSIX name, stored as text without loss, and found in either Unicode normal form."""

import os
import re
import unicodedata
from pathlib import Path

_ESCAPED_BYTE = re.compile(r"\\x([0-9a-f]{2})")


def path_to_text(path: str) -> str:
    r"""Text of a path for tables and messages: each byte that is not UTF-8, and each backslash, becomes `\xNN`.

    Python represents such bytes as lone surrogates, which no table can store. `text_to_path` restores the path.
    """
    return "".join(
        f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else r"\x5c" if c == "\\" else c for c in path
    )


def text_to_path(text: str) -> str:
    """The path that `path_to_text` wrote, as Python represents it."""
    pieces = _ESCAPED_BYTE.split(text)  # text and hex digits in turn
    parts = (bytes.fromhex(piece) if k % 2 else os.fsencode(piece) for k, piece in enumerate(pieces))
    return os.fsdecode(b"".join(parts))


def find_unicode_variant(path: Path) -> Path:
    """The path of an existing file whose name differs only in Unicode normalisation; `path` itself if there is none.

    macOS and archives store 'ë' as two code points, tables and keyboards write one.
    """
    if os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for name in path.parts[len(found.parts) :]:  # a loop, because a manifest can name thousands of folders
        child = found / name
        if not os.path.lexists(child):
            wanted = unicodedata.normalize("NFC", name)
            try:
                names = sorted(p.name for p in found.iterdir() if unicodedata.normalize("NFC", p.name) == wanted)
            except (OSError, ValueError):  # ValueError: a NUL byte
                return path
            if not names:
                return path
            child = found / names[0]
        found = child
    return found


def resolve_path(path: str | Path) -> Path:
    """The absolute path with links resolved; for a loop of links or a NUL byte only the absolute path."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError):
        return Path(path).absolute()
