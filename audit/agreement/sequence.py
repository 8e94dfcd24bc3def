"""Order of the classes, whatever their times: the edit score of action segmentation (Lea et al., 2016)."""

import numpy as np
from scipy.sparse import csr_array

from xsheet.audit.agreement.bootstrap import Ints, sum_by_clip
from xsheet.audit.agreement.phase_arrays import TRACK_COUNT, PhaseArrays


def edit_score_sums(a: PhaseArrays, b: PhaseArrays) -> csr_array:
    """Per clip: tracks used by either, and over them the sum of 1 - edit distance / length of the longer sequence."""
    key_a, key_b = (one.annotation_index * TRACK_COUNT + one.track for one in (a, b))
    keys: Ints = np.union1d(key_a, key_b).astype(np.int64)
    words_a, length_a = _padded_sequences(key_a, a.action, keys)
    words_b, length_b = _padded_sequences(key_b, b.action, keys)
    longer = np.maximum(length_a, length_b)
    score = np.empty(len(keys))
    for length in np.unique(longer):
        some = np.flatnonzero(longer == length)
        distance = _levenshtein(words_a[some, :length], words_b[some, :length], length_a[some], length_b[some])
        score[some] = 1 - distance / length
    return sum_by_clip(a.annotation_count, (keys // TRACK_COUNT, np.ones(len(keys))), (keys // TRACK_COUNT, score))


def _padded_sequences(key: Ints, action: Ints, keys: Ints) -> tuple[Ints, Ints]:
    """(S, L) actions of each sequence in order of time, padded with -1, and (S,) their lengths."""
    row = np.searchsorted(keys, key)
    length = np.bincount(row, minlength=len(keys))
    place = np.arange(len(key)) - np.searchsorted(key, key, "left")
    words = np.full((len(keys), length.max(initial=0)), -1)
    words[row, place] = action
    return words, length


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
