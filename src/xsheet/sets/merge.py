"""Several sets as one: rows of all tables, every layer, all media.

Sets that share a source must have equal rows for it. Near duplicates are found again over all sources. Splits are not
copied, because one person may be in several sets: run `xsheet curate split` on the result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from xsheet.curate.dedup.near_duplicates import near_duplicates
from xsheet.runtime.lock import check_new_folder
from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.layers import LayerRun, list_layers, write_layer
from xsheet.schemas.sets import open_set
from xsheet.schemas.tables import Table
from xsheet.sets.copying import SET_CONTENT, TABLE_KEYS, copy_media, new_set


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeResult:
    """What was written."""

    sets: int
    sources: int
    clips: int
    shared_clips: int  # in more than one set, written once
    layers: int
    bytes: int  # of media


def merge_sets(folders: Sequence[Path], out: Path) -> MergeResult:
    """Write several sets as one.

    Raises:
        ConfigError: fewer than two sets, sets of another clip format, or the folder holds something.
        ContractError: the sets have different rows for one key, or a clip's file does not match its hash.
    """
    if len(folders) < 2:
        raise ConfigError(where="sets", expected="two or more", got=str(len(folders)), hint="name every set to merge")
    infos = [open_set(folder) for folder in folders]
    if any(info.clip != infos[0].clip for info in infos):
        raise ConfigError(
            where=str(folders[0]), expected="sets of one clip format", got="sets of different formats",
            hint="curate the sources with one version of xsheet",
        )  # fmt: skip
    check_new_folder(out, content=SET_CONTENT)
    for table, keys in TABLE_KEYS:  # before anything is written
        for _ in _merged_parts(folders, table, keys):
            pass
    with new_set(out, out.absolute().name):
        return _merge(folders, out)


def _merge(folders: Sequence[Path], out: Path) -> MergeResult:
    counts = {
        table.name: tables.write_arrow(out, table, _merged_parts(folders, table, keys)) for table, keys in TABLE_KEYS
    }
    tables.write_table(out, tables.NEAR_DUPLICATES, near_duplicates(tables.read_table(out, tables.FINGERPRINTS)))
    size, all_clips, seen = 0, 0, set[str]()
    for folder in folders:
        clips = list(tables.iter_records(folder, tables.CLIPS))
        all_clips += len(clips)
        size += copy_media(folder, out, (clip for clip in clips if clip.clip_id not in seen))
        seen |= {clip.clip_id for clip in clips}
    layers = _layers(folders)
    for members in layers:
        write_layer(out, members[0].run, members[0].layer, _merged_rows(members))
    return MergeResult(
        sets=len(folders), sources=counts["sources"], clips=len(seen), shared_clips=all_clips - len(seen),
        layers=len(layers), bytes=size,
    )  # fmt: skip


def _merged_parts(folders: Sequence[Path], table: Table[Any], keys: tuple[str, ...]) -> Iterator[pa.Table]:
    """The parts of all sets without repeated rows.

    Raises:
        ContractError: two sets hold different rows under one key.
    """
    first: dict[tuple[str, ...], tuple[Path, int]] = {}
    for folder in folders:
        for path in tables.part_files(folder, table):
            rows = tables.read_file(path, table)
            chosen = []
            for number, key in enumerate(zip(*(rows[name].to_pylist() for name in keys), strict=True)):
                before = first.setdefault(key, (path, number))
                chosen.append(before == (path, number))
                if not chosen[-1] and not _same_row(before, (path, number), table):
                    raise ContractError(
                        where=f"{path}, {' '.join(key)}", expected=f"the row of {before[0]}", got="another row",
                        hint="curate both sets with the same settings and version, or leave one out",
                    )  # fmt: skip
            kept = rows.filter(pa.array(chosen, pa.bool_()))
            if kept.num_rows:
                yield kept.cast(tables.arrow_schema(table))


def _same_row(one: tuple[Path, int], other: tuple[Path, int], table: Table[Any]) -> bool:
    rows = [tables.read_slice(path, table, range(number, number + 1)).to_pylist() for path, number in (one, other)]
    return bool(rows[0] == rows[1])


def _layers(folders: Sequence[Path]) -> list[list[LayerRun]]:
    """The layers of all sets; those of one run belong together."""
    found: dict[tuple[str, str], list[LayerRun]] = {}
    for folder in folders:
        for layer in list_layers(folder):
            found.setdefault((layer.layer, layer.run.run_id), []).append(layer)
    return list(found.values())


def _merged_rows(layers: Sequence[LayerRun]) -> Iterator[Annotation]:
    seen: set[str] = set()
    for layer in layers:
        for row in layer.read():
            if row.annotation_id not in seen:
                seen.add(row.annotation_id)
                yield row
