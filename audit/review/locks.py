"""Locks: which reviewer works on which clip, so that several reviewers can share one queue.

    SET/reviews/_locks/<hash>.json     one clip: annotation, reviewer, and time of expiry

A lock ends when its reviewer opens another clip, or expires when the page is closed and no longer renews it. It belongs
to a reviewer, not to a process: two tabs of one reviewer share it.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, ValidationError

from xsheet.schemas.files import write_bytes
from xsheet.schemas.ids import content_key
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.tables import REVIEWS

LOCK_S = 90
"""A lock that is not renewed ends after so many seconds; the page renews it three times as often."""


class ClipLock(StrictModel):
    """One lock on disk."""

    annotation_id: str
    reviewer: str
    until: AwareDatetime


class ReviewLocks:
    """The locks of a set, as one reviewer sees them."""

    def __init__(self, set_folder: Path, *, reviewer: str) -> None:
        self._folder = set_folder / REVIEWS.name / "_locks"
        self._reviewer = reviewer

    def claim(self, annotation_id: str, *, at: datetime) -> str | None:
        """Take or renew a lock; None, or the name of the other reviewer who has it.

        Raises:
            OSError: the lock cannot be written.
        """
        with self._exclusive():
            found = self._read(self._path(annotation_id))
            if found is not None and found.reviewer != self._reviewer and at < found.until:
                return found.reviewer
            until = at + timedelta(seconds=LOCK_S)
            lock = {"annotation_id": annotation_id, "reviewer": self._reviewer, "until": until.isoformat()}
            write_bytes(self._path(annotation_id), json.dumps(lock).encode())
            return None

    def release(self, annotation_id: str) -> None:
        """Release a lock of this reviewer; locks of others stay."""
        with self._exclusive():
            found = self._read(self._path(annotation_id))
            if found is not None and found.reviewer == self._reviewer:
                self._path(annotation_id).unlink(missing_ok=True)

    def others(self, *, at: datetime) -> Mapping[str, str]:
        """Other reviewers by the annotation that they work on now."""
        found = [self._read(path) for path in self._folder.glob("*.json")]
        return {
            one.annotation_id: one.reviewer
            for one in found
            if one is not None and one.reviewer != self._reviewer and at < one.until
        }

    def _path(self, annotation_id: str) -> Path:
        return self._folder / f"{content_key(annotation_id)[:20]}.json"

    def _read(self, path: Path) -> ClipLock | None:
        """A lock; None if it is gone. A damaged file does not lock."""
        try:
            return ClipLock.model_validate_json(path.read_bytes(), strict=False)
        except (FileNotFoundError, ValidationError):
            return None

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, by a kill too
            yield
