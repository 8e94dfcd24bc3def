"""Copy parts of a set: tables filtered by key, layers by clip, media with their hash checked."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from xsheet.runtime.lock import new_folder_lock
from xsheet.schemas import ids, tables
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ContractError
from xsheet.schemas.files import atomic_path
from xsheet.schemas.sets import SET_FILE, describe_set
from xsheet.schemas.tables import TABLES, Table

TABLE_KEYS: tuple[tuple[Table[Any], tuple[str, ...]], ...] = (
    (tables.SOURCES, ("source_id", "path")), (tables.TIMELINES, ("source_id",)), (tables.TRACKS, ("track_id",)),
    (tables.FINGERPRINTS, ("source_id",)), (tables.SHOTS, ("shot_id",)), (tables.MEASURES, ("clip_id",)),
    (tables.VERDICTS, ("clip_id",)), (tables.CLIPS, ("clip_id",)), (tables.SIGNALS, ("clip_id",)),
    (tables.WORDS, ("clip_id",)),
)  # fmt: skip
"""Tables of measurements and words with the columns that identify a row."""


SET_CONTENT = (SET_FILE, "media", "manifests", *(table.name for table in TABLES), ".*.tmp*")
"""Names of what a new set consists of."""


@contextmanager
def new_set(out: Path, name: str) -> Iterator[None]:
    """Hold the lock of a new set while the block fills it; set.json is written last, so that half a set is none.

    Raises:
        ConfigError: the folder has other content; nothing was changed.
        RunError: another command writes to the folder, or it cannot be written.
    """
    with new_folder_lock(out, content=SET_CONTENT):
        yield
        describe_set(out, name)


def filtered_parts(set_folder: Path, table: Table[Any], keep: Callable[[pa.Table], list[bool]]) -> Iterator[pa.Table]:
    """The parts of a table with the rows that `keep` selects; parts without any are left out."""
    for path in tables.part_files(set_folder, table):
        rows = tables.read_file(path, table)
        chosen = rows.filter(pa.array(keep(rows), pa.bool_()))
        if chosen.num_rows:
            yield chosen.cast(tables.arrow_schema(table))


def copy_media(set_folder: Path, out: Path, clips: Iterable[Clip]) -> int:
    """Copy the files of clips; returns their size in bytes.

    Raises:
        ContractError: a file is missing or does not match its hash.
    """
    size = 0
    for clip in clips:
        source, target = set_folder / clip.media_path, out / clip.media_path
        if not source.is_file():
            raise _wrong_media(source, clip, "no file")
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
            if ids.file_sha256(temporary) != clip.media_sha256:
                raise _wrong_media(source, clip, "another file")
            size += temporary.stat().st_size
    return size


def _wrong_media(path: Path, clip: Clip, got: str) -> ContractError:
    return ContractError(
        where=str(path), expected=f"the file of {clip.clip_id} with hash {clip.media_sha256[:12]}", got=got,
        hint="check the set with `xsheet schemas check --hash-media`",
    )  # fmt: skip
