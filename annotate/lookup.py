"""Rows of a set by clip: one clip with all that a sheet shows of it, or the signals of one clip after the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedClip:
    """A clip, its signals, and what one layer says of it."""

    clip: Clip
    signals: Signals
    annotation: Annotation


def find_clip(set_folder: Path, id_prefix: str, layer: LayerRun) -> AnnotatedClip:
    """The one clip whose id begins so; of several samples the first.

    Raises:
        ConfigError: no clip, or more than one; or the layer says nothing of it.
    """
    known = tables.read_table(set_folder, tables.CLIPS, ["clip_id"])["clip_id"].to_pylist()
    named = [clip_id for clip_id in known if clip_id.startswith(id_prefix)]
    if len(named) != 1:
        raise ConfigError(
            where=f"clip {id_prefix!r} of {set_folder}",
            expected="the beginning of one clip's id",
            got=f"{len(named)}: {', '.join(named[:5])}" if named else f"none of {len(known)}",
            hint="give more of the id" if named else "choose one of table clips",
        )
    (clip_id,) = named
    clip = _find_row(tables.part_files(set_folder, tables.CLIPS), tables.CLIPS, clip_id)
    signals = _find_row(tables.part_files(set_folder, tables.SIGNALS), tables.SIGNALS, clip_id)
    annotation = _find_row(layer.files, tables.ANNOTATIONS, clip_id)
    if clip is None or signals is None or annotation is None:
        raise ConfigError(
            where=f"clip {clip_id} of {set_folder}",
            expected=f"a row in {layer}" if signals else "signals",
            got="none",
            hint="choose another layer" if signals else "run `xsheet curate run` again",
        )
    return AnnotatedClip(clip=clip, signals=signals, annotation=annotation)


class SignalsLookup:
    """Signals by clip, for readers that go through a layer: clips of one shard lie together, so few reads serve many.

    A slice of rows is kept, about 10 MB; a reader that jumps about pays a read of a row group for each jump.
    """

    def __init__(self, set_folder: Path, *, rows: int = 64) -> None:
        self._rows = rows
        self._locations = {
            clip_id: (file, row)
            for file in tables.part_files(set_folder, tables.SIGNALS)
            for row, clip_id in enumerate(tables.read_file(file, tables.SIGNALS, ["clip_id"])["clip_id"].to_pylist())
        }
        self._cached: dict[str, Signals] = {}

    def __call__(self, clip_id: str) -> Signals | None:
        """The signals of a clip; None where the set has none."""
        if clip_id not in self._cached and (place := self._locations.get(clip_id)) is not None:
            file, row = place
            start = row - row % self._rows
            count: int = pq.read_metadata(file).num_rows
            rows = range(start, min(start + self._rows, count))
            found = tables.from_arrow(tables.read_slice(file, tables.SIGNALS, rows), tables.SIGNALS)
            self._cached = {one.clip_id: one for one in found}
        return self._cached.get(clip_id)


def _find_row(files: Any, table: tables.Table[Any], clip_id: str) -> Any:
    for file in files:
        names = tables.read_file(file, table, ["clip_id"])["clip_id"].to_pylist()
        if clip_id in names:
            at = names.index(clip_id)
            return tables.from_arrow(tables.read_slice(file, table, range(at, at + 1)), table)[0]
    return None
