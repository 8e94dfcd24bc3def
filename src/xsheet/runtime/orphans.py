"""Orphans: files of a set that no table row refers to; find and remove them.

temporary file           a killed writer left it
media without a row      a clip that no row of `clips` names: its limits changed, or its run was stopped
tensors without a row    an entry of a cache that no row of `features` names
features without a cache rows of `features` whose description or tensors are gone
superseded layer         an annotation layer with a newer one of the same name and producer, that nothing refers to

The stored result that refers to a file is removed with it, so that the next run makes both again. Source videos are
outside the set and are never touched, nor is anything else that a link in the set points to.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xsheet.runtime.result_store import ResultStore
from xsheet.runtime.segments import MAX_TENSOR_SEGMENT_BYTES, SegmentStore
from xsheet.schemas import tables
from xsheet.schemas.layers import LayerRun, list_layers
from xsheet.schemas.sets import open_set
from xsheet.schemas.tables import CLIPS, FEATURES, FINDINGS, REVIEWS, RUNS

OrphanKind = Literal[
    "temporary file",
    "media without a row",
    "tensors without a row",
    "features without a cache",
    "superseded layer",
]
_NAMED_FILE = re.compile(rb'"(?:media_path|tensor_entry)":"([^"]+)"')
_DERIVED_LAYERS = ("raw", "normalised", "consensus", "accepted")  # computed again by a command; people made the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One file, relative to the set."""

    kind: OrphanKind
    path: str
    size_bytes: int


def find_orphans(set_folder: Path) -> list[Orphan]:
    """Find all orphans; changes nothing. The path of a cache entry is its folder and its key.

    Call it while no other process writes to the set.

    Raises:
        ContractError: no set, or a table that cannot be read.
    """
    open_set(set_folder)
    layers = list_layers(set_folder)
    found: dict[OrphanKind, Iterable[Path]] = {
        "temporary file": (path for path in set_folder.rglob(".*.tmp*") if path.is_file()),
        "media without a row": _media_without_a_row(set_folder),
        "features without a cache": _features_without_cache(set_folder),
        "superseded layer": _files_of_layers(set_folder, layers, _superseded(set_folder, layers)),
    }
    files = [
        Orphan(kind=kind, path=path.relative_to(set_folder).as_posix(), size_bytes=path.lstat().st_size)
        for kind, paths in found.items()
        for path in sorted(set(paths))
    ]
    files += sorted(_tensors_without_a_row(set_folder), key=lambda orphan: orphan.path)
    root = set_folder.resolve()  # a folder of a set that somebody else made may be a link to any place
    return [orphan for orphan in files if (set_folder / orphan.path).parent.resolve().is_relative_to(root)]


def remove_orphans(set_folder: Path, orphans: Sequence[Orphan]) -> None:
    """Remove the files, and the stored results that name them; the caller holds the lock of the set.

    Raises:
        OSError: a file cannot be removed; the others may be gone.
    """
    paths = {orphan.path for orphan in orphans}
    entries = [set_folder / orphan.path for orphan in orphans if orphan.kind == "tensors without a row"]
    for task in ("export", "cache"):
        results = ResultStore(set_folder, task)
        results.compact(without=[key for key in results if paths & _named_files(results.lines(key))])
    for folder in {entry.parent for entry in entries}:
        _tensor_segments(folder).compact(without=[entry.name for entry in entries if entry.parent == folder])
    for path in sorted(paths):
        (set_folder / path).unlink(missing_ok=True)


def _media_without_a_row(set_folder: Path) -> Iterator[Path]:
    """Clips without a row in `clips`; none if the table does not exist yet, because then a run is unfinished."""
    if not tables.part_files(set_folder, CLIPS):
        return
    named = set(tables.read_table(set_folder, CLIPS, ["media_path"])["media_path"].to_pylist())
    for path in (set_folder / "media").rglob("*"):
        name = path.relative_to(set_folder).as_posix()
        if path.is_file() and not path.name.startswith(".") and name not in named:
            yield path


def _tensors_without_a_row(set_folder: Path) -> Iterator[Orphan]:
    """Cache entries without a row in `features`."""
    if not tables.part_files(set_folder, FEATURES):
        return
    named = set(tables.read_table(set_folder, FEATURES, ["tensor_entry"])["tensor_entry"].to_pylist())
    for folder in set_folder.glob("cache/clips-*"):
        for key, size in _tensor_segments(folder).records():
            path = (folder / key).relative_to(set_folder).as_posix()
            if path not in named:
                yield Orphan(kind="tensors without a row", path=path, size_bytes=size)


def _tensor_segments(folder: Path) -> SegmentStore:
    return SegmentStore(folder, max_segment_bytes=MAX_TENSOR_SEGMENT_BYTES)


def _features_without_cache(set_folder: Path) -> Iterator[Path]:
    for part in tables.part_files(set_folder, FEATURES):
        rows = tables.read_file(part, FEATURES, ["fingerprint", "tensor_entry"]).to_pylist()
        specs = {row["fingerprint"][:16] for row in rows}
        entries = {set_folder / row["tensor_entry"] for row in rows}
        segments = {folder: _tensor_segments(folder) for folder in {entry.parent for entry in entries}}
        described = all((set_folder / "cache" / f"{spec}.json").is_file() for spec in specs)
        if not described or not all(entry.name in segments[entry.parent] for entry in entries):
            yield part


def _superseded(set_folder: Path, layers: Sequence[LayerRun]) -> list[LayerRun]:
    """Derived layers with a newer one of the same name and producer, except those that another layer refers to."""
    newest: dict[tuple[str, str], LayerRun] = {}
    for layer in layers:
        key = layer.layer, layer.producer
        if key not in newest or _written(layer) > _written(newest[key]):
            newest[key] = layer
    kept = [layer for layer in layers if layer.layer not in _DERIVED_LAYERS or layer in newest.values()]
    needed_runs = _with_parents({layer.run.run_id for layer in kept}, layers)
    needed_rows = {
        value
        for table in (REVIEWS, FEATURES)
        for value in tables.read_table(set_folder, table, ["annotation_id"])["annotation_id"].to_pylist()
    }
    old = [layer for layer in layers if layer not in kept and layer.run.run_id not in needed_runs]
    return [layer for layer in old if not any(row.annotation_id in needed_rows for row in layer.read())]


def _with_parents(run_ids: set[str], layers: Sequence[LayerRun]) -> set[str]:
    parents = {layer.run.run_id: layer.run.parent_run_ids for layer in layers}
    found, todo = set[str](), list(run_ids)
    while todo:
        run_id = todo.pop()
        if run_id not in found:
            found.add(run_id)
            todo += parents.get(run_id, ())
    return found


def _files_of_layers(set_folder: Path, layers: Sequence[LayerRun], old: Sequence[LayerRun]) -> Iterator[Path]:
    """Files of layers: annotations, runs that no other layer shares, and findings of audits of those runs alone."""
    gone = {layer.run.run_id for layer in old} - {layer.run.run_id for layer in layers if layer not in old}
    for layer in old:
        yield from layer.files
    audits = {
        run.run_id
        for run in tables.iter_records(set_folder, RUNS)
        if run.kind == "audit" and run.parent_run_ids and gone.issuperset(run.parent_run_ids)
    } - {layer.run.run_id for layer in layers}
    for run_id in gone | audits:
        yield from (set_folder / RUNS.name).glob(f"part-{run_id}-*.parquet")
    for run_id in audits:
        yield from (set_folder / FINDINGS.name).glob(f"part-{run_id}-*.parquet")


def _written(layer: LayerRun) -> float:
    return max(file.stat().st_mtime for file in layer.files)


def _named_files(lines: Iterable[bytes]) -> set[str]:
    return {name.decode() for line in lines for name in _NAMED_FILE.findall(line)}
