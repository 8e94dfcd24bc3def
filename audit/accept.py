"""Accept: from a layer that passed the gate, the annotations that need no person, as the layer that training reads."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xsheet.audit.people.calibration import Calibration
from xsheet.audit.pipeline import Audited, audit, audit_run
from xsheet.audit.scores import Judged
from xsheet.audit.settings import AcceptRules, AuditSettings
from xsheet.audit.views import blocks
from xsheet.schemas.annotation import Annotation, Phase, annotation_id
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.layers import LayerRun, write_layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of a layer. Without a pass of the gate there is no accepted layer."""

    audited: Audited
    layer: LayerRun | None
    accepted: int
    refused: Mapping[str, int]  # annotations left out, by reason


def accept(
    set_folder: Path,
    layer: LayerRun,
    settings: AuditSettings,
    *,
    against: LayerRun | None = None,
    calibration: Calibration | None = None,
) -> Accepted:
    """Audit a layer; where it passes the gate, write the annotations that the rules let through as layer 'accepted'.

    Args:
        set_folder: the set.
        layer: one annotation a clip: consensus, human, norm of one sample.
        settings: limits, gate and rules.
        against: another layer that the gate may compare with.
        calibration: from support to the chance that a person accepts, where people decided; it sets the confidence of
            every phase that states its support.

    Raises:
        ConfigError: a layer with several samples of a clip.
    """
    audited = audit(set_folder, layer, settings, against=against)
    _check_single(audited)
    verdicts = {one.annotation_id: refusal(one, settings.accept) for one in audited.judged}
    refused = Counter(reason for reason in verdicts.values() if reason is not None)
    made: LayerRun | None = None
    if audited.gate.passed:
        run = audit_run(layer, settings, against=against, kind="accept")
        scores = {one.annotation_id: one for one in audited.judged if verdicts[one.annotation_id] is None}
        rows = _rows(layer, scores, run_id=run.run_id, calibration=calibration)
        made = write_layer(set_folder, run, "accepted", rows)
    let_through = len(audited.judged) - refused.total() if made is not None else 0
    return Accepted(audited=audited, layer=made, accepted=let_through, refused=dict(refused))


def refusal(judged: Judged, rules: AcceptRules) -> str | None:
    """Why an annotation needs a person; None where it does not."""
    if judged.status != "ok":
        return f"reply {judged.status}"
    if judged.errors:
        return "an error finding"
    if judged.scores.overall is not None and judged.scores.overall < rules.min_score:
        return f"score below {rules.min_score:g}"
    if rules.max_warnings is not None and judged.warnings > rules.max_warnings:
        return f"more than {rules.max_warnings} warnings"
    return None


def _check_single(audited: Audited) -> None:
    twice = [clip for clip, count in Counter(one.clip_id for one in audited.judged).items() if count > 1]
    if twice:
        raise ConfigError(
            where=f"layer {audited.layer}",
            expected="one annotation of each clip",
            came=f"several of {len(twice)} clips, {twice[0]} among them",
            todo="accept the consensus of the samples",
        )


def _rows(
    layer: LayerRun, chosen: Mapping[str, Judged], *, run_id: str, calibration: Calibration | None
) -> Iterator[Annotation]:
    for rows in blocks(layer):
        for row in rows:
            if row.annotation_id in chosen:
                yield _accepted(row, chosen[row.annotation_id], run_id=run_id, calibration=calibration)


def _accepted(row: Annotation, judged: Judged, *, run_id: str, calibration: Calibration | None) -> Annotation:
    phases = tuple(_sure(phase, calibration) for phase in row.phases)
    return replace(
        row,
        annotation_id=annotation_id(
            clip_id=row.clip_id, layer="accepted", run_id=run_id, sample_index=None, said=row.base, phases=phases
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
        scores=judged.scores,
    )  # fmt: skip


def _sure(phase: Phase, calibration: Calibration | None) -> Phase:
    said = phase.evidence
    if calibration is None or said is None or said.support_k is None or not said.k:
        return phase
    support = min(1.0, said.support_k / said.k)
    return replace(phase, confidence=float(calibration.at(np.array([support]))[0]))
