"""Manifests: tables whose rows name videos, or segments of videos, with metadata.

A row has `path` and any of these columns; other columns are copied to the table `sources` unchanged:

    start_s, end_s               seconds, or a clock time: 12.5, 12,5, 1:02.5, 0:01:02.500
    start_frame, end_frame, fps  the same in frames of the video at a rate
    x0, y0, x1, y1               crop: shares of the picture 0..1, or pixels if one of them is above 1
    crop_height                  height of the picture whose pixels the crop counts, where the video has another
    speaker, transcript, words, caption, licence, consent, label

Several rows of one video are segments of it, which is decoded once. A row without an end lasts to the end of the video.
`words` is JSON, a Praat TextGrid or WebVTT, or names a file of these kinds beside the manifest.
"""

import csv
import json
import logging
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import decode_json, read_json
from xsheet.schemas.source import ManifestColumn
from xsheet.schemas.time import FrameRate, frame_start_us, us_from_seconds

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
TIME_COLUMNS = ("start_s", "end_s", "start_frame", "end_frame", "fps")
CROP_COLUMNS = ("x0", "y0", "x1", "y1")
CROP_HEIGHT = "crop_height"
TEXT_COLUMNS = ("speaker", "transcript", "words", "caption", "licence", "consent", "label")
COLUMNS = ("path", *TIME_COLUMNS, *CROP_COLUMNS, CROP_HEIGHT, *TEXT_COLUMNS)
MAX_WORDS_BYTES = 16 << 20
MAX_CROP_HEIGHT = 100_000
MIN_CROP_PX = 2  # smaller ones are shares that reach beyond the picture
_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:[.,]\d*)?)")
MAX_TIME_S = 10_000_000.0
_LIKE_TIMES = ("start", "end", "start_time", "end_time", "start_sec", "end_sec", "begin", "onset", "offset")
log = logging.getLogger(__name__)

Crop = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSegment:
    """Part of a video as a manifest names it; times and crop are checked against the video when it is probed."""

    start_us: int
    end_us: int | None  # None: to the end of the video
    crop: Crop | None  # shares, or pixels if one is above 1
    columns: tuple[ManifestColumn, ...]
    crop_height: int | None = None  # of the picture whose pixels the crop counts; None: the video itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One video of a manifest."""

    path: str  # as written
    columns: tuple[ManifestColumn, ...]  # of the whole video; none where it has segments
    segments: tuple[ManifestSegment, ...]  # in order of time; none = the whole video


def parse_column_map(text: str) -> dict[str, str]:
    """`path=video_path,start_s=start` as {column of xsheet: column of the table}.

    Raises:
        ConfigError: no `=`, or a column that xsheet does not read.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, column = (piece.strip() for piece in part.partition("="))
        if not separator or name not in COLUMNS or not column:
            raise ConfigError(
                where="--columns", expected=f"NAME=COLUMN with NAME one of {', '.join(COLUMNS)}", got=repr(part),
                hint="write e.g. path=video_path,start_s=start",
            )  # fmt: skip
        if name in found or column in found.values():
            raise ConfigError(
                where="--columns", expected="each column once", got=repr(part), hint="remove one of the two",
            )  # fmt: skip
        found[name] = column
    return found


def clock_seconds(text: str) -> float | None:
    """Seconds of `12.5`, `12,5`, `1:02.5` or `0:01:02.500`; None for others, such as 1:75, and beyond MAX_TIME_S."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in match.groups())
    if (match[2] and seconds >= 60) or (match[1] and minutes >= 60):
        return None
    total = hours * 3600 + minutes * 60 + seconds
    return total if total <= MAX_TIME_S else None


def read_manifest(table: Path, columns: Mapping[str, str]) -> list[ManifestEntry]:
    """The videos of a manifest in the order of their first rows.

    Args:
        table: CSV, TSV, JSON (a list of objects), JSONL or Parquet, in UTF-8.
        columns: {column of xsheet: column of the table}.

    Raises:
        ConfigError: an unreadable table, a column that it does not have, or rows that contradict each other; the row
            is named.
    """
    rows = read_rows(table)
    _check_columns(table, rows, columns)
    names = {theirs: ours for ours, theirs in columns.items()}
    by_path: dict[str, list[_Row]] = defaultdict(list)
    for number, row in enumerate(rows, start=1):
        # A mapped column hides one of the table that has the same name.
        renamed = {key: value for key, value in row.items() if key in names or key not in columns}
        values = {_without_surrogates(names.get(key, key)): _text(value) for key, value in renamed.items()}
        one = _Row(values, where=f"{table}, row {number}")
        by_path[_plain_path(one.path)].append(one)
    return [_entry(path, members, table.parent) for path, members in _by_file(by_path, table.parent).items()]


def _by_file(by_path: Mapping[str, list["_Row"]], folder: Path) -> dict[str, list["_Row"]]:
    """Segments of one file meet under its first name, also where `a.mp4` and its absolute path stand for it."""
    found: dict[str, list[_Row]] = {}
    names: dict[str, str] = {}
    for path, rows in by_path.items():
        name = path
        if any(row.is_segment for row in rows) and "://" not in path:
            with suppress(OSError, ValueError):  # no such file, a NUL byte: rows of their own
                name = names.setdefault(os.path.realpath(folder / path, strict=True), path)
        found.setdefault(name, []).extend(rows)
    return found


def _plain_path(path: str) -> str:
    """The path without `./` and doubled slashes, so that rows of one video meet."""
    return path if "://" in path or not path.strip() else str(PurePosixPath(path))


class _Row:
    """Values of one row as text; every error names the row."""

    def __init__(self, values: dict[str, str], *, where: str) -> None:
        self.values = values
        self.where = where
        # An empty cell becomes a missing file, and so a failed row with its place in the manifest.
        self.path = _without_surrogates(values.get("path", ""), keeps_bytes=True) or Path(where).name

    def error(self, expected: str, got: str, hint: str) -> ConfigError:
        return ConfigError(where=self.where, expected=expected, got=got, hint=hint)

    @property
    def is_segment(self) -> bool:
        return any(self.values.get(name) for name in (*TIME_COLUMNS[:4], *CROP_COLUMNS))

    def segment(self, folder: Path) -> ManifestSegment:
        start_us, end_us = self._time("start") or 0, self._time("end")
        if end_us is not None and end_us <= start_us:
            raise self.error(
                "an end after the start", f"{start_us / 1e6:g} s to {end_us / 1e6:g} s", "correct the times"
            )
        return ManifestSegment(
            start_us=start_us, end_us=end_us, crop=self._crop(), columns=self.columns(folder),
            crop_height=self._crop_height(),
        )  # fmt: skip

    def columns(self, folder: Path) -> tuple[ManifestColumn, ...]:
        read = ("path", *TIME_COLUMNS, *CROP_COLUMNS, CROP_HEIGHT)
        kept = {key: _without_surrogates(value) for key, value in self.values.items() if key not in read}
        if kept.get("words"):
            kept["words"] = self._words(kept["words"], folder)
        return tuple(ManifestColumn(key=key, value=value) for key, value in kept.items())

    def _time(self, edge: str) -> int | None:
        seconds, frame = self.values.get(f"{edge}_s"), self.values.get(f"{edge}_frame")
        if seconds and frame:
            raise self.error(f"either {edge}_s or {edge}_frame", "both", "leave one empty")
        if seconds:
            return self._clock(seconds)
        if not frame:
            return None
        try:
            rate = FrameRate.parse(self.values.get("fps", ""))
            number = float(frame)
            if number < 0 or number != int(number) or number > 1e9:
                raise ValueError(frame)
        except (ValueError, ZeroDivisionError, OverflowError):
            got = f"{frame!r} at {self.values.get('fps', '')!r}"
            raise self.error("a frame number and its rate in column 'fps'", got, "write e.g. 75 and 25") from None
        return frame_start_us(int(number), rate)

    def _clock(self, text: str) -> int:
        seconds = clock_seconds(text)
        if seconds is None:
            raise self.error("seconds or [H:]MM:SS", repr(text[:40]), "write e.g. 62.5 or 1:02.5")
        return us_from_seconds(seconds)

    def _crop(self) -> Crop | None:
        texts = [self.values.get(name, "") for name in CROP_COLUMNS]
        if not any(texts):
            return None
        try:
            x0, y0, x1, y1 = (float(text.replace(",", ".")) for text in texts)
        except ValueError:
            raise self.error("numbers in x0, y0, x1 and y1", ", ".join(map(repr, texts)), "fill in all four") from None
        if not (0 <= x0 < x1 < math.inf and 0 <= y0 < y1 < math.inf):
            got = f"{x0:g}, {y0:g}, {x1:g}, {y1:g}"
            raise self.error("0 <= x0 < x1 and 0 <= y0 < y1", got, "correct the crop")
        if max(x1, y1) > 1 and min(x1 - x0, y1 - y0) < MIN_CROP_PX:
            got = f"{x0:g}, {y0:g}, {x1:g}, {y1:g}"
            raise self.error(f"shares of at most 1, or at least {MIN_CROP_PX} pixels", got, "correct the crop")
        return x0, y0, x1, y1

    def _crop_height(self) -> int | None:
        text = self.values.get(CROP_HEIGHT, "")
        if not text:
            return None
        if not text.isdecimal() or not 0 < int(text[:10]) <= MAX_CROP_HEIGHT:
            raise self.error(f"a height of 1 to {MAX_CROP_HEIGHT} pixels", repr(text[:40]), "write e.g. 1080")
        return int(text)

    def _words(self, text: str, folder: Path) -> str:
        if text.lstrip()[:1] in ("[", "{") or "\n" in text:
            return text
        file, got = folder / text, repr(text[:80])
        try:
            if file.suffix.lower() in (".json", ".textgrid", ".vtt") and file.is_file():
                if (size := file.stat().st_size) > MAX_WORDS_BYTES:
                    raise self.error(f"a file of at most {MAX_WORDS_BYTES} bytes", str(size), "shorten it")
                return file.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:  # also a name that is too long
            got = f"{got} ({error.strerror})"
        raise self.error("word times as JSON, TextGrid or WebVTT, or a file of these", got, "correct 'words'")


def _entry(path: str, rows: list[_Row], folder: Path) -> ManifestEntry:
    if not any(row.is_segment for row in rows):
        first = rows[0]
        other = next((row for row in rows if row.values != first.values), None)
        if other is not None:
            raise other.error(
                "one row per video, or segments", f"another row of {path!r} without times", "add start_s and end_s"
            )
        return ManifestEntry(path=path, columns=first.columns(folder), segments=())
    timed = sorted(((row.segment(folder), row) for row in rows), key=lambda one: one[0].start_us)
    for (before, earlier), (after, later) in pairwise(timed):
        if before.end_us is None or after.start_us < before.end_us:
            end = "the end of the video" if before.end_us is None else f"{before.end_us / 1e6:g} s"
            got = f"a start at {after.start_us / 1e6:g} s while {earlier.where} lasts to {end}"
            raise later.error("segments of a video that do not overlap", got, "correct the times")
    return ManifestEntry(path=path, columns=(), segments=tuple(segment for segment, _ in timed))


def _without_surrogates(text: str, *, keeps_bytes: bool = False) -> str:
    """The text with halves of characters, which JSON can hold and no table, as escapes.

    `keeps_bytes` leaves those that stand for the bytes of file names.
    """
    return "".join(
        rf"\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" and not (keeps_bytes and "\udc80" <= c <= "\udcff") else c
        for c in text
    )


# ---- tables


def read_rows(table: Path) -> list[dict[str, Any]]:
    """Rows of a CSV, TSV, JSON (a list of objects), JSONL or Parquet file, with the values that it holds.

    Raises:
        ConfigError: the table cannot be read, or a row is not an object.
    """
    try:
        rows = list(_parse(table))
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException, ValueError, RecursionError) as error:
        got = " ".join(str(error).split())[:200]
        raise ConfigError(
            where=str(table), expected="a readable table in UTF-8", got=got, hint="repair the file"
        ) from error
    if not all(isinstance(row, dict) for row in rows):
        raise ConfigError(
            where=str(table), expected="one object per row", got="other values",
            hint="write a list of objects, or one object per line",
        )  # fmt: skip
    return rows


def _parse(table: Path) -> Iterable[dict[str, Any]]:
    match table.suffix.lower():
        case ".parquet":
            found = pq.read_table(table)
            _check_names(found.column_names)
            rows: list[dict[str, Any]] = found.to_pylist()
            return rows
        case ".json":
            value = read_json(table)
            return value if isinstance(value, list) else [value]
        case ".jsonl":
            return list(_json_lines(table.read_text(encoding="utf-8-sig")))
        case suffix:
            return list(_delimited(table, "\t" if suffix == ".tsv" else None))


def _json_lines(text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            if line.strip():
                yield decode_json(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error


def _delimited(table: Path, delimiter: str | None) -> Iterator[dict[str, Any]]:
    """Rows by the names in the first line; without a delimiter the one that this line has."""
    limit = csv.field_size_limit(MAX_WORDS_BYTES)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            names = file.readline()
            file.seek(0)
            rows = csv.DictReader(file, delimiter=delimiter or _delimiter(names))
            _check_names(rows.fieldnames or ())
            for number, row in enumerate(rows, start=1):
                unnamed: Any = row.pop(None, ())  # DictReader's key of further values
                if any(unnamed):
                    raise ValueError(f"row {number}: more values than columns; put values with a delimiter in quotes")
                yield {key: value or "" for key, value in row.items()}
    finally:
        csv.field_size_limit(limit)


def _delimiter(names: str) -> str:
    """A comma; a semicolon or tab where the names have no comma, as spreadsheets write it for decimal commas."""
    return next((one for one in ",;\t" if one in names), ",")


def _check_names(names: Iterable[str]) -> None:
    """Raise ValueError if a column appears twice, of which one would hide the other; empty names may."""
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise ValueError(f"two columns {twice[0][:80]!r}")


def _check_columns(table: Path, rows: list[dict[str, Any]], columns: Mapping[str, str]) -> None:
    present = list(dict.fromkeys(key for row in rows for key in row))
    for ours, theirs in ({"path": "path"} | dict(columns)).items():
        if rows and theirs not in present:
            raise ConfigError(
                where=str(table), expected=f"a column {theirs!r}", got=", ".join(map(str, present))[:300],
                hint=f"name the column for {ours!r} with --columns {ours}=COLUMN",
            )  # fmt: skip
    unread = [name for name in present if name in _LIKE_TIMES and name not in columns.values()]
    if unread and not {*present, *columns} & set(TIME_COLUMNS):
        log.warning(
            "%s: columns %s are not read as times, so whole videos are used; to read them, add "
            "--columns start_s=COLUMN,end_s=COLUMN", table, ", ".join(unread),
        )  # fmt: skip


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):  # pandas turns whole numbers into floats where one is missing
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.9f}".rstrip("0")
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
