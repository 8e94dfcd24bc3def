"""Draft: one annotation as one reviewer has made it, by operations that are never changed or removed.

Every operation names the hash of the draft it was made on. An operation whose hash is another one was made by somebody
who saw something else: it is a conflict, and nothing of it is taken over.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from xsheet.schemas.annotation import Annotation, Phase, sorted_phases
from xsheet.schemas.errors import ContractError
from xsheet.schemas.ids import content_key
from xsheet.schemas.review import Review

Decision = Literal["accept", "reject"]
_PHASES = TypeAdapter(tuple[Phase, ...])


class StaleError(Exception):
    """An operation that was made on another draft than the one it meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An annotation in the hands of a reviewer. Phases that were rejected stay beside it, for they are a judgement."""

    annotation: Annotation  # its phases are the draft's, the rest is the layer's
    decision: Decision | None = None  # on the whole clip; gone with the next edit
    accepted: frozenset[str] = frozenset()  # ids of phases
    rejected: tuple[Phase, ...] = ()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Phases as they stand, in the order of the contract."""
        return self.annotation.phases

    @property
    def sha256(self) -> str:
        """Hash of what a reviewer sees: whose annotation, its phases, and what was decided so far."""
        phases = [_PHASES.dump_python(self.phases), _PHASES.dump_python(self.rejected)]
        return content_key(self.annotation.annotation_id, phases, self.decision, sorted(self.accepted))

    def phase(self, phase_id: str) -> Phase:
        """The phase of an id; ContractError when the draft has none."""
        found = next((phase for phase in self.phases if phase.phase_id == phase_id), None)
        if found is None:
            raise _refused(f"a phase of {[phase.phase_id for phase in self.phases]}", repr(phase_id))
        return found

    def then(self, review: Review) -> "Draft":
        """The draft after an operation, undo excepted.

        Raises:
            ContractError: the operation does not fit, or breaks a rule of annotations; the message says which.
        """
        touched = [self.phase(one) for one in review.phase_ids if review.operation != "new"]
        ids = frozenset(review.phase_ids)
        match review.operation:
            case "accept" | "reject" if not ids:
                return self._decided(review.operation)
            case "accept":
                return replace(self, accepted=self.accepted | ids)
            case "reject":
                return replace(self._with(ids, ()), rejected=(*self.rejected, *touched))
            case _:
                return self._with(ids, review.after)

    def _decided(self, decision: Decision) -> "Draft":
        if decision == "accept" and self.annotation.status != "ok":
            raise _refused("an annotation with a base", f"a reply of status {self.annotation.status!r}")
        return replace(self, decision=decision)

    def _with(self, gone: frozenset[str], come: Iterable[Phase]) -> "Draft":
        kept = [phase for phase in self.phases if phase.phase_id not in gone]
        try:
            changed = replace(self.annotation, phases=sorted_phases([*kept, *come]))
        except ValueError as error:
            raise refused(error) from error
        return replace(self, annotation=changed, decision=None, accepted=self.accepted - gone)


def refused(error: ValueError) -> ContractError:
    """A broken rule of the records, in words for the reviewer who ran into it."""
    said = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        said = " ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
    expected, found, came = said.removeprefix("expected ").partition(", got ")
    return _refused(expected if found else "phases that keep the rules", came or said)


def _refused(expected: str, came: str) -> ContractError:
    return ContractError(where="review", expected=expected, came=came, todo="nothing was changed")


@dataclass(slots=True)
class Standing:
    """Which operations of a row of them still stand, and what an undo or a redo would take back."""

    _done: list[tuple[str, Review]] = field(default_factory=list)  # id that an undo names, the operation it takes back
    _undone: list[tuple[str, Review]] = field(default_factory=list)

    @property
    def reviews(self) -> list[Review]:
        """The operations that stand, in order."""
        return [review for _, review in self._done]

    @property
    def undo(self) -> str | None:
        """The review that an undo takes back."""
        return self._done[-1][0] if self._done else None

    @property
    def redo(self) -> str | None:
        """The undo that a redo takes back; redo is the undo of an undo."""
        return self._undone[-1][0] if self._undone else None

    @property
    def decision(self) -> Decision | None:
        """On the whole clip, as the operations alone tell; the same as the draft's."""
        for review in reversed(self.reviews):
            if not review.phase_ids and review.operation in ("accept", "reject"):
                return review.operation
            if review.operation != "accept":
                return None
        return None

    def add(self, review: Review) -> None:
        """Go on by one operation that fits."""
        if review.undoes is None:
            self._undone.clear()
            self._done.append((review.review_id, review))
        else:
            here, there = (self._done, self._undone) if review.undoes == self.undo else (self._undone, self._done)
            if here:
                there.append((review.review_id, here.pop()[1]))


@dataclass(slots=True)
class Trail:
    """One annotation under one reviewer: the draft, and the operations that led to it."""

    annotation: Annotation
    draft: Draft = field(init=False)
    standing: Standing = field(default_factory=Standing)
    reviews: list[Review] = field(default_factory=list)
    refused: list[Review] = field(default_factory=list)  # stored operations that do not fit; nothing of them is in
    _steps: dict[str, tuple[Draft, Draft]] = field(default_factory=dict)  # review id: draft before and after

    def __post_init__(self) -> None:
        self.draft = Draft(annotation=self.annotation)

    def after(self, review: Review) -> Draft:
        """The draft that an operation would make.

        Raises:
            StaleError: it was made on another draft.
            ContractError: it does not fit the draft.
        """
        if review.before_sha256 != self.draft.sha256:
            raise StaleError(review.review_id)
        if review.operation != "undo":
            return self.draft.then(review)
        latest = (self.standing.undo, self.standing.redo)
        if review.undoes is None or review.undoes not in latest:
            raise _refused(f"the latest operation, one of {latest}", str(review.undoes))
        return self._steps[review.undoes][0]

    def add(self, review: Review) -> None:
        """Go on by one operation; the trail stays as it was when that is refused (see `after`)."""
        draft = self.after(review)
        self._steps[review.review_id] = (self.draft, draft)
        self.draft = draft
        self.standing.add(review)
        self.reviews.append(review)

    def replay(self, reviews: Iterable[Review]) -> None:
        """Go on by stored operations; one that does not fit is set aside in `refused`."""
        for review in reviews:
            try:
                self.add(review)
            except (StaleError, ContractError):
                self.refused.append(review)
