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
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.runtime.executor import Execution, Item, Progress, Row, RunResults, run_task
from xsheet.schemas import ids, tables
from xsheet.schemas.columns import Record
from xsheet.schemas.errors import RunError
from xsheet.schemas.source import ManifestColumn, SourceVideo
from xsheet.schemas.tables import Table, remove_temporary_files

R = TypeVar("R", bound=Record)
TRUTH_TABLES: tuple[Table[Any], ...] = (
    tables.SOURCES, tables.SHOTS, tables.MEASURES, tables.SIGNALS, tables.ANNOTATIONS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmJob:
    """One film to be made."""

    index: int
    seed: int
    height_px: int
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
        shoot: FilmJob = item.payload
        self.stage = "story"
        told = plan_film(shoot.index, seed=shoot.seed)
        path = shoot.folder / "videos" / told.name
        self.stage = "draw"
        write_clip(path, frames=render_film(told, height_px=shoot.height_px), sound=told.sound)
        self.stage = "truth"
        found = probe(path, root=shoot.folder)
        source = replace(
            found,
            path=f"videos/{told.name}",
            manifest_columns=(
                ManifestColumn(key="kind", value=told.kind),
                ManifestColumn(key="offset_frames", value=str(told.offset_frames)),
            ),
        )
        return [source, *truth.truth_shots(told, source.source_id), *truth.truth_rows(told, source.source_id)]


def make_corpus(
    out: Path, *, films: int, seed: int, height_px: int, execution: Execution, progress: Progress | None = None
) -> RunResults:
    """Make the films that are missing, then write the tables of truth.

    Args:
        out: folder of the corpus; made where missing.
        films: number of films, each of 4 to 15 s.
        seed: what all randomness follows from.
        height_px: height of the picture in pixels; a picture with two heads is twice as wide.
        execution: how the work is carried out.
        progress: bar or log lines; None is silent.

    Raises:
        RunError: a film of an earlier run was removed, or the output cannot be written.
    """
    committed = run_task(Film(), _items(out, films, seed, height_px), out=out, execution=execution, progress=progress)
    remove_temporary_files(out / "videos")
    _check_present(out, committed)
    for table in TRUTH_TABLES:
        tables.write_file(truth_path(out, table), table, committed.rows(table.record))
    tables.write_file(truth_path(out, tables.RUNS), tables.RUNS, [truth.truth_run(seed)])
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
            payload=FilmJob(index=index, seed=seed, height_px=size, folder=out.resolve()),
        )
        for index in range(clips)
    ]


def _check_present(out: Path, committed: RunResults) -> None:
    missing = [path for path in _paths(committed) if not (out / path).is_file()]
    if missing:
        raise RunError(
            where=str(out),
            expected="the films that an earlier run made",
            got=f"{len(missing)} missing, the first is {missing[0]}",
            hint="choose a new folder, or remove this one and run again",
        )


def _paths(committed: RunResults) -> Iterator[str]:
    return (source.path for source in committed.rows(SourceVideo))
