"""Tables: one per record, as Parquet. The Arrow schema follows from the record; its version is in every file.

A table is a folder of `part-00000.parquet`, ... that pandas, Polars, DuckDB and Hugging Face `datasets` read directly.
Version (major, minor): a minor version only adds nullable columns, so older ones are read with nulls. Readers refuse
another major version; `xsheet schemas upgrade` converts it.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from xsheet.schemas import annotation, clip, run, source
from xsheet.schemas.columns import Record, arrow_fields, column_dicts
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.files import atomic_path

R = TypeVar("R", bound=Record)
_TABLE_KEY, _VERSION_KEY = b"xsheet.table", b"xsheet.version"


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """A table of the contract: name, record, version, and upgrades from older major versions."""

    name: str
    record: type[R]
    version: tuple[int, int]
    # Keeps a part below about 128 MB.
    rows_per_part: int = 200_000
    # What a writer holds in memory as records (an annotation: 50 kB), and what is decoded to read one row.
    rows_per_group: int = 50_000
    # upgrades[i] turns a table of major i + 1 into one of major i + 2.
    upgrades: tuple[Callable[[pa.Table], pa.Table], ...] = ()


SOURCES = Table("sources", source.SourceVideo, (1, 0), rows_per_group=1_000)
SHOTS = Table("shots", source.Shot, (1, 0))
TIMELINES = Table("timelines", source.Timeline, (1, 0), rows_per_part=200, rows_per_group=50)
TRACKS = Table("tracks", source.FaceTrack, (1, 0), rows_per_part=1_000, rows_per_group=250)
MEASURES = Table("measures", clip.Measures, (1, 0))
VERDICTS = Table("verdicts", clip.Verdict, (1, 0))
CLIPS = Table("clips", clip.Clip, (1, 0), rows_per_group=1_000)
FINGERPRINTS = Table("fingerprints", source.Fingerprint, (1, 0), rows_per_part=4_000, rows_per_group=1_000)
NEAR_DUPLICATES = Table("near_duplicates", source.NearDuplicate, (1, 0))
SPLITS = Table("splits", source.Split, (1, 0))
SIGNALS = Table("signals", clip.Signals, (1, 1), rows_per_part=4_000, rows_per_group=50)
WORDS = Table("words", clip.ClipWords, (1, 0), rows_per_part=20_000, rows_per_group=5_000)
RUNS = Table("runs", run.Run, (1, 0))
ANNOTATIONS = Table("annotations", annotation.Annotation, (1, 0), rows_per_part=4_000, rows_per_group=50)
FINDINGS = Table("findings", annotation.Finding, (1, 0), rows_per_group=1_000)
REVIEWS = Table("reviews", annotation.Review, (1, 0))
FEATURES = Table("features", clip.Feature, (1, 1))
TABLES: tuple[Table[Any], ...] = (
    SOURCES, TIMELINES, TRACKS, FINGERPRINTS, NEAR_DUPLICATES, SHOTS, MEASURES, VERDICTS, CLIPS, SIGNALS, WORDS, SPLITS,
    RUNS, ANNOTATIONS, FINDINGS, REVIEWS, FEATURES,
)  # fmt: skip


@lru_cache
def arrow_schema(table: Table[Any]) -> pa.Schema:
    """The Arrow schema of a table, with its name and version in the metadata."""
    major, minor = table.version
    return pa.schema(
        arrow_fields(table.record),
        metadata={_TABLE_KEY: table.name.encode(), _VERSION_KEY: f"{major}.{minor}".encode()},
    )


def schema_dict(table: Table[Any]) -> dict[str, Any]:
    """A table's schema as plain data, nested records in full."""
    return {"table": table.name, "version": "{}.{}".format(*table.version), "columns": column_dicts(table.record)}


# ---- records <-> Arrow


@lru_cache
def _adapter(record: type[R]) -> TypeAdapter[list[R]]:
    return TypeAdapter(list[record])  # type: ignore[valid-type]


def to_arrow(records: Sequence[R], table: Table[R]) -> pa.Table:
    """Records as an Arrow table of the declared schema."""
    rows = _adapter(table.record).dump_python(list(records))
    return pa.Table.from_pylist(rows, schema=arrow_schema(table))


def from_arrow(rows: pa.Table, table: Table[R]) -> list[R]:
    """Records from Arrow rows, each validated; ContractError on the first invalid row."""
    try:
        # Arrow returns lists and dicts for tuples and records, so validation is not strict here.
        return _adapter(table.record).validate_python(rows.to_pylist(), strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ContractError(
            where=f"table {table.name!r}, row {'.'.join(str(part) for part in first['loc'])}",
            expected=f"a valid {table.record.__name__}",
            got=first["msg"],
            hint="write rows through xsheet.schemas.tables only",
        ) from error


# ---- files


def write_file(path: Path, table: Table[R], records: Iterable[R]) -> int:
    """Write records, in the order given, to one Parquet file, atomically; returns the number of rows."""
    count = 0
    feed = iter(records)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, arrow_schema(table), **_PARQUET_OPTIONS) as writer:
        while batch := list(islice(feed, table.rows_per_group)):
            writer.write_table(to_arrow(batch, table))
            count += len(batch)
    return count


_PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "compression_level": 3}


def write_table(set_folder: Path, table: Table[R], records: Iterable[R]) -> int:
    """Write a whole table of a set in parts, in the order given; returns the number of rows.

    Each part is written atomically; surplus parts of an older, longer table are removed last. The same records in the
    same order give the same bytes.
    """
    feed = iter(records)
    count = part = 0
    for first in feed:
        chunk = chain([first], islice(feed, table.rows_per_part - 1))
        count += write_file(part_path(set_folder, table, part), table, chunk)
        part += 1
    _finish_table(set_folder, table, part)
    return count


def write_arrow(set_folder: Path, table: Table[Any], parts: Iterable[pa.Table]) -> int:
    """Write a whole table from Arrow tables, one part each; returns the number of rows.

    The schema is checked, the rows are not: for columns that come from validated tables.

    Raises:
        ContractError: a table has another schema.
    """
    count = part = 0
    for part, rows in enumerate(parts, start=1):
        if not rows.schema.equals(arrow_schema(table)):
            raise ContractError(
                where=f"table {table.name!r}", expected=str(arrow_schema(table)), got=str(rows.schema),
                hint="build the columns from arrow_schema(table)",
            )  # fmt: skip
        _write_rows(part_path(set_folder, table, part - 1), table, rows)
        count += len(rows)
    _finish_table(set_folder, table, part)
    return count


def _write_rows(path: Path, table: Table[Any], rows: pa.Table) -> None:
    stated = rows.replace_schema_metadata(arrow_schema(table).metadata)
    with atomic_path(path) as temporary:
        pq.write_table(stated, temporary, row_group_size=table.rows_per_group, **_PARQUET_OPTIONS)


def _finish_table(set_folder: Path, table: Table[Any], parts: int) -> None:
    """Write one empty part for an empty table; remove surplus parts of an older, longer table."""
    if parts == 0:
        write_file(part_path(set_folder, table, 0), table, ())
    for stale in part_files(set_folder, table)[max(parts, 1) :]:
        stale.unlink()


def part_path(set_folder: Path, table: Table[Any], part: int) -> Path:
    """Path of a part of a table."""
    return set_folder / table.name / f"part-{part:05d}.parquet"


def part_files(set_folder: Path, table: Table[Any]) -> list[Path]:
    """Parts of a table in order; empty if the set does not have the table yet."""
    return sorted((set_folder / table.name).glob("part-*.parquet"))


def read_file(path: Path, table: Table[Any], columns: Sequence[str] | None = None) -> pa.Table:
    """One Parquet file as Arrow, brought to the current minor version.

    Raises:
        ContractError: not Parquet, another table, or a version that this code cannot read.
    """
    names = list(columns or arrow_schema(table).names)
    check_version(path, table)
    with _damage_named(path):
        present = set(pq.read_schema(path).names)
        rows = pq.read_table(path, columns=[name for name in names if name in present], partitioning=None)
    return _as_declared(rows, table, names, path)


def read_footer(path: Path) -> pq.FileMetaData:
    """Numbers of rows and row groups of one Parquet file; ContractError if it is not one."""
    with _damage_named(path):
        return pq.read_metadata(path)


def read_slice(
    path: Path,
    table: Table[Any],
    rows: range,
    columns: Sequence[str] | None = None,
    *,
    footer: pq.FileMetaData | None = None,
) -> pa.Table:
    """A range of rows of one Parquet file as Arrow; reads only their row groups.

    `footer` is that of the file (read_footer), for many reads of one file: parsing it costs more than a row group.

    Raises:
        ContractError: as for read_file, or the file has fewer rows.
    """
    with _damage_named(path), pq.ParquetFile(path, metadata=footer) as file:
        stored = file.schema_arrow
        _check_readable(_stated_version(stored, table, path), table, path)
        groups: list[int] = []
        start = first = 0
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            if start < rows.stop and rows.start < stop:
                first = first if groups else start
                groups.append(group)
            start = stop
        if rows.stop > start:
            raise ContractError(
                where=str(path), expected=f"{rows.stop} rows", got=str(start), hint="run the step that wrote it again"
            )
        names = list(columns or arrow_schema(table).names)
        known = set(stored.names)
        present = [name for name in names if name in known]
        found = file.read_row_groups(groups, columns=present).slice(rows.start - first, len(rows))
    return _as_declared(found, table, names, path)


def check_version(path: Path, table: Table[Any]) -> None:
    """Raise ContractError unless this code can read the version of the file."""
    _check_readable(file_version(path, table), table, path)


def _check_readable(version: tuple[int, int], table: Table[Any], path: Path) -> None:
    if version[0] != table.version[0] or version > table.version:
        raise _wrong_version(path, table, version)


def _wrong_version(path: Path, table: Table[Any], version: tuple[int, int]) -> ContractError:
    older = version < table.version
    return ContractError(
        where=str(path),
        expected=f"table {table.name!r} v{table.version[0]}.{table.version[1]}",
        got=f"v{version[0]}.{version[1]}",
        hint="run `xsheet schemas upgrade SET`"
        if older
        else "install the version of xsheet that wrote it, or a newer one",
    )


def _as_declared(rows: pa.Table, table: Table[Any], names: Sequence[str], path: Path) -> pa.Table:
    """These columns with their types; those that a minor version introduced get null, or an empty list.

    Raises:
        ContractError: a column that every version has is missing, has another type, or has a null where none may be.
    """
    stored = {field.name: field for field in rows.schema}
    columns = dict(zip(rows.column_names, rows.columns, strict=True))
    for column in map(arrow_schema(table).field, names):
        values = columns.get(column.name)
        if values is None:
            stored[column.name], columns[column.name] = column, _missing_values(column, table, len(rows), path)
            continue
        if values.type != column.type and not pa.types.is_nested(column.type):  # fields of a struct may be newer
            try:
                stored[column.name], columns[column.name] = column, values.cast(column.type)
            except pa.ArrowException as error:
                raise _wrong_column(path, column, str(values.type)) from error
        elif pa.types.is_nested(values.type) != pa.types.is_nested(column.type):
            raise _wrong_column(path, column, str(values.type))
        if not column.nullable and values.null_count:
            raise _wrong_column(path, column, f"{values.null_count} nulls")
    schema = pa.schema([stored[name] for name in names], metadata=rows.schema.metadata)
    return pa.table([columns[name] for name in names], schema=schema)


def _missing_values(column: pa.Field, table: Table[Any], count: int, path: Path) -> pa.Array:
    """Null, or an empty list, for a column that a minor version introduced."""
    default = next(field.default for field in fields(table.record) if field.name == column.name)
    if default is MISSING:
        raise _wrong_column(path, column, "none")
    return pa.array([[] if default == () else None] * count, column.type)


def _wrong_column(path: Path, column: pa.Field, got: str) -> ContractError:
    hint = "remove it and run the step that wrote it again"
    return ContractError(where=f"{path}: {column.name}", expected=f"a column {column.type}", got=got, hint=hint)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ContractError(
            where=str(path), expected="a Parquet file", got=" ".join(str(error).split())[:200],
            hint="remove it and run the step that wrote it again",
        ) from error  # fmt: skip


def file_version(path: Path, table: Table[Any]) -> tuple[int, int]:
    """(major, minor) of a file; ContractError if it is not a file of this table."""
    with _damage_named(path):
        stored = pq.read_schema(path)
    return _stated_version(stored, table, path)


def _stated_version(stored: pa.Schema, table: Table[Any], path: Path) -> tuple[int, int]:
    metadata = stored.metadata or {}
    name, version = (metadata.get(key, b"").decode("utf-8", "replace") for key in (_TABLE_KEY, _VERSION_KEY))
    if name != table.name or not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", version):
        raise ContractError(
            where=str(path),
            expected=f"table {table.name!r} with its version in the metadata",
            got=f"table {name!r} v{version or '?'}",
            hint="write tables through xsheet only, and keep each in its own folder",
        )
    major, minor = version.split(".")
    return int(major), int(minor)


def read_table(set_folder: Path, table: Table[Any], columns: Sequence[str] | None = None) -> pa.Table:
    """A whole table of a set as Arrow; empty if the set does not have the table yet."""
    parts = [read_file(path, table, columns) for path in part_files(set_folder, table)]
    if not parts:
        schema = arrow_schema(table)
        return schema.empty_table().select(list(columns or schema.names))
    return pa.concat_tables(parts)


def iter_records(set_folder: Path, table: Table[R]) -> Iterator[R]:
    """The records of a table of a set in stored order; at most a thousand are in memory."""
    for path in part_files(set_folder, table):
        yield from iter_file_records(path, table)


def iter_file_records(path: Path, table: Table[R]) -> Iterator[R]:
    """The records of one file in stored order; at most a thousand are in memory.

    Raises:
        ContractError: as for read_file.
    """
    check_version(path, table)
    names = arrow_schema(table).names
    with _damage_named(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            yield from from_arrow(_as_declared(pa.Table.from_batches([batch]), table, names, path), table)


_BATCH_ROWS = 1_000  # annotations as records: about 50 MB


def upgrade_file(path: Path, table: Table[Any]) -> bool:
    """Bring one file to the current version in place, atomically; returns whether it changed.

    Raises:
        ContractError: the file is newer than this code, or there is no upgrade from its version.
    """
    version = file_version(path, table)
    if version == table.version:
        return False
    steps = table.upgrades[version[0] - 1 :]
    if version > table.version or version[0] + len(steps) < table.version[0]:
        raise _wrong_version(path, table, version)
    with _damage_named(path):
        rows = pq.read_table(path, partitioning=None)
    for step in steps:
        rows = step(rows)
    rows = _as_declared(rows, table, arrow_schema(table).names, path).cast(arrow_schema(table))
    from_arrow(rows, table)
    _write_rows(path, table, rows)
    return True


def find_table(name: str) -> Table[Any]:
    """The table with a name; the ConfigError for an unknown name suggests the nearest one."""
    found = next((table for table in TABLES if table.name == name), None)
    if found is None:
        names = [table.name for table in TABLES]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise ConfigError(
            where="table", expected=f"one of {', '.join(names)}", got=repr(name), hint=f"did you mean {near!r}?"
        )
    return found
