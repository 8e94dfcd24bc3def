"""File names behind clip ids, and links from a page to the clips of a set."""

# pyarrow.compute creates its functions at import time, invisible to type checkers.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.schemas import tables
from xsheet.schemas.tables import Table


def source_paths(set_folder: Path, source_ids: Collection[str]) -> Mapping[str, str]:
    """Path of each source as the user gave it; for files with equal bytes, the measured one."""
    rows = tables.read_table(set_folder, tables.SOURCES, ["source_id", "path", "duplicate_of"])
    chosen = rows.filter(
        pc.and_(pc.is_in(rows["source_id"], value_set=_strings(source_ids)), pc.is_null(rows["duplicate_of"]))
    )
    return dict(zip(chosen["source_id"].to_pylist(), chosen["path"].to_pylist(), strict=True))


def file_names(set_folder: Path, clip_ids: Collection[str], *, table: Table[Any] = tables.CLIPS) -> Mapping[str, str]:
    """File name of the source of each clip, without its folder; a clip of an unknown source has no entry.

    Args:
        set_folder: the set.
        clip_ids: the clips.
        table: where the clips are looked up, CLIPS or MEASURES.
    """
    rows = tables.read_table(set_folder, table, ["clip_id", "source_id"])
    chosen = rows.filter(pc.is_in(rows["clip_id"], value_set=_strings(clip_ids)))
    sources = dict(zip(chosen["clip_id"].to_pylist(), chosen["source_id"].to_pylist(), strict=True))
    paths = source_paths(set_folder, set(sources.values()))
    return {clip_id: file_name(paths[source_id]) for clip_id, source_id in sources.items() if source_id in paths}


def file_name(path: str) -> str:
    """Last part of a path or address."""
    return path.rstrip("/").rpartition("/")[2]


def clip_link(set_folder: Path, media_path: str, page: Path) -> str | None:
    """Relative link from a page to a clip; None if the page is outside the set, which may be moved without it."""
    root, folder = set_folder.resolve(), page.resolve().parent
    if not folder.is_relative_to(root):
        return None
    up = len(folder.relative_to(root).parts)
    # "./" prevents a path such as "a:b" from being read as a URL scheme.
    return (up * "../" or "./") + quote(media_path)


def _strings(values: Collection[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())
