"""What others say: the samples of the same annotator (D)."""

from collections.abc import Iterator

from xsheet.audit.checks.base import AnnotationView, Check, CheckResult
from xsheet.audit.settings import AuditSettings


def _check_support(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.consistency.min_support
    for phase in view.annotation.phases:
        said = phase.evidence
        share = view.support_by_phase.get(phase.phase_id)
        if share is None and said is not None and said.support_k is not None and (said.k or 0) > 1:
            share = said.support_k / (said.k or 1)
        if share is not None:
            yield CheckResult(share >= limit, share, limit, phase)


def _check_sample_agreement(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    scores, limit = view.annotation.scores, settings.consistency.min_sample_f1
    found = view.sample_f1 if scores is None or scores.consistency is None else scores.consistency
    if found is not None:
        yield CheckResult(found >= limit, found, limit)


SAMPLE_CHECKS = (
    Check(
        id="D1",
        requirement="a phase is what samples share, not the luck of one",
        severity="warning",
        metric="support",
        comparator=">=",
        evaluate=_check_support,
        formula="share of the clip's samples with the phase at tIoU >= 0.5 (§9-D)",
    ),
    Check(
        id="D2",
        requirement="samples of one clip tell of the same actions",
        severity="warning",
        metric="agreement_f1",
        comparator=">=",
        evaluate=_check_sample_agreement,
        formula="mean F1@0.5 over pairs of samples (§9-D)",
    ),
)
