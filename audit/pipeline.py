"""Audit pipeline: run every check on every annotation of a layer in one pass, then evaluate the gate.

    result = audit(folder, find_layer(folder, "consensus"), AuditSettings())
    result.gate.passed, result.annotations[0]         # the worst annotation first

Only the scores of a layer are kept in memory. A check without input yields no result, so a set without signals, shots
or samples can be audited too; the gate fails criteria that could not be measured.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xsheet import __version__
from xsheet.audit.agreement.compare import Agreement, compare_layers
from xsheet.audit.agreement.phase_arrays import layer_phase_arrays
from xsheet.audit.checks.base import AnnotationView, Check, to_finding
from xsheet.audit.checks.flow import FLOW_CHECKS
from xsheet.audit.checks.layer import LayerStatistics
from xsheet.audit.checks.motion import MOTION_CHECKS, missed_spans
from xsheet.audit.checks.samples import SAMPLE_CHECKS
from xsheet.audit.checks.speech import SPEECH_CHECKS
from xsheet.audit.checks.structure import STRUCTURE_CHECKS
from xsheet.audit.checks.text import TEXT_CHECKS
from xsheet.audit.checks.timeline import TIMELINE_CHECKS
from xsheet.audit.gate import Gate, GateInputs, evaluate_gate
from xsheet.audit.independence import AuditRules, audit_rules
from xsheet.audit.layer_profile import ResponseStats, response_stats
from xsheet.audit.scores import REFUTATION_KIND, CheckEvaluation, ScoredAnnotation, mean_scores, score_annotation
from xsheet.audit.settings import AuditSettings
from xsheet.audit.views import LayerViews
from xsheet.runtime.lock import write_lock
from xsheet.runtime.progress import Progress
from xsheet.schemas import ids
from xsheet.schemas.annotation import Finding, Scores
from xsheet.schemas.layers import LayerRun, write_findings
from xsheet.schemas.run import Run
from xsheet.schemas.settings import settings_sha256

CHECKS: tuple[Check, ...] = (
    *STRUCTURE_CHECKS,
    *TIMELINE_CHECKS,
    *SAMPLE_CHECKS,
    *TEXT_CHECKS,
    *MOTION_CHECKS,
    *FLOW_CHECKS,
    *SPEECH_CHECKS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCounts:
    """Results of one check over a layer."""

    check: Check
    passed: int
    failed: int
    undetermined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """Result of an audit."""

    run: Run
    layer: LayerRun
    gate: Gate
    scores: Scores  # means over the annotations
    annotations: tuple[ScoredAnnotation, ...]  # worst first
    checks: tuple[CheckCounts, ...]
    refutations: Mapping[str, int]  # phases refuted, by kind: existence, direction, time, class
    responses: ResponseStats
    rules: AuditRules  # motion rules that the checks take their limits from
    agreement: Agreement | None = None

    @property
    def phase_count(self) -> int:
        """Number of phases in the layer."""
        return sum(scored.phase_count for scored in self.annotations)

    @property
    def finding_count(self) -> int:
        """Number of failed results, those of severity info included."""
        return sum(counts.failed for counts in self.checks)


def run_checks(view: AnnotationView, settings: AuditSettings) -> list[CheckEvaluation]:
    """All results of all checks on one annotation, passed ones included."""
    return [(check, result) for check in CHECKS for result in check.evaluate(view, settings)]


def audit(
    set_folder: Path,
    layer: LayerRun,
    settings: AuditSettings,
    *,
    reference: LayerRun | None = None,
    acceptance_rate: float | None = None,
    shows_progress: bool = False,
) -> AuditResult:
    """Check a layer, write its findings and evaluate the gate.

    Args:
        set_folder: folder of the set.
        layer: layer to check.
        settings: limits of the checks and the gate.
        reference: layer that the gate compares with, if its limit is set.
        acceptance_rate: lower bound of the acceptance rate of a random sample, if people reviewed one.
        shows_progress: whether to show annotations done and the time left.

    Raises:
        ContractError: a table has a version that this code does not read.
        OSError: the set is not writable.
        RunError: another process writes to the set.
    """
    rules = audit_rules(set_folder, layer)
    run, accumulator = make_audit_run(layer, settings, reference=reference, rules=rules), _AuditAccumulator(settings)
    with write_lock(set_folder):
        views: Iterable[AnnotationView] = LayerViews(set_folder, layer, rules=rules.settings)
        if shows_progress:
            views = Progress("audit").over(views, total=layer.count())
        write_findings(set_folder, run, accumulator.findings(views, run_id=run.run_id))
    responses = response_stats(layer)
    agreement = None
    if reference is not None:
        agreement = compare_layers(
            layer_phase_arrays(reference), layer_phase_arrays(layer), rng=np.random.default_rng(0)
        )
    inputs = replace(
        accumulator.gate_inputs(),
        unusable_response_rate=responses.share("truncated", "invalid"),
        agreement_f1=None if agreement is None else agreement.track_detection.by_tiou[1].f1.value,
        acceptance_rate=acceptance_rate,
    )
    return AuditResult(
        run=run,
        layer=layer,
        gate=evaluate_gate(inputs, settings.gate),
        scores=mean_scores(scored.scores for scored in accumulator.annotations),
        annotations=tuple(sorted(accumulator.annotations, key=lambda scored: scored.review_priority)),
        checks=accumulator.check_counts(),
        refutations=dict(accumulator.refutations),
        responses=responses,
        agreement=agreement,
        rules=rules,
    )


def make_audit_run(
    layer: LayerRun,
    settings: AuditSettings,
    *,
    reference: LayerRun | None = None,
    rules: AuditRules | None = None,
    kind: str = "audit",
) -> Run:
    """The run record of an audit; its id hashes the layer, all settings and the version of xsheet."""
    sha256 = settings_sha256(settings)
    rules_sha256 = None if rules is None else settings_sha256(rules.settings)
    key = ids.content_key(
        kind, __version__, str(layer), sha256, None if reference is None else str(reference), rules_sha256
    )
    parents = (layer.run.run_id,) if reference is None else (layer.run.run_id, reference.run.run_id)
    return Run(
        run_id=f"run_{key[:20]}", kind="audit", tool_version=__version__, model=layer.run.model,
        settings_sha256=sha256, parent_run_ids=parents,
    )  # fmt: skip


class _AuditAccumulator:
    """Counts check results while the findings are written."""

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._result_counts: Counter[tuple[str, bool | None]] = Counter()
        self._structurally_invalid = 0  # annotations that fail a structure check
        self._layer_statistics = LayerStatistics(settings)
        self.annotations: list[ScoredAnnotation] = []
        self.refutations: Counter[str] = Counter()

    def findings(self, views: Iterable[AnnotationView], *, run_id: str) -> Iterator[Finding]:
        """Findings of each annotation in stored order, then those of the whole layer."""
        for view in views:
            evaluations = run_checks(view, self._settings)
            self._accumulate(view, evaluations)
            for check, result in evaluations:
                if result.passed is False:
                    yield to_finding(check, result, view.annotation, run_id=run_id)
        yield from self._layer_statistics.findings(run_id=run_id)

    def _accumulate(self, view: AnnotationView, evaluations: list[CheckEvaluation]) -> None:
        self._result_counts.update((check.id, result.passed) for check, result in evaluations)
        failed = [(check, result) for check, result in evaluations if result.passed is False]
        self.refutations.update(REFUTATION_KIND[check.id] for check, _ in failed if check.id in REFUTATION_KIND)
        self._structurally_invalid += any(
            check.family == "structure" and check.severity == "error" for check, _ in failed
        )
        missed = missed_spans([result for check, result in failed if check.id == "G9"])
        self.annotations.append(score_annotation(view.annotation, evaluations, missed_spans=missed))
        self._layer_statistics.add(view)

    def check_counts(self) -> tuple[CheckCounts, ...]:
        """Results of every check."""
        return tuple(
            CheckCounts(
                check=check, passed=self._result_counts[check.id, True], failed=self._result_counts[check.id, False],
                undetermined=self._result_counts[check.id, None],
            )
            for check in CHECKS
        )  # fmt: skip

    def gate_inputs(self) -> GateInputs:
        """Gate inputs that follow from the annotations alone."""
        visible = sum(scored.verifiable_phases for scored in self.annotations)
        moving = sum(scored.moving_us for scored in self.annotations)
        missed = sum(scored.missed_us for scored in self.annotations)
        phases = sum(scored.phase_count for scored in self.annotations)
        return GateInputs(
            structural_error_rate=_ratio_or_none(self._structurally_invalid, len(self.annotations)),
            movement_not_visible_rate=_ratio_or_none(
                sum(scored.refuted_phases for scored in self.annotations), visible
            ),
            missed_motion_share=_ratio_or_none(missed, missed + moving),
            unusable_response_rate=None,
            verifiable_share=_ratio_or_none(visible, phases),
            agreement_f1=None,
            acceptance_rate=None,
        )


def _ratio_or_none(part: int, whole: int) -> float | None:
    return part / whole if whole else None
