"""The contract as a whole: check a set against it; print it as Markdown or plain data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from xsheet.schemas import tables
from xsheet.schemas.columns import Column, Record, columns
from xsheet.schemas.errors import ContractError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.sets import open_set
from xsheet.schemas.tables import TABLES, Table
from xsheet.schemas.vocab import VOCAB_VERSION

# child table, its column, parent table, the parent's column
REFERENCES: tuple[tuple[Table[Any], str, Table[Any], str], ...] = (
    (tables.SHOTS, "source_id", tables.SOURCES, "source_id"),
    (tables.TIMELINES, "source_id", tables.SOURCES, "source_id"),
    (tables.TRACKS, "source_id", tables.SOURCES, "source_id"),
    (tables.FINGERPRINTS, "source_id", tables.SOURCES, "source_id"),
    (tables.NEAR_DUPLICATES, "source_id", tables.FINGERPRINTS, "source_id"),
    (tables.NEAR_DUPLICATES, "other_id", tables.FINGERPRINTS, "source_id"),
    (tables.MEASURES, "source_id", tables.SOURCES, "source_id"),
    (tables.MEASURES, "shot_id", tables.SHOTS, "shot_id"),
    (tables.VERDICTS, "clip_id", tables.MEASURES, "clip_id"),
    (tables.CLIPS, "source_id", tables.SOURCES, "source_id"),
    (tables.SIGNALS, "clip_id", tables.CLIPS, "clip_id"),
    (tables.WORDS, "clip_id", tables.CLIPS, "clip_id"),
    (tables.SPLITS, "clip_id", tables.CLIPS, "clip_id"),
    (tables.ANNOTATIONS, "clip_id", tables.CLIPS, "clip_id"),
    (tables.ANNOTATIONS, "run_id", tables.RUNS, "run_id"),
    (tables.REVIEWS, "annotation_id", tables.ANNOTATIONS, "annotation_id"),
    (tables.FEATURES, "clip_id", tables.CLIPS, "clip_id"),
)
UNIQUE: tuple[tuple[Table[Any], str], ...] = (
    (tables.SOURCES, "path"),
    (tables.SHOTS, "shot_id"),
    (tables.TIMELINES, "source_id"),
    (tables.FINGERPRINTS, "source_id"),
    (tables.TRACKS, "track_id"),
    (tables.MEASURES, "clip_id"),
    (tables.VERDICTS, "clip_id"),
    (tables.CLIPS, "clip_id"),
    (tables.SIGNALS, "clip_id"),
    (tables.WORDS, "clip_id"),
    (tables.SPLITS, "clip_id"),
    (tables.RUNS, "run_id"),
    (tables.ANNOTATIONS, "annotation_id"),
    (tables.FINDINGS, "finding_id"),
    (tables.REVIEWS, "review_id"),
)


@dataclass(frozen=True, slots=True)
class ContractViolation:
    """One breach of the contract."""

    table: str
    message: str


@dataclass(frozen=True, slots=True)
class ContractReport:
    """Rows per table that exists, and what is wrong."""

    rows: dict[str, int]
    violations: tuple[ContractViolation, ...]


def check_set(folder: Path, *, media: bool = False) -> ContractReport:
    """Read everything once; `media=True` also hashes every clip. ContractError when the folder is no set at all."""
    open_set(folder)
    rows: dict[str, int] = {}
    problems: list[ContractViolation] = []
    for table in tables.TABLES:
        if not tables.part_files(folder, table):
            continue
        try:
            rows[table.name] = sum(1 for _ in tables.iter_records(folder, table))
        except ContractError as error:
            problems.append(ContractViolation(table.name, str(error)))
    readable = set(rows)
    problems += _duplicates(folder, readable)
    problems += _dangling_references(folder, readable)
    if "clips" in readable:
        problems += _media(folder, hashes=media)
    return ContractReport(rows, tuple(problems))


def _duplicates(folder: Path, readable: set[str]) -> Iterator[ContractViolation]:
    for table, column in UNIQUE:
        if table.name in readable:
            values = _column(folder, table, column)
            if twice := len(values) - len(values.unique()):
                yield ContractViolation(table.name, f"{column}: {twice} values stand more than once")


def _dangling_references(folder: Path, readable: set[str]) -> Iterator[ContractViolation]:
    for child, column, parent, key in REFERENCES:
        if {child.name, parent.name} <= readable:
            known = _column(folder, parent, key)
            found = pa.compute.is_in(_column(folder, child, column), value_set=known.combine_chunks())
            if missing := len(found) - (pa.compute.sum(found).as_py() or 0):
                yield ContractViolation(
                    child.name, f"{column}: {missing} rows name a {parent.name} row that does not exist"
                )


def _media(folder: Path, *, hashes: bool) -> Iterator[ContractViolation]:
    for clip in tables.iter_records(folder, tables.CLIPS):
        path = folder / clip.media_path
        if not path.is_file():
            yield ContractViolation("clips", f"{clip.clip_id}: {clip.media_path} is missing")
        elif hashes and file_sha256(path) != clip.media_sha256:
            yield ContractViolation("clips", f"{clip.clip_id}: {clip.media_path} has changed since it was written")


def _column(folder: Path, table: Table[Any], column: str) -> pa.ChunkedArray:
    return tables.read_table(folder, table, [column])[column]


_HEADER = f"""# The data contract

Generated by `make contract` from the records in `schemas/`; a test compares it. Do not edit.

Time is integer microseconds from the first frame of what a row names; spans are half-open. A canonical clip has
25 frames a second and 16 kHz mono sound, so frame k starts at 40 000·k µs. An absent measurement is null, never a
number that means "absent". Left and right are the subject's own. Vocabulary {VOCAB_VERSION}.

A set is a folder: `set.json`, `<table>/part-*.parquet`, `media/ab/<clip_id>.mp4`. Every Parquet file carries
`xsheet.table` and `xsheet.version` in its metadata: a minor step adds nullable columns, a major one needs
`xsheet schemas upgrade SET`.
"""


def schema_dict(table: Table[Any]) -> dict[str, Any]:
    """A table's schema as plain data, nested records in full."""
    return {"table": table.name, "version": "{}.{}".format(*table.version), "columns": _column_dicts(table.record)}


def _column_dicts(record: type[Record]) -> list[dict[str, Any]]:
    return [_column_dict(column) for column in columns(record)]


def _column_dict(column: Column) -> dict[str, Any]:
    row: dict[str, Any] = {"name": column.name, "type": short_type(column.arrow_type), "nullable": column.nullable}
    if column.record is not None:
        row["columns"] = _column_dicts(column.record)
    return row


def short_type(kind: pa.DataType) -> str:
    """An Arrow type in one or two words; structs are spelled out elsewhere."""
    if pa.types.is_list(kind):
        return f"list<{short_type(kind.value_type)}>"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def contract_markdown() -> str:
    """The whole contract as Markdown."""
    return _HEADER + "".join(_section(table) for table in TABLES)


def _section(table: Table[Any]) -> str:
    name, doc = table.record.__name__, (table.record.__doc__ or "").strip()
    version = "{}.{}".format(*table.version)
    return f"\n## {table.name} (v{version})\n\n`{name}`: {doc}\n\n" + "\n".join(_rows(table)) + "\n"


def _rows(table: Table[Any]) -> Iterator[str]:
    yield "| field | type | null | meaning |"
    yield "|---|---|---|---|"
    for path, column in iter_fields(table.record):
        meaning = column.description.replace("|", "\\|")
        yield f"| {path} | {short_type(column.arrow_type)} | {'yes' if column.nullable else ''} | {meaning} |"


def iter_fields(record: type[Record], prefix: str = "") -> Iterator[tuple[str, Column]]:
    """(dotted path, column) of a record and of all records inside it; '[]' marks a list."""
    for column in columns(record):
        path = prefix + column.name
        yield path, column
        if column.record is not None:
            yield from iter_fields(column.record, path + ("[]." if pa.types.is_list(column.arrow_type) else "."))
