"""CSV: three tables for spreadsheets and data frames. Times are seconds with six decimals, so nothing is rounded.

    annotations.csv   clip_id, annotator, annotation_id, the base block
    phases.csv        clip_id, annotator, phase_id, track, start_s, end_s, action, further fields
    kinematics.csv    clip_id, annotator, phase_id, phase, start_s, end_s

A cell that a spreadsheet would run as a formula gets an apostrophe in front. Tables of other tools are read by their
column names (ALIASES); the content of other columns is counted as lost.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from xsheet.annotate.formats.base import (
    ALL_FIELDS,
    BASE_FIELDS,
    PHASE_FIELDS,
    AnnotationSheet,
    ExportResult,
    GesturePart,
    LossTally,
    SheetEvent,
    clips_by_id,
    sheets_by_clip,
)
from xsheet.annotate.formats.files import ClipIndex, file_error, parse_files
from xsheet.annotate.formats.imported import NO_BASES, ImportResult, import_sheets
from xsheet.schemas.annotation import Annotation, Base
from xsheet.schemas.clip import Clip
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import US_PER_S, us_from_seconds

KEY_COLUMNS = ("clip_id", "annotator")
BASE_COLUMNS = tuple(f"base_{name}" for name in BASE_FIELDS)
COLUMNS = {
    "annotations.csv": (*KEY_COLUMNS, "annotation_id", *BASE_COLUMNS),
    "phases.csv": (*KEY_COLUMNS, "phase_id", "track", "start_s", "end_s", "action", *PHASE_FIELDS),
    "kinematics.csv": (*KEY_COLUMNS, "phase_id", "phase", "start_s", "end_s"),
}
ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "clip_id": ("clip", "video", "media", "file", "filename"),
    "annotator": ("layer", "coder"),
    "track": ("tier", "body_part", "part"),
    "start_s": ("start_time", "start", "onset", "begin"),
    "end_s": ("end_time", "end", "offset", "stop"),
    "action": ("label", "category", "class", "annotation"),
    "phase_id": ("id",),
})  # fmt: skip
KNOWN_COLUMNS = frozenset(column for columns in COLUMNS.values() for column in columns)
# Prefixes that spreadsheets run as a formula (OWASP, CSV injection), and the apostrophe that protects from it.
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def export(annotations: Iterable[Annotation], clips: Iterable[Clip]) -> ExportResult:
    """The three tables of the annotations.

    Raises:
        ContractError: an annotation belongs to a clip that is not given.
    """
    tally = LossTally()
    sheets = [
        one
        for of in sheets_by_clip(annotations, clips_by_id(clips), carried_fields=ALL_FIELDS, tally=tally).values()
        for one in of
    ]
    tables = {
        "annotations.csv": (_annotation_row(sheet) for sheet in sheets),
        "phases.csv": (_phase_row(sheet, event) for sheet in sheets for event in sheet.events),
        "kinematics.csv": (
            _part_row(sheet, event, part) for sheet in sheets for event in sheet.events for part in event.kinematics
        ),
    }
    return ExportResult({name: _table(COLUMNS[name], rows) for name, rows in tables.items()}, tally.losses())


def read(
    files: Mapping[str, str],
    clips: Iterable[Clip],
    *,
    bases: Mapping[str, Base] = NO_BASES,
    recordings: Iterable[SourceVideo] = (),
) -> ImportResult:
    """Annotations of one or more tables, written by xsheet or another tool, in any order.

    Raises:
        ContractError: no file is a table with times.
    """
    tally, known = LossTally(), ClipIndex(clips, recordings)
    sheets = _sheets(files, known, tally)
    return import_sheets(sheets, known, format_name="csv", files=files, bases=bases, tally=tally)


def clip_names(files: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the clips that the rows of tables are about, in order; '' for rows without one.

    Raises:
        ContractError: none of the files is a table with times.
    """
    tally = LossTally()
    rows = parse_files(files, lambda name, text: list(_cells(name, text, tally)), tally)
    return tuple(dict.fromkeys(cells.get("clip_id", "") for _, _, cells in rows))


# ---- writing


def _table(columns: tuple[str, ...], rows: Iterable[Mapping[str, str]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: f"'{cell}" if cell.startswith(_FORMULA_PREFIXES) else cell for name, cell in row.items()}
        )
    return out.getvalue()


def _key_cells(sheet: AnnotationSheet) -> dict[str, str]:
    return {"clip_id": sheet.clip_id, "annotator": sheet.annotator_id}


def _annotation_row(sheet: AnnotationSheet) -> dict[str, str]:
    base = {f"base_{name}": text for name, text in sheet.base.items()}
    return _key_cells(sheet) | {"annotation_id": sheet.annotation_id or ""} | base


def _phase_row(sheet: AnnotationSheet, event: SheetEvent) -> dict[str, str]:
    what = {"phase_id": event.phase_id or "", "track": event.tier, "action": event.label}
    return _key_cells(sheet) | what | _time_cells(event) | dict(event.attributes)


def _part_row(sheet: AnnotationSheet, event: SheetEvent, part: GesturePart) -> dict[str, str]:
    return _key_cells(sheet) | {"phase_id": event.phase_id or "", "phase": part.label} | _time_cells(part)


def _time_cells(timed: SheetEvent | GesturePart) -> dict[str, str]:
    return {
        name: f"{us // US_PER_S}.{us % US_PER_S:06d}"
        for name, us in (("start_s", timed.start_us), ("end_s", timed.end_us))
    }


# ---- reading


@dataclass(frozen=True, slots=True)
class _CsvRow:
    table: str  # the key of COLUMNS whose columns it has
    clip_id: str
    cells: Mapping[str, str]

    @property
    def sheet_key(self) -> tuple[str, str]:
        return self.clip_id, self.cells.get("annotator", "")

    @property
    def phase_key(self) -> tuple[tuple[str, str], str]:
        return self.sheet_key, self.cells.get("phase_id", "")


def _sheets(files: Mapping[str, str], clips: ClipIndex, tally: LossTally) -> list[AnnotationSheet]:
    tables: dict[str, list[_CsvRow]] = {name: [] for name in COLUMNS}
    for row in parse_files(files, lambda name, text: _rows(name, text, clips, tally), tally):
        tables[row.table].append(row)
    parts: dict[tuple[tuple[str, str], str], list[GesturePart]] = defaultdict(list)
    for row in tables["kinematics.csv"]:
        if span := _span(row, tally):
            parts[row.phase_key].append(GesturePart(row.cells.get("phase", ""), *span))
    heads = {row.sheet_key: row.cells for row in tables["annotations.csv"]}
    events: dict[tuple[str, str], list[SheetEvent]] = {owner: [] for owner in heads}
    for row in tables["phases.csv"]:
        if span := _span(row, tally):
            events.setdefault(row.sheet_key, []).append(_event(row, span, parts.pop(row.phase_key, [])))
    for (owner, phase_id), alone in parts.items():
        why = "its phase is not in the tables"
        tally.add("phases.kinematics", why, f"{owner[0]}/{phase_id}", count=len(alone))
    return [_sheet(owner, tuple(found), heads.get(owner, {})) for owner, found in events.items()]


def _rows(name: str, text: str, clips: ClipIndex, tally: LossTally) -> Iterator[_CsvRow]:
    for number, table, row in _cells(name, text, tally):
        clip = clips.find([row.get("clip_id")], file=name)
        if clip is not None:
            yield _CsvRow(table, clip.clip_id, row)
        elif row:
            tally.add("clip_id", "no clip of that name", f"{name}, row {number}: {row.get('clip_id', '')}")


def _cells(name: str, text: str, tally: LossTally) -> Iterator[tuple[int, str, Mapping[str, str]]]:
    """Number, table of COLUMNS and cells by column of every row."""
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        columns = [_column(cell) for cell in next(reader, [])]
        timed = {"start_s", "end_s"} <= set(columns)
        if len(set(columns)) < len(columns) or not (timed or "annotation_id" in columns):
            raise file_error(
                name, "one column for the start and one for the end", ", ".join(columns), "name them start_s, end_s"
            )
        table = "annotations.csv" if not timed else "kinematics.csv" if "phase" in columns else "phases.csv"
        for number, cells in enumerate(reader, start=2):
            row = {column: _cell(cell) for column, cell in zip(columns, cells, strict=False) if cell}
            for column, cell in row.items():
                if column not in KNOWN_COLUMNS:
                    tally.add(
                        f"column {column[:40]!r}", "the contract has no such field", f"{name}, row {number}: {cell}"
                    )
            if len(cells) > len(columns):
                tally.add(
                    "column", "the row has more cells than columns", f"{name}, row {number}: {cells[len(columns) :]}"
                )
            yield number, table, row
    except csv.Error as error:
        raise file_error(name, "a CSV table", str(error), "export it again") from error


def _column(cell: str) -> str:
    key = "_".join(cell.strip().lower().split())
    return next((name for name, others in ALIASES.items() if key in others), key)


def _cell(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_PREFIXES) else cell


def _span(row: _CsvRow, tally: LossTally) -> tuple[int, int] | None:
    times = row.cells.get("start_s", ""), row.cells.get("end_s", "")
    try:
        start_us, end_us = (us_from_seconds(_seconds(time)) for time in times)
    except ValueError:
        tally.add("phases", "times that are not seconds", f"{row.clip_id}: {times[0]!r}..{times[1]!r}")
        return None
    return start_us, end_us


def _seconds(text: str) -> float:
    """Seconds as a number or a clock time, with a decimal point or comma: 12.5, 12,5, 1:02.5, 0:00:00.400."""
    *larger, seconds = text.replace(",", ".").split(":")
    if len(larger) > 2 or (larger and float(seconds) >= 60):
        raise ValueError(text)
    return sum((int(part) * 60**power for power, part in enumerate(reversed(larger), start=1)), float(seconds))


def _event(row: _CsvRow, span: tuple[int, int], parts: list[GesturePart]) -> SheetEvent:
    return SheetEvent(
        tier=row.cells.get("track", ""),
        label=row.cells.get("action", ""),
        start_us=span[0],
        end_us=span[1],
        phase_id=row.cells.get("phase_id"),
        attributes={name: row.cells[name] for name in PHASE_FIELDS if name in row.cells},
        kinematics=tuple(parts),
    )


def _sheet(
    sheet_key: tuple[str, str], events: tuple[SheetEvent, ...], annotation_cells: Mapping[str, str]
) -> AnnotationSheet:
    base = {name: annotation_cells[f"base_{name}"] for name in BASE_FIELDS if f"base_{name}" in annotation_cells}
    return AnnotationSheet(
        clip_id=sheet_key[0],
        annotator_id=sheet_key[1],
        annotation_id=annotation_cells.get("annotation_id"),
        base=base,
        events=events,
    )
