"""Review session: one reviewer on one layer. Every operation is on disk before its effect is visible.

Several reviewers share the queue of a layer, each with a session: a clip that another reviewer works on is locked; a
clip that another one decided is done. A fixed share of the clips goes to every reviewer, to measure agreement; for
these the decisions of others stay hidden until the reviewer has decided.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, get_args

from xsheet.audit.review.draft import EditHistory, UndoStack
from xsheet.audit.review.edits import REJECTION_REASONS, AuditedAnnotation, EditRequest, to_review
from xsheet.audit.review.journal import JOURNAL_NAMES, EditJournal, JournalName, journal_path
from xsheet.audit.review.locks import LOCK_S, ReviewLocks
from xsheet.audit.review.other_reviewers import OtherReviewers, in_words, is_for_everyone
from xsheet.audit.review.payload import BlindField, ClipPayloads
from xsheet.audit.review.queue import QueueEntry, QueueFilter, ReviewState, build_queue, with_repeats
from xsheet.audit.review.reviewer_agreement import ReviewerAgreement, reviewer_agreement
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Review
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.sets import open_set

MAX_NAME_CHARS = 80
MAX_OPEN_HISTORIES = 100
"""Clips whose history stays in memory; that of any other is made again from the stored reviews."""
STATE_BY_DECISION: dict[str | None, ReviewState] = {"accept": "accepted", "reject": "rejected", None: "edited"}


class LockedError(Exception):
    """Another reviewer works on the clip."""


def utc_now() -> datetime:
    """Current time; the default clock of a session."""
    return datetime.now(UTC)


class ReviewSession:
    """State behind the server; its methods may be called from several threads."""

    def __init__(
        self,
        set_folder: Path,
        layer: LayerRun,
        *,
        reviewer: str,
        blind: frozenset[BlindField] = frozenset(),
        repeat_share: float = 0.07,
        overlap_share: float = 0.1,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = open_set(set_folder).name
        self._set = set_folder.resolve()
        self._layer, self._blind, self._clock = layer, blind, clock
        self._reviewer = _validated_reviewer(reviewer)
        self._payloads = ClipPayloads(set_folder, layer, blind=blind)
        queue = with_repeats(build_queue(set_folder, layer), share=repeat_share, reviewer=reviewer)
        self._read_entries = {entry.key: entry for entry in queue}
        self._for_everyone = {
            entry.key for entry in queue if entry.is_repeat or is_for_everyone(entry.annotation_id, share=overlap_share)
        }
        self._lock = Lock()
        self._others = OtherReviewers(set_folder, reviewer=self._reviewer)
        self._clip_locks = ReviewLocks(set_folder, reviewer=self._reviewer)
        self._journals: dict[JournalName, EditJournal] = {
            book: EditJournal(journal_path(set_folder, reviewer, book)) for book in JOURNAL_NAMES
        }
        self._stored_reviews: dict[tuple[JournalName, str], list[Review]] = {}  # by annotation
        self._undo_stacks: dict[tuple[JournalName, str], UndoStack] = {}
        self._histories: dict[str, EditHistory] = {}  # by entry key; the latest opened are the last

    def session_info(self) -> dict[str, Any]:
        """Set, layer, reviewer, filter values with counts, and vocabulary."""
        entries = self._read_entries.values()
        return {
            "set": self.name,
            "layer": "hidden" if "layers" in self._blind else f"{self._layer.layer} · {self._layer.producer}",
            "reviewer": self._reviewer,
            "blind": sorted(self._blind),
            "lock_s": LOCK_S,
            "filters": {
                "check": Counter(check for entry in entries for check in entry.checks),
                "track": Counter(track for entry in entries for track in entry.tracks),
                "action": Counter(action for entry in entries for action in entry.actions),
            },
            "vocabulary": {
                "track": vocab.TRACKS,
                "action": vocab.ACTIONS,
                "laterality": get_args(vocab.Laterality),
                "kind": get_args(vocab.PhaseKind),
                "reason": REJECTION_REASONS,
            },
        }

    def queue(self, filters: QueueFilter, *, start: int = 0, count: int = 200) -> dict[str, Any]:
        """One page of the filtered queue, and the review states of the whole queue."""
        with self._lock:
            self._read_new_operations()
            self._others.read_new()
            locked = self._clip_locks.others(at=self._clock())
            states = {entry.key: self._state(entry, locked) for entry in self._read_entries.values()}
        matching = [entry for entry in self._read_entries.values() if filters.matches(entry, states[entry.key])]
        page = [
            {name: value for name, value in asdict(entry).items() if name != "is_repeat"}
            | {"state": states[entry.key], "others": self._shown_others(entry, states[entry.key], locked)}
            for entry in matching[start : start + count]
        ]
        return {"entries": page, "total": len(matching), "progress": Counter(states.values())}

    def clip_payload(self, key: str) -> dict[str, Any] | None:
        """The clip of a queue entry with its draft; None if the queue has no such entry.

        Raises:
            ContractError: the set changed during the review.
        """
        with self._lock:
            self._read_new_operations()
            trail = self._history(key)
            if trail is None:
                return None
            return self._payloads.clip_payload(trail) | {"key": key, "draft": self._payloads.draft_payload(trail)}

    def claim(self, key: str, *, leave: str | None = None) -> dict[str, Any] | None:
        """Lock a clip for this reviewer or renew the lock; release the previous clip; None for unknown keys.

        `locked_by` is the other reviewer who has it, or None: the clip may be edited.

        Raises:
            OSError: the lock cannot be written.
        """
        entry, left = self._read_entries.get(key), self._read_entries.get(leave or "")
        if entry is None:
            return None
        with self._lock:
            if left is not None and left.annotation_id != entry.annotation_id:
                self._clip_locks.release(left.annotation_id)
            return {"locked_by": self._claim(entry)}

    def agreement(self) -> list[ReviewerAgreement]:
        """Agreement of this reviewer with each other one, and with themselves over the clips that were shown twice."""
        with self._lock:
            self._read_new_operations()
            self._others.read_new()
            book = self._reviews_of("journal")
            compared = [(name, reviews) for name, reviews in self._others if not reviews.keys().isdisjoint(book)]
            again = self._reviews_of("repeats")
            if again:
                compared.append((f"{self._reviewer}, second time", again))
            return [
                reviewer_agreement((self._reviewer, name), self._decided_pairs(book, theirs))
                for name, theirs in compared
            ]

    def apply_operation(self, key: str, request: EditRequest) -> tuple[bool, dict[str, Any]] | None:
        """Apply an operation: (True, new draft), or (False, current draft) if it was made on another draft.

        None if the queue has no such entry.

        Raises:
            ContractError: the operation is invalid; nothing changed.
            LockedError: another reviewer works on the clip; nothing changed.
            OSError: the operation cannot be stored; nothing changed.
        """
        entry = self._read_entries.get(key)
        if entry is None:
            return None
        journal = self._journals[_journal_name(entry)]
        with self._lock, journal.lock():
            self._read_new_operations()
            trail = self._history(key)
            assert trail is not None
            if (holder := self._claim(entry)) is not None:
                raise LockedError(holder)
            if request.before_sha256 != trail.draft.sha256:
                return False, self._payloads.draft_payload(trail)
            audited = AuditedAnnotation(trail.annotation, tuple(self._payloads.findings_of(trail.annotation)))
            review = to_review(request, trail.draft, reviewer=self._reviewer, at=self._clock(), audited=audited)
            trail.preview(review)
            journal.append(review)
            trail.append(review)
            self._store_review(_journal_name(entry), review)
            return True, self._payloads.draft_payload(trail)

    def media_path(self, clip_id: str) -> Path | None:
        """Media file of a clip; None for unknown clips and for links that lead out of the set."""
        clip = self._payloads.get_clip(clip_id)
        path = None if clip is None else (self._set / clip.media_path).resolve()
        return path if path is not None and path.is_relative_to(self._set) and path.is_file() else None

    def _read_new_operations(self) -> None:
        """Read operations that other servers appended to the same journals."""
        for book, journal in self._journals.items():
            for review in journal.read_new():
                self._store_review(book, review)
                for trail in self._open_histories(book, review):
                    trail.replay([review])

    def _store_review(self, book: JournalName, review: Review) -> None:
        self._stored_reviews.setdefault((book, review.annotation_id), []).append(review)
        self._undo_stacks.setdefault((book, review.annotation_id), UndoStack()).push(review)

    def _open_histories(self, book: JournalName, review: Review) -> Sequence[EditHistory]:
        return [
            trail
            for key, trail in self._histories.items()
            if trail.annotation.annotation_id == review.annotation_id and _journal_name(self._read_entries[key]) == book
        ]

    def _history(self, key: str) -> EditHistory | None:
        entry = self._read_entries.get(key)
        if entry is None:
            return None
        trail = self._histories.pop(key, None)
        if trail is None:
            trail = EditHistory(self._payloads.get_annotation(entry.clip_id, entry.annotation_id))
            trail.replay(self._stored_reviews.get((_journal_name(entry), entry.annotation_id), ()))
        self._histories[key] = trail
        if len(self._histories) > MAX_OPEN_HISTORIES:
            del self._histories[next(iter(self._histories))]
        return trail

    def _state(self, entry: QueueEntry, locked: Mapping[str, str]) -> ReviewState:
        standing = self._undo_stacks.get((_journal_name(entry), entry.annotation_id))
        if standing is not None and standing.undo_id is not None:
            return STATE_BY_DECISION[standing.decision]
        if entry.key in self._for_everyone:
            return "open"
        if self._others.decisions(entry.annotation_id):
            return "by_other"
        return "locked" if entry.annotation_id in locked else "open"

    def _shown_others(self, entry: QueueEntry, state: ReviewState, locked: Mapping[str, str]) -> list[str]:
        """Other reviewers who decided a clip or work on it, without anything that could influence a decision."""
        if entry.is_repeat or (entry.key in self._for_everyone and state not in ("accepted", "rejected")):
            return []
        if state == "locked":
            return [f"open at {locked[entry.annotation_id]}"]
        return list(in_words(self._others.decisions(entry.annotation_id)))

    def _claim(self, entry: QueueEntry) -> str | None:
        if entry.key in self._for_everyone:
            return None  # everyone has a journal of their own, and needs no lock
        return self._clip_locks.claim(entry.annotation_id, at=self._clock())

    def _reviews_of(self, book: JournalName) -> dict[str, list[Review]]:
        return {one: reviews for (name, one), reviews in self._stored_reviews.items() if name == book}

    def _decided_pairs(
        self, own: Mapping[str, list[Review]], other: Mapping[str, list[Review]]
    ) -> list[tuple[EditHistory, EditHistory]]:
        """Histories of the clips that both decided, in the order of the queue."""
        pairs = []
        for entry in self._read_entries.values():
            both = own.get(entry.annotation_id), other.get(entry.annotation_id)
            if entry.is_repeat or both[0] is None or both[1] is None:
                continue
            annotation = self._payloads.get_annotation(entry.clip_id, entry.annotation_id)
            one, two = EditHistory(annotation), EditHistory(annotation)
            one.replay(both[0])
            two.replay(both[1])
            if one.draft.decision is not None and two.draft.decision is not None:
                pairs.append((one, two))
        return pairs


def _journal_name(entry: QueueEntry) -> JournalName:
    return "repeats" if entry.is_repeat else "journal"


def _validated_reviewer(reviewer: str) -> str:
    if not 1 <= len(reviewer.strip()) <= MAX_NAME_CHARS or not reviewer.isprintable():
        raise ConfigError(
            where="reviewer",
            expected=f"a name of 1 to {MAX_NAME_CHARS} printable characters",
            got=repr(reviewer[:MAX_NAME_CHARS]),
            hint="give the name of the reviewer; it is stored with every operation",
        )
    return reviewer
