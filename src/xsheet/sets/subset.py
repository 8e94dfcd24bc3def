"""The clips of a set that meet a condition, as a set of its own with their sources, signals and layers."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from xsheet.runtime.lock import check_new_folder
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import list_layers, write_layer
from xsheet.schemas.sets import open_set
from xsheet.sets.clip_view import clip_rows, select_clips
from xsheet.sets.copying import SET_CONTENT, TABLE_KEYS, copy_media, filtered_parts, new_set


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetResult:
    """What was written."""

    clips: int
    of_clips: int
    sources: int
    layers: int
    bytes: int  # of media; the files of the chosen clips where nothing was written


def subset(set_folder: Path, out: Path, *, where: str, layer: str | None, dry_run: bool = False) -> SubsetResult:
    """Write the clips that meet a condition to a new set; measures, verdicts and splits are kept as they are.

    Args:
        set_folder: set to read.
        out: new or empty folder.
        where: SQL condition over the columns of xsheet.sets.clip_view.
        layer: layer for the columns `phases` and `actions`; all layers are copied either way.
        dry_run: count, and write nothing.

    Raises:
        ConfigError: no such layer or column, no clip meets the condition, or the folder holds something.
        ContractError: not a set, or a clip's file does not match its hash.
    """
    name = open_set(set_folder).name
    check_new_folder(out, content=SET_CONTENT)
    rows = clip_rows(set_folder, layer=layer)
    chosen = set(select_clips(rows, where)) if rows.num_rows else set()
    if not chosen:
        raise ConfigError(
            where=f"--where {where!r}", expected="clips that meet the condition", got=f"none of {rows.num_rows}",
            hint="see `xsheet set stats` for the values",
        )  # fmt: skip
    clips = [clip for clip in tables.iter_records(set_folder, tables.CLIPS) if clip.clip_id in chosen]
    sources = {clip.source_id for clip in clips}
    layers = list_layers(set_folder)
    if dry_run:
        size = sum((set_folder / clip.media_path).stat().st_size for clip in clips)
        return _result(len(clips), rows.num_rows, sources, len(layers), size)
    with new_set(out, name):
        size = copy_media(set_folder, out, clips)
        for table, _ in (*TABLE_KEYS, (tables.SPLITS, ()), (tables.NEAR_DUPLICATES, ())):
            by_clip = "clip_id" in tables.arrow_schema(table).names
            column, wanted = ("clip_id", chosen) if by_clip else ("source_id", sources)
            parts = filtered_parts(set_folder, table, partial(_mask, column=column, wanted=wanted))
            tables.write_arrow(out, table, parts)
        for one in layers:
            write_layer(out, one.run, one.layer, (row for row in one.read() if row.clip_id in chosen))
    return _result(len(clips), rows.num_rows, sources, len(layers), size)


def _mask(part: pa.Table, *, column: str, wanted: set[str]) -> list[bool]:
    return [value in wanted for value in part[column].to_pylist()]


def _result(clips: int, of_clips: int, sources: set[str], layers: int, size: int) -> SubsetResult:
    return SubsetResult(clips=clips, of_clips=of_clips, sources=len(sources), layers=layers, bytes=size)
