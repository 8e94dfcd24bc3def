"""The corpus: films of the puppet and the truth about them.

    OUT/videos/0007-hard-cut.mp4    25 fps H.264, 16 kHz mono AAC
    OUT/truth/<table>.parquet       sources, shots, measures (planted offset), signals, annotations, runs

The same seed gives the same pictures and the same bytes of truth, whatever the number of workers. A film is finished or
it is not there: a stopped run goes on where it was.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from xsheet import __version__
from xsheet.curate.media.reader import probe
from xsheet.curate.media.writer import write_clip
from xsheet.demo.film import truth
from xsheet.demo.film.plan import story
from xsheet.demo.film.render import pictures
from xsheet.runtime.executor import Committed, Execution, Item, Progress, Row, run
from xsheet.schemas import ids, tables
from xsheet.schemas.columns import Record
from xsheet.schemas.errors import RunError
from xsheet.schemas.source import Extra, SourceVideo
from xsheet.schemas.tables import Table, remove_leftovers

R = TypeVar("R", bound=Record)
TRUTH_TABLES: tuple[Table[Any], ...] = (
    tables.SOURCES, tables.SHOTS, tables.MEASURES, tables.SIGNALS, tables.ANNOTATIONS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Shoot:
    """One film to be made."""

    index: int
    seed: int
    size: int
    folder: Path


class Film:
    """The task: draw one film, write it, and give its truth."""

    name = "film"

    def __init__(self) -> None:
        self.stage = "story"

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """Source, shots, measures, signals and annotations of one film."""
        shoot: Shoot = item.payload
        self.stage = "story"
        told = story(shoot.index, seed=shoot.seed)
        path = shoot.folder / "videos" / told.name
        self.stage = "draw"
        write_clip(path, frames=pictures(told, size=shoot.size), sound=told.sound)
        self.stage = "truth"
        found = probe(path, root=shoot.folder)
        source = replace(
            found,
            path=f"videos/{told.name}",
            extra=(Extra(key="kind", value=told.kind), Extra(key="offset_frames", value=str(told.offset_frames))),
        )
        return [source, *truth.shots_of(told, source.source_id), *truth.rows_of(told, source.source_id)]


def make_corpus(
    out: Path, *, clips: int, seed: int, size: int, how: Execution, progress: Progress | None = None
) -> Committed:
    """Make the films that are missing, then write the tables of truth.

    Args:
        out: folder of the corpus; made where missing.
        clips: number of films, each of 4 to 15 s.
        seed: what all randomness follows from.
        size: height of the picture in pixels; a picture with two heads is twice as wide.
        how: how the work is carried out.
        progress: bar or log lines; None is silent.

    Raises:
        RunError: a film of an earlier run was removed, or the output cannot be written.
    """
    committed = run(Film(), _items(out, clips, seed, size), out=out, how=how, progress=progress)
    remove_leftovers(out / "videos")
    _check_present(out, committed)
    for table in TRUTH_TABLES:
        tables.write_file(truth_path(out, table), table, committed.rows(table.record))
    tables.write_file(truth_path(out, tables.RUNS), tables.RUNS, [truth.run_of(seed)])
    return committed


def truth_path(out: Path, table: Table[Any]) -> Path:
    """Where the truth of a corpus keeps a table."""
    return out / "truth" / f"{table.name}.parquet"


def read_truth(out: Path, table: Table[R]) -> list[R]:
    """The rows of a table of truth."""
    return list(tables.from_arrow(tables.read_file(truth_path(out, table), table), table))


def _items(out: Path, clips: int, seed: int, size: int) -> list[Item]:
    return [
        Item(
            # The index stands in front, so that rows come in the order of the films.
            key=f"{index:08x}" + ids.content_key("film", __version__, seed, index, size)[:40],
            name=f"film {index:04d}",
            payload=Shoot(index=index, seed=seed, size=size, folder=out.resolve()),
        )
        for index in range(clips)
    ]


def _check_present(out: Path, committed: Committed) -> None:
    missing = [path for path in _paths(committed) if not (out / path).is_file()]
    if missing:
        raise RunError(
            where=str(out),
            expected="the films that an earlier run made",
            came=f"{len(missing)} missing, the first is {missing[0]}",
            todo="choose a new folder, or remove this one and run again",
        )


def _paths(committed: Committed) -> Iterator[str]:
    return (source.path for source in committed.rows(SourceVideo))
