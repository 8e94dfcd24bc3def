"""Near duplicates among many sources: words that are equal point at pairs, the words around them prove or refute.

Two sources are near duplicates when most of the shorter one's picture, or sound, differs in few bits from the other's
at one lag. Equal words are found by sorting, so a set is never compared pair by pair.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, where no checker sees them.

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
_KEY_STEPS = (0, 12, 24, 36)  # frames; bytes so far apart hardly err together
_HIT_BATCH = 1 << 20  # bounds memory


class NearDuplicateSettings(StrictModel):
    """When two sources count as near duplicates."""

    max_bit_error: float = Field(
        default=0.25,
        gt=0,
        lt=0.5,
        description="share of different bits over a window; copies reach 0.19, strangers 0.33 "
        "(docs/log/curate.md#near-duplicates)",
    )
    window_frames: int = Field(default=50, ge=8, description="2 s; shorter likenesses happen by chance")
    min_match_share: float = Field(
        default=0.5, gt=0, le=1, description="of the shorter source, so that a jingle joins nobody"
    )
    max_neighbours: int = Field(
        default=8, ge=1, description="sources with one word are compared with so many neighbours each"
    )
    max_av_drift_frames: int = Field(
        default=30,
        ge=0,
        description="the sound of a copy is looked for so far from its picture, and the other way round",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _WordIndex:
    """The words of all sources, one after another."""

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
    """All pairs that were found and proved, with their groups; in the order of the ids.

    Not every pair of a large group is listed, but its members hang together by the pairs that are.

    Args:
        fingerprints: rows of the table, made by one extractor.
        settings: how alike.
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
    for one, other, _ in matches:
        groups.union(one, other)
    group_of = {member: ids[group[0]] for group in groups.groups() for member in group}
    return [
        NearDuplicate(
            group=group_of[one], source_id=ids[one], other_id=ids[other], by=by,
            lag_frames=match.lag, matched_frames=match.frames, bit_error=match.bit_error,
        )
        for (one, other, by), match in matches.items()
    ]  # fmt: skip


def _find_matches(
    words: dict[Modality, _WordIndex], settings: NearDuplicateSettings
) -> dict[tuple[int, int, Modality], _Match]:
    """What each pair of sources shares; a copy found by its picture is asked for its sound too, and vice versa."""
    lags = {by: _align_sources(those, settings) for by, those in words.items()}
    found: dict[tuple[int, int, Modality], _Match] = {}
    for one, other in sorted({pair for pairs in lags.values() for pair in pairs}):
        (near, *_) = [pairs[one, other] for pairs in lags.values() if (one, other) in pairs]
        for by, those in words.items():
            own = lags[by].get((one, other))
            tries = _lags_around(near, settings.max_av_drift_frames) if own is None else [own]
            best = max(
                (_match_at_lag(those, one, other, lag, settings) for lag in tries), key=lambda match: match.frames
            )
            if best.frames:
                found[one, other, by] = best
    return found


def _index_words(column: pa.ChunkedArray) -> _WordIndex:
    lists = column.combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy()
    flat = pc.list_flatten(lists)
    there = flat.is_valid().to_numpy(zero_copy_only=False)
    words = pc.fill_null(flat, 0).to_numpy().view(np.uint32)
    return _WordIndex(
        words, there, np.repeat(np.arange(len(lengths)), lengths), np.concatenate([[0], np.cumsum(lengths)])
    )


def _align_sources(words: _WordIndex, settings: NearDuplicateSettings) -> dict[tuple[int, int], int]:
    """Pairs of sources (first < second) with equal words in like surroundings, and the lag that most of these have."""
    found: list[NDArray[np.int64]] = []
    for one, other in _equal_words(words, settings.max_neighbours):
        for at in range(0, len(one), _HIT_BATCH):
            a, b = one[at : at + _HIT_BATCH], other[at : at + _HIT_BATCH]
            alike = _bit_error_around(words, a, b, settings.window_frames) <= settings.max_bit_error
            a, b = a[alike], b[alike]
            first, second = words.source_index[a], words.source_index[b]
            lag = (a - words.starts[first]) - (b - words.starts[second])
            found.append(np.stack([first, second, lag], axis=1))
    rows = np.concatenate(found) if found else np.zeros((0, 3), np.int64)
    rows, votes = np.unique(rows, axis=0, return_counts=True)
    return {(int(a), int(b)): int(lag) for a, b, lag in rows[np.argsort(votes, kind="stable")]}  # most votes stay


def _equal_words(words: _WordIndex, max_neighbours: int) -> Iterator[tuple[Positions, Positions]]:
    """Places of equal keys in different sources, those of the smaller source first.

    Of a source only the first place of each key is asked, and of many sources with one key only near neighbours: a key
    of no meaning then costs little, and a large group still hangs together.
    """
    for places, keys in _word_keys(words):
        code = keys.astype(np.uint64) << np.uint64(32) | words.source_index[places].astype(np.uint64)
        code, first = np.unique(code, return_index=True)
        asked, key = places[first], code >> np.uint64(32)
        for step in range(1, min(max_neighbours, len(key) - 1) + 1):
            same = key[step:] == key[:-step]
            yield asked[:-step][same], asked[step:][same]


def _word_keys(words: _WordIndex) -> Iterator[tuple[Positions, NDArray[np.uint32]]]:
    """Places and keys of 32 bits: each word, and each of its four bytes with the same byte of three later words.

    All 32 bits of a word are right in few frames of a poor copy. A byte is a row of the picture or eight bands of the
    sound: where somebody moves before a wall, one row is right for long while the others are coding noise.
    """
    places = np.flatnonzero(words.valid)
    yield places, words.words[places]
    last = _KEY_STEPS[-1]
    places = places[places + last < len(words.words)]
    places = places[words.source_index[places + last] == words.source_index[places]]
    places = places[np.logical_and.reduce([words.valid[places + step] for step in _KEY_STEPS])]
    for shift in (0, 8, 16, 24):
        key = np.zeros(len(places), np.uint32)
        for step in _KEY_STEPS:
            key = key << np.uint32(8) | words.words[places + step] >> np.uint32(shift) & np.uint32(0xFF)
        yield places, key


def _bit_error_around(words: _WordIndex, one: Positions, other: Positions, window: int) -> NDArray[np.float64]:
    """Share of different bits over a window around each pair of places; 1 where too little of it is there."""
    errors, count = np.zeros(len(one)), np.zeros(len(one))
    for step in range(-(window // 2), window - window // 2):
        a, b = one + step, other + step
        inside = (a >= 0) & (b >= 0) & (a < len(words.words)) & (b < len(words.words))
        a, b = np.where(inside, a, 0), np.where(inside, b, 0)
        inside &= (words.source_index[a] == words.source_index[one]) & (
            words.source_index[b] == words.source_index[other]
        )
        inside &= words.valid[a] & words.valid[b]
        errors += np.where(inside, np.bitwise_count(words.words[a] ^ words.words[b]), 0)
        count += inside
    return np.where(count >= window / 2, errors / np.maximum(WORD_BITS * count, 1), 1.0)


def _match_at_lag(words: _WordIndex, one: int, other: int, lag: int, settings: NearDuplicateSettings) -> _Match:
    """How much of two sources is alike at one lag: frames in alike windows, none when that is too little of both."""
    (a, a_there), (b, b_there) = words.words_of(one), words.words_of(other)
    start, stop = max(0, lag), min(len(a), len(b) + lag)
    window = settings.window_frames
    if stop - start < window:
        return _Match(lag, 0, 1.0)
    there = a_there[start:stop] & b_there[start - lag : stop - lag]
    errors = np.where(there, np.bitwise_count(a[start:stop] ^ b[start - lag : stop - lag]), 0)
    ones = np.ones(window)
    count = np.convolve(there, ones, mode="valid")
    alike = np.convolve(errors, ones, mode="valid") <= settings.max_bit_error * WORD_BITS * count
    alike &= count >= 0.8 * window
    covered = (np.convolve(alike, ones) > 0) & there
    frames = int(covered.sum())
    if frames < settings.min_match_share * min(len(a), len(b)):
        return _Match(lag, 0, 1.0)
    return _Match(lag, frames, float(errors[covered].sum() / (WORD_BITS * frames)))


def _lags_around(lag: int, drift: int) -> list[int]:
    return sorted(range(lag - drift, lag + drift + 1), key=lambda other: abs(other - lag))
