"""Draft: one annotation as edited by one reviewer, through an append-only list of operations.

Every operation has the hash of the draft on which it was made. A different hash is a conflict, and the operation is not
applied.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from xsheet.schemas.annotation import Annotation, Finding, Phase, Review, sorted_phases
from xsheet.schemas.errors import ContractError
from xsheet.schemas.ids import content_key

ReviewDecision = Literal["accept", "reject"]
_PHASES = TypeAdapter(tuple[Phase, ...])


class StaleError(Exception):
    """The operation was made on a different draft."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An annotation under review. Rejected phases are kept, because a rejection is a judgement."""

    annotation: Annotation  # its phases are the draft's, the rest is the layer's
    decision: ReviewDecision | None = None  # on the whole clip; gone with the next edit
    accepted: frozenset[str] = frozenset()  # ids of phases
    rejected: tuple[Phase, ...] = ()
    disputed: frozenset[str] = frozenset()  # places of findings whose measurement is wrong

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Current phases, in the order of the contract."""
        return self.annotation.phases

    @property
    def sha256(self) -> str:
        """Hash of the annotation id, the phases, the decisions and the disputed findings."""
        phases = [_PHASES.dump_python(self.phases), _PHASES.dump_python(self.rejected)]
        marks = sorted(self.accepted), sorted(self.disputed)
        return content_key(self.annotation.annotation_id, phases, self.decision, *marks)

    def get_phase(self, phase_id: str) -> Phase:
        """The phase with this id; ContractError if the draft has none."""
        found = next((phase for phase in self.phases if phase.phase_id == phase_id), None)
        if found is None:
            raise _draft_error(f"a phase of {[phase.phase_id for phase in self.phases]}", repr(phase_id))
        return found

    def apply(self, review: Review) -> "Draft":
        """The draft after an operation other than undo.

        Raises:
            ContractError: the operation is invalid or breaks a rule of annotations; the message says which.
        """
        touched = [self.get_phase(one) for one in review.phase_ids if review.operation != "new"]
        ids = frozenset(review.phase_ids)
        match review.operation:
            case "accept" | "reject" if not ids:
                return self._with_decision(review.operation)
            case "accept":
                return replace(self, accepted=self.accepted | ids)
            case "dispute" if review.finding is not None:
                place = finding_place(review.finding)
                return replace(self, accepted=self.accepted | ids, disputed=self.disputed | {place})
            case "reject":
                return replace(self._replace_phases(ids, ()), rejected=(*self.rejected, *touched))
            case _:
                return self._replace_phases(ids, review.after)

    def _with_decision(self, decision: ReviewDecision) -> "Draft":
        if decision == "accept" and self.annotation.status != "ok":
            raise _draft_error("an annotation with a base", f"a response of status {self.annotation.status!r}")
        return replace(self, decision=decision)

    def _replace_phases(self, removed_ids: frozenset[str], new_phases: Iterable[Phase]) -> "Draft":
        kept = [phase for phase in self.phases if phase.phase_id not in removed_ids]
        try:
            changed = replace(self.annotation, phases=sorted_phases([*kept, *new_phases]))
        except ValueError as error:
            raise to_contract_error(error) from error
        return replace(self, annotation=changed, decision=None, accepted=self.accepted - removed_ids)


def finding_place(finding: Finding) -> str:
    """Identity of a finding across audits: its check, and its phase or start."""
    return f"{finding.check} {finding.phase_id or finding.start_us}"


def to_contract_error(error: ValueError) -> ContractError:
    """Convert a validation error of a record into a message for the reviewer."""
    message = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        message = " ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
    expected, separator, got = message.removeprefix("expected ").partition(", got ")
    return _draft_error(expected if separator else "phases that meet the rules", got or message)


def _draft_error(expected: str, got: str) -> ContractError:
    return ContractError(where="review", expected=expected, got=got, hint="nothing was changed")


@dataclass(slots=True)
class UndoStack:
    """Undo and redo state of a sequence of operations."""

    _done: list[tuple[str, Review]] = field(default_factory=list)  # id that an undo names, the operation it takes back
    _undone: list[tuple[str, Review]] = field(default_factory=list)

    @property
    def applied_reviews(self) -> list[Review]:
        """Operations in effect, in order."""
        return [review for _, review in self._done]

    @property
    def undo_id(self) -> str | None:
        """Id of the review that an undo reverts."""
        return self._done[-1][0] if self._done else None

    @property
    def redo_id(self) -> str | None:
        """Id of the undo that a redo reverts; a redo is the undo of an undo."""
        return self._undone[-1][0] if self._undone else None

    @property
    def decision(self) -> ReviewDecision | None:
        """Decision on the whole clip, from the operations alone; equals that of the draft."""
        for review in reversed(self.applied_reviews):
            if not review.phase_ids and review.operation in ("accept", "reject"):
                return review.operation
            if review.operation not in ("accept", "dispute"):
                return None
        return None

    def push(self, review: Review) -> None:
        """Add one valid operation."""
        if review.undoes is None:
            self._undone.clear()
            self._done.append((review.review_id, review))
        else:
            is_undo = review.undoes == self.undo_id
            source, target = (self._done, self._undone) if is_undo else (self._undone, self._done)
            if source:
                target.append((review.review_id, source.pop()[1]))


@dataclass(slots=True)
class EditHistory:
    """One annotation under one reviewer: the draft and its operations."""

    annotation: Annotation
    draft: Draft = field(init=False)
    undo_stack: UndoStack = field(default_factory=UndoStack)
    reviews: list[Review] = field(default_factory=list)
    # Stored operations that do not apply to the draft.
    rejected_reviews: list[Review] = field(default_factory=list)
    _drafts_by_review: dict[str, tuple[Draft, Draft]] = field(default_factory=dict)  # review id: draft before and after

    def __post_init__(self) -> None:
        self.draft = Draft(annotation=self.annotation)

    def preview(self, review: Review) -> Draft:
        """The draft that an operation would produce.

        Raises:
            StaleError: it was made on a different draft.
            ContractError: it is invalid.
        """
        if review.before_sha256 != self.draft.sha256:
            raise StaleError(review.review_id)
        if review.operation != "undo":
            return self.draft.apply(review)
        latest = (self.undo_stack.undo_id, self.undo_stack.redo_id)
        if review.undoes is None or review.undoes not in latest:
            raise _draft_error(f"the latest operation, one of {latest}", str(review.undoes))
        return self._drafts_by_review[review.undoes][0]

    def append(self, review: Review) -> None:
        """Apply one operation; if it is invalid, nothing changes (raises like `preview`)."""
        draft = self.preview(review)
        self._drafts_by_review[review.review_id] = (self.draft, draft)
        self.draft = draft
        self.undo_stack.push(review)
        self.reviews.append(review)

    def replay(self, reviews: Iterable[Review]) -> None:
        """Apply stored operations; those that do not apply go to `rejected_reviews`."""
        for review in reviews:
            try:
                self.append(review)
            except (StaleError, ContractError):
                self.rejected_reviews.append(review)
