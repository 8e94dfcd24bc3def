"""The table of sources: every input file probed once, as a row, whatever it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from xsheet import __version__
from xsheet.curate.discover import Given
from xsheet.curate.media.limits import MediaLimits
from xsheet.curate.tasks.probe import Place, ProbeTask
from xsheet.runtime.executor import Committed, Execution, Item, Outcome, Progress, run
from xsheet.schemas import ids
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.source import SourceVideo


def probe_sources(
    given: Sequence[Given],
    *,
    out: Path,
    limits: MediaLimits,
    how: Execution,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> list[SourceVideo]:
    """Probe files, one row for each in the order given.

    Returns:
        The rows: ok, or failed with stage, reason and message. Of files with the same bytes all but the first name it.
    """
    items = {item.key: item for item in (_item(one, limits) for one in given)}
    task = ProbeTask(limits=limits)
    committed = run(task, items.values(), out=out, how=how, retry_failed=retry_failed, progress=progress)
    found = {
        items[outcome.key].name: row for outcome in committed.outcomes() for row in _rows(outcome, committed, items)
    }
    return list(_with_duplicates(replace(found[one.path], extra=one.extra) for one in given))


def place_of(one: Given) -> Place:
    """Where workers find an input."""
    return Place(path=str(Path(one.path).absolute()), root=one.root)


def as_failed(source: SourceVideo, outcome: Outcome) -> SourceVideo:
    """The row of a source after a step that rejected or failed it."""
    return replace(source, status=outcome.status, stage=outcome.stage, reason=outcome.reason, message=outcome.message)


def _item(one: Given, limits: MediaLimits) -> Item:
    # Size and time stamp stand for the content: hashing belongs to the task, which reads the file anyway.
    try:
        found = Path(one.path).stat()
        content = [found.st_size, found.st_mtime_ns]
    except OSError:
        content = []
    place = place_of(one)
    key = ids.content_key("probe", __version__, place.path, str(place.root), content, settings_sha256(limits))
    return Item(key=key, name=one.path, payload=place)


def _rows(outcome: Outcome, committed: Committed, items: dict[str, Item]) -> Iterator[SourceVideo]:
    path = items[outcome.key].name
    if outcome.status == "ok":
        yield from (replace(row, path=path) for row in committed.rows_of(outcome, SourceVideo))
    else:
        yield as_failed(SourceVideo(source_id=ids.unread_source_id(path), path=path, status="ok"), outcome)


def _with_duplicates(rows: Iterable[SourceVideo]) -> Iterator[SourceVideo]:
    first: dict[str, str] = {}
    for row in rows:
        original = row.path if row.sha256 is None else first.setdefault(row.sha256, row.path)
        yield row if original == row.path else replace(row, duplicate_of=original)
