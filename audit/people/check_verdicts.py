"""Check verdicts: decisions of reviewers about findings, to calibrate the limits of the checks.

A finding on a reviewed annotation is **right** if the reviewer rejected, deleted or changed its phase (more than its
text), or, for a movement without a phase, added one there. It is **wrong** if the reviewer chose "annotation right,
measurement wrong". A finding on a phase that was accepted without disputing the measurement has no verdict.

    for record in check_records(check_verdicts(set_folder, layer)):
        record.check, record.right, record.wrong, record.suggested_limit
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xsheet.audit.people.sampling import wilson_interval
from xsheet.audit.pipeline import CHECKS
from xsheet.audit.review.apply import all_reviews, group_by_annotation
from xsheet.audit.review.draft import EditHistory, finding_place
from xsheet.schemas.annotation import Annotation, Finding, Phase
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.tables import FINDINGS, iter_records

_MIN_JUDGED = 10  # fewer verdicts suggest no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckVerdict:
    """One finding and the verdict of one reviewer on it."""

    check: str
    clip_id: str
    annotation_id: str
    phase_id: str | None
    start_us: int | None
    value: float | None  # measured
    limit: float | None
    reviewer: str
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRecord:
    """The verdicts on one check."""

    check: str
    right: int
    wrong: int
    precision: tuple[float, float]  # Wilson bounds of right / (right + wrong), 95 %
    limit: float | None  # at which the findings were made
    suggested_limit: float | None  # fewest errors over the verdicts; null for few verdicts and checks without a number


def check_verdicts(set_folder: Path, layer: LayerRun) -> list[CheckVerdict]:
    """Verdicts of all reviewers on the findings about a layer, in stored order.

    Raises:
        ContractError: a journal is damaged.
    """
    reviews = group_by_annotation(all_reviews(set_folder))
    findings: dict[str, dict[str, Finding]] = {}
    for one in iter_records(set_folder, FINDINGS):
        if one.annotation_id in reviews:
            findings.setdefault(one.annotation_id, {})[finding_place(one)] = one
    verdicts: list[CheckVerdict] = []
    for annotation in layer.read():
        operations = reviews.get(annotation.annotation_id, [])
        for reviewer in dict.fromkeys(operation.reviewer for operation in operations):
            history = EditHistory(annotation)
            history.replay(operation for operation in operations if operation.reviewer == reviewer)
            verdicts += _verdicts(history, findings.get(annotation.annotation_id, {}), reviewer=reviewer)
    return verdicts


def check_records(verdicts: Sequence[CheckVerdict]) -> list[CheckRecord]:
    """The verdicts by check, with the precision of its findings and the limit that fits the verdicts best."""
    comparators = {check.id: check.comparator for check in CHECKS}
    records = []
    for check in sorted({one.check for one in verdicts}):
        mine = [one for one in verdicts if one.check == check]
        right = sum(one.is_right for one in mine)
        limits = [one.limit for one in mine if one.limit is not None]
        limit = limits[-1] if limits else None
        suggested = None if limit is None else _best_limit(mine, limit, comparators.get(check, ""))
        records.append(
            CheckRecord(
                check=check, right=right, wrong=len(mine) - right, precision=wilson_interval(right, len(mine)),
                limit=limit, suggested_limit=suggested,
            )
        )  # fmt: skip
    return records


def _verdicts(history: EditHistory, findings: dict[str, Finding], *, reviewer: str) -> Iterator[CheckVerdict]:
    operations = history.undo_stack.applied_reviews
    disputes = {finding_place(one.finding): one.finding for one in operations if one.finding is not None}
    for place, finding in (findings | disputes).items():
        if place in disputes or _is_confirmed(finding, history.annotation, history.draft.phases):
            numbers = {number.name: number.value for number in finding.evidence}
            limit = numbers.pop("limit", None)
            yield CheckVerdict(
                check=finding.check, clip_id=history.annotation.clip_id,
                annotation_id=history.annotation.annotation_id, phase_id=finding.phase_id, start_us=finding.start_us,
                value=next(iter(numbers.values()), None), limit=limit, reviewer=reviewer,
                is_right=place not in disputes,
            )  # fmt: skip


def _is_confirmed(finding: Finding, before: Annotation, after: Sequence[Phase]) -> bool:
    """Whether the reviewer changed the fields that the finding concerns."""
    if finding.phase_id is not None:
        old, new = (
            next((phase for phase in phases if phase.phase_id == finding.phase_id), None)
            for phases in (before.phases, after)
        )
        return old is not None and (new is None or _facts(old) != _facts(new))
    if finding.start_us is None or finding.end_us is None or finding.track is None:
        return False
    known = {phase.phase_id for phase in before.phases}
    start_us, end_us = finding.start_us, finding.end_us
    return any(
        phase.phase_id not in known and phase.track == finding.track
        and phase.start_us < end_us and start_us < phase.end_us
        for phase in after
    )  # fmt: skip


def _facts(phase: Phase) -> tuple[object, ...]:
    """Fields of a phase that measurements can refute: times, body part, side and class."""
    return phase.start_us, phase.end_us, phase.track, phase.laterality, phase.action


def _best_limit(verdicts: Sequence[CheckVerdict], limit: float, comparator: str) -> float | None:
    """The limit with the fewest errors: wrong findings that remain, right ones that vanish; ties keep it."""
    judged = [(one.value, one.is_right) for one in verdicts if one.value is not None]
    if len(judged) < _MIN_JUDGED or not comparator:
        return None

    def errors(candidate: float) -> int:
        return sum(
            is_right != (value < candidate if comparator == ">=" else value > candidate) for value, is_right in judged
        )

    candidates = {limit, *(value for value, is_right in judged if not is_right)}
    return min(candidates, key=lambda one: (errors(one), abs(one - limit)))
