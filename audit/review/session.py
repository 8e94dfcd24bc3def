"""Desk: one reviewer before one layer. Every operation is on the disk before its effect is seen."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, get_args

from xsheet.audit.review.draft import Standing, Trail
from xsheet.audit.review.edits import REASONS, Intent, to_review
from xsheet.audit.review.journal import BOOKS, Book, Journal, journal_path
from xsheet.audit.review.payload import Blind, Sheets
from xsheet.audit.review.queue import Entry, State, Wanted, with_repeats, worst_first
from xsheet.schemas import vocab
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.review import Review
from xsheet.schemas.sets import open_set

MAX_NAME_CHARS = 80
STATES: dict[str | None, State] = {"accept": "accepted", "reject": "rejected", None: "edited"}


def now() -> datetime:
    """The clock of a desk."""
    return datetime.now(UTC)


class Desk:
    """What the server asks. Calls may come from several threads, for several tabs."""

    def __init__(
        self,
        set_folder: Path,
        layer: LayerRun,
        *,
        reviewer: str,
        blind: frozenset[Blind] = frozenset(),
        repeat_share: float = 0.07,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.name = open_set(set_folder).name
        self._set = set_folder.resolve()
        self._layer, self._blind, self._clock = layer, blind, clock
        self._reviewer = _checked(reviewer)
        self._sheets = Sheets(set_folder, layer, blind=blind)
        queue = with_repeats(worst_first(set_folder, layer), share=repeat_share, reviewer=reviewer)
        self._entries = {entry.key: entry for entry in queue}
        self._lock = Lock()
        self._books: dict[Book, Journal] = {book: Journal(journal_path(set_folder, reviewer, book)) for book in BOOKS}
        self._stored: dict[tuple[Book, str], list[Review]] = {}  # by annotation
        self._standing: dict[tuple[Book, str], Standing] = {}
        self._trails: dict[str, Trail] = {}  # by key of the entry, once it was opened

    def about(self) -> dict[str, Any]:
        """What is reviewed, by whom, and what the filters can ask for."""
        entries = self._entries.values()
        return {
            "set": self.name,
            "layer": "hidden" if "layers" in self._blind else f"{self._layer.layer} · {self._layer.made_by}",
            "reviewer": self._reviewer,
            "blind": sorted(self._blind),
            "filters": {
                "check": Counter(check for entry in entries for check in entry.checks),
                "track": Counter(track for entry in entries for track in entry.tracks),
                "action": Counter(action for entry in entries for action in entry.actions),
            },
            "words": {
                "track": vocab.TRACKS,
                "action": vocab.ACTIONS,
                "laterality": get_args(vocab.Laterality),
                "kind": get_args(vocab.Kind),
                "reason": REASONS,
            },
        }

    def queue(self, wanted: Wanted, *, start: int = 0, count: int = 200) -> dict[str, Any]:
        """A stretch of the queue as filtered, and the progress over the whole of it."""
        with self._lock:
            self._catch_up()
            states: dict[str, State] = {entry.key: self._state(entry) for entry in self._entries.values()}
        found = [entry for entry in self._entries.values() if wanted.admits(entry, states[entry.key])]
        shown = [
            {name: value for name, value in asdict(entry).items() if name != "is_repeat"} | {"state": states[entry.key]}
            for entry in found[start : start + count]
        ]
        return {"entries": shown, "found": len(found), "progress": Counter(states.values())}

    def open(self, key: str) -> dict[str, Any] | None:
        """The sheet of an entry with its draft; None when the queue has no such entry.

        Raises:
            ContractError: the set was changed under the review.
        """
        with self._lock:
            self._catch_up()
            trail = self._trail(key)
            if trail is None:
                return None
            return self._sheets.sheet(trail) | {"key": key, "draft": self._sheets.draft(trail)}

    def operate(self, key: str, intent: Intent) -> tuple[bool, dict[str, Any]] | None:
        """Carry out an operation: (True, the draft it makes), or (False, the draft as it is) on a conflict.

        None when the queue has no such entry.

        Raises:
            ContractError: the operation does not fit; nothing was changed.
            OSError: it cannot be stored; nothing was changed.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        journal = self._books[_book(entry)]
        with self._lock, journal.writing():
            self._catch_up()
            trail = self._trail(key)
            assert trail is not None
            if intent.before_sha256 != trail.draft.sha256:
                return False, self._sheets.draft(trail)
            review = to_review(intent, trail.draft, reviewer=self._reviewer, at=self._clock())
            trail.after(review)
            journal.append(review)
            trail.add(review)
            self._keep(_book(entry), review)
            return True, self._sheets.draft(trail)

    def media(self, clip_id: str) -> Path | None:
        """The file of a clip of the set; None for all else, also for a link that leads out of the set."""
        clip = self._sheets.clip(clip_id)
        path = None if clip is None else (self._set / clip.media_path).resolve()
        return path if path is not None and path.is_relative_to(self._set) and path.is_file() else None

    def _catch_up(self) -> None:
        """Read what other servers wrote to the same journals."""
        for book, journal in self._books.items():
            for review in journal.fresh():
                self._keep(book, review)
                for trail in self._open_trails(book, review):
                    trail.replay([review])

    def _keep(self, book: Book, review: Review) -> None:
        self._stored.setdefault((book, review.annotation_id), []).append(review)
        self._standing.setdefault((book, review.annotation_id), Standing()).add(review)

    def _open_trails(self, book: Book, review: Review) -> Sequence[Trail]:
        return [
            trail
            for key, trail in self._trails.items()
            if trail.annotation.annotation_id == review.annotation_id and _book(self._entries[key]) == book
        ]

    def _trail(self, key: str) -> Trail | None:
        entry = self._entries.get(key)
        if entry is None or key in self._trails:
            return self._trails.get(key)
        trail = Trail(self._sheets.annotation(entry.clip_id, entry.annotation_id))
        trail.replay(self._stored.get((_book(entry), entry.annotation_id), ()))
        self._trails[key] = trail
        return trail

    def _state(self, entry: Entry) -> State:
        standing = self._standing.get((_book(entry), entry.annotation_id))
        if standing is None or standing.undo is None:
            return "open"
        return STATES[standing.decision]


def _book(entry: Entry) -> Book:
    return "again" if entry.is_repeat else "journal"


def _checked(reviewer: str) -> str:
    if not 1 <= len(reviewer.strip()) <= MAX_NAME_CHARS or not reviewer.isprintable():
        raise ConfigError(
            where="reviewer",
            expected=f"a name of 1 to {MAX_NAME_CHARS} printable characters",
            came=repr(reviewer[:MAX_NAME_CHARS]),
            todo="say who reviews; every operation is kept with that name",
        )
    return reviewer
