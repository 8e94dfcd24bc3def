"""Journal: the operations of one reviewer, one line of JSON each, on disk before anybody sees their effect.

    SET/reviews/_journal/<reviewer>.jsonl    what `apply` reads
    SET/reviews/_repeats/<reviewer>.jsonl      clips shown a second time: they measure the reviewer and change nothing

Readers of Parquet folders pass over names that begin with an underscore, so the table beside them stays one.
A line that ends without a line feed was being written when its writer was killed: it is the one operation that a kill
may lose. Several servers may write to one journal; each reads what the others wrote before it adds its own.
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
    """Where the operations of a reviewer lie; a name is free text, so the file's has a hash of it."""
    readable = re.sub(r"[^a-z0-9]+", "-", reviewer.lower()).strip("-")[:MAX_SLUG_CHARS]
    return set_folder / REVIEWS.name / f"_{name}" / f"{readable}-{content_key(reviewer)[:8]}.jsonl"


def read_journals(set_folder: Path) -> list[Review]:
    """What all reviewers did, by reviewer in stored order."""
    files = sorted((set_folder / REVIEWS.name / "_journal").glob("*.jsonl"))
    return [review for file in files for review in EditJournal(file).read_new()]


class EditJournal:
    """One file of operations, read as far as it is known here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_bytes = 0

    def read_new(self) -> Sequence[Review]:
        """Operations that were added since the last call, by whomever.

        Raises:
            ContractError: a whole line that is no operation.
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
        """Only this writer between what `fresh` gives and what `append` adds."""
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
            _fsync_folder(self._path.parent)
        with self._path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, by a kill too
            yield

    def append(self, review: Review) -> None:
        """Add one operation; on return it is on the disk. Call within `writing`, after `fresh`.

        Raises:
            OSError: the disk is full or read-only; the journal is as it was.
        """
        line = _REVIEW.dump_json(review) + b"\n"
        with self._path.open("r+b", buffering=0) as file:  # a buffer would be written again when the file is closed
            file.truncate(self._offset_bytes)  # what a killed writer left behind
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
