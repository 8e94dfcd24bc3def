"""Store of finished items: one small file per item, written by its worker, read in the order of keys.

    OUT/.commits/<task>/<key[:2]>/<key>.jsonl    the outcome, a line per row, and a checksum of both
    OUT/.commits/<task>/<key[:2]>/<key>.log      of a failure: traceback, or the end of the worker's stderr
    OUT/.commits/<task>/scratch/                 folders of live workers; emptied when a run begins

A commit appears whole or not at all, so tables do not depend on the order of completion or on killed runs.
"""

import functools
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter
from pydantic.dataclasses import is_pydantic_dataclass

from xsheet.runtime.task import Outcome, Row
from xsheet.schemas.errors import RunError
from xsheet.schemas.source import ItemStatus
from xsheet.schemas.tables import write_bytes

log = logging.getLogger(__name__)

MAX_RESULT_BYTES = 64 << 20
"""More bytes mean pixels or a bug; a minute of signals at 25 fps takes about 1 MB."""

R = TypeVar("R", bound=Row)


class ResultStore:
    """The committed items of one task below an output folder."""

    def __init__(self, out: Path, task: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,63}", task):
            raise ValueError(f"expected a task name of lower-case letters, digits, _ . -, got {task!r}")
        self._out = out
        self._find = out / ".commits" / task
        self.scratch = self._find / "scratch"

    @contextmanager
    def open_for_writing(self) -> Iterator[None]:
        """Make the folders, remove what a killed run left, tidy up at the end; for the holder of `write_lock`.

        Raises:
            RunError: the output cannot be written.
        """
        try:
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(parents=True, exist_ok=True)
            self._remove_partial_files()
        except OSError as error:
            raise output_error(self._out, error) from error
        try:
            yield
        except BaseException:
            with suppress(OSError):  # the error that ended the run is the one to report
                self._remove_partial_files()
            raise
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _remove_partial_files(self) -> None:
        # Files of workers that were killed during a write; other workers remove their own.
        for stale in self._find.glob("??/.*.tmp*"):
            stale.unlink(missing_ok=True)

    def write(self, outcome: Outcome, rows: Sequence[Row] = (), *, detail: str = "") -> None:
        """Commit an item; it replaces an earlier commit of the same key.

        Raises:
            TypeError, ValueError: a row is not a record of the contract, or the rows are too large.
            RunError: the output cannot be written; nothing half-written stays.
        """
        body = bytearray(_adapter(Outcome).dump_json(outcome) + b"\n")
        for row in rows:
            body += _record_line(row)
            if len(body) > MAX_RESULT_BYTES:
                raise ValueError(f"expected at most {MAX_RESULT_BYTES} bytes of rows, got {len(body)} or more")
        path = self._path(outcome.key)
        try:
            if detail:
                write_bytes(path.with_suffix(".log"), detail.encode("utf-8", "backslashreplace"))
            else:
                path.with_suffix(".log").unlink(missing_ok=True)
            write_bytes(path, bytes(body + _checksum_line(body)))
        except OSError as error:
            raise output_error(self._out, error) from error

    def find(self, key: str) -> Outcome | None:
        """The outcome of a key; None if there is no complete commit."""
        lines = self._lines(key)
        return _adapter(Outcome).validate_json(lines[0]) if lines else None

    def rows(self, key: str, kind: type[R]) -> Iterator[R]:
        """The rows of one kind of a key, in the order in which the task returned them."""
        mark = f'{{"{kind.TAG}":'.encode()
        for line in (self._lines(key) or [])[1:]:
            if line.startswith(mark):
                yield _adapter(kind).validate_json(line[len(mark) : -1])

    def log_path(self, key: str) -> Path:
        """Path of a failed item's traceback or end of the worker's stderr."""
        return self._path(key).with_suffix(".log")

    def _path(self, key: str) -> Path:
        return self._find / key[:2] / f"{key}.jsonl"

    def _lines(self, key: str) -> list[bytes] | None:
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        body = data[: data.rfind(b"\n", 0, -1) + 1]
        if not body or data != body + _checksum_line(body):
            log.warning("broken commit, the item is run again path=%s", path)
            return None
        return body.splitlines()


class RunResults:
    """Results of a run: all its items, including those of earlier runs, read lazily in the order of keys."""

    def __init__(
        self,
        store: ResultStore,
        keys: Iterable[str],
        counts: Mapping[ItemStatus, int],
        *,
        new_this_run: Iterable[str] = (),
    ) -> None:
        self._store = store
        self._keys = sorted(keys)
        self._new_keys = sorted(new_this_run)
        self.counts = dict(counts)

    def __len__(self) -> int:
        return len(self._keys)

    def outcomes(self) -> Iterator[Outcome]:
        """How each item ended.

        Raises:
            RunError: a commit was removed or damaged since.
        """
        for key in self._keys:
            if (outcome := self._store.find(key)) is None:
                todo = "run again; only missing items are repeated"
                raise RunError(where=str(self._store.scratch.parent), expected=f"a commit {key}", got="none", hint=todo)
            yield outcome

    def rows(self, kind: type[R]) -> Iterator[R]:
        """All rows of one kind, including those of rejected items."""
        for key in self._keys:
            yield from self._store.rows(key, kind)

    def new_rows(self, kind: type[R]) -> Iterator[R]:
        """Rows of one kind of the items that ended in this run."""
        for key in self._new_keys:
            yield from self._store.rows(key, kind)

    def rows_of(self, outcome: Outcome, kind: type[R]) -> Iterator[R]:
        """The rows of one kind of one item."""
        return self._store.rows(outcome.key, kind)

    def log_path(self, outcome: Outcome) -> Path:
        """The log of a failed item."""
        return self._store.log_path(outcome.key)


def output_error(out: Path, error: OSError) -> RunError:
    """The error of a full disk or a read-only output."""
    todo = "free space or choose another output, then run again; what is finished is kept"
    came = error.strerror or str(error)
    return RunError(where=str(out), expected="a folder that can be written", got=came, hint=todo)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # cached, since building one takes a millisecond


def _record_line(row: Row) -> bytes:
    kind = type(row)
    if not is_pydantic_dataclass(kind):
        raise TypeError(f"expected a record of the contract as a row, got {kind.__name__}")
    return b'{"%s":%s}\n' % (row.TAG.encode(), _adapter(kind).dump_json(row))


def _checksum_line(body: bytes | bytearray) -> bytes:
    return json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n"
