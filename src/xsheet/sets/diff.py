"""What differs between two sets: sources, clips, media, verdicts, splits and layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xsheet.schemas import tables
from xsheet.schemas.layers import list_layers
from xsheet.schemas.sets import open_set


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedDifference:
    """Differences of one kind of item, by id."""

    kind: str  # sources, clips, verdicts, splits, or a layer
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    changed: tuple[str, ...]  # in both, with another content
    same: int


def diff_sets(first: Path, second: Path) -> list[KeyedDifference]:
    """Compare two sets by id.

    Raises:
        ContractError: one is no set.
    """
    for folder in (first, second):
        open_set(folder)
    a, b = _contents(first), _contents(second)
    return [_difference(kind, a.get(kind, {}), b.get(kind, {})) for kind in dict.fromkeys((*a, *b))]


def _contents(folder: Path) -> dict[str, dict[str, str]]:
    """Per kind: id → what is compared."""
    found: dict[str, dict[str, str]] = {
        "sources": {row.source_id: row.status for row in tables.iter_records(folder, tables.SOURCES)},
        "clips": {row.clip_id: row.media_sha256 for row in tables.iter_records(folder, tables.CLIPS)},
        "verdicts": {
            row.clip_id: " ".join(row.reasons) or "kept" for row in tables.iter_records(folder, tables.VERDICTS)
        },
        "splits": {row.clip_id: row.split for row in tables.iter_records(folder, tables.SPLITS)},
    }
    for layer in list_layers(folder):
        rows = found.setdefault(f"layer {layer.layer}", {})
        for row in layer.read():
            key = f"{row.clip_id} {layer.producer}" + ("" if row.sample_index is None else f" {row.sample_index}")
            rows[key] = row.annotation_id
    return found


def _difference(kind: str, first: Mapping[str, str], second: Mapping[str, str]) -> KeyedDifference:
    both = sorted(first.keys() & second.keys())
    changed = tuple(key for key in both if first[key] != second[key])
    return KeyedDifference(
        kind=kind,
        only_first=tuple(sorted(first.keys() - second.keys())),
        only_second=tuple(sorted(second.keys() - first.keys())),
        changed=changed,
        same=len(both) - len(changed),
    )
