"""Consistency checks (D): agreement of several samples of the same annotator."""

from collections.abc import Iterator

from xsheet.audit.checks.base import AnnotationView, Check, CheckResult
from xsheet.audit.settings import AuditSettings


def _check_support(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.consistency.min_support
    for phase in view.annotation.phases:
        evidence = phase.evidence
        share = view.support_by_phase.get(phase.phase_id)
        if share is None and evidence is not None and evidence.support_k is not None and (evidence.k or 0) > 1:
            share = evidence.support_k / (evidence.k or 1)
        if share is not None:
            yield CheckResult(share >= limit, share, limit, phase)


def _check_sample_agreement(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    scores, limit = view.annotation.scores, settings.consistency.min_sample_f1
    f1 = view.sample_f1 if scores is None or scores.consistency is None else scores.consistency
    if f1 is not None:
        yield CheckResult(f1 >= limit, f1, limit)


SAMPLE_CHECKS = (
    Check(
        id="D1",
        requirement="A phase is supported by most samples of the annotator",
        severity="warning",
        metric="support_share",
        comparator=">=",
        evaluate=_check_support,
        formula="share of the clip's samples that contain the phase at tIoU ≥ 0.5",
    ),
    Check(
        id="D2",
        requirement="Samples of one clip agree with each other",
        severity="warning",
        metric="sample_f1",
        comparator=">=",
        evaluate=_check_sample_agreement,
        formula="mean F1 at tIoU 0.5 over pairs of samples",
    ),
)
