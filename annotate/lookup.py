"""One clip of a set with all that a sheet shows of it, found by how its id begins; nothing else is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def _row(files: Any, table: tables.Table[Any], clip_id: str) -> Any:
    for file in files:
        names = tables.read_file(file, table, ["clip_id"])["clip_id"].to_pylist()
        if clip_id in names:
            at = names.index(clip_id)
            return tables.from_arrow(tables.read_slice(file, table, range(at, at + 1)), table)[0]
    return None
