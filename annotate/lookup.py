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
class Found:
    """A clip, its signals, and what one layer says of it."""

    clip: Clip
    signals: Signals
    annotation: Annotation


def clip_with(set_folder: Path, begins: str, layer: LayerRun) -> Found:
    """The one clip whose id begins so; of several samples the first.

    Raises:
        ConfigError: no clip, or more than one; or the layer says nothing of it.
    """
    known = tables.read_table(set_folder, tables.CLIPS, ["clip_id"])["clip_id"].to_pylist()
    named = [clip_id for clip_id in known if clip_id.startswith(begins)]
    if len(named) != 1:
        raise ConfigError(
            where=f"clip {begins!r} of {set_folder}",
            expected="the beginning of one clip's id",
            came=f"{len(named)}: {', '.join(named[:5])}" if named else f"none of {len(known)}",
            todo="give more of the id" if named else "choose one of table clips",
        )
    (clip_id,) = named
    clip = _row(tables.part_files(set_folder, tables.CLIPS), tables.CLIPS, clip_id)
    signals = _row(tables.part_files(set_folder, tables.SIGNALS), tables.SIGNALS, clip_id)
    annotation = _row(layer.files, tables.ANNOTATIONS, clip_id)
    if clip is None or signals is None or annotation is None:
        raise ConfigError(
            where=f"clip {clip_id} of {set_folder}",
            expected=f"a row in {layer}" if signals else "signals",
            came="none",
            todo="choose another layer" if signals else "run `xsheet curate run` again",
        )
    return Found(clip=clip, signals=signals, annotation=annotation)


class SignalsOf:
    """Signals by clip, for readers that go through a layer: clips of one shard lie together, so few reads serve many.

    A slice of rows is kept, about 10 MB; a reader that jumps about pays a read of a row group for each jump.
    """

    def __init__(self, set_folder: Path, *, rows: int = 64) -> None:
        self._rows = rows
        self._places = {
            clip_id: (file, row)
            for file in tables.part_files(set_folder, tables.SIGNALS)
            for row, clip_id in enumerate(tables.read_file(file, tables.SIGNALS, ["clip_id"])["clip_id"].to_pylist())
        }
        self._kept: dict[str, Signals] = {}

    def __call__(self, clip_id: str) -> Signals | None:
        """The signals of a clip; None where the set has none."""
        if clip_id not in self._kept and (place := self._places.get(clip_id)) is not None:
            file, row = place
            start = row - row % self._rows
            count: int = pq.read_metadata(file).num_rows
            rows = range(start, min(start + self._rows, count))
            found = tables.from_arrow(tables.read_slice(file, tables.SIGNALS, rows), tables.SIGNALS)
            self._kept = {one.clip_id: one for one in found}
        return self._kept.get(clip_id)


def _row(files: Any, table: tables.Table[Any], clip_id: str) -> Any:
    for file in files:
        names = tables.read_file(file, table, ["clip_id"])["clip_id"].to_pylist()
        if clip_id in names:
            at = names.index(clip_id)
            return tables.from_arrow(tables.read_slice(file, table, range(at, at + 1)), table)[0]
    return None
