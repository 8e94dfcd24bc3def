"""Which phase of one annotation is which of another: those that overlap on a track, matched one to one."""

from dataclasses import dataclass

import numpy as np

from xsheet.audit.agreement.phase_arrays import (
    Floats,
    Ints,
    PhaseArrays,
    concatenated_ranges,
    horizon_us,
    timeline_offsets,
)

_TIOU_SCALE = 10**9  # tIoU as integers: sums are exact, and no clip's matches hang on the clips beside it


@dataclass(frozen=True, slots=True, eq=False)
class PhasePairs:
    """P pairs of a phase of a with a phase of b, by clip, track and time."""

    a: Ints  # (P,) rows of a
    b: Ints  # (P,) rows of b
    overlap_us: Ints  # (P,) above 0
    tiou: Floats  # (P,) temporal intersection over union, above 0

    def select(self, indices: Ints) -> "PhasePairs":
        """Those of a mask, or at these places."""
        return PhasePairs(self.a[indices], self.b[indices], self.overlap_us[indices], self.tiou[indices])


def overlapping_pairs(a: PhaseArrays, b: PhaseArrays) -> PhasePairs:
    """All pairs of phases that overlap on the same track of the same clip; row k of both is the same clip."""
    horizon = horizon_us(a, b)
    on_a, on_b = timeline_offsets(a, horizon), timeline_offsets(b, horizon)
    # Phases of a track do not overlap, so ends are as sorted as starts and partners stand side by side.
    first = np.searchsorted(b.end_us + on_b, a.start_us + on_a, "right")
    count = np.searchsorted(b.start_us + on_b, a.end_us + on_a, "left") - first
    left, right = np.repeat(np.arange(len(a)), count), concatenated_ranges(first, count)
    shared = np.minimum(a.end_us[left], b.end_us[right]) - np.maximum(a.start_us[left], b.start_us[right])
    union = np.maximum(a.end_us[left], b.end_us[right]) - np.minimum(a.start_us[left], b.start_us[right])
    return PhasePairs(left, right, shared, shared / union)


def optimal_matching(pairs: PhasePairs) -> PhasePairs:
    """The one-to-one choice among the pairs with the largest sum of tIoU: the Hungarian optimum, in linear time.

    Pairs that overlap never cross (an earlier phase of a with a later one of b, and the reverse). So the best choice
    over pairs in order of time is that of weighted intervals: take a pair and go back to before its rivals, or leave
    it.
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
    """(P,) where the run of equal values around each place begins."""
    return np.searchsorted(sorted_values, sorted_values, "left")
