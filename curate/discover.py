"""Expand the arguments of a run into input files: folders, patterns, files, or tables with a `path` column."""

import csv
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import ManifestColumn

# Suffixes that count as video inside a folder or pattern; a file named explicitly or in a table is always an input.
# Formats that cannot be read are listed too, so that such files get a failed row instead of disappearing.
VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".3gp", ".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv",
    ".ts", ".vob", ".wmv",
)  # fmt: skip
TABLE_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One input file."""

    path: str
    root: Path  # absolute; the file must lie below it
    manifest_columns: tuple[ManifestColumn, ...] = ()  # further columns of the table that lists it


def discover(inputs: Sequence[str]) -> list[InputFile]:
    """Return all input files, each path once, sorted by path.

    Args:
        inputs: folders (searched recursively), patterns with * or **, files, or tables (.csv, .parquet) with a column
            `path`; relative paths in a table start at the table's folder.

    Raises:
        ConfigError: an input does not exist, a pattern or folder holds no video, or a table has no column `path`.
    """
    files: dict[str, InputFile] = {}
    for text in inputs:
        count_before = len(files)
        for input_file in _expand(text):
            files.setdefault(input_file.path, input_file)
        if len(files) == count_before and not any(True for _ in _expand(text)):
            raise ConfigError(
                where=text, expected="at least one video", got="none",
                hint=f"name a folder with files like {', '.join(VIDEO_SUFFIXES[:4])}, or the files themselves",
            )  # fmt: skip
    return [files[path] for path in sorted(files)]


def _expand(argument: str) -> Iterator[InputFile]:
    path = Path(argument)
    if path.is_dir():
        yield from _videos_in_folder(path)
    elif path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        yield from _inputs_in_table(path)
    elif path.exists():
        yield InputFile(path=argument, root=path.absolute().parent)
    elif glob.has_magic(argument):
        yield from _files_matching(argument)
    else:
        raise ConfigError(
            where=argument,
            expected="a folder, a file, a pattern or a table",
            got="no such path",
            hint="check the path",
        )


def _videos_in_folder(folder: Path) -> Iterator[InputFile]:
    root = folder.absolute()
    for parent, folders, names in os.walk(folder):  # links to folders are not followed
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                yield InputFile(path=str(Path(parent) / name), root=root)


def _files_matching(pattern: str) -> Iterator[InputFile]:
    fixed = next(parent for parent in Path(pattern).parents if not glob.has_magic(str(parent)))
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob refuses absolute patterns
        if Path(name).is_file():
            yield InputFile(path=name, root=fixed.absolute())


def _inputs_in_table(table: Path) -> Iterator[InputFile]:
    for number, row in enumerate(_table_rows(table), start=1):
        path = row.pop("path", None)
        if not path:
            raise ConfigError(
                where=f"{table}, row {number}",
                expected="a value in column 'path'",
                got="an empty value",
                hint="fill it in",
            )
        # A table may name files anywhere, so its root is the folder of each file.
        file = Path(path) if Path(path).is_absolute() else table.parent / path
        columns = tuple(ManifestColumn(key=key, value=value) for key, value in row.items())
        yield InputFile(path=str(file), root=file.absolute().parent, manifest_columns=columns)


def _table_rows(table: Path) -> Iterable[dict[str, str]]:
    try:
        rows = _parquet_rows(table) if table.suffix.lower() == ".parquet" else _csv_rows(table)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowInvalid) as error:
        raise ConfigError(
            where=str(table), expected="a readable table in UTF-8", got=str(error), hint="repair the file"
        ) from error
    if rows and "path" not in rows[0]:
        raise ConfigError(
            where=str(table),
            expected="a column 'path'",
            got=", ".join(rows[0]),
            hint="rename the column with the paths",
        )
    return rows


def _csv_rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        return [{k: v or "" for k, v in row.items() if k is not None} for row in csv.DictReader(file)]


def _parquet_rows(table: Path) -> list[dict[str, str]]:
    return [{k: "" if v is None else str(v) for k, v in row.items()} for row in pq.read_table(table).to_pylist()]
