"""A clip that a corpus describes, and typed access to its metadata, which is untrusted."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from xsheet.curate.manifest import MAX_TIME_S, Crop, clock_seconds, read_rows
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import read_json
from xsheet.schemas.time import Span, us_from_seconds

SHARE_TOLERANCE = 0.05  # of the picture: so far a box in shares may reach beyond it

ImportReason = Literal["malformed", "missing", "ambiguous", "outside_folder", "name_not_utf8", "overlaps", "duplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusClip:
    """One clip of a corpus and the names that its file may have."""

    where: str  # file and row of the metadata
    name: str
    clip_files: tuple[str, ...] = ()  # the clip as a file of its own: names without suffix, last folders allowed
    video_files: tuple[str, ...] = ()  # the recording that it is part of
    is_cut_without_sound: bool = False  # the project's script cuts silent files, so the recording comes first
    file: str | None = None  # exact path below the folder of videos, where the metadata states it
    span: Span | None = None  # part of the recording; None = all of it
    crop: Crop | None = None  # of the recording: shares, or pixels if one is above 1
    crop_height: int | None = None  # height of the picture whose pixels the crop counts
    columns: Mapping[str, str] = field(default_factory=dict)  # further columns of the manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusProblem:
    """One row of the metadata that is not in the manifest."""

    where: str
    name: str
    reason: ImportReason
    message: str


class MalformedRowError(ValueError):
    """A row of the metadata does not have the documented form; str() says what was expected and what it got."""


def read_clips(
    rows: Iterable[tuple[str, Any]], convert: Callable[[str, Any], Iterable[CorpusClip]]
) -> Iterator[CorpusClip | CorpusProblem]:
    """Clips of (place, row) pairs; a malformed row becomes a CorpusProblem."""
    for where, row in rows:
        try:
            yield from list(convert(where, row))
        except MalformedRowError as error:
            yield CorpusProblem(where=where, name="", reason="malformed", message=str(error))


def value_at(row: Any, *keys: str) -> Any:
    """The value at a path of keys of nested objects; None where one is absent.

    Keys that differ in case, spaces, `-` and `_` alone are one: copies of a corpus write them in several ways.
    """
    for key in keys:
        if not isinstance(row, dict):
            raise MalformedRowError(f"expected an object with {key!r}, got {_short(row)}")
        row = row[key] if key in row else row.get(find_name((key,), row))
        if row is None:
            return None
    return row


def find_name(names: Iterable[str], present: Iterable[Any]) -> str | None:
    """The first of some names that is present, if need be written in another case or with other separators."""
    known = {str(name): str(name) for name in present}
    plain: dict[str, str] = {}
    for name in known:
        plain.setdefault(_plain(name), name)
    names = tuple(names)
    return next((n for n in names if n in known), None) or next(
        (plain[p] for p in map(_plain, names) if p in plain), None
    )


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


def text_at(row: Any, *keys: str) -> str:
    """The text or number at a path of keys, as text."""
    value = value_at(row, *keys)
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise MalformedRowError(f"expected text in {'.'.join(keys)!r}, got {_short(value)}")
    return str(value).strip()


def number_at(row: Any, *keys: str) -> float:
    """The finite number at a path of keys; text that is a number counts."""
    value = value_at(row, *keys)
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise MalformedRowError(f"expected a number in {'.'.join(keys)!r}, got {_short(value)}")
    return number


def seconds_at(row: Any, *keys: str) -> float:
    """The time at a path of keys: a number, or a text such as 12.5, 12,5 or 0:01:02.500, in seconds."""
    value = value_at(row, *keys)
    clock = clock_seconds(value) if isinstance(value, str) else None
    return number_at(row, *keys) if clock is None else clock


def span_of_seconds(start: float, end: float) -> Span:
    """Start and end in seconds as a span."""
    if not 0 <= start < end <= MAX_TIME_S:
        raise MalformedRowError(f"expected 0 <= start < end, got {start:g} s to {end:g} s")
    return Span(us_from_seconds(start), us_from_seconds(end))


def checked_crop(x0: float, y0: float, x1: float, y1: float) -> Crop:
    """Edges of a crop, in order and not negative."""
    if not (0 <= x0 < x1 < math.inf and 0 <= y0 < y1 < math.inf):
        raise MalformedRowError(f"expected 0 <= x0 < x1 and 0 <= y0 < y1, got {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    return x0, y0, x1, y1


def share_crop(x0: float, y0: float, x1: float, y1: float) -> Crop:
    """Edges of a crop in shares of the picture; an edge slightly outside of the picture is moved to its border."""
    if not all(-SHARE_TOLERANCE <= edge <= 1 + SHARE_TOLERANCE for edge in (x0, y0, x1, y1)):
        raise MalformedRowError(f"expected a crop in shares of the picture, got {x0:g}, {y0:g}, {x1:g}, {y1:g}")
    return checked_crop(max(0.0, x0), max(0.0, y0), min(1.0, x1), min(1.0, y1))


def text_columns(columns: Mapping[str, Any]) -> dict[str, str]:
    """Columns of a manifest without absent values; lists and objects as JSON."""
    kept = {key: value for key, value in columns.items() if value is not None and value != ""}
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in kept.items()
    }


def youtube_id(link: str) -> str:
    """Id of a YouTube link; a text without a link is the id itself."""
    try:
        parts = urlsplit(link)
        found = parse_qs(parts.query).get("v", [""])[0] or Path(parts.path).name
    except ValueError:  # e.g. half an IPv6 address
        found = ""
    if not found:
        raise MalformedRowError(f"expected the link or id of a video, got {link[:80]!r}")
    return found


def metadata_error(path: Path, expected: str, got: str) -> ConfigError:
    """ConfigError for metadata that does not have the documented form."""
    return ConfigError(where=str(path), expected=expected, got=got, hint="see docs/corpora.md for what each kind reads")


def read_json_metadata(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        ConfigError: unreadable, or not JSON.
    """
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise metadata_error(path, "a readable JSON file in UTF-8", " ".join(str(error).split())[:200]) from error


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        ConfigError: unreadable, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise metadata_error(path, "a readable text file in UTF-8", " ".join(str(error).split())[:200]) from error


def table_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of a table: CSV, TSV, JSON, JSONL or Parquet.

    Raises:
        ConfigError: the table cannot be read.
    """
    for number, row in enumerate(read_rows(path), start=1):
        yield f"{path.name}, row {number}", row


def metadata_files(meta: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The metadata file, or all files with these suffixes below the metadata folder, sorted.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(p for p in meta.rglob("*") if p.suffix.lower() in suffixes and p.is_file()) if meta.is_dir() else []
    if meta.is_file():
        found = [meta] if meta.suffix.lower() in suffixes else []
    if not found:
        got = "no such path" if not meta.exists() else "none"
        raise metadata_error(meta, f"metadata as {', '.join(suffixes)}", got)
    return found


def _short(value: Any) -> str:
    return "no value" if value is None else repr(value)[:80]
