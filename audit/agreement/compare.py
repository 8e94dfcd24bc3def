"""Compare two layers: detection, boundaries, order, and chance-corrected agreement, with bootstrap intervals.

    agreement = compare_layers(layer_phase_arrays(gold), layer_phase_arrays(consensus), rng=np.random.default_rng(0))
    print(agreement.track_detection.by_tiou[1].f1)        # F1 at tIoU 0.5: 0.871 [0.862, 0.879]

a is the reference: errors are b - a, precision is that of b; all other metrics are symmetric. One pass over both layers
with one batch of clips in memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import (
    ClipSums,
    Floats,
    IntervalEstimate,
    Values,
    bootstrap_sums,
    percentile_interval,
    safe_ratio,
    sum_by_clip,
    sum_by_clip_and_column,
)
from xsheet.audit.agreement.kappa_alpha import (
    frame_kappa,
    link_counts,
    linked_kappa,
    linked_share,
    overlap_length_sums,
    unitizing_alpha,
)
from xsheet.audit.agreement.matching import (
    PhasePairs,
    confidence_match_counts,
    mean_average_precision,
    optimal_matching,
    overlapping_pairs,
)
from xsheet.audit.agreement.phase_arrays import TRACK_COUNT, PhaseArrays, align_by_clip, keep_first_samples
from xsheet.audit.agreement.segmentation import (
    TOLERANCES_US,
    boundary_error_sums,
    boundary_match_counts,
    edit_score_sums,
    percentile_us,
)
from xsheet.schemas import vocab

TIOUS = (0.3, 0.5, 0.7)
SEGMENTAL_OVERLAPS = (0.10, 0.25, 0.50)  # of action segmentation (Lea et al., 2017)
BOOTSTRAP_RESAMPLES = 1_000  # the ends of a 95 % interval are then the 25th value from either side


@dataclass(frozen=True, slots=True, kw_only=True)
class TiouScores:
    """Phases found when a match needs this much temporal intersection over union."""

    tiou: float
    precision: IntervalEstimate
    recall: IntervalEstimate
    f1: IntervalEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScores:
    """Phases of a found in b, matched once by the largest sum of tIoU."""

    by_tiou: tuple[TiouScores, ...]
    mean_tiou: IntervalEstimate  # unmatched phases count 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryError:
    """Times of b less times of a, in µs, over phases matched at the lowest tIoU."""

    bias_us: IntervalEstimate
    mean_abs_us: IntervalEstimate
    p90_abs_us: IntervalEstimate  # in steps of half a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackAgreement:
    """One track, over the time of all clips."""

    track: vocab.Track
    phases_a: int
    phases_b: int
    kappa: IntervalEstimate  # Cohen's, per frame; idle is a class
    alpha: IntervalEstimate  # Krippendorff's uα
    binary_alpha: IntervalEstimate  # |uα: acting or idle, whatever the class


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Agreement of two layers over the clips that both annotate, with intervals over clips."""

    clips: int
    clips_a: int
    clips_b: int
    phases_a: int  # in the clips of both
    phases_b: int
    track_detection: DetectionScores  # matched by track
    class_detection: DetectionScores  # matched by track and class
    mean_average_precision: (
        IntervalEstimate  # of b, over tIoU .50:.05:.95; null unless all phases of b state a confidence
    )
    start_error: BoundaryError
    end_error: BoundaryError
    boundary_f1: tuple[IntervalEstimate, ...]  # at TOLERANCES_US
    gebd_f1: IntervalEstimate  # at 5 % of the clip
    segmental_f1: tuple[IntervalEstimate, ...]  # at SEGMENTAL_OVERLAPS
    edit_score: IntervalEstimate
    linked_share: IntervalEstimate  # phases with a partner that covers 60 % of the longer of both
    linked_kappa: IntervalEstimate  # of their classes, those without a partner being disagreements
    alpha: IntervalEstimate  # uα over all tracks, chance being that within each track
    binary_alpha: IntervalEstimate
    by_track: tuple[TrackAgreement, ...]  # those that either layer uses


def compare_layers(
    reference: Iterable[PhaseArrays],
    candidate: Iterable[PhaseArrays],
    *,
    rng: np.random.Generator,
    resamples: int = BOOTSTRAP_RESAMPLES,
) -> Agreement:
    """Agreement of the candidate (b) with the reference (a); uses the first sample of each clip."""
    clips = [0, 0]

    def counted(side: int, blocks: Iterable[PhaseArrays]) -> Iterator[PhaseArrays]:
        for block in map(keep_first_samples, blocks):
            clips[side] += block.annotation_count
            yield block

    blocks = (_agreement_sums(x, y) for x, y in align_by_clip(counted(0, reference), counted(1, candidate)))
    sums = bootstrap_sums(blocks, resamples=resamples, rng=rng)
    return _compute_agreement(sums, clips_a=clips[0], clips_b=clips[1])


def _agreement_sums(a: PhaseArrays, b: PhaseArrays) -> ClipSums:
    """Sums per clip that all metrics follow from; row k of a and b is the same clip."""
    overlaps = overlapping_pairs(a, b)
    by_track = optimal_matching(overlaps)
    by_class = optimal_matching(overlaps.select(np.flatnonzero(a.action[overlaps.a] == b.action[overlaps.b])))
    near = by_track.select(np.flatnonzero(by_track.tiou >= TIOUS[0]))
    return {
        "phases": sum_by_clip(
            a.annotation_count,
            *((of, np.ones(len(of))) for of in (np.arange(a.annotation_count), a.annotation_index, b.annotation_index)),
        ),
        "track_a": sum_by_clip_and_column(
            a.annotation_index, a.track, np.ones(len(a)), shape=(a.annotation_count, TRACK_COUNT)
        ),
        "track_b": sum_by_clip_and_column(
            b.annotation_index, b.track, np.ones(len(b)), shape=(b.annotation_count, TRACK_COUNT)
        ),
        "tracks": _match_sums(a, by_track),
        "classes": _match_sums(a, by_class),
        **boundary_error_sums(a, b, near),
        "edges": boundary_match_counts(a, b),
        "edit": edit_score_sums(a, b),
        **link_counts(a, b, overlaps),
        **overlap_length_sums((a, b)),
        "ranked": confidence_match_counts(b, by_class),
    }


_TIOU_LEVELS = (*SEGMENTAL_OVERLAPS[:2], *TIOUS)  # .1 .25 .3 .5 .7


def _match_sums(a: PhaseArrays, found: PhasePairs) -> csr_array:
    """Per clip: matches, their sum of tIoU, and those at each level."""
    clip = a.annotation_index[found.a]
    columns: list[Values] = [np.ones(len(clip)), found.tiou, *(found.tiou >= level for level in _TIOU_LEVELS)]
    return sum_by_clip(a.annotation_count, *((clip, column) for column in columns))


def _compute_agreement(sums: dict[str, Floats], *, clips_a: int, clips_b: int) -> Agreement:
    """All metrics, each on the plain sums and on every resample at once."""
    clips, phases_a, phases_b = (int(count) for count in sums["phases"][0])
    edges_a, edges_b, *near = sums["edges"].T
    boundary = [percentile_interval(safe_ratio(2 * hits, edges_a + edges_b)) for hits in near]
    both = sums["phases"][:, 1] + sums["phases"][:, 2]
    segmental = [sums["classes"][:, 2 + _TIOU_LEVELS.index(level)] for level in SEGMENTAL_OVERLAPS]
    return Agreement(
        clips=clips,
        clips_a=clips_a,
        clips_b=clips_b,
        phases_a=phases_a,
        phases_b=phases_b,
        track_detection=_detection_scores(sums["phases"], sums["tracks"]),
        class_detection=_detection_scores(sums["phases"], sums["classes"]),
        mean_average_precision=percentile_interval(
            mean_average_precision(sums["ranked"], sums["phases"][:, 1], sums["phases"][:, 2])
        ),
        start_error=_boundary_error(sums["start"], sums["start_sizes"]),
        end_error=_boundary_error(sums["end"], sums["end_sizes"]),
        boundary_f1=tuple(boundary[: len(TOLERANCES_US)]),
        gebd_f1=boundary[-1],
        segmental_f1=tuple(percentile_interval(safe_ratio(2 * hits, both)) for hits in segmental),
        edit_score=percentile_interval(safe_ratio(sums["edit"][:, 1], sums["edit"][:, 0])),
        linked_share=percentile_interval(linked_share(sums)),
        linked_kappa=percentile_interval(linked_kappa(sums)),
        alpha=percentile_interval(unitizing_alpha(sums, annotator_count=2)[1]),
        binary_alpha=percentile_interval(unitizing_alpha(sums, annotator_count=2, use_classes=False)[1]),
        by_track=tuple(_track_agreements(sums)),
    )


def _detection_scores(phases: Floats, found: Floats) -> DetectionScores:
    _, count_a, count_b = phases.T
    matches, overlap = found[:, 0], found[:, 1]
    at = []
    for level in TIOUS:
        hits = found[:, 2 + _TIOU_LEVELS.index(level)]
        precision, recall, f1 = (
            safe_ratio(hits, count_b),
            safe_ratio(hits, count_a),
            safe_ratio(2 * hits, count_a + count_b),
        )
        at.append(
            TiouScores(
                tiou=level,
                precision=percentile_interval(precision),
                recall=percentile_interval(recall),
                f1=percentile_interval(f1),
            )
        )
    return DetectionScores(
        by_tiou=tuple(at), mean_tiou=percentile_interval(safe_ratio(overlap, count_a + count_b - matches))
    )


def _boundary_error(errors: Floats, sizes: Floats) -> BoundaryError:
    pairs, late, size = errors.T
    return BoundaryError(
        bias_us=percentile_interval(safe_ratio(late, pairs)),
        mean_abs_us=percentile_interval(safe_ratio(size, pairs)),
        p90_abs_us=percentile_interval(percentile_us(sizes, 0.9)),
    )


def _track_agreements(sums: dict[str, Floats]) -> Iterator[TrackAgreement]:
    phases_a, phases_b = sums["track_a"][0], sums["track_b"][0]
    kappas, alphas = frame_kappa(sums), unitizing_alpha(sums, annotator_count=2)[0]
    binary = unitizing_alpha(sums, annotator_count=2, use_classes=False)[0]
    for k in np.flatnonzero(phases_a + phases_b):
        yield TrackAgreement(
            track=vocab.TRACKS[k],
            phases_a=int(phases_a[k]),
            phases_b=int(phases_b[k]),
            kappa=percentile_interval(kappas[:, k]),
            alpha=percentile_interval(alphas[:, k]),
            binary_alpha=percentile_interval(binary[:, k]),
        )
