"""Rows of a set by clip: one clip with its signals and annotation, or signals clip by clip."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xsheet.schemas import tables
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedClip:
    """A clip, its signals, and its annotation in one layer."""

    clip: Clip
    signals: Signals
    annotation: Annotation


def find_clip(set_folder: Path, id_prefix: str, layer: LayerRun) -> AnnotatedClip:
    """The one clip whose id starts with a prefix; the first sample if the layer has several.

    Raises:
        ConfigError: no clip or more than one has the prefix, or the layer has no row for it.
    """
    clip_ids = tables.read_table(set_folder, tables.CLIPS, ["clip_id"])["clip_id"].to_pylist()
    matches = [clip_id for clip_id in clip_ids if clip_id.startswith(id_prefix)]
    if len(matches) != 1:
        raise ConfigError(
            where=f"clip {id_prefix!r} of {set_folder}",
            expected="a prefix of one clip's id",
            got=f"{len(matches)}: {', '.join(matches[:5])}" if matches else f"none of {len(clip_ids)}",
            hint="give a longer prefix" if matches else "choose an id of table clips",
        )
    (clip_id,) = matches
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
    """Signals by clip, for readers that iterate over a layer: clips of one batch are adjacent, so reads are few.

    One slice of rows is cached, about 10 MB; random access reads a row group per call.
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
        """The signals of a clip, or None."""
        if clip_id not in self._cached and (location := self._locations.get(clip_id)) is not None:
            file, row = location
            start = row - row % self._rows
            count: int = tables.read_footer(file).num_rows
            rows = range(start, min(start + self._rows, count))
            records = tables.from_arrow(tables.read_slice(file, tables.SIGNALS, rows), tables.SIGNALS)
            self._cached = {signals.clip_id: signals for signals in records}
        return self._cached.get(clip_id)


def _find_row(files: Any, table: tables.Table[Any], clip_id: str) -> Any:
    for file in files:
        names = tables.read_file(file, table, ["clip_id"])["clip_id"].to_pylist()
        if clip_id in names:
            row = names.index(clip_id)
            return tables.from_arrow(tables.read_slice(file, table, range(row, row + 1)), table)[0]
    return None
