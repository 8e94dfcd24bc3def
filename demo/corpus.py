"""Write the corpus: films of the puppet and their ground truth.

    OUT/videos/0007-hard-cut.mp4    25 fps H.264, 16 kHz mono AAC
    OUT/truth/<table>.parquet       sources, shots, measures (planted offset), signals, annotations, runs

The same seed gives the same pictures and the same bytes of ground truth, whatever the number of workers. Films are
written atomically, so an interrupted run resumes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from xsheet import __version__
from xsheet.curate.media.reader import probe
from xsheet.curate.media.writer import write_clip
from xsheet.demo.film import truth
from xsheet.demo.film.plan import plan_film, with_arms_in_picture
from xsheet.demo.film.render import render_film
from xsheet.runtime.executor import Execution, Item, Progress, Row, RunResults, run_task
from xsheet.runtime.lock import write_lock
from xsheet.schemas import ids, tables
from xsheet.schemas.columns import Record
from xsheet.schemas.errors import RunError
from xsheet.schemas.files import remove_temporary_files
from xsheet.schemas.source import ManifestColumn, SourceVideo
from xsheet.schemas.tables import Table

R = TypeVar("R", bound=Record)
TRUTH_TABLES: tuple[Table[Any], ...] = (
    tables.SOURCES, tables.SHOTS, tables.MEASURES, tables.SIGNALS, tables.ANNOTATIONS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmJob:
    """Parameters of one film."""

    index: int
    seed: int
    height_px: int
    folder: Path


class Film:
    """Task: render one film, write it, return its ground truth."""

    name = "film"

    def __init__(self) -> None:
        self.stage = "plan"

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """Return source, shots, measures, signals and annotations of one film."""
        job: FilmJob = item.payload
        self.stage = "plan"
        plan = with_arms_in_picture(plan_film(job.index, seed=job.seed))
        path = job.folder / "videos" / plan.name
        self.stage = "render"
        write_clip(path, frames=render_film(plan, height_px=job.height_px), sound=plan.sound)
        self.stage = "truth"
        source = replace(
            probe(path, root=job.folder),
            path=f"videos/{plan.name}",
            manifest_columns=(
                ManifestColumn(key="kind", value=plan.kind),
                ManifestColumn(key="offset_frames", value=str(plan.offset_frames)),
            ),
        )
        return [source, *truth.truth_shots(plan, source.source_id), *truth.truth_rows(plan, source.source_id)]


def make_corpus(
    out: Path, *, films: int, seed: int, height_px: int, execution: Execution, progress: Progress | None = None
) -> RunResults:
    """Make the missing films, then write the truth tables.

    Args:
        out: folder of the corpus; created if missing.
        films: number of films, each of 4 to 15 s.
        seed: seed of all randomness.
        height_px: picture height in pixels; a picture with two puppets is twice as wide, one that shows the arms twice
            as high and wide.
        execution: workers.
        progress: progress display; None for none.

    Raises:
        RunError: a film of an earlier run is missing, or the output cannot be written.
    """
    with write_lock(out):
        results = run_task(Film(), _items(out, films, seed, height_px), out=out, execution=execution, progress=progress)
        remove_temporary_files(out / "videos")
        _check_present(out, results)
        for table in TRUTH_TABLES:
            tables.write_file(truth_path(out, table), table, results.rows(table.record))
        tables.write_file(truth_path(out, tables.RUNS), tables.RUNS, [truth.truth_run(seed)])
        return results


def truth_path(out: Path, table: Table[Any]) -> Path:
    """Return the file of a truth table."""
    return out / "truth" / f"{table.name}.parquet"


def read_truth(out: Path, table: Table[R]) -> list[R]:
    """Read the rows of a truth table."""
    return list(tables.from_arrow(tables.read_file(truth_path(out, table), table), table))


def _items(out: Path, films: int, seed: int, height_px: int) -> list[Item]:
    return [
        Item(
            # The index comes first, so that rows are in film order.
            key=f"{index:08x}" + ids.content_key("film", __version__, seed, index, height_px)[:40],
            name=f"film {index:04d}",
            payload=FilmJob(index=index, seed=seed, height_px=height_px, folder=out.resolve()),
        )
        for index in range(films)
    ]


def _check_present(out: Path, results: RunResults) -> None:
    missing = [path for path in _paths(results) if not (out / path).is_file()]
    if missing:
        raise RunError(
            where=str(out),
            expected="the films of an earlier run",
            got=f"{len(missing)} missing, the first is {missing[0]}",
            hint="choose a new folder, or delete this one and run again",
        )


def _paths(results: RunResults) -> Iterator[str]:
    return (source.path for source in results.rows(SourceVideo))
