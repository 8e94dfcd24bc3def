"""K samples of one clip → one annotation: what enough of them say, when they say it in the median.

Phases of one track are clustered over the samples by average link on 1 − tIoU. A cluster that enough samples share
becomes one phase: start and end are medians, class and side are voted, the words are those of its medoid (the member
whose words are nearest to all others'). The order of the samples plays no part; one sample gives its own phases back.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, median, median_low, stdev
from typing import TypeVar

from pydantic import Field
from scipy.cluster.hierarchy import fcluster, linkage

from xsheet.annotate.repairs import RepairLog, trim_overlaps
from xsheet.schemas import vocab
from xsheet.schemas.annotation import (
    MIN_PHASE_US,
    Annotation,
    Base,
    Evidence,
    Phase,
    Scores,
    annotation_id,
    sorted_phases,
)
from xsheet.schemas.settings import StrictModel

T = TypeVar("T")


class ConsensusSettings(StrictModel):
    """When samples mean the same, and how many must."""

    max_distance: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="cut of the clusters, mean 1 − tIoU; 0.5 = the usual F1@0.5 (annotation study)",
    )
    min_support: float = Field(
        default=0.6, gt=0, le=1, description="share of the usable samples that must contain a phase; 2 of 3, 3 of 5"
    )
    min_usable: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of the samples that must be usable; below, the clip has no consensus",
    )


DEFAULT_SETTINGS = ConsensusSettings()


@dataclass(frozen=True, slots=True)
class _Member:
    """A phase and the sample it is from."""

    sample: int
    phase: Phase


def build_consensus(
    samples: Sequence[Annotation], *, run_id: str, settings: ConsensusSettings = DEFAULT_SETTINGS
) -> Annotation:
    """The consensus of all samples of one clip; where too few are usable, its status is what befell most others.

    Raises:
        ValueError: no sample, or samples of several clips.
    """
    if len({(one.clip_id, one.duration_us) for one in samples}) != 1:
        raise ValueError(f"expected samples of one clip, got {sorted({one.clip_id for one in samples})}")
    # In an order of content, so that ties fall the same way however the samples came.
    usable = sorted((one for one in samples if one.status == "ok"), key=lambda one: repr((one.base, one.phases)))
    if len(usable) < settings.min_usable * len(samples):
        failed: list[vocab.ResponseStatus] = [one.status for one in samples if one.status != "ok"]
        return _consensus_annotation(samples, run_id=run_id, status=_majority_vote(failed))
    phases, repairs = _consensus_phases([one.phases for one in usable], settings)
    base = _medoid([one.base for one in usable if one.base is not None], action_text=lambda base: base.text)
    scores = None if len(usable) == 1 else Scores(consistency=consistency([one.phases for one in usable]))
    agreed = _consensus_annotation(samples, run_id=run_id, status="ok", base=base, phases=phases)
    return replace(agreed, repairs=tuple(repairs.entries), scores=scores)


def _consensus_annotation(
    samples: Sequence[Annotation],
    *,
    run_id: str,
    status: vocab.ResponseStatus,
    base: Base | None = None,
    phases: tuple[Phase, ...] = (),
) -> Annotation:
    first = min(samples, key=lambda one: one.annotation_id)
    return Annotation(
        annotation_id=annotation_id(
            clip_id=first.clip_id, layer="consensus", run_id=run_id, sample_index=None, base=base, phases=phases
        ),
        vocab_version=first.vocab_version,
        clip_id=first.clip_id,
        media_sha256=first.media_sha256,
        layer="consensus",
        parent_ids=tuple(sorted(one.annotation_id for one in samples)),
        run_id=run_id,
        status=status,
        duration_us=first.duration_us,
        base=base,
        phases=phases,
    )


# ---- phases


def _consensus_phases(
    samples: Sequence[Sequence[Phase]], settings: ConsensusSettings
) -> tuple[tuple[Phase, ...], RepairLog]:
    repairs = RepairLog()
    agreed = []
    for cluster in _cluster_phases(samples, max_distance=settings.max_distance):
        support = len({member.sample for member in cluster})
        phases = [member.phase for member in cluster]
        if support < settings.min_support * len(samples):
            what = f"{phases[0].track} {phases[0].action} {phases[0].span}"
            repairs.drop("phases", what, reason=f"only {support} of {len(samples)} samples contain it")
        else:
            agreed.append(_merge_cluster(phases, support=support, sample_count=len(samples)))
    named = (replace(phase, phase_id=f"p{i}") for i, phase in enumerate(sorted_phases(agreed)))
    return trim_overlaps(list(named), repairs), repairs


def _cluster_phases(samples: Sequence[Sequence[Phase]], *, max_distance: float) -> list[list[_Member]]:
    """Members that mean the same phase, track by track, in order of time."""
    members = [_Member(i, phase) for i, phases in enumerate(samples) for phase in phases]
    members.sort(key=lambda one: (one.phase.start_us, one.phase.end_us, repr(one.phase)))
    clusters = []
    for track in vocab.TRACKS:
        here = [one for one in members if one.phase.track == track]
        if len(here) < 2:
            clusters += [here] if here else []
            continue
        distances = [1 - a.phase.span.tiou(b.phase.span) for a, b in combinations(here, 2)]
        labels = fcluster(linkage(distances, method="average"), t=max_distance, criterion="distance")
        clusters += [[m for m, label in zip(here, labels, strict=True) if label == k] for k in sorted(set(labels))]
    return clusters


def _merge_cluster(phases: Sequence[Phase], *, support: int, sample_count: int) -> Phase:
    """One phase for a cluster. What was measured of a member's own span holds only while the span is still that one."""
    action = _majority_vote(phase.action for phase in phases)
    medoid = _medoid([phase for phase in phases if phase.action == action], action_text=lambda phase: phase.text)
    start_us = round(median(phase.start_us for phase in phases))
    end_us = max(round(median(phase.end_us for phase in phases)), start_us + MIN_PHASE_US)
    is_same = (start_us, end_us) == (medoid.start_us, medoid.end_us)
    return replace(
        medoid,
        start_us=start_us,
        end_us=end_us,
        start_sigma_us=_merged_sigma([(phase.start_us, phase.start_sigma_us) for phase in phases]),
        end_sigma_us=_merged_sigma([(phase.end_us, phase.end_sigma_us) for phase in phases]),
        laterality=_majority_vote(phase.laterality for phase in phases),
        amplitude=_median_level([phase.amplitude for phase in phases]),
        speed=_median_level([phase.speed for phase in phases]),
        repetitions=_median_level([phase.repetitions for phase in phases]),
        kinematics=medoid.kinematics if is_same else (),
        speech=medoid.speech if is_same else None,
        evidence=replace(medoid.evidence or Evidence(), support_k=support, k=sample_count),
        origin=medoid.origin if sample_count == 1 else "consensus",
    )


def _merged_sigma(instants: Sequence[tuple[int, int | None]]) -> int | None:
    """The spread of the members, but at least what the least certain of them states."""
    spread = math.ceil(stdev(us for us, _ in instants)) if len(instants) > 1 else None
    return max((sigma for sigma in (spread, *(stated for _, stated in instants)) if sigma is not None), default=None)


def _median_level(levels: Sequence[int | None]) -> int | None:
    """The middle of what is stated, if at least half state it."""
    stated = [level for level in levels if level is not None]
    return median_low(stated) if 2 * len(stated) >= len(levels) and stated else None


def _majority_vote(votes: Iterable[T]) -> T:
    """The most frequent; the first in order of its text at a tie."""
    return min(Counter(votes).items(), key=lambda vote: (-vote[1], str(vote[0])))[0]


# ---- words


def _medoid(items: Sequence[T], *, action_text: Callable[[T], str]) -> T:
    """Whose words are nearest to those of all others; the shorter, then the first in order of content, at a tie."""

    def far(one: T) -> float:
        return sum(lexical_distance(action_text(one), action_text(other)) for other in items)

    return min(items, key=lambda one: (round(far(one), 9), len(action_text(one)), repr(one)))


def lexical_distance(a: str, b: str) -> float:
    """0 for the same words, 1 for none in common: 1 − Dice over words, counted as often as they stand."""
    words_a, words_b = Counter(a.lower().split()), Counter(b.lower().split())
    total = words_a.total() + words_b.total()
    return 1 - 2 * (words_a & words_b).total() / total if total else 0.0


# ---- agreement


def consistency(samples: Sequence[Sequence[Phase]]) -> float:
    """Mean F1@0.5 over all pairs of samples; a phase is found again on its track with tIoU ≥ 0.5."""
    return fmean(f1(a, b, min_tiou=0.5) for a, b in combinations(samples, 2))


def f1(a: Sequence[Phase], b: Sequence[Phase], *, min_tiou: float) -> float:
    """F1 of two samples; 1 when both are empty. Best pairs first: no better matching exists from 0.5 upwards."""
    if not a and not b:
        return 1.0
    pairs = sorted(
        ((-p.span.tiou(q.span), i, j) for i, p in enumerate(a) for j, q in enumerate(b) if p.track == q.track)
    )
    used_a: set[int] = set()
    used_b: set[int] = set()
    for minus_tiou, i, j in pairs:
        if -minus_tiou >= min_tiou and i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
    return 2 * len(used_a) / (len(a) + len(b))
