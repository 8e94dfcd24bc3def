"""What others say: the samples of the same annotator (D)."""

from collections.abc import Iterator

from xsheet.audit.checks.base import Check, Outcome, View
from xsheet.audit.settings import AuditSettings


def _support(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.others.min_support
    for phase in view.annotation.phases:
        said = phase.evidence
        share = view.support.get(phase.phase_id)
        if share is None and said is not None and said.support_k is not None and (said.k or 0) > 1:
            share = said.support_k / (said.k or 1)
        if share is not None:
            yield Outcome(share >= limit, share, limit, phase)


def _agreement(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    scores, limit = view.annotation.scores, settings.others.min_agreement
    found = view.agreement if scores is None or scores.consistency is None else scores.consistency
    if found is not None:
        yield Outcome(found >= limit, found, limit)


OTHERS = (
    Check(id="D1", why="a phase is what samples share, not the luck of one", severity="warning", number="support",
          sense=">=", judge=_support,
          formula="share of the clip's samples with the phase at tIoU >= 0.5 (§9-D)"),
    Check(id="D2", why="samples of one clip tell of the same actions", severity="warning", number="agreement_f1",
          sense=">=", judge=_agreement, formula="mean F1@0.5 over pairs of samples (§9-D)"),
)  # fmt: skip
