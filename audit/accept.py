"""Accept: write the annotations of a layer that passed the gate and need no review as layer `accepted`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xsheet.audit.checks.base import REVIEWED_LAYERS
from xsheet.audit.people.calibration import Calibration
from xsheet.audit.pipeline import AuditResult, audit, make_audit_run
from xsheet.audit.scores import ScoredAnnotation
from xsheet.audit.settings import AcceptRules, AuditSettings
from xsheet.audit.views import annotation_batches
from xsheet.runtime.lock import write_lock
from xsheet.schemas.annotation import Annotation, Phase, UnknownSpan, annotation_id
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun, write_layer


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptResult:
    """Result of accepting a layer; `layer` is None if the gate failed."""

    audit: AuditResult
    layer: LayerRun | None
    accepted_count: int
    rejection_counts: Mapping[str, int]  # annotations left out, by reason


def accept_layer(
    set_folder: Path,
    layer: LayerRun,
    settings: AuditSettings,
    *,
    reference: LayerRun | None = None,
    calibration: Calibration | None = None,
    shows_progress: bool = False,
) -> AcceptResult:
    """Audit a layer; if it passes the gate, write the annotations that meet the rules as layer `accepted`.

    A span that moves without a phase is `unknown` in the accepted annotation, so that no text describes it as still.

    Annotations that a person accepted (layer `human`) are accepted regardless of the gate and the scores; only a
    structural fault rejects them.

    Args:
        set_folder: folder of the set.
        layer: layer with one annotation per clip: consensus, human, or one normalised sample.
        settings: limits of the checks and the gate, and the acceptance rules.
        reference: layer that the gate compares with, if its limit is set.
        calibration: acceptance probability by support; sets the confidence of every phase that states its support.
        shows_progress: whether the audit shows annotations done and the time left.

    Raises:
        ConfigError: the layer has several samples of a clip.
        RunError: another process writes to the set.
    """
    with write_lock(set_folder):
        audited = audit(set_folder, layer, settings, reference=reference, shows_progress=shows_progress)
        _require_one_sample_per_clip(audited)
        reviewed = layer.layer in REVIEWED_LAYERS
        rules = AcceptRules(min_score=0.0, max_warnings=None) if reviewed else settings.accept
        reasons = {scored.annotation_id: rejection_reason(scored, rules) for scored in audited.annotations}
        rejected = Counter(reason for reason in reasons.values() if reason is not None)
        accepted: LayerRun | None = None
        if audited.gate.passed or reviewed:
            run = make_audit_run(layer, settings, reference=reference, kind="accept")
            scores = {
                scored.annotation_id: scored for scored in audited.annotations if reasons[scored.annotation_id] is None
            }
            rows = _accepted_annotations(layer, scores, run_id=run.run_id, calibration=calibration)
            accepted = write_layer(set_folder, run, "accepted", rows)
        count = len(audited.annotations) - rejected.total() if accepted is not None else 0
        return AcceptResult(audit=audited, layer=accepted, accepted_count=count, rejection_counts=dict(rejected))


def rejection_reason(scored: ScoredAnnotation, rules: AcceptRules) -> str | None:
    """Why an annotation needs review; None if it does not."""
    if scored.status != "ok":
        return f"response {scored.status}"
    if scored.errors:
        return "finding of severity error"
    if scored.scores.overall is not None and scored.scores.overall < rules.min_score:
        return f"score below {rules.min_score:g}"
    if rules.max_warnings is not None and scored.warnings > rules.max_warnings:
        return f"more than {rules.max_warnings} warnings"
    return None


def _require_one_sample_per_clip(result: AuditResult) -> None:
    counts = Counter(scored.clip_id for scored in result.annotations)
    repeated = [clip for clip, count in counts.items() if count > 1]
    if repeated:
        raise ConfigError(
            where=f"layer {result.layer}",
            expected="one annotation per clip",
            got=f"several annotations of {len(repeated)} clips, e.g. {repeated[0]}",
            hint="accept the consensus layer of the samples",
        )


def _accepted_annotations(
    layer: LayerRun, chosen: Mapping[str, ScoredAnnotation], *, run_id: str, calibration: Calibration | None
) -> Iterator[Annotation]:
    for rows in annotation_batches(layer):
        for row in rows:
            if row.annotation_id in chosen:
                yield _to_accepted(row, chosen[row.annotation_id], run_id=run_id, calibration=calibration)


def _unknown(start_us: int, end_us: int) -> UnknownSpan:
    return UnknownSpan(track="whole_body", start_us=start_us, end_us=end_us)


def _to_accepted(
    row: Annotation, scored: ScoredAnnotation, *, run_id: str, calibration: Calibration | None
) -> Annotation:
    phases = tuple(_with_calibrated_confidence(phase, calibration) for phase in row.phases)
    return replace(
        row,
        annotation_id=annotation_id(
            clip_id=row.clip_id, layer="accepted", run_id=run_id, sample_index=None, base=row.base, phases=phases
        ),
        layer="accepted",
        parent_ids=(row.annotation_id,),
        run_id=run_id,
        sample_index=None,
        seed=None,
        phases=phases,
        unknown=(*row.unknown, *(_unknown(start, end) for start, end in scored.missed_spans)),
        raw_text=None,
        raw_sha256=None,
        repairs=(),
        usage=None,
        scores=scored.scores,
    )  # fmt: skip


def _with_calibrated_confidence(phase: Phase, calibration: Calibration | None) -> Phase:
    evidence = phase.evidence
    if calibration is None or evidence is None or evidence.support_k is None or not evidence.k:
        return phase
    support = min(1.0, evidence.support_k / evidence.k)
    return replace(phase, confidence=float(calibration.acceptance_probability(np.array([support]))[0]))
