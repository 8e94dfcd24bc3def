"""Store of finished items: appended by their workers to segment files, read in the order of keys.

    OUT/.commits/<task>/*.seg, index    one record per item: xsheet.runtime.segments
    OUT/.commits/<task>/scratch/        folders of live workers; emptied when a run begins

The body of a record is a line with the outcome, a line per row, and for a failure its log: the traceback, or the end of
the worker's stderr. A result is stored completely or not at all, so tables do not depend on the order of completion or
on killed runs. At the end of a run, the segments of its workers are merged.
"""

import functools
import json
import logging
import re
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass

from xsheet.runtime.segments import SegmentStore
from xsheet.runtime.task import Outcome, Row
from xsheet.schemas.errors import RunError
from xsheet.schemas.files import decode_json
from xsheet.schemas.source import ItemStatus

log = logging.getLogger(__name__)

MAX_RESULT_BYTES = 1 << 30
"""More bytes mean pixels or a bug: an hour takes 9 MB, and 35 MB for each face that is in view all the time."""

R = TypeVar("R", bound=Row)
Mark = tuple[str, int] | None

_LOG_MARK = b'{"log":'


class ResultStore:
    """The committed items of one task below an output folder."""

    def __init__(self, out: Path, task: str, *, writer: str | None = None) -> None:
        """`writer` names who appends, where several processes follow each other."""
        if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,63}", task):
            raise ValueError(f"expected a task name of lower-case letters, digits, _ . -, got {task!r}")
        self._out = out
        self.folder = out / ".commits" / task
        self.scratch = self.folder / "scratch"
        self._records = SegmentStore(self.folder, writer=writer)

    @contextmanager
    def open_for_writing(self) -> Iterator[None]:
        """Create the folders, remove leftovers of killed runs, and at the end merge segments; needs `write_lock`.

        Raises:
            RunError: the output cannot be written.
        """
        try:
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(parents=True, exist_ok=True)
            for stale in self.folder.glob(".*.tmp*"):
                stale.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(self._out, error) from error
        try:
            yield
        except BaseException:
            with suppress(OSError):  # the error that ended the run is the one to report
                self._records.compact()
            raise
        else:
            self.compact()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def compact(self, *, without: Collection[str] = ()) -> None:
        """Merge small segments and drop the results of some keys; needs `write_lock`.

        Raises:
            RunError: the output cannot be written.
        """
        try:
            self._records.compact(without=without)
        except OSError as error:
            raise output_error(self._out, error) from error

    def write(self, outcome: Outcome, rows: Sequence[Row] = (), *, detail: str = "") -> None:
        """Commit an item; it replaces an earlier commit of the same key. `detail` is the log of a failure.

        Raises:
            TypeError, ValueError: a row is not a record of the contract, or the rows are too large.
            RunError: the output cannot be written; nothing half-written stays.
        """
        body = bytearray(_adapter(Outcome).dump_json(outcome) + b"\n")
        for row in rows:
            body += _record_line(row)
            if len(body) > MAX_RESULT_BYTES:
                raise ValueError(f"expected at most {MAX_RESULT_BYTES} bytes of rows, got {len(body)} or more")
        if detail:
            body += _LOG_MARK + json.dumps(detail.encode("utf-8", "backslashreplace").decode()).encode() + b"}\n"
        try:
            self._records.append(outcome.key, bytes(body))
        except OSError as error:
            raise output_error(self._out, error) from error

    def find(self, key: str) -> Outcome | None:
        """The outcome of a key; None if there is no complete result."""
        return _outcome(key, self._records.read(key))

    def mark(self) -> Mark:
        """Current end of what this writer has appended, for `find_since`."""
        return self._records.mark()

    def find_since(self, mark: Mark, key: str) -> Outcome | None:
        """The outcome of a key, if this writer appended it after the mark; reads only those records."""
        return _outcome(key, self._records.find_appended(key, mark))

    def rows(self, key: str, kind: type[R]) -> Iterator[R]:
        """The rows of one kind of a key, in the order in which the task returned them.

        Raises:
            RunError: a row cannot be read as this kind of record.
        """
        mark = f'{{"{kind.TAG}":'.encode()
        for line in self.lines(key)[1:]:
            if line.startswith(mark):
                yield self._row(kind, line[len(mark) : -1])

    def _row(self, kind: type[R], text: bytes) -> R:
        try:
            row: R = _adapter(kind).validate_json(text)
        except ValidationError as error:
            got, hint = (
                " ".join(str(error).split())[:200],
                f"remove {self.folder} and run again; its items are repeated",
            )
            raise RunError(where=str(self.folder), expected=f"a row {kind.TAG}", got=got, hint=hint) from error
        return row

    def rows_by_kind(self, key: str, *kinds: type[Row]) -> dict[type[Row], list[Any]]:
        """The rows of some kinds of a key, each in order, in one read; raises like `rows`."""
        found: dict[type[Row], list[Any]] = {kind: [] for kind in kinds}
        marks = [(f'{{"{kind.TAG}":'.encode(), kind) for kind in kinds]
        for line in self.lines(key)[1:]:
            for mark, kind in marks:
                if line.startswith(mark):
                    found[kind].append(self._row(kind, line[len(mark) : -1]))
        return found

    def lines(self, key: str) -> list[bytes]:
        """The outcome and the rows of a key as JSON lines; empty if there is no complete result."""
        lines = (self._records.read(key) or b"").splitlines()
        return lines[:-1] if lines and lines[-1].startswith(_LOG_MARK) else lines

    def log(self, key: str) -> str:
        """Traceback of a failed item, or the end of its worker's stderr; empty for other items."""
        lines = (self._records.read(key) or b"").splitlines()
        return decode_json(lines[-1])["log"] if lines and lines[-1].startswith(_LOG_MARK) else ""

    def __iter__(self) -> Iterator[str]:
        """The keys of all results, in no order."""
        return (key for key, _ in self._records.records())


class KeySet:
    """The keys of one run in order, with a flag for items of this run; SQLite spills to disk beyond a few MB."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, is_new INTEGER) WITHOUT ROWID")
        self._count = 0

    def add(self, key: str) -> bool:
        """Add a key; False if it was there."""
        added = self._db.execute("INSERT OR IGNORE INTO keys VALUES (?, 0)", (key,)).rowcount == 1
        self._count += added
        return added

    def __contains__(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM keys WHERE key = ?", (key,)).fetchone() is not None

    def set_new(self, key: str) -> None:
        """Note that a key ended in this run."""
        self._db.execute("UPDATE keys SET is_new = 1 WHERE key = ?", (key,))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return self._select("SELECT key FROM keys ORDER BY key")

    @property
    def new_count(self) -> int:
        """Number of keys that ended in this run."""
        (count,) = self._db.execute("SELECT COUNT(*) FROM keys WHERE is_new").fetchone()
        return int(count)

    def new(self) -> Iterator[str]:
        """Keys that ended in this run, in order."""
        return self._select("SELECT key FROM keys WHERE is_new ORDER BY key")

    def _select(self, query: str) -> Iterator[str]:
        with closing(self._db.execute(query)) as rows:
            for (key,) in rows:
                yield key


class RunResults:
    """Results of a run: all its items, including those of earlier runs, read lazily in the order of keys."""

    def __init__(self, store: ResultStore, keys: KeySet, counts: Mapping[ItemStatus, int]) -> None:
        self._store = store
        self._keys = keys
        self.counts = dict(counts)

    def __len__(self) -> int:
        return len(self._keys)

    def outcomes(self) -> Iterator[Outcome]:
        """Outcome of each item.

        Raises:
            RunError: a result was removed or damaged after the run.
        """
        for key in self._keys:
            if (outcome := self._store.find(key)) is None:
                hint = "run again; only missing items are repeated"
                raise RunError(where=str(self._store.folder), expected=f"a commit {key}", got="none", hint=hint)
            yield outcome

    def rows(self, kind: type[R]) -> Iterator[R]:
        """All rows of one kind, including those of rejected items."""
        for key in self._keys:
            yield from self._store.rows(key, kind)

    def new_rows(self, kind: type[R]) -> Iterator[R]:
        """Rows of one kind of the items that ended in this run."""
        for key in self._keys.new():
            yield from self._store.rows(key, kind)

    @property
    def new_count(self) -> int:
        """Items that ended in this run; the others ended in earlier ones."""
        return self._keys.new_count

    def rows_of(self, key: str, kind: type[R]) -> Iterator[R]:
        """The rows of one kind of one item."""
        return self._store.rows(key, kind)

    def remove_superseded(self, prefix: str) -> None:
        """Remove the stored results whose key starts with `prefix` and is not of this run; needs `write_lock`.

        Raises:
            RunError: the output cannot be written.
        """
        superseded = {key for key in self._store if key.startswith(prefix) and key not in self._keys}
        if superseded:
            self._store.compact(without=superseded)

    def log(self, outcome: Outcome) -> str:
        """The log of a failed item."""
        return self._store.log(outcome.key)


def output_error(out: Path, error: OSError) -> RunError:
    """The error of a full disk or a read-only output."""
    hint = "free space or choose another output, then run again; finished items are kept"
    got = error.strerror or str(error)
    return RunError(where=str(out), expected="a folder that can be written", got=got, hint=hint)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # cached, since building one takes a millisecond


def _record_line(row: Row) -> bytes:
    kind = type(row)
    if not is_pydantic_dataclass(kind):
        raise TypeError(f"expected a record of the contract as a row, got {kind.__name__}")
    return b'{"%s":%s}\n' % (row.TAG.encode(), _adapter(kind).dump_json(row))


def _outcome(key: str, body: bytes | None) -> Outcome | None:
    if body is None:
        return None
    try:
        outcome: Outcome = _adapter(Outcome).validate_json(body.partition(b"\n")[0])
    except ValidationError:
        log.warning("the stored result of %s has a valid checksum but cannot be parsed; its item runs again", key)
        return None
    return outcome if outcome.key == key else None
