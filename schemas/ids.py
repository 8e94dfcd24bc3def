"""Ids are functions of content: the same bytes and span give the same id on every machine and in every order."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from xsheet.schemas.time import Span

_CHUNK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in constant memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def checksum_lines(sha256_by_name: Mapping[str, str]) -> str:
    """The text of a SHA256SUMS file, which `sha256sum --check` reads, in the order of names."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(sha256_by_name.items()))


def content_key(*parts: object) -> str:
    """Hex SHA-256 over plain values (str, int, float, bool, None, lists, dicts) as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _short_id(prefix: str, *parts: object) -> str:
    # 80 bits: the probability of a collision among 100 million rows is below 1e-8.
    return f"{prefix}_{content_key(*parts)[:20]}"


def source_id(sha256: str) -> str:
    """Id of a source file from the hash of its bytes."""
    return _short_id("src", sha256)


def unreadable_source_id(path: str) -> str:
    """Id of an input that cannot be hashed (missing, refused), from its path."""
    return _short_id("srx", path)


def shot_id(source: str, span: Span) -> str:
    """Id of a shot."""
    return _short_id("shot", source, span.start_us, span.end_us)


def track_id(shot: str, start_us: int, box: tuple[float, float, float, float]) -> str:
    """Id of a face track from its shot, start time and first box (x0, y0, x1, y1 as shares of the picture)."""
    return _short_id("track", shot, start_us, [round(v, 4) for v in box])


def clip_id(source: str, span: Span, track: str | None) -> str:
    """Id of a candidate span of one face track; a kept candidate becomes the clip of the same id."""
    return _short_id("clip", source, span.start_us, span.end_us, track)
