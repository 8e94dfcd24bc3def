"""How well starts and ends agree: errors of matched phases, and boundaries of a track found or not."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from xsheet.audit.agreement.bootstrap import Floats, Ints, per_clip, ratio, tally
from xsheet.audit.agreement.matching import Pairs
from xsheet.audit.agreement.phase_arrays import TRACKS, Units, horizon_us, line_of, ranges
from xsheet.schemas.annotation import HALF_FRAME_US

TOLERANCES_US = (100_000, 250_000, 500_000)
GEBD_SHARE = 0.05  # of the clip's length: the tolerance of Shou et al., Generic Event Boundary Detection (2021)
ERROR_STEP_US = HALF_FRAME_US  # of the histogram that the 90th percentile is read from
ERROR_STEPS = 251  # up to 5 s; the last one holds everything beyond
_STRETCHES = 4  # of a clip's length for each track: starts, room, ends, room; no tolerance reaches over the room


def error_tally(a: Units, b: Units, pairs: Pairs) -> dict[str, csr_array]:
    """Per clip, of starts and of ends: pairs, sum of b - a, sum of |b - a|; and the histogram of |b - a|."""
    clip, tallies = a.of[pairs.a], {}
    for name, late in (
        ("start", b.start_us[pairs.b] - a.start_us[pairs.a]),
        ("end", b.end_us[pairs.b] - a.end_us[pairs.a]),
    ):
        size = np.abs(late)
        tallies[name] = per_clip(a.clips, (clip, np.ones(len(clip))), (clip, late), (clip, size))
        step = np.minimum(-(-size // ERROR_STEP_US), ERROR_STEPS - 1)
        tallies[f"{name}_sizes"] = tally(clip, step, np.ones(len(clip)), shape=(a.clips, ERROR_STEPS))
    return tallies


def percentile_us(sizes: Floats, share: float) -> Floats:
    """(R,) from (R, steps) histograms: the error that `share` of the boundaries stay within, in half frames."""
    total = sizes.sum(axis=1)
    step = (np.cumsum(sizes, axis=1) < share * total[:, None]).sum(axis=1)
    return np.where(total > 0, step * float(ERROR_STEP_US), np.nan)


def edge_tally(a: Units, b: Units) -> csr_array:
    """Per clip: boundaries of a, of b, and those of both within each tolerance, the last relative to the clip."""
    horizon = horizon_us(a, b)
    edges_a, edges_b = _edges(a, horizon), _edges(b, horizon)
    clip_a, clip_b = (edges // (_STRETCHES * TRACKS * horizon) for edges in (edges_a, edges_b))
    relative = (GEBD_SHARE * a.duration_us).astype(np.int64)[clip_a]
    counts = [(clip_a, np.ones(len(clip_a))), (clip_b, np.ones(len(clip_b)))]
    for within in (*(np.full(len(edges_a), us) for us in TOLERANCES_US), relative):
        near = clip_a[_found(edges_a, edges_b, np.minimum(within, horizon - 1))]
        counts.append((near, np.ones(len(near))))
    return per_clip(a.clips, *counts)


def gebd_f1(found: Units, raters: Sequence[Units]) -> float:
    """Mean over clips of F1 at a tolerance of 5 % of the clip, each against the rater it agrees with best.

    All hold the same clips in the same order. NaN where no clip has a boundary.
    """
    scores = []
    for rater in raters:
        edges = edge_tally(rater, found).toarray()
        scores.append(ratio(2 * edges[:, -1], edges[:, 0] + edges[:, 1]))
    best = np.nanmax(np.where(np.isnan(scores), -1, scores), axis=0)
    return float(best[best >= 0].mean()) if (best >= 0).any() else float("nan")


def _edges(units: Units, horizon: int) -> Ints:
    """Sorted instants of all starts and ends on one line, starts and ends of each track on stretches of their own.

    A clip's own beginning and end are no finding, so a phase that reaches them has no boundary there.
    """
    line = _STRETCHES * line_of(units, horizon)
    last_us = units.duration_us[units.of] - HALF_FRAME_US
    starts = (line + units.start_us)[units.start_us > HALF_FRAME_US]
    ends = (line + units.end_us + 2 * horizon)[units.end_us < last_us]
    return np.sort(np.concatenate([starts, ends]))


def _found(a: Ints, b: Ints, within: Ints) -> Ints:
    """Places in a that have a partner in b, in a matching of as many as possible."""
    first = np.searchsorted(b, a - within, "left")
    count = np.searchsorted(b, a + within, "right") - first
    if not count.any():
        return np.empty(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(count)])
    near = csr_array((np.ones(offsets[-1]), ranges(first, count), offsets), shape=(len(a), len(b)))
    return np.flatnonzero(maximum_bipartite_matching(near, perm_type="column") >= 0)
