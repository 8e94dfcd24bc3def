"""Probe every input file once: one `sources` row per input, usable or not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xsheet import __version__
from xsheet.curate.discover import InputFile
from xsheet.curate.media.limits import MediaLimits
from xsheet.runtime.executor import Execution, Item, Outcome, Progress, RunResults, run_task
from xsheet.schemas import ids
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.source import SourceVideo


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePath:
    """Where an input lies and the folder it may not lead out of: absolute, for workers have folders of their own."""

    path: str
    root: Path


class ProbeTask:
    """Reads the facts of one input at a time. Holds settings only, so it pickles; the payload of an item is a Place."""

    name = "probe"

    def __init__(self, *, limits: MediaLimits | None = None, count_frames: bool = False) -> None:
        self.stage = "probe"
        self._limits = limits or MediaLimits()
        self._count_frames = count_frames

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> list[SourceVideo]:
        """One row.

        Raises:
            MediaError: the input cannot be used; the executor makes it a failed row.
        """
        from xsheet.curate.media.reader import probe  # noqa: PLC0415  # the driver that hands out the work needs no decoder

        place: SourcePath = item.payload
        return [probe(place.path, root=place.root, limits=self._limits, count_frames=self._count_frames)]


def probe_sources(
    inputs: Sequence[InputFile],
    *,
    out: Path,
    limits: MediaLimits,
    execution: Execution,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> list[SourceVideo]:
    """Probe files, one row for each in the order given.

    Returns:
        The rows: ok, or failed with stage, reason and message. Of files with the same bytes all but the first name it.
    """
    items = {item.key: item for item in (_item(one, limits) for one in inputs)}
    task = ProbeTask(limits=limits)
    committed = run_task(
        task, items.values(), out=out, execution=execution, retry_failed=retry_failed, progress=progress
    )
    found = {
        items[outcome.key].name: row
        for outcome in committed.outcomes()
        for row in _source_rows(outcome, committed, items)
    }
    return list(_mark_duplicates(replace(found[one.path], manifest_columns=one.manifest_columns) for one in inputs))


def source_path(input_file: InputFile) -> SourcePath:
    """Where workers find an input."""
    return SourcePath(path=str(Path(input_file.path).absolute()), root=input_file.root)


def with_outcome(source: SourceVideo, outcome: Outcome) -> SourceVideo:
    """The row of a source after a step that rejected or failed it."""
    return replace(source, status=outcome.status, stage=outcome.stage, reason=outcome.reason, message=outcome.message)


def _item(input_file: InputFile, limits: MediaLimits) -> Item:
    # Size and time stamp stand for the content: hashing belongs to the task, which reads the file anyway.
    try:
        found = Path(input_file.path).stat()
        content = [found.st_size, found.st_mtime_ns]
    except OSError:
        content = []
    place = source_path(input_file)
    key = ids.content_key("probe", __version__, place.path, str(place.root), content, settings_sha256(limits))
    return Item(key=key, name=input_file.path, payload=place)


def _source_rows(outcome: Outcome, committed: RunResults, items: dict[str, Item]) -> Iterator[SourceVideo]:
    path = items[outcome.key].name
    if outcome.status == "ok":
        yield from (replace(row, path=path) for row in committed.rows_of(outcome, SourceVideo))
    else:
        yield with_outcome(SourceVideo(source_id=ids.unreadable_source_id(path), path=path, status="ok"), outcome)


def _mark_duplicates(rows: Iterable[SourceVideo]) -> Iterator[SourceVideo]:
    first: dict[str, str] = {}
    for row in rows:
        original = row.path if row.sha256 is None else first.setdefault(row.sha256, row.path)
        yield row if original == row.path else replace(row, duplicate_of=original)
