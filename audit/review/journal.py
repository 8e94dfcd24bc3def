"""Journal: the operations of one reviewer, one JSON line each, on disk before their effect is visible.

    SET/reviews/_journal/<reviewer>.jsonl    input of apply.py
    SET/reviews/_repeats/<reviewer>.jsonl      repeated clips: they measure the reviewer and change nothing

Readers of Parquet folders skip names that start with an underscore, so the folder stays a valid table. A last line
without a line feed is an operation whose process was killed while writing it; only this operation is lost. Several
servers may write to one journal; each reads new lines before it appends its own.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from pydantic import TypeAdapter, ValidationError

from xsheet.schemas.annotation import Review
from xsheet.schemas.errors import ContractError
from xsheet.schemas.ids import content_key
from xsheet.schemas.tables import REVIEWS

JournalName = Literal["journal", "repeats"]
JOURNAL_NAMES: tuple[JournalName, ...] = get_args(JournalName)
MAX_SLUG_CHARS = 24
_REVIEW = TypeAdapter(Review)


def journal_path(set_folder: Path, reviewer: str, name: JournalName = "journal") -> Path:
    """Journal file of a reviewer; names are free text, so the file name contains a hash."""
    readable = re.sub(r"[^a-z0-9]+", "-", reviewer.lower()).strip("-")[:MAX_SLUG_CHARS]
    return set_folder / REVIEWS.name / f"_{name}" / f"{readable}-{content_key(reviewer)[:8]}.jsonl"


def read_journals(set_folder: Path) -> list[Review]:
    """Operations of all reviewers, by reviewer in stored order."""
    files = sorted((set_folder / REVIEWS.name / "_journal").glob("*.jsonl"))
    return [review for file in files for review in EditJournal(file).read_new()]


class EditJournal:
    """One journal file and the read position in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_bytes = 0

    def read_new(self) -> Sequence[Review]:
        """Operations appended since the last call, by any process.

        Raises:
            ContractError: a complete line is not an operation.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset_bytes)
                *lines, _torn = file.read().split(b"\n")
        except FileNotFoundError:
            return []
        reviews = [self._parse(line) for line in lines]
        self._offset_bytes += sum(len(line) + 1 for line in lines)
        return reviews

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Exclusive access between `read_new` and `append`."""
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
            _fsync_folder(self._path.parent)
        with self._path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, by a kill too
            yield

    def append(self, review: Review) -> None:
        """Append one operation; on return it is on disk. Call inside `lock`, after `read_new`.

        Raises:
            OSError: the disk is full or read-only; the journal is unchanged.
        """
        line = _REVIEW.dump_json(review) + b"\n"
        with self._path.open("r+b", buffering=0) as file:  # unbuffered, else close() would write again
            file.truncate(self._offset_bytes)  # removes the incomplete line of a killed writer
            file.seek(self._offset_bytes)
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self._offset_bytes)
                raise
        self._offset_bytes += len(line)

    def _parse(self, line: bytes) -> Review:
        try:
            return _REVIEW.validate_json(line)
        except ValidationError as error:
            raise ContractError(
                where=str(self._path),
                expected="one review in each line",
                got=error.errors(include_url=False)[0]["msg"],
                hint="restore the journal; only the review page writes it",
            ) from error


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
