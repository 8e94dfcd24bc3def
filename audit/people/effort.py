"""What reviewing came to: what humans took as it was, what they changed, how far, and how long they took."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from xsheet.audit.people.sampling import wilson
from xsheet.schemas.annotation import Annotation, Phase
from xsheet.schemas.review import Review

PAUSE_S = 120.0  # between two operations of one reviewer; a longer break is counted as one of these
FIELDS = (  # those a reviewer can change; others are filled by steps of ours
    "track", "start_us", "end_us", "action", "text", "body_parts", "laterality", "kind", "amplitude", "speed",
    "repetitions", "gesture_function", "kinematics", "emotion",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Reviewed annotations of a layer against the human layer made from them."""

    clips: int
    unchanged: int  # kept by a human as they were: the first-pass acceptance
    gone: int  # of which no human annotation was made: rejected, or still open
    phases: int  # in all reviewed annotations
    deleted: int
    new: int
    edited: Mapping[str, int]  # field of Phase -> phases in which it was changed
    median_shift_us: float | None  # of the boundaries that were moved
    median_seconds: float | None  # a clip, from its operations' times

    @property
    def acceptance(self) -> tuple[float, float]:
        """Wilson bounds of the first-pass acceptance; of the layer only where the clips were picked at random."""
        return wilson(self.unchanged, self.clips)


def effort(reviews: Iterable[Review], before: Iterable[Annotation], after: Iterable[Annotation]) -> Effort:
    """Effort of the reviews on a layer, given that layer and the human one; what nobody reviewed is left out."""
    seconds = _seconds(reviews)
    human = {parent: one for one in after for parent in one.parent_ids}
    seen = [one for one in before if one.annotation_id in seconds]
    kept = [(one, human[one.annotation_id]) for one in seen if one.annotation_id in human]
    phases = [({p.phase_id: p for p in one.phases}, {p.phase_id: p for p in other.phases}) for one, other in kept]
    both = [(was[name], became[name]) for was, became in phases for name in was.keys() & became.keys()]
    moved = [abs(a - b) for was, became in both for a, b in zip(_bounds(was), _bounds(became), strict=True) if a != b]
    return Effort(
        clips=len(seen),
        unchanged=sum(one.base == other.base and _said(one) == _said(other) for one, other in kept),
        gone=len(seen) - len(kept),
        phases=sum(len(one.phases) for one in seen),
        deleted=sum(len(was.keys() - became.keys()) for was, became in phases),
        new=sum(len(became.keys() - was.keys()) for was, became in phases),
        edited=Counter(name for was, became in both for name in FIELDS if getattr(was, name) != getattr(became, name)),
        median_shift_us=median(moved) if moved else None,
        median_seconds=median(seconds[one.annotation_id] for one in seen) if seen else None,
    )


def _bounds(phase: Phase) -> tuple[int, int]:
    return phase.start_us, phase.end_us


def _said(one: Annotation) -> list[tuple[object, ...]]:
    return [tuple(getattr(phase, name) for name in FIELDS) for phase in one.phases]


def _seconds(reviews: Iterable[Review]) -> dict[str, float]:
    """Seconds spent on each annotation: from its reviewer's operation before, on whatever clip, to each of its own."""
    by_reviewer: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        by_reviewer[review.reviewer].append(review)
    spent: dict[str, float] = defaultdict(float)
    for mine in by_reviewer.values():
        mine.sort(key=lambda review: review.at)
        spent[mine[0].annotation_id] += 0.0  # when the first was opened is not known
        for earlier, later in pairwise(mine):
            spent[later.annotation_id] += min((later.at - earlier.at).total_seconds(), PAUSE_S)
    return spent
