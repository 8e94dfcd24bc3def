"""Find near duplicates among many sources: equal words suggest pairs, the bit error around them confirms them.

Two sources are near duplicates when most of the picture or sound of the shorter one differs in few bits from the other
at one lag. Equal words are found by sorting, so sources are never compared pair by pair.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute creates its functions at import time, invisible to type checkers.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.dedup.union_find import UnionFind
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import NearDuplicate

Modality = Literal["picture", "sound"]
Positions = NDArray[np.int64]

WORD_BITS = 32
_KEY_STEPS = (0, 12, 24, 36)  # frames; bytes this far apart have nearly independent errors
_HIT_BATCH = 1 << 20  # bounds memory


class NearDuplicateSettings(StrictModel):
    """When two sources count as near duplicates."""

    max_bit_error: float = Field(
        default=0.25,
        gt=0,
        lt=0.5,
        description="share of different bits over a window; copies reach 0.19, unrelated sources 0.33 "
        "(docs/log/curate.md#near-duplicates)",
    )
    window_frames: int = Field(default=50, ge=8, description="2 s; shorter matches occur by chance")
    min_match_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of the shorter source that must match, so that a shared jingle does not count",
    )
    max_neighbours: int = Field(
        default=8, ge=1, description="number of neighbours that each source with an equal word is compared with"
    )
    max_av_drift_frames: int = Field(
        default=30,
        ge=0,
        description="search range for the lag of the audio around that of the picture, and vice versa",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _WordIndex:
    """The words of all sources, concatenated."""

    words: NDArray[np.uint32]
    valid: NDArray[np.bool_]
    source_index: NDArray[np.int64]  # of each word
    starts: NDArray[np.int64]  # (sources + 1,)

    def words_of(self, source: int) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        span = slice(self.starts[source], self.starts[source + 1])
        return self.words[span], self.valid[span]


@dataclass(frozen=True, slots=True)
class _Match:
    lag: int
    frames: int
    bit_error: float


def near_duplicates(fingerprints: pa.Table, settings: NearDuplicateSettings | None = None) -> list[NearDuplicate]:
    """Return all confirmed pairs with their groups, ordered by id.

    A large group is not listed with all its pairs, but the listed pairs connect it.

    Args:
        fingerprints: rows of the table, all of one extractor.
        settings: thresholds.
    """
    settings = settings or NearDuplicateSettings()
    fingerprints = fingerprints.sort_by("source_id")
    ids: list[str] = fingerprints["source_id"].to_pylist()
    words: dict[Modality, _WordIndex] = {
        "picture": _index_words(fingerprints["picture"]),
        "sound": _index_words(fingerprints["sound"]),
    }
    matches = _find_matches(words, settings)
    groups = UnionFind(range(len(ids)))
    for left, right, _ in matches:
        groups.union(left, right)
    group_of = {member: ids[group[0]] for group in groups.groups() for member in group}
    return [
        NearDuplicate(
            group=group_of[left], source_id=ids[left], other_id=ids[right], by=by,
            lag_frames=match.lag, matched_frames=match.frames, bit_error=match.bit_error,
        )
        for (left, right, by), match in matches.items()
    ]  # fmt: skip


def _find_matches(
    words: dict[Modality, _WordIndex], settings: NearDuplicateSettings
) -> dict[tuple[int, int, Modality], _Match]:
    """Match of each pair per modality; a pair found by picture is also tested by sound, and vice versa."""
    lags = {by: _align_sources(index, settings) for by, index in words.items()}
    matches: dict[tuple[int, int, Modality], _Match] = {}
    for left, right in sorted({pair for pairs in lags.values() for pair in pairs}):
        (first_lag, *_) = [pairs[left, right] for pairs in lags.values() if (left, right) in pairs]
        for by, index in words.items():
            lag_of_modality = lags[by].get((left, right))
            candidates = (
                _lags_around(first_lag, settings.max_av_drift_frames) if lag_of_modality is None else [lag_of_modality]
            )
            best = max(
                (_match_at_lag(index, left, right, lag, settings) for lag in candidates), key=lambda match: match.frames
            )
            if best.frames:
                matches[left, right, by] = best
    return matches


def _index_words(column: pa.ChunkedArray) -> _WordIndex:
    lists = column.combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy()
    flat = pc.list_flatten(lists)
    valid = flat.is_valid().to_numpy(zero_copy_only=False)
    words = pc.fill_null(flat, 0).to_numpy().view(np.uint32)
    return _WordIndex(
        words, valid, np.repeat(np.arange(len(lengths)), lengths), np.concatenate([[0], np.cumsum(lengths)])
    )


def _align_sources(words: _WordIndex, settings: NearDuplicateSettings) -> dict[tuple[int, int], int]:
    """Pairs of sources (first < second) with equal words in similar context, and their most frequent lag."""
    hits: list[NDArray[np.int64]] = []
    for left, right in _equal_words(words, settings.max_neighbours):
        for at in range(0, len(left), _HIT_BATCH):
            a, b = left[at : at + _HIT_BATCH], right[at : at + _HIT_BATCH]
            similar = _bit_error_around(words, a, b, settings.window_frames) <= settings.max_bit_error
            a, b = a[similar], b[similar]
            first, second = words.source_index[a], words.source_index[b]
            lag = (a - words.starts[first]) - (b - words.starts[second])
            hits.append(np.stack([first, second, lag], axis=1))
    rows = np.concatenate(hits) if hits else np.zeros((0, 3), np.int64)
    rows, votes = np.unique(rows, axis=0, return_counts=True)
    return {
        (int(a), int(b)): int(lag) for a, b, lag in rows[np.argsort(votes, kind="stable")]
    }  # the lag with most votes wins


def _equal_words(words: _WordIndex, max_neighbours: int) -> Iterator[tuple[Positions, Positions]]:
    """Yield positions of equal keys in different sources, the smaller source first.

    Only the first position per key and source counts, and if many sources share a key, only neighbours are paired: the
    cost of common keys stays low, and large groups stay connected.
    """
    for positions, keys in _word_keys(words):
        code = keys.astype(np.uint64) << np.uint64(32) | words.source_index[positions].astype(np.uint64)
        code, first = np.unique(code, return_index=True)
        first_positions, key = positions[first], code >> np.uint64(32)
        for step in range(1, min(max_neighbours, len(key) - 1) + 1):
            same = key[step:] == key[:-step]
            yield first_positions[:-step][same], first_positions[step:][same]


def _word_keys(words: _WordIndex) -> Iterator[tuple[Positions, NDArray[np.uint32]]]:
    """Yield positions and 32-bit keys: each word, and each of its four bytes with the same byte of three later words.

    In a poor copy few words are free of bit errors. A byte is a row of the picture or eight bands of the sound; with
    one person before a static background one row stays correct for long while others are coding noise.
    """
    positions = np.flatnonzero(words.valid)
    yield positions, words.words[positions]
    last = _KEY_STEPS[-1]
    positions = positions[positions + last < len(words.words)]
    positions = positions[words.source_index[positions + last] == words.source_index[positions]]
    positions = positions[np.logical_and.reduce([words.valid[positions + step] for step in _KEY_STEPS])]
    for shift in (0, 8, 16, 24):
        key = np.zeros(len(positions), np.uint32)
        for step in _KEY_STEPS:
            key = key << np.uint32(8) | words.words[positions + step] >> np.uint32(shift) & np.uint32(0xFF)
        yield positions, key


def _bit_error_around(words: _WordIndex, left: Positions, right: Positions, window: int) -> NDArray[np.float64]:
    """Share of different bits over a window around each pair of positions; 1 if less than half of it is valid."""
    errors, count = np.zeros(len(left)), np.zeros(len(left))
    for step in range(-(window // 2), window - window // 2):
        a, b = left + step, right + step
        inside = (a >= 0) & (b >= 0) & (a < len(words.words)) & (b < len(words.words))
        a, b = np.where(inside, a, 0), np.where(inside, b, 0)
        inside &= (words.source_index[a] == words.source_index[left]) & (
            words.source_index[b] == words.source_index[right]
        )
        inside &= words.valid[a] & words.valid[b]
        errors += np.where(inside, np.bitwise_count(words.words[a] ^ words.words[b]), 0)
        count += inside
    return np.where(count >= window / 2, errors / np.maximum(WORD_BITS * count, 1), 1.0)


def _match_at_lag(words: _WordIndex, left: int, right: int, lag: int, settings: NearDuplicateSettings) -> _Match:
    """Frames of two sources that match at one lag; 0 if they are too few."""
    (a, a_valid), (b, b_valid) = words.words_of(left), words.words_of(right)
    start, stop = max(0, lag), min(len(a), len(b) + lag)
    window = settings.window_frames
    if stop - start < window:
        return _Match(lag, 0, 1.0)
    valid = a_valid[start:stop] & b_valid[start - lag : stop - lag]
    errors = np.where(valid, np.bitwise_count(a[start:stop] ^ b[start - lag : stop - lag]), 0)
    ones = np.ones(window)
    count = np.convolve(valid, ones, mode="valid")
    similar = np.convolve(errors, ones, mode="valid") <= settings.max_bit_error * WORD_BITS * count
    similar &= count >= 0.8 * window
    covered = (np.convolve(similar, ones) > 0) & valid
    frames = int(covered.sum())
    if frames < settings.min_match_share * min(len(a), len(b)):
        return _Match(lag, 0, 1.0)
    return _Match(lag, frames, float(errors[covered].sum() / (WORD_BITS * frames)))


def _lags_around(lag: int, drift: int) -> list[int]:
    return sorted(range(lag - drift, lag + drift + 1), key=lambda candidate: abs(candidate - lag))
