"""Other reviewers: their decisions on the clips of the same queue, read from their journals."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from xsheet.audit.review.draft import ReviewDecision, UndoStack
from xsheet.audit.review.journal import EditJournal, journal_path
from xsheet.schemas.annotation import Review
from xsheet.schemas.ids import content_key
from xsheet.schemas.tables import REVIEWS


class OtherReviewers:
    """Operations of all reviewers but one; read again on request, since they work at the same time."""

    def __init__(self, set_folder: Path, *, reviewer: str) -> None:
        self._folder = set_folder / REVIEWS.name / "_journal"
        self._own = journal_path(set_folder, reviewer)
        self._journals: dict[Path, EditJournal] = {}
        self._reviews: dict[str, dict[str, list[Review]]] = {}  # by reviewer, then annotation
        self._stacks: dict[tuple[str, str], UndoStack] = {}  # by annotation and reviewer
        self._deciders: dict[str, dict[str, ReviewDecision]] = {}  # by annotation, then reviewer

    def read_new(self) -> None:
        """Read what was added since the last call.

        Raises:
            ContractError: a journal is damaged.
        """
        for path in sorted(self._folder.glob("*.jsonl")):
            if path != self._own:
                for review in self._journals.setdefault(path, EditJournal(path)).read_new():
                    self._store(review)

    def _store(self, review: Review) -> None:
        self._reviews.setdefault(review.reviewer, {}).setdefault(review.annotation_id, []).append(review)
        stack = self._stacks.setdefault((review.annotation_id, review.reviewer), UndoStack())
        stack.push(review)
        deciders = self._deciders.setdefault(review.annotation_id, {})
        deciders.pop(review.reviewer, None)
        if stack.decision is not None:
            deciders[review.reviewer] = stack.decision

    def decisions(self, annotation_id: str) -> dict[str, ReviewDecision]:
        """Decisions on a whole clip, by reviewer."""
        return self._deciders.get(annotation_id, {})

    def __iter__(self) -> Iterator[tuple[str, dict[str, list[Review]]]]:
        """Reviewers, each with the operations by annotation."""
        yield from sorted(self._reviews.items())


def is_for_everyone(annotation_id: str, *, share: float) -> bool:
    """Whether every reviewer gets a clip, even if another one decided it: a fixed share of the clips, chosen by id."""
    return int(content_key("everyone", annotation_id)[:8], 16) / 16**8 < share


def in_words(decisions: dict[str, ReviewDecision]) -> Sequence[str]:
    """Decisions as text, one a reviewer."""
    words = {"accept": "accepted", "reject": "rejected"}
    return [f"{words[decision]} by {reviewer}" for reviewer, decision in sorted(decisions.items())]
