"""The table of sources: every input file probed once, as a row, whatever it is."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from xsheet import __version__
from xsheet.curate.limits import MediaLimits
from xsheet.curate.probe_task import ProbeTask
from xsheet.execute import Committed, Execution, Item, Progress, run
from xsheet.schemas import ids, tables
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.source import SourceVideo


def probe_sources(
    paths: Iterable[Path],
    *,
    root: Path,
    set_folder: Path,
    limits: MediaLimits,
    how: Execution,
    progress: Progress | None = None,
) -> list[SourceVideo]:
    """Probe files and write the table `sources`, one row per path in the order of paths.

    Args:
        paths: files, absolute or from the working directory; a path given twice is one row.
        root: folder that no path may lead out of.
        set_folder: the set that gets the table.
        limits: what a header may declare before it is refused.
        how: how the work is carried out.
        progress: bar or log lines; None is silent.

    Returns:
        The rows: ok, or failed with stage, reason and message. Of files with the same bytes all but the first name it.
    """
    root = root.resolve()  # workers run in folders of their own
    given = sorted(set(map(str, paths)))
    items = {item.key: item for item in (_item(path, root, limits) for path in given)}
    task = ProbeTask(root=root, limits=limits)
    committed = run(task, items.values(), out=set_folder, how=how, progress=progress)
    rows = list(_with_duplicates(sorted(_rows(committed, items), key=lambda row: row.path)))
    tables.write_table(set_folder, tables.SOURCES, rows)
    return rows


def _item(path: str, root: Path, limits: MediaLimits) -> Item:
    # Size and time stamp stand for the content: hashing belongs to the task, which reads the file anyway.
    try:
        found = Path(path).stat()
        content = [found.st_size, found.st_mtime_ns]
    except OSError:
        content = []
    key = ids.content_key("probe", __version__, path, content, str(root), settings_sha256(limits))
    return Item(key=key, name=path, payload=str(Path(path).absolute()))


def _rows(committed: Committed, items: dict[str, Item]) -> Iterator[SourceVideo]:
    for outcome in committed.outcomes():
        path = items[outcome.key].name
        if outcome.status == "ok":
            yield from (replace(row, path=path) for row in committed.rows_of(outcome, SourceVideo))
        else:
            yield SourceVideo(
                source_id=ids.unread_source_id(path),
                path=path,
                status=outcome.status,
                stage=outcome.stage,
                reason=outcome.reason,
                message=outcome.message,
            )


def _with_duplicates(rows: Iterable[SourceVideo]) -> Iterator[SourceVideo]:
    first: dict[str, str] = {}
    for row in rows:
        if row.sha256 is None:
            yield row
            continue
        original = first.setdefault(row.sha256, row.path)
        yield row if original == row.path else replace(row, duplicate_of=original)
