"""Match phases of two annotations one to one by track and tIoU, and rank them by confidence (average precision)."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import safe_ratio, sum_by_clip_and_column
from xsheet.audit.agreement.phase_arrays import (
    Floats,
    Ints,
    PhaseArrays,
    concatenated_ranges,
    horizon_us,
    timeline_offsets,
)

_TIOU_SCALE = 10**9  # tIoU as integers: sums are exact, so the matches of a clip do not depend on other clips


@dataclass(frozen=True, slots=True, eq=False)
class PhasePairs:
    """P pairs of a phase of a with a phase of b, by clip, track and time."""

    a: Ints  # (P,) rows of a
    b: Ints  # (P,) rows of b
    overlap_us: Ints  # (P,) above 0
    tiou: Floats  # (P,) temporal intersection over union, above 0

    def select(self, indices: Ints) -> "PhasePairs":
        """The pairs at these indices, or of this mask."""
        return PhasePairs(self.a[indices], self.b[indices], self.overlap_us[indices], self.tiou[indices])


def overlapping_pairs(a: PhaseArrays, b: PhaseArrays) -> PhasePairs:
    """All pairs of phases that overlap on the same track of the same clip; row k of both is the same clip."""
    horizon = horizon_us(a, b)
    on_a, on_b = timeline_offsets(a, horizon), timeline_offsets(b, horizon)
    # Phases of a track do not overlap, so starts and ends are sorted alike and partners are contiguous.
    first = np.searchsorted(b.end_us + on_b, a.start_us + on_a, "right")
    count = np.searchsorted(b.start_us + on_b, a.end_us + on_a, "left") - first
    left, right = np.repeat(np.arange(len(a)), count), concatenated_ranges(first, count)
    shared = np.minimum(a.end_us[left], b.end_us[right]) - np.maximum(a.start_us[left], b.start_us[right])
    union = np.maximum(a.end_us[left], b.end_us[right]) - np.minimum(a.start_us[left], b.start_us[right])
    return PhasePairs(left, right, shared, shared / union)


def optimal_matching(pairs: PhasePairs) -> PhasePairs:
    """The one-to-one choice among the pairs with the largest sum of tIoU: the Hungarian optimum, in linear time.

    Overlapping pairs never cross in time, so this is weighted interval scheduling over pairs in order of time: take a
    pair and continue before the pairs that share one of its phases, or skip it.
    """
    before = np.minimum(_run_starts(pairs.a), _run_starts(pairs.b)).tolist()
    weight = np.rint(pairs.tiou * _TIOU_SCALE).astype(np.int64).tolist()
    best = [0]
    for k, gain in enumerate(weight):
        best.append(max(best[k], gain + best[before[k]]))
    chosen, k = [], len(weight)
    while k:
        if best[k] == best[k - 1]:
            k -= 1
        else:
            chosen.append(k - 1)
            k = before[k - 1]
    return pairs.select(np.array(chosen[::-1], dtype=np.int64))


def match_phases(a: PhaseArrays, b: PhaseArrays, *, same_class: bool = False) -> PhasePairs:
    """Phases of a and b matched by track, or by track and action class; row k of both is the same clip."""
    pairs = overlapping_pairs(a, b)
    return optimal_matching(
        pairs.select(np.flatnonzero(a.action[pairs.a] == b.action[pairs.b])) if same_class else pairs
    )


def _run_starts(sorted_values: Ints) -> Ints:
    """(P,) start of the run of equal values around each index."""
    return np.searchsorted(sorted_values, sorted_values, "left")


# ---- average precision

AP_TIOU_LEVELS = np.linspace(0.50, 0.95, 10)  # tIoU of a hit (ActivityNet challenge)
_CONFIDENCE_BINS = 101  # steps of 0.01


def confidence_match_counts(predicted: PhaseArrays, matches: PhasePairs) -> csr_array:
    """Per clip: predicted phases by confidence bin and by the number of tIoU levels that their match reaches."""
    reached = np.zeros(len(predicted), np.int64)
    # 1e-9, because the float 0.55 exceeds 11/20 and a tIoU of exactly 11/20 is a hit.
    reached[matches.b] = np.searchsorted(AP_TIOU_LEVELS, matches.tiou + 1e-9, "right")
    stated = np.flatnonzero(np.isfinite(predicted.confidence))
    step = np.rint(predicted.confidence[stated] * (_CONFIDENCE_BINS - 1)).astype(np.int64)
    column, width = step * (len(AP_TIOU_LEVELS) + 1) + reached[stated], _CONFIDENCE_BINS * (len(AP_TIOU_LEVELS) + 1)
    return sum_by_clip_and_column(
        predicted.annotation_index[stated], column, np.ones(len(stated)), shape=(predicted.annotation_count, width)
    )


def mean_average_precision(match_counts: Floats, reference_phases: Floats, predicted_phases: Floats) -> Floats:
    """(R,) mean average precision over the tIoU levels, as in ActivityNet; NaN unless all phases have a confidence.

    Classes are pooled; otherwise a class of three phases would weigh as much as one of three thousand.

    Args:
        match_counts: (R, bins × (levels + 1)) sums of `confidence_match_counts`.
        reference_phases: (R,) phases of the reference.
        predicted_phases: (R,) predicted phases, with or without a confidence.
    """
    by_step = match_counts.reshape(len(match_counts), _CONFIDENCE_BINS, len(AP_TIOU_LEVELS) + 1)[
        :, ::-1
    ]  # most confident first
    predicted = np.cumsum(by_step.sum(axis=2), axis=1)[:, :, None]
    reached = np.cumsum(by_step[:, :, ::-1], axis=2)[:, :, ::-1][:, :, 1:]  # at least level k
    hits = np.cumsum(reached, axis=1)
    # Precision is the best one at this or a higher recall.
    precision = np.maximum.accumulate(np.nan_to_num(safe_ratio(hits, predicted))[:, ::-1], axis=1)[:, ::-1]
    recall_gain = safe_ratio(reached, reference_phases[:, None, None])
    area = (recall_gain * precision).sum(axis=1).mean(axis=1)
    return np.where(predicted[:, -1, 0] == predicted_phases, np.where(predicted_phases > 0, area, np.nan), np.nan)
