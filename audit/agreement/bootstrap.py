"""Bootstrap intervals over clips: every metric is a function of sums over clips, resampled with random weights.

    sums = bootstrap_sums(batches, resamples=1000, rng=rng)  # each name: (1 + resamples, columns), plain sum first
    f1 = percentile_interval(2 * sums["f1"][:, 0] / sums["f1"][:, 1])

Each clip counts Poisson(1) times in a resample. For many clips that is the usual bootstrap, and it needs one pass and
no memory of the clips (Chamandy et al., Estimating uncertainty for massive data streams, 2012).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Values = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_]
ClipSums = Mapping[str, csr_array]
"""Statistics of a block of clips: each name has one row per clip."""
_EPSILON = 1e-9  # 1 - chance agreement of 1, say
_CLIP_BATCH = 2_000  # of weights: 16 MB at 1000 resamples


@dataclass(frozen=True, slots=True)
class IntervalEstimate:
    """A value with its 95 % interval; all None if there is nothing to count."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        return "-" if self.value is None else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def sum_by_clip_and_column(clip: Ints, column: Ints, value: Values, *, shape: tuple[int, int]) -> csr_array:
    """(clips, columns) sums of values with the same clip and column."""
    return coo_array((value.astype(np.float64), (clip, column)), shape=shape).tocsr()


def sum_by_clip(clips: int, *columns: tuple[Ints, Values]) -> csr_array:
    """(clips, columns) sums, one column for each (clip, value) pair of arrays."""
    column = np.repeat(np.arange(len(columns)), [len(clip) for clip, _ in columns])
    clip = np.concatenate([clip for clip, _ in columns])
    value = np.concatenate([value.astype(np.float64) for _, value in columns])
    return sum_by_clip_and_column(clip, column, value, shape=(clips, len(columns)))


def bootstrap_sums(batches: Iterable[ClipSums], *, resamples: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Sums over all clips: (1 + resamples, columns) for each name; row 0 counts every clip once."""
    sums: dict[str, Floats] = {}
    for block in batches:
        clips = len(next(iter(block.values())).indptr) - 1
        for first in range(0, max(clips, 1), _CLIP_BATCH):
            batch = slice(first, min(first + _CLIP_BATCH, clips))
            weights = np.ones((batch.stop - first, 1 + resamples))
            weights[:, 1:] = rng.poisson(1.0, (batch.stop - first, resamples))
            for name, rows in block.items():
                sums[name] = sums.get(name, 0.0) + (rows[batch].T @ weights).T
    return sums


def percentile_interval(values: Floats) -> IntervalEstimate:
    """Percentile interval of (1 + resamples,) values, NaN if undefined; the first one is the estimate."""
    if not np.isfinite(values[0]):
        return IntervalEstimate(None, None, None)
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return IntervalEstimate(float(values[0]), float(low), float(high))


def safe_ratio(numerator: NDArray[np.number], denominator: NDArray[np.number]) -> Floats:
    """The quotient, NaN if the denominator is 0 up to rounding."""
    undefined = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.asarray(np.divide(numerator, denominator, out=undefined, where=np.abs(denominator) > _EPSILON))
