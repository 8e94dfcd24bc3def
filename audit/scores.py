"""Scores: what the answers of all checks come to, for a phase, an annotation, and a layer.

A family's score is the share of its answers that passed, an error weighing twice as much as a warning; open answers and
remarks weigh nothing. The overall score is that of the worst family: wording does not make up for a movement that is
not there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xsheet.audit.checks.base import Check, CheckFamily, CheckResult
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Scores

CheckEvaluation = tuple[Check, CheckResult]
_SEVERITY_WEIGHT: Mapping[vocab.Severity, float] = {"error": 1.0, "warning": 0.5, "info": 0.0}
# G1 and G4 refute a phase altogether (§9); the others say in which respect it is wrong.
_REFUTING_CHECKS = frozenset({"G1", "G4"})
_EVIDENCE_CHECKS = frozenset({"G1", "G1b", "G4", "G6"})
REFUTATION_KIND: Mapping[str, str] = {"G1": "existence", "G4": "direction", "G3": "time", "G6": "class"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnnotation:
    """What the audit came to on one annotation; about 300 bytes, so that a layer of a million fits into memory."""

    annotation_id: str
    clip_id: str
    status: vocab.ResponseStatus
    scores: Scores
    errors: int
    warnings: int
    phase_count: int
    verifiable_phases: int  # phases that motion could speak about
    refuted_phases: int  # of these
    missed_us: int  # time of movements that no phase names
    moving_us: int  # time of visible phases that are no rest

    @property
    def review_priority(self) -> tuple[bool, int, float, int, str]:
        """Sorts the worst first; a reply that failed has nothing to look at and comes last."""
        overall = 1.0 if self.scores.overall is None else self.scores.overall
        return self.status != "ok", -self.errors, overall, -self.warnings, self.annotation_id


def family_scores(evaluations: Iterable[CheckEvaluation]) -> dict[CheckFamily, float]:
    """Share that passed, by family; families without an answer are left out."""
    passed: dict[str, float] = {}  # by id: there are many answers and few checks
    asked: dict[str, float] = {}
    checks: dict[str, Check] = {}
    for check, outcome in evaluations:
        if outcome.passed is not None:
            checks[check.id] = check
            asked[check.id] = asked.get(check.id, 0) + 1
            passed[check.id] = passed.get(check.id, 0) + outcome.passed
    totals: dict[CheckFamily, tuple[float, float]] = {}
    for name, check in checks.items():
        weight, (good, total) = _SEVERITY_WEIGHT[check.severity], totals.get(check.family, (0.0, 0.0))
        totals[check.family] = good + weight * passed[name], total + weight * asked[name]
    return {family: good / total for family, (good, total) in totals.items() if total}


def score_evaluations(evaluations: Iterable[CheckEvaluation]) -> Scores:
    """Families as the record keeps them; structure and timeline count in `overall` alone."""
    found = family_scores(evaluations)
    return Scores(
        overall=min(found.values(), default=None),
        consistency=found.get("consistency"),
        motion=found.get("motion"),
        speech=found.get("speech"),
        text=found.get("text"),
    )


def phase_scores(evaluations: Iterable[CheckEvaluation]) -> dict[str, Scores]:
    """Scores of every phase by its id."""
    by_phase: dict[str, list[CheckEvaluation]] = {}
    for check, outcome in evaluations:
        if outcome.phase is not None:
            by_phase.setdefault(outcome.phase.phase_id, []).append((check, outcome))
    return {phase_id: score_evaluations(some) for phase_id, some in by_phase.items()}


def mean_scores(scores: Iterable[Scores]) -> Scores:
    """Of a layer: the mean of each number over the annotations that have it."""
    sums: dict[str, list[float]] = {}
    for one in scores:
        for name in Scores.__dataclass_fields__:
            value = getattr(one, name)
            if value is not None:
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += value
                total[1] += 1
    return Scores(**{name: total / count for name, (total, count) in sums.items()})


def score_annotation(annotation: Annotation, evaluations: list[CheckEvaluation], *, missed_us: int) -> ScoredAnnotation:
    """The answers to one annotation, counted."""
    failed = [check.severity for check, outcome in evaluations if outcome.passed is False]
    visible: dict[str, int] = {}  # phase id: its length
    refuted: set[str] = set()
    for check, outcome in evaluations:
        if outcome.phase is not None and outcome.passed is not None and check.id in _EVIDENCE_CHECKS:
            phase = outcome.phase
            visible[phase.phase_id] = 0 if phase.action == "rest" else phase.end_us - phase.start_us
            if outcome.passed is False and check.id in _REFUTING_CHECKS:
                refuted.add(phase.phase_id)
    return ScoredAnnotation(
        annotation_id=annotation.annotation_id,
        clip_id=annotation.clip_id,
        status=annotation.status,
        scores=score_evaluations(evaluations),
        errors=failed.count("error"),
        warnings=failed.count("warning"),
        phase_count=len(annotation.phases),
        verifiable_phases=len(visible),
        refuted_phases=len(refuted),
        missed_us=missed_us,
        moving_us=sum(visible.values()),
    )
