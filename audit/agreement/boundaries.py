"""How well starts and ends agree: errors of matched phases, and boundaries of a track found or not."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from xsheet.audit.agreement.bootstrap import Floats, Ints, safe_ratio, sum_by_clip, sum_by_clip_and_column
from xsheet.audit.agreement.matching import PhasePairs
from xsheet.audit.agreement.phase_arrays import (
    TRACK_COUNT,
    PhaseArrays,
    concatenated_ranges,
    horizon_us,
    timeline_offsets,
)
from xsheet.schemas.annotation import HALF_FRAME_US

TOLERANCES_US = (100_000, 250_000, 500_000)
GEBD_TOLERANCE_SHARE = (
    0.05  # of the clip's length: the tolerance of Shou et al., Generic Event Boundary Detection (2021)
)
ERROR_BIN_US = HALF_FRAME_US  # of the histogram that the 90th percentile is read from
ERROR_BINS = 251  # up to 5 s; the last one holds everything beyond
_SLOTS_PER_TRACK = 4  # of a clip's length for each track: starts, room, ends, room; no tolerance reaches over the room


def boundary_error_sums(a: PhaseArrays, b: PhaseArrays, pairs: PhasePairs) -> dict[str, csr_array]:
    """Per clip, of starts and of ends: pairs, sum of b - a, sum of |b - a|; and the histogram of |b - a|."""
    clip, tallies = a.annotation_index[pairs.a], {}
    for name, late in (
        ("start", b.start_us[pairs.b] - a.start_us[pairs.a]),
        ("end", b.end_us[pairs.b] - a.end_us[pairs.a]),
    ):
        size = np.abs(late)
        tallies[name] = sum_by_clip(a.annotation_count, (clip, np.ones(len(clip))), (clip, late), (clip, size))
        step = np.minimum(-(-size // ERROR_BIN_US), ERROR_BINS - 1)
        tallies[f"{name}_sizes"] = sum_by_clip_and_column(
            clip, step, np.ones(len(clip)), shape=(a.annotation_count, ERROR_BINS)
        )
    return tallies


def percentile_us(histogram: Floats, share: float) -> Floats:
    """(R,) from (R, steps) histograms: the error that `share` of the boundaries stay within, in half frames."""
    total = histogram.sum(axis=1)
    step = (np.cumsum(histogram, axis=1) < share * total[:, None]).sum(axis=1)
    return np.where(total > 0, step * float(ERROR_BIN_US), np.nan)


def boundary_match_counts(a: PhaseArrays, b: PhaseArrays) -> csr_array:
    """Per clip: boundaries of a, of b, and those of both within each tolerance, the last relative to the clip."""
    horizon = horizon_us(a, b)
    edges_a, edges_b = _boundary_instants(a, horizon), _boundary_instants(b, horizon)
    clip_a, clip_b = (edges // (_SLOTS_PER_TRACK * TRACK_COUNT * horizon) for edges in (edges_a, edges_b))
    relative = (GEBD_TOLERANCE_SHARE * a.duration_us).astype(np.int64)[clip_a]
    counts = [(clip_a, np.ones(len(clip_a))), (clip_b, np.ones(len(clip_b)))]
    for within in (*(np.full(len(edges_a), us) for us in TOLERANCES_US), relative):
        near = clip_a[_matched_boundaries(edges_a, edges_b, np.minimum(within, horizon - 1))]
        counts.append((near, np.ones(len(near))))
    return sum_by_clip(a.annotation_count, *counts)


def gebd_f1(predicted: PhaseArrays, raters: Sequence[PhaseArrays]) -> float:
    """Mean over clips of F1 at a tolerance of 5 % of the clip, each against the rater it agrees with best.

    All hold the same clips in the same order. NaN where no clip has a boundary.
    """
    scores = []
    for rater in raters:
        edges = boundary_match_counts(rater, predicted).toarray()
        scores.append(safe_ratio(2 * edges[:, -1], edges[:, 0] + edges[:, 1]))
    best = np.nanmax(np.where(np.isnan(scores), -1, scores), axis=0)
    return float(best[best >= 0].mean()) if (best >= 0).any() else float("nan")


def _boundary_instants(units: PhaseArrays, horizon: int) -> Ints:
    """Sorted instants of all starts and ends on one line, starts and ends of each track on stretches of their own.

    A clip's own beginning and end are no finding, so a phase that reaches them has no boundary there.
    """
    line = _SLOTS_PER_TRACK * timeline_offsets(units, horizon)
    last_us = units.duration_us[units.annotation_index] - HALF_FRAME_US
    starts = (line + units.start_us)[units.start_us > HALF_FRAME_US]
    ends = (line + units.end_us + 2 * horizon)[units.end_us < last_us]
    return np.sort(np.concatenate([starts, ends]))


def _matched_boundaries(a: Ints, b: Ints, tolerance: Ints) -> Ints:
    """Places in a that have a partner in b, in a matching of as many as possible."""
    first = np.searchsorted(b, a - tolerance, "left")
    count = np.searchsorted(b, a + tolerance, "right") - first
    if not count.any():
        return np.empty(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(count)])
    near = csr_array((np.ones(offsets[-1]), concatenated_ranges(first, count), offsets), shape=(len(a), len(b)))
    return np.flatnonzero(maximum_bipartite_matching(near, perm_type="column") >= 0)
