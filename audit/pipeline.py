"""Audit: every check on every annotation of a layer, in one pass of flat memory; then the gate.

    audited = audit(folder, find_layer(folder, "consensus"), AuditSettings())
    audited.gate.passed, audited.judged[0]            # the worst annotation first

Findings are rows of the set. A check that has nothing to look at is silent: an audit of a set without signals, shots or
samples does what it can, and the gate says what it could not measure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xsheet import __version__
from xsheet.audit.agreement.compare import Agreement, compare_layers
from xsheet.audit.agreement.phase_arrays import layer_phase_arrays
from xsheet.audit.checks.base import AnnotationView, Check, to_finding
from xsheet.audit.checks.layer import LayerStatistics
from xsheet.audit.checks.motion import MOTION_CHECKS, missed_duration_us
from xsheet.audit.checks.samples import SAMPLE_CHECKS
from xsheet.audit.checks.speech import SPEECH_CHECKS
from xsheet.audit.checks.structure import STRUCTURE_CHECKS
from xsheet.audit.checks.text import TEXT_CHECKS
from xsheet.audit.checks.timeline import TIMELINE_CHECKS
from xsheet.audit.gate import Gate, GateInputs, evaluate_gate
from xsheet.audit.layer_profile import ResponseStats, response_stats
from xsheet.audit.scores import REFUTATION_KIND, CheckEvaluation, ScoredAnnotation, mean_scores, score_annotation
from xsheet.audit.settings import AuditSettings
from xsheet.audit.views import LayerViews
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
    *SPEECH_CHECKS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCounts:
    """How one check ended over a layer."""

    check: Check
    passed: int
    failed: int
    undetermined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What an audit came to."""

    run: Run
    layer: LayerRun
    gate: Gate
    scores: Scores  # means over the annotations
    annotations: tuple[ScoredAnnotation, ...]  # worst first
    checks: tuple[CheckCounts, ...]
    refutations: Mapping[str, int]  # phases refuted, by respect: existence, direction, time, class
    responses: ResponseStats
    agreement: Agreement | None = None

    @property
    def phase_count(self) -> int:
        """All of the layer."""
        return sum(one.phase_count for one in self.annotations)

    def failed_check_rows(self) -> list[tuple[str, str, str, str, str]]:
        """Checks that found something: id, severity, failed of asked, open, why; errors first."""
        order = {"error": 0, "warning": 1, "info": 2}
        found = sorted(
            (one for one in self.checks if one.failed), key=lambda one: (order[one.check.severity], -one.failed)
        )
        return [
            (
                one.check.id, one.check.severity, f"{one.failed} of {one.failed + one.passed}", str(one.undetermined),
                one.check.requirement,
            )
            for one in found
        ]  # fmt: skip

    @property
    def finding_count(self) -> int:
        """Checks that did not pass, remarks among them."""
        return sum(one.failed for one in self.checks)


def run_checks(view: AnnotationView, settings: AuditSettings) -> list[CheckEvaluation]:
    """Every answer of every check to one annotation, those that passed among them."""
    return [(check, outcome) for check in CHECKS for outcome in check.evaluate(view, settings)]


def audit(
    set_folder: Path,
    layer: LayerRun,
    settings: AuditSettings,
    *,
    reference: LayerRun | None = None,
    acceptance_rate: float | None = None,
) -> AuditResult:
    """Check a layer, write its findings, and ask the gate.

    Args:
        set_folder: the set.
        layer: what to check.
        settings: limits.
        reference: another layer that the gate may compare with.
        acceptance_rate: lower bound of what people accept of a random sample, where people looked.

    Raises:
        ContractError: a table that this code does not read.
        OSError: the set cannot be written.
    """
    run, tally = make_audit_run(layer, settings, reference=reference), _AuditAccumulator(settings)
    write_findings(set_folder, run, tally.findings(LayerViews(set_folder, layer), run_id=run.run_id))
    said = response_stats(layer)
    agreement = None
    if reference is not None:
        agreement = compare_layers(
            layer_phase_arrays(reference), layer_phase_arrays(layer), rng=np.random.default_rng(0)
        )
    measures = replace(
        tally.gate_inputs(),
        unusable_response_rate=said.share("truncated", "invalid"),
        agreement_f1=None if agreement is None else agreement.track_detection.by_tiou[1].f1.value,
        acceptance_rate=acceptance_rate,
    )
    return AuditResult(
        run=run,
        layer=layer,
        gate=evaluate_gate(measures, settings.gate),
        scores=mean_scores(one.scores for one in tally.annotations),
        annotations=tuple(sorted(tally.annotations, key=lambda one: one.review_priority)),
        checks=tally.check_counts(),
        refutations=dict(tally.refutations),
        responses=said,
        agreement=agreement,
    )


def make_audit_run(
    layer: LayerRun, settings: AuditSettings, *, reference: LayerRun | None = None, kind: str = "audit"
) -> Run:
    """The run of an audit: its id hashes the layer, the limits and this version."""
    sha256 = settings_sha256(settings)
    key = ids.content_key(kind, __version__, str(layer), sha256, None if reference is None else str(reference))
    parents = (layer.run.run_id,) if reference is None else (layer.run.run_id, reference.run.run_id)
    return Run(
        run_id=f"run_{key[:20]}", kind="audit", tool_version=__version__, model=layer.run.model,
        settings_sha256=sha256, parent_run_ids=parents,
    )  # fmt: skip


class _AuditAccumulator:
    """Counts while the findings go by."""

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._result_counts: Counter[tuple[str, bool | None]] = Counter()
        self._structurally_invalid = 0  # annotations that fail a structural check
        self._layer_statistics = LayerStatistics(settings)
        self.annotations: list[ScoredAnnotation] = []
        self.refutations: Counter[str] = Counter()

    def findings(self, views: LayerViews, *, run_id: str) -> Iterator[Finding]:
        """The findings of every annotation in stored order, then those of the layer as a whole."""
        for view in views:
            answers = run_checks(view, self._settings)
            self._accumulate(view, answers)
            for check, outcome in answers:
                if outcome.passed is False:
                    yield to_finding(check, outcome, view.annotation, run_id=run_id)
        yield from self._layer_statistics.findings(run_id=run_id)

    def _accumulate(self, view: AnnotationView, answers: list[CheckEvaluation]) -> None:
        self._result_counts.update((check.id, outcome.passed) for check, outcome in answers)
        failed = [(check, outcome) for check, outcome in answers if outcome.passed is False]
        self.refutations.update(REFUTATION_KIND[check.id] for check, _ in failed if check.id in REFUTATION_KIND)
        self._structurally_invalid += any(
            check.family == "structure" and check.severity == "error" for check, _ in failed
        )
        missed = missed_duration_us([outcome for check, outcome in failed if check.id == "G9"])
        self.annotations.append(score_annotation(view.annotation, answers, missed_us=missed))
        self._layer_statistics.add(view)

    def check_counts(self) -> tuple[CheckCounts, ...]:
        """How every check ended."""
        return tuple(
            CheckCounts(
                check=check, passed=self._result_counts[check.id, True], failed=self._result_counts[check.id, False],
                undetermined=self._result_counts[check.id, None],
            )
            for check in CHECKS
        )  # fmt: skip

    def gate_inputs(self) -> GateInputs:
        """What the gate asks of the annotations themselves."""
        visible = sum(one.verifiable_phases for one in self.annotations)
        moving = sum(one.moving_us for one in self.annotations)
        missed = sum(one.missed_us for one in self.annotations)
        phases = sum(one.phase_count for one in self.annotations)
        return GateInputs(
            structural_error_rate=_ratio_or_none(self._structurally_invalid, len(self.annotations)),
            hallucination_rate=_ratio_or_none(sum(one.refuted_phases for one in self.annotations), visible),
            missed_motion_share=_ratio_or_none(missed, missed + moving),
            unusable_response_rate=None,
            verifiable_share=_ratio_or_none(visible, phases),
            agreement_f1=None,
            acceptance_rate=None,
        )


def _ratio_or_none(part: int, whole: int) -> float | None:
    return part / whole if whole else None
