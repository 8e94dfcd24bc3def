"""Groups of near-duplicate sources with their evidence, and the totals of each split."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from xsheet.pages.clips import source_paths
from xsheet.schemas import tables
from xsheet.schemas.source import NearDuplicate
from xsheet.schemas.time import CLIP_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePair:
    """A match between two sources of a group."""

    path: str
    other_path: str
    modality: str
    matched_s: float
    bit_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Sources connected by matches."""

    source_count: int
    pairs: tuple[DuplicatePair, ...]


def duplicate_groups(set_folder: Path) -> list[DuplicateGroup]:
    """Groups of near duplicates, the largest first."""
    found: dict[str, list[NearDuplicate]] = defaultdict(list)
    for row in tables.iter_records(set_folder, tables.NEAR_DUPLICATES):
        found[row.group].append(row)
    names = source_paths(
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


def _duplicate_pair(row: NearDuplicate, names: Mapping[str, str]) -> DuplicatePair:
    return DuplicatePair(
        path=names.get(row.source_id, row.source_id),
        other_path=names.get(row.other_id, row.other_id),
        modality=row.by,
        matched_s=row.matched_frames / float(CLIP_RATE),
        bit_error=row.bit_error,
    )


def split_rows(set_folder: Path) -> list[dict[str, Any]]:
    """Clips, clusters, sources and duration of each split; empty for a set without splits."""
    rows = tables.read_table(set_folder, tables.SPLITS)
    clips = tables.read_table(set_folder, tables.CLIPS, ["clip_id", "start_us", "end_us"])
    duration_us = pc.subtract(clips["end_us"], clips["start_us"])
    place = pc.index_in(rows["clip_id"], value_set=clips["clip_id"].combine_chunks())
    known = rows.append_column("us", pc.fill_null(duration_us.take(place), 0))
    counted = known.group_by(["split", "identity_by"]).aggregate(
        [("clip_id", "count"), ("cluster", "count_distinct"), ("source_id", "count_distinct"), ("us", "sum")]
    )
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(counted.to_pylist(), key=lambda row: (order.get(row["split"], 3), row["identity_by"]))
