"""Which phase of one annotation is which of another: those that overlap on a track, matched one to one."""

from dataclasses import dataclass

import numpy as np

from xsheet.audit.agreement.phase_arrays import Floats, Ints, Units, horizon_us, line_of, ranges

_EXACT = 10**9  # tIoU as integers: sums are exact, and no clip's matches hang on the clips beside it


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """P pairs of a phase of a with a phase of b, by clip, track and time."""

    a: Ints  # (P,) rows of a
    b: Ints  # (P,) rows of b
    overlap_us: Ints  # (P,) above 0
    tiou: Floats  # (P,) temporal intersection over union, above 0

    def where(self, chosen: Ints) -> "Pairs":
        """Those of a mask, or at these places."""
        return Pairs(self.a[chosen], self.b[chosen], self.overlap_us[chosen], self.tiou[chosen])


def overlapping(a: Units, b: Units) -> Pairs:
    """All pairs of phases that overlap on the same track of the same clip; row k of both is the same clip."""
    horizon = horizon_us(a, b)
    on_a, on_b = line_of(a, horizon), line_of(b, horizon)
    # Phases of a track do not overlap, so ends are as sorted as starts and partners stand side by side.
    first = np.searchsorted(b.end_us + on_b, a.start_us + on_a, "right")
    count = np.searchsorted(b.start_us + on_b, a.end_us + on_a, "left") - first
    left, right = np.repeat(np.arange(len(a)), count), ranges(first, count)
    shared = np.minimum(a.end_us[left], b.end_us[right]) - np.maximum(a.start_us[left], b.start_us[right])
    union = np.maximum(a.end_us[left], b.end_us[right]) - np.minimum(a.start_us[left], b.start_us[right])
    return Pairs(left, right, shared, shared / union)


def matched(pairs: Pairs) -> Pairs:
    """The one-to-one choice among the pairs with the largest sum of tIoU: the Hungarian optimum, in linear time.

    Pairs that overlap never cross (an earlier phase of a with a later one of b, and the reverse). So the best choice
    over pairs in order of time is that of weighted intervals: take a pair and go back to before its rivals, or leave
    it.
    """
    before = np.minimum(_run_starts(pairs.a), _run_starts(pairs.b)).tolist()
    weight = np.rint(pairs.tiou * _EXACT).astype(np.int64).tolist()
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
    return pairs.where(np.array(chosen[::-1], dtype=np.int64))


def match(a: Units, b: Units, *, classes: bool = False) -> Pairs:
    """Phases of a and b matched by track, or by track and action class; row k of both is the same clip."""
    pairs = overlapping(a, b)
    return matched(pairs.where(np.flatnonzero(a.action[pairs.a] == b.action[pairs.b])) if classes else pairs)


def _run_starts(sorted_values: Ints) -> Ints:
    """(P,) where the run of equal values around each place begins."""
    return np.searchsorted(sorted_values, sorted_values, "left")
