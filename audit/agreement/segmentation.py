"""Temporal segmentation metrics: boundary errors of matched phases, boundary F1, and the edit score."""

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
GEBD_TOLERANCE_SHARE = 0.05  # of the clip duration (generic event boundary detection, arXiv:2101.10511)
ERROR_BIN_US = HALF_FRAME_US  # bin width of the histogram for the 90th percentile
ERROR_BINS = 251  # up to 5 s; the last bin holds all larger errors
_SLOTS_PER_TRACK = 4  # per track: starts, padding, ends, padding, each one clip long; no tolerance spans the padding


def boundary_error_sums(a: PhaseArrays, b: PhaseArrays, pairs: PhasePairs) -> dict[str, csr_array]:
    """Per clip, for starts and ends: pairs, sum of b - a, sum of |b - a|, and the histogram of |b - a|."""
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
    """(R,) quantile `share` of the errors from (R, bins) histograms, in µs, in steps of half a frame."""
    total = histogram.sum(axis=1)
    step = (np.cumsum(histogram, axis=1) < share * total[:, None]).sum(axis=1)
    return np.where(total > 0, step * float(ERROR_BIN_US), np.nan)


def boundary_match_counts(a: PhaseArrays, b: PhaseArrays) -> csr_array:
    """Per clip: boundaries of a, of b, and matched ones at each tolerance; the last tolerance is relative."""
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
    """Mean over clips of F1 at a tolerance of 5 % of the clip, each against the rater with the best F1.

    All must hold the same clips in the same order. NaN if no clip has a boundary.
    """
    scores = []
    for rater in raters:
        edges = boundary_match_counts(rater, predicted).toarray()
        scores.append(safe_ratio(2 * edges[:, -1], edges[:, 0] + edges[:, 1]))
    best = np.nanmax(np.where(np.isnan(scores), -1, scores), axis=0)
    return float(best[best >= 0].mean()) if (best >= 0).any() else float("nan")


def _boundary_instants(units: PhaseArrays, horizon: int) -> Ints:
    """Sorted times of all starts and ends on one line, with separate ranges for starts and ends of each track.

    A phase has no boundary at the start or end of the clip.
    """
    line = _SLOTS_PER_TRACK * timeline_offsets(units, horizon)
    last_us = units.duration_us[units.annotation_index] - HALF_FRAME_US
    starts = (line + units.start_us)[units.start_us > HALF_FRAME_US]
    ends = (line + units.end_us + 2 * horizon)[units.end_us < last_us]
    return np.sort(np.concatenate([starts, ends]))


def _matched_boundaries(a: Ints, b: Ints, tolerance: Ints) -> Ints:
    """Indices in a with a partner in b, in a maximum matching."""
    first = np.searchsorted(b, a - tolerance, "left")
    count = np.searchsorted(b, a + tolerance, "right") - first
    if not count.any():
        return np.empty(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(count)])
    near = csr_array((np.ones(offsets[-1]), concatenated_ranges(first, count), offsets), shape=(len(a), len(b)))
    return np.flatnonzero(maximum_bipartite_matching(near, perm_type="column") >= 0)


# ---- edit score


def edit_score_sums(a: PhaseArrays, b: PhaseArrays) -> csr_array:
    """Per clip: tracks that a or b uses, and the sum over them of 1 - edit distance / longer sequence.

    The edit score compares the order of classes, not their times (Lea et al., arXiv:1602.02995).
    """
    key_a, key_b = (one.annotation_index * TRACK_COUNT + one.track for one in (a, b))
    keys: Ints = np.union1d(key_a, key_b).astype(np.int64)
    sequence_a, length_a = _padded_sequences(key_a, a.action, keys)
    sequence_b, length_b = _padded_sequences(key_b, b.action, keys)
    longer = np.maximum(length_a, length_b)
    score = np.empty(len(keys))
    for length in np.unique(longer):
        group = np.flatnonzero(longer == length)
        distance = _levenshtein(
            sequence_a[group, :length], sequence_b[group, :length], length_a[group], length_b[group]
        )
        score[group] = 1 - distance / length
    return sum_by_clip(a.annotation_count, (keys // TRACK_COUNT, np.ones(len(keys))), (keys // TRACK_COUNT, score))


def _padded_sequences(key: Ints, action: Ints, keys: Ints) -> tuple[Ints, Ints]:
    """(S, L) actions of each sequence in order of time, padded with -1, and (S,) lengths."""
    row = np.searchsorted(keys, key)
    length = np.bincount(row, minlength=len(keys))
    position = np.arange(len(key)) - np.searchsorted(key, key, "left")
    sequences = np.full((len(keys), length.max(initial=0)), -1)
    sequences[row, position] = action
    return sequences, length


def _levenshtein(a: Ints, b: Ints, length_a: Ints, length_b: Ints) -> Ints:
    """(S,) Levenshtein distances of S pairs of sequences at once."""
    count, width = a.shape[0], b.shape[1]
    row = np.broadcast_to(np.arange(width + 1), (count, width + 1)).copy()
    result = row[np.arange(count), length_b]
    for i in range(a.shape[1]):
        above, row = row, np.empty_like(row)
        row[:, 0] = i + 1
        for j in range(width):
            change = above[:, j] + (a[:, i] != b[:, j])
            row[:, j + 1] = np.minimum(change, np.minimum(above[:, j + 1], row[:, j]) + 1)
        ended = length_a == i + 1
        result[ended] = row[ended, length_b[ended]]
    return result
