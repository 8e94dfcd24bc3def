"""Agreement between reviewers over the clips that both decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xsheet.audit.agreement.matching import match_phases
from xsheet.audit.agreement.phase_arrays import phase_arrays
from xsheet.audit.review.draft import EditHistory

MIN_TIOU = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewerAgreement:
    """Two reviewers, or one reviewer who saw the same clips twice."""

    reviewers: tuple[str, str]
    clips: int  # decided by both
    same_decision: int  # of them, accepted by both or rejected by both
    kappa: float | None  # Cohen's, of the decisions; null where chance alone explains everything
    phases: tuple[int, int]  # in the clips that both accepted
    phase_f1: float | None  # of these phases: track, class and tIoU of 0.5
    boundary_ms: float | None  # mean distance of the boundaries of matched phases
    different: tuple[str, ...]  # annotations on which they differ


def reviewer_agreement(names: tuple[str, str], pairs: Sequence[tuple[EditHistory, EditHistory]]) -> ReviewerAgreement:
    """Agreement over pairs of histories, each of one annotation that both reviewers decided."""
    decisions = [(a.draft.decision == "accept", b.draft.decision == "accept") for a, b in pairs]
    accepted = [pair for pair, decided in zip(pairs, decisions, strict=True) if all(decided)]
    a, b = (phase_arrays(pair[side].draft.annotation for pair in accepted) for side in (0, 1))
    matched = match_phases(a, b, same_class=True)
    good = matched.tiou >= MIN_TIOU
    starts = np.abs(a.start_us[matched.a] - b.start_us[matched.b])[good]
    ends = np.abs(a.end_us[matched.a] - b.end_us[matched.b])[good]
    return ReviewerAgreement(
        reviewers=names,
        clips=len(pairs),
        same_decision=sum(one == other for one, other in decisions),
        kappa=cohens_kappa(decisions),
        phases=(len(a), len(b)),
        phase_f1=2 * int(good.sum()) / (len(a) + len(b)) if len(a) + len(b) else None,
        boundary_ms=float(np.concatenate([starts, ends]).mean()) / 1e3 if good.any() else None,
        different=tuple(
            one.annotation.annotation_id
            for one, other in pairs
            if (one.draft.decision, one.draft.phases) != (other.draft.decision, other.draft.phases)
        ),
    )


def cohens_kappa(decisions: Sequence[tuple[bool, bool]]) -> float | None:
    """Cohen's kappa (1960) of pairs of yes and no; None if all answers of both are equal."""
    if not decisions:
        return None
    table: Any = np.array(decisions, dtype=np.float64)
    yes_a, yes_b = table.mean(axis=0)
    observed, expected = float((table[:, 0] == table[:, 1]).mean()), yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
    return None if expected == 1 else float((observed - expected) / (1 - expected))
