"""Consensus of K samples of one clip: the phases that enough samples contain, at their median times.

Phases of one track are clustered over the samples by average linkage on 1 − tIoU. A cluster with enough samples becomes
one phase: median start and end, majority class and side, and the text of the medoid (the member whose words are nearest
to all others). The result does not depend on the order of the samples; the consensus of one sample equals the sample.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, median, median_low, stdev
from typing import TypeVar

from pydantic import Field

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
    """When samples agree, and how many must."""

    max_distance: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="cluster cut-off, mean 1 − tIoU; 0.5 corresponds to F1@0.5",
    )
    min_support: float = Field(
        default=0.6, gt=0, le=1, description="share of the usable samples that must contain a phase; 2 of 3, 3 of 5"
    )
    min_usable: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of usable samples below which a clip has no consensus",
    )


DEFAULT_SETTINGS = ConsensusSettings()


@dataclass(frozen=True, slots=True)
class _Member:
    """A phase and its sample."""

    sample: int
    phase: Phase


def build_consensus(
    samples: Sequence[Annotation], *, run_id: str, settings: ConsensusSettings = DEFAULT_SETTINGS
) -> Annotation:
    """The consensus of all samples of one clip; if too few are usable, its status is the most common failure.

    Raises:
        ValueError: no sample, or samples of several clips.
    """
    if len({(one.clip_id, one.duration_us) for one in samples}) != 1:
        raise ValueError(f"expected samples of one clip, got {sorted({one.clip_id for one in samples})}")
    # Sorted by content, so that ties do not depend on the order of the samples.
    usable = sorted((one for one in samples if one.status == "ok"), key=lambda one: repr((one.base, one.phases)))
    if len(usable) < settings.min_usable * len(samples):
        failed: list[vocab.ResponseStatus] = [one.status for one in samples if one.status != "ok"]
        return _consensus_annotation(samples, run_id=run_id, status=_majority_vote(failed))
    phases, repairs = _consensus_phases([one.phases for one in usable], settings)
    base = _medoid([one.base for one in usable if one.base is not None], text_of=lambda base: base.text)
    scores = None if len(usable) == 1 else Scores(consistency=consistency([one.phases for one in usable]))
    merged = _consensus_annotation(samples, run_id=run_id, status="ok", base=base, phases=phases)
    return replace(merged, repairs=tuple(repairs.entries), scores=scores)


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
    merged = []
    for cluster in _cluster_phases(samples, max_distance=settings.max_distance):
        support = len({member.sample for member in cluster})
        phases = [member.phase for member in cluster]
        if support < settings.min_support * len(samples):
            description = f"{phases[0].track} {phases[0].action} {phases[0].span}"
            repairs.drop("phases", description, reason=f"only {support} of {len(samples)} samples contain it")
        else:
            merged.append(_merge_cluster(phases, support=support, sample_count=len(samples)))
    named = (replace(phase, phase_id=f"p{i}") for i, phase in enumerate(sorted_phases(merged)))
    return trim_overlaps(list(named), repairs), repairs


def _cluster_phases(samples: Sequence[Sequence[Phase]], *, max_distance: float) -> list[list[_Member]]:
    """Clusters of phases that stand for the same action, track by track, in order of time."""
    from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415 - a quarter of a worker's start

    members = [_Member(i, phase) for i, phases in enumerate(samples) for phase in phases]
    members.sort(key=lambda one: (one.phase.start_us, one.phase.end_us, repr(one.phase)))
    clusters = []
    for track in vocab.TRACKS:
        members_of_track = [one for one in members if one.phase.track == track]
        if len(members_of_track) < 2:
            clusters += [members_of_track] if members_of_track else []
            continue
        distances = [1 - a.phase.span.tiou(b.phase.span) for a, b in combinations(members_of_track, 2)]
        labels = fcluster(linkage(distances, method="average"), t=max_distance, criterion="distance")
        clusters += [
            [m for m, label in zip(members_of_track, labels, strict=True) if label == k] for k in sorted(set(labels))
        ]
    return clusters


def _merge_cluster(phases: Sequence[Phase], *, support: int, sample_count: int) -> Phase:
    """One phase for a cluster. Kinematics and speech of the medoid are kept only if its span is unchanged."""
    action = _majority_vote(phase.action for phase in phases)
    medoid = _medoid([phase for phase in phases if phase.action == action], text_of=lambda phase: phase.text)
    start_us = round(median(phase.start_us for phase in phases))
    end_us = max(round(median(phase.end_us for phase in phases)), start_us + MIN_PHASE_US)
    is_medoid_span = (start_us, end_us) == (medoid.start_us, medoid.end_us)
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
        kinematics=medoid.kinematics if is_medoid_span else (),
        speech=medoid.speech if is_medoid_span else None,
        evidence=replace(medoid.evidence or Evidence(), support_k=support, k=sample_count),
        origin=medoid.origin if sample_count == 1 else "consensus",
    )


def _merged_sigma(instants: Sequence[tuple[int, int | None]]) -> int | None:
    """The standard deviation of the members, at least the largest uncertainty of a member."""
    spread = math.ceil(stdev(us for us, _ in instants)) if len(instants) > 1 else None
    return max((sigma for sigma in (spread, *(known for _, known in instants)) if sigma is not None), default=None)


def _median_level(levels: Sequence[int | None]) -> int | None:
    """The lower median of the known levels if at least half are known."""
    known = [level for level in levels if level is not None]
    return median_low(known) if 2 * len(known) >= len(levels) and known else None


def _majority_vote(votes: Iterable[T]) -> T:
    """The most frequent value; at a tie the first in text order."""
    return min(Counter(votes).items(), key=lambda vote: (-vote[1], str(vote[0])))[0]


# ---- words


def _medoid(items: Sequence[T], *, text_of: Callable[[T], str]) -> T:
    """The item whose words are nearest to those of all others; at a tie the shorter, then the first by content."""

    def total_distance(one: T) -> float:
        return sum(lexical_distance(text_of(one), text_of(other)) for other in items)

    return min(items, key=lambda one: (round(total_distance(one), 9), len(text_of(one)), repr(one)))


def lexical_distance(a: str, b: str) -> float:
    """1 − Dice coefficient over word counts: 0 for the same words, 1 for none in common."""
    words_a, words_b = Counter(a.lower().split()), Counter(b.lower().split())
    total = words_a.total() + words_b.total()
    return 1 - 2 * (words_a & words_b).total() / total if total else 0.0


# ---- agreement


def consistency(samples: Sequence[Sequence[Phase]]) -> float:
    """Mean F1@0.5 over all pairs of samples; phases match on one track with tIoU ≥ 0.5."""
    return fmean(f1(a, b, min_tiou=0.5) for a, b in combinations(samples, 2))


def f1(a: Sequence[Phase], b: Sequence[Phase], *, min_tiou: float) -> float:
    """F1 of two samples; 1 when both are empty. Greedy matching by tIoU is optimal from min_tiou = 0.5 upwards."""
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
