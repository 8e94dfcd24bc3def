"""Sources that are the same or nearly, and how the clips were divided."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.schemas import tables
from xsheet.schemas.source import NearDuplicate
from xsheet.schemas.time import CLIP_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePair:
    """One source of a group, and what ties it to another one."""

    path: str
    other_path: str
    modality: str
    matched_s: float
    bit_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Sources that hang together, with the evidence."""

    source_count: int
    pairs: tuple[DuplicatePair, ...]


def duplicate_groups(set_folder: Path) -> list[DuplicateGroup]:
    """Groups of near duplicates, the largest first."""
    found: dict[str, list[NearDuplicate]] = defaultdict(list)
    for row in tables.iter_records(set_folder, tables.NEAR_DUPLICATES):
        found[row.group].append(row)
    names = _source_paths(
        set_folder, {i for rows in found.values() for row in rows for i in (row.source_id, row.other_id)}
    )
    groups = [
        DuplicateGroup(
            source_count=len({i for row in rows for i in (row.source_id, row.other_id)}),
            pairs=tuple(_duplicate_pair(row, names) for row in rows),
        )
        for _, rows in sorted(found.items())
    ]
    return sorted(groups, key=lambda group: -group.source_count)


def _duplicate_pair(row: NearDuplicate, names: dict[str, str]) -> DuplicatePair:
    return DuplicatePair(
        path=names.get(row.source_id, row.source_id),
        other_path=names.get(row.other_id, row.other_id),
        modality=row.by,
        matched_s=row.matched_frames / float(CLIP_RATE),
        bit_error=row.bit_error,
    )


def _source_paths(set_folder: Path, ids: set[str]) -> dict[str, str]:
    """Path of each source; of files with the same bytes the one that was measured."""
    rows = tables.read_table(set_folder, tables.SOURCES, ["source_id", "path", "duplicate_of"])
    wanted = rows.filter(pc.is_in(rows["source_id"], value_set=pa.array(sorted(ids), pa.string())))
    first = wanted.filter(pc.is_null(wanted["duplicate_of"]))
    return dict(zip(first["source_id"].to_pylist(), first["path"].to_pylist(), strict=True))


def split_rows(set_folder: Path) -> list[dict[str, Any]]:
    """Clips, clusters, sources and hours of each split; nothing when the set was not divided."""
    rows = tables.read_table(set_folder, tables.SPLITS)
    clips = tables.read_table(set_folder, tables.CLIPS, ["clip_id", "start_us", "end_us"])
    lasting = pc.subtract(clips["end_us"], clips["start_us"])
    place = pc.index_in(rows["clip_id"], value_set=clips["clip_id"].combine_chunks())
    known = rows.append_column("us", pc.fill_null(lasting.take(place), 0))
    counted = known.group_by(["split", "identity_by"]).aggregate(
        [("clip_id", "count"), ("cluster", "count_distinct"), ("source_id", "count_distinct"), ("us", "sum")]
    )
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(counted.to_pylist(), key=lambda row: (order.get(row["split"], 3), row["identity_by"]))
