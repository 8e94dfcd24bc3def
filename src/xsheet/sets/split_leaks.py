"""Clips of one source, person or file, or near duplicates, in more than one split."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xsheet.schemas.tables import CLIPS, NEAR_DUPLICATES, SPLITS, read_table

SplitLeakKind = Literal["source", "cluster", "near_duplicate", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLeak:
    """A source, cluster, near-duplicate group or file with clips in more than one split."""

    kind: SplitLeakKind
    key: str
    splits: tuple[str, ...]
    clips: int


def find_split_leaks(set_folder: Path) -> tuple[SplitLeak, ...]:
    """Sources, identity clusters, near-duplicate groups and files with clips in more than one split."""
    splits = read_table(set_folder, SPLITS, ("clip_id", "source_id", "cluster", "split")).to_pylist()
    files = read_table(set_folder, CLIPS, ("clip_id", "media_sha256")).to_pydict()
    groups = read_table(set_folder, NEAR_DUPLICATES, ("source_id", "other_id", "group")).to_pydict()
    file_of = dict(zip(files["clip_id"], files["media_sha256"], strict=True))
    group_of = {
        source: group
        for side in ("source_id", "other_id")
        for source, group in zip(groups[side], groups["group"], strict=True)
    }
    splits_by_key: dict[tuple[SplitLeakKind, str], list[str]] = defaultdict(list)
    for row in splits:
        splits_by_key["source", row["source_id"]].append(row["split"])
        splits_by_key["cluster", row["cluster"]].append(row["split"])
        if row["source_id"] in group_of:
            splits_by_key["near_duplicate", group_of[row["source_id"]]].append(row["split"])
        splits_by_key["file", file_of.get(row["clip_id"], row["clip_id"])].append(row["split"])
    return tuple(
        SplitLeak(kind=kind, key=key, splits=tuple(sorted(set(names))), clips=len(names))
        for (kind, key), names in sorted(splits_by_key.items())
        if len(set(names)) > 1
    )
