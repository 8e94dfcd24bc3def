"""Scores of phases, annotations and layers from the results of all checks.

The score of a family is the share of its results that passed. An error weighs twice as much as a warning; undetermined
results and checks of severity info do not count. The overall score is the lowest family score: good wording does not
compensate for a missing movement.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xsheet.audit.checks.base import REVIEWED_LAYERS, Check, CheckFamily, CheckResult
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Scores

CheckEvaluation = tuple[Check, CheckResult]
_SEVERITY_WEIGHT: Mapping[vocab.Severity, float] = {"error": 1.0, "warning": 0.5, "info": 0.0}
# G1 and G4 refute a phase; the other checks say what is wrong about it.
_REFUTING_CHECKS = frozenset({"G1", "G4"})
_EVIDENCE_CHECKS = frozenset({"G1", "G1b", "G4", "G6"})
REFUTATION_KIND: Mapping[str, str] = {"G1": "existence", "G4": "direction", "G3": "time", "G6": "class"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnnotation:
    """Audit result of one annotation; about 300 bytes, so that a million of them fit into memory."""

    annotation_id: str
    clip_id: str
    status: vocab.ResponseStatus
    scores: Scores
    errors: int
    warnings: int
    phase_count: int
    verifiable_phases: int  # phases that a motion check could decide
    refuted_phases: int  # phases among them that G1 or G4 refutes
    missed_spans: tuple[tuple[int, int], ...]  # start and end in µs of movements that no phase covers
    moving_us: int  # time of verifiable phases other than rests

    @property
    def missed_us(self) -> int:
        """Time of movements that no phase covers."""
        return sum(end - start for start, end in self.missed_spans)

    @property
    def review_priority(self) -> tuple[bool, int, float, int, str]:
        """Sort key: the worst annotation first; failed responses, which have nothing to review, come last."""
        overall = 1.0 if self.scores.overall is None else self.scores.overall
        return self.status != "ok", -self.errors, overall, -self.warnings, self.annotation_id


def family_scores(evaluations: Iterable[CheckEvaluation]) -> dict[CheckFamily, float]:
    """Share of passed results by family; families without a result are left out."""
    passed: dict[str, float] = {}  # by check id: there are many results and few checks
    decided: dict[str, float] = {}
    checks: dict[str, Check] = {}
    for check, result in evaluations:
        if result.passed is not None:
            checks[check.id] = check
            decided[check.id] = decided.get(check.id, 0) + 1
            passed[check.id] = passed.get(check.id, 0) + result.passed
    totals: dict[CheckFamily, tuple[float, float]] = {}
    for name, check in checks.items():
        weight, (good, total) = _SEVERITY_WEIGHT[check.severity], totals.get(check.family, (0.0, 0.0))
        totals[check.family] = good + weight * passed[name], total + weight * decided[name]
    return {family: good / total for family, (good, total) in totals.items() if total}


def score_evaluations(evaluations: Iterable[CheckEvaluation]) -> Scores:
    """Scores of one set of results; structure and timeline enter `overall` only."""
    by_family = family_scores(evaluations)
    return Scores(
        overall=min(by_family.values(), default=None),
        consistency=by_family.get("consistency"),
        motion=by_family.get("motion"),
        speech=by_family.get("speech"),
        text=by_family.get("text"),
    )


def phase_scores(evaluations: Iterable[CheckEvaluation]) -> dict[str, Scores]:
    """Scores by phase id."""
    by_phase: dict[str, list[CheckEvaluation]] = {}
    for check, result in evaluations:
        if result.phase is not None:
            by_phase.setdefault(result.phase.phase_id, []).append((check, result))
    return {phase_id: score_evaluations(results) for phase_id, results in by_phase.items()}


def mean_scores(scores: Iterable[Scores]) -> Scores:
    """Mean of each score over the annotations that have it."""
    sums: dict[str, list[float]] = {}
    for annotation_scores in scores:
        for name in Scores.__dataclass_fields__:
            value = getattr(annotation_scores, name)
            if value is not None:
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += value
                total[1] += 1
    return Scores(**{name: total / count for name, (total, count) in sums.items()})


def score_annotation(
    annotation: Annotation, evaluations: list[CheckEvaluation], *, missed_spans: tuple[tuple[int, int], ...]
) -> ScoredAnnotation:
    """Scores and counts of one annotation from its check results.

    Decisions of people override measurements: for a reviewed annotation only structural faults count, and motion
    without a phase counts as a deliberate omission.
    """
    reviewed = annotation.layer in REVIEWED_LAYERS
    failed = [
        check.severity
        for check, result in evaluations
        if result.passed is False and not (reviewed and check.family != "structure")
    ]
    visible: dict[str, int] = {}  # phase id: duration in µs, 0 for a rest
    refuted: set[str] = set()
    for check, result in evaluations:
        if result.phase is not None and result.passed is not None and check.id in _EVIDENCE_CHECKS:
            phase = result.phase
            visible[phase.phase_id] = 0 if phase.action == "rest" else phase.end_us - phase.start_us
            if result.passed is False and check.id in _REFUTING_CHECKS:
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
        refuted_phases=0 if reviewed else len(refuted),
        missed_spans=() if reviewed else missed_spans,
        moving_us=sum(visible.values()),
    )
