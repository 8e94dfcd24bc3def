"""Scales from values to positions, with round ticks; numbers with their intervals on such a scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
MAX_BINS = 32
_MIN_LOG_RATIO = 30.0  # 95th by 5th percentile; values that spread more are drawn on a logarithmic scale


@dataclass(frozen=True, slots=True)
class AxisScale:
    """A scale from `low` to `high`, linear or logarithmic; an integer scale has one bin per integer."""

    low: float
    high: float
    is_log: bool = False
    is_integer: bool = False

    def fraction(self, value: float) -> float:
        """Position of a value, 0 to 1; values outside the scale are clamped to its ends."""
        low, high, value = (self._transform(v) for v in (self.low, self.high, max(value, self.low)))
        return float(min(1.0, (value - low) / (high - low)))

    def percent(self, value: float) -> float:
        """Position in percent."""
        return round(100 * self.fraction(value), 2)

    def bin_edges(self) -> Values:
        """Edges of bins that are equally wide on the page."""
        if self.is_log:
            return np.geomspace(self.low, self.high, MAX_BINS + 1)
        return np.linspace(self.low, self.high, round(self.high - self.low if self.is_integer else MAX_BINS) + 1)

    def ticks(self) -> list[float]:
        """A few round values on the scale."""
        return self._log_ticks() if self.is_log else self._linear_ticks()

    def _transform(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def _linear_ticks(self) -> list[float]:
        step = max(_round_step((self.high - self.low) / 4), 1.0 if self.is_integer else 0.0)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps, every = (1, 3) if last - first <= 3 else (1,), 1 + (last - first) // 8
        ticks = [s * 10.0**k for k in range(first, last + 1, every) for s in steps]
        return [tick for tick in ticks if self.low <= tick * (1 + 1e-9) and tick <= self.high * (1 + 1e-9)]


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(s * power for s in (1, 2, 5, 10) if s * power >= about * 0.999)


def fit_axis_scale(values: Values, limits: Sequence[float] = ()) -> AxisScale:
    """A scale that contains the 1st to 99th percentile of the values, and every limit."""
    low, p5, p95, high = (float(v) for v in np.percentile(values, (1, 5, 95, 99)))
    low, high = min([low, *limits]), max([high, *limits])
    if low > 0 and p95 > _MIN_LOG_RATIO * p5:
        return AxisScale(low / 1.1, high * 1.1, is_log=True)
    if 0 <= low < 0.4 * high:
        low = 0.0  # start at zero where zero is near
    if high <= low:
        low, high = (0.0, 2 * low) if low > 0 else (low - 1, low + 1)
    margin = 0.02 * (high - low)
    # No margin beyond the range of a value: shares end at 1, counts start at 0.
    return AxisScale(low if low == 0 else low - margin, high if high == 1 else high + margin)


def integer_axis_scale(values: Values, limits: Sequence[float] = ()) -> AxisScale:
    """A scale with one bin per integer and an empty bin beyond each limit; linear if there are too many integers."""
    low, high = (float(np.percentile(values, p)) for p in (1, 99))
    high = max([high, -low, 3.0, *(limit + 1 for limit in limits)])
    low = -high if low < 0 else 0.0  # signed values get a symmetric scale
    if high - low > MAX_BINS:
        return fit_axis_scale(values, limits)
    return AxisScale(math.floor(low) - 0.5, math.ceil(high) + 0.5, is_integer=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A number, its interval and its limit on a line; positions in percent of the line."""

    x: float
    low: float
    high: float
    limit: float | None = None


def build_whisker(
    value: float | None,
    low: float | None,
    high: float | None,
    *,
    limit: float | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Whisker | None:
    """Place a number and its interval; None where there is no number."""
    if value is None:
        return None
    scale = AxisScale(*value_range)
    return Whisker(
        x=scale.percent(value),
        low=scale.percent(value if low is None else low),
        high=scale.percent(value if high is None else high),
        limit=None if limit is None else scale.percent(limit),
    )
