"""Accept: from a layer that passed the gate, the annotations that need no person, as the layer that training reads."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xsheet.audit.people.calibration import Calibration
from xsheet.audit.pipeline import AuditResult, audit, make_audit_run
from xsheet.audit.scores import ScoredAnnotation
from xsheet.audit.settings import AcceptRules, AuditSettings
from xsheet.audit.views import annotation_batches
from xsheet.schemas.annotation import Annotation, Phase, annotation_id
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun, write_layer


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptResult:
    """What became of a layer. Without a pass of the gate there is no accepted layer."""

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
) -> AcceptResult:
    """Audit a layer; where it passes the gate, write the annotations that the rules let through as layer 'accepted'.

    Args:
        set_folder: the set.
        layer: one annotation a clip: consensus, human, normalised of one sample.
        settings: limits, gate and rules.
        reference: another layer that the gate may compare with.
        calibration: from support to the chance that a person accepts, where people decided; it sets the confidence of
            every phase that states its support.

    Raises:
        ConfigError: a layer with several samples of a clip.
    """
    audited = audit(set_folder, layer, settings, reference=reference)
    _require_one_sample_per_clip(audited)
    verdicts = {one.annotation_id: rejection_reason(one, settings.accept) for one in audited.annotations}
    refused = Counter(reason for reason in verdicts.values() if reason is not None)
    made: LayerRun | None = None
    if audited.gate.passed:
        run = make_audit_run(layer, settings, reference=reference, kind="accept")
        scores = {one.annotation_id: one for one in audited.annotations if verdicts[one.annotation_id] is None}
        rows = _accepted_annotations(layer, scores, run_id=run.run_id, calibration=calibration)
        made = write_layer(set_folder, run, "accepted", rows)
    let_through = len(audited.annotations) - refused.total() if made is not None else 0
    return AcceptResult(audit=audited, layer=made, accepted_count=let_through, rejection_counts=dict(refused))


def rejection_reason(scored: ScoredAnnotation, rules: AcceptRules) -> str | None:
    """Why an annotation needs a person; None where it does not."""
    if scored.status != "ok":
        return f"reply {scored.status}"
    if scored.errors:
        return "an error finding"
    if scored.scores.overall is not None and scored.scores.overall < rules.min_score:
        return f"score below {rules.min_score:g}"
    if rules.max_warnings is not None and scored.warnings > rules.max_warnings:
        return f"more than {rules.max_warnings} warnings"
    return None


def _require_one_sample_per_clip(result: AuditResult) -> None:
    twice = [clip for clip, count in Counter(one.clip_id for one in result.annotations).items() if count > 1]
    if twice:
        raise ConfigError(
            where=f"layer {result.layer}",
            expected="one annotation of each clip",
            got=f"several of {len(twice)} clips, {twice[0]} among them",
            hint="accept the consensus of the samples",
        )


def _accepted_annotations(
    layer: LayerRun, chosen: Mapping[str, ScoredAnnotation], *, run_id: str, calibration: Calibration | None
) -> Iterator[Annotation]:
    for rows in annotation_batches(layer):
        for row in rows:
            if row.annotation_id in chosen:
                yield _to_accepted(row, chosen[row.annotation_id], run_id=run_id, calibration=calibration)


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
        raw_text=None,
        raw_sha256=None,
        repairs=(),
        usage=None,
        scores=scored.scores,
    )  # fmt: skip


def _with_calibrated_confidence(phase: Phase, calibration: Calibration | None) -> Phase:
    said = phase.evidence
    if calibration is None or said is None or said.support_k is None or not said.k:
        return phase
    support = min(1.0, said.support_k / said.k)
    return replace(phase, confidence=float(calibration.acceptance_probability(np.array([support]))[0]))
