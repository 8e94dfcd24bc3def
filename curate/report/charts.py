"""Geometry of the pictures on a page: scales, ticks, histograms with their limits, and how the hours melt away.

Nothing here writes markup: numbers go in, positions come out, and the template draws them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.report.applied_limits import Gauge
from xsheet.curate.report.candidates import Candidates
from xsheet.curate.report.funnel import Funnel
from xsheet.curate.report.wording import meaning_of, title_of, unit_of, with_unit, words

Values = NDArray[np.float64]
WIDTH, HEIGHT = 320.0, 120.0
"""Of the plotting area, in the units of its viewBox."""
_BINS = 32
COUNTED = ("offset_frames", "windows", "faces_median")
"""Measurements in whole numbers."""
_TALL = 3.0  # a bar this many times as tall as the next would leave nothing to see of the others
_LOG_FROM = 30.0  # 95th by 5th percentile: a measurement that spans more is read in decades


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to 0..WIDTH, linear or logarithmic; with `is_whole` each whole number has a bin of its own."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    def at(self, value: float) -> float:
        """Position of a value, held inside the plot."""
        low, high, value = (self._along(v) for v in (self.low, self.high, max(value, self.low)))
        return round(float(WIDTH * min(1.0, (value - low) / (high - low))), 1)

    def edges(self) -> Values:
        """Limits of bins of equal width on the page."""
        if self.is_log:
            return np.geomspace(self.low, self.high, _BINS + 1)
        return np.linspace(self.low, self.high, round(self.high - self.low if self.is_whole else _BINS) + 1)

    def ticks(self) -> list[tuple[float, str]]:
        """(position, label) of a few round values."""
        return [(self.at(value), f"{value:g}") for value in (self._decades() if self.is_log else self._rounds())]

    def _along(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def _rounds(self) -> list[float]:
        step = max(_round_step((self.high - self.low) / 4), 1.0 if self.is_whole else 0.0)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]

    def _decades(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps, every = (1, 3) if last - first <= 3 else (1,), 1 + (last - first) // 8
        marks = [s * 10.0**k for k in range(first, last + 1, every) for s in steps]
        return [m for m in marks if self.low <= m * (1 + 1e-9) and m <= self.high * (1 + 1e-9)]


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(s * power for s in (1, 2, 5, 10) if s * power >= about * 0.999)


# ---- histograms


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bin: kept candidates below, lost ones on top."""

    x: float
    width: float
    kept_height: float
    lost_height: float
    broken: str  # how many, where the bar is too tall for the plot and drawn broken; else empty
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A limit drawn into a histogram, with the side that fails."""

    x: float
    text: str
    fails_from: float
    fails_width: float
    is_right: bool  # the label goes to the left of the line, where there is room


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """One measurement over all candidates."""

    path: str
    title: str
    unit: str
    meaning: str
    is_log: bool
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]
    absent: int
    says: str  # the same in words, for those who do not see it


def histogram(candidates: Candidates, path: str, gauges: Sequence[Gauge]) -> Histogram | None:
    """The distribution of a measurement with its limits; None when it was taken of no candidate."""
    values = candidates.values[path]
    there = ~np.isnan(values)
    if not there.any():
        return None
    mine = [gauge for gauge in gauges if gauge.judged.measure == path]
    limits = [gauge.limit for gauge in mine]
    scale = whole_scale(values[there], limits) if path.endswith(COUNTED) else fit_scale(values[there], limits)
    edges = scale.edges()
    inside = np.clip(values, edges[0], edges[-1])
    kept, lost = (np.histogram(inside[there & which], edges)[0] for which in (candidates.kept, ~candidates.kept))
    middle = float(np.median(values[there]))
    return Histogram(
        path=path,
        title=title_of(path),
        unit=unit_of(path),
        meaning=meaning_of(path),
        is_log=scale.is_log,
        bars=tuple(_bars(edges, kept, lost, scale, path)),
        marks=tuple(_mark(gauge, scale) for gauge in mine),
        ticks=tuple(scale.ticks()),
        absent=int((~there).sum()),
        says=", ".join([f"{title_of(path)}: median {with_unit(middle, path)}", *(f"limit {g.text}" for g in mine)]),
    )


def fit_scale(values: Values, limits: Sequence[float]) -> Scale:
    """A scale that shows all but the farthest hundredth of values on each side, and every limit."""
    low, p5, p95, high = (float(v) for v in np.percentile(values, (1, 5, 95, 99)))
    low, high = min([low, *limits]), max([high, *limits])
    if low > 0 and p95 > _LOG_FROM * p5:
        return Scale(low / 1.1, high * 1.1, is_log=True)
    if 0 <= low < 0.4 * high:
        low = 0.0  # a scale that begins at nothing where it is near enough
    if high <= low:
        low, high = (0.0, 2 * low) if low > 0 else (low - 1, low + 1)
    room = 0.02 * (high - low)
    # Shares end at 1 and counts begin at 0: no room is added beyond what a value can be.
    return Scale(low if low == 0 else low - room, high if high == 1 else high + room)


def whole_scale(values: Values, limits: Sequence[float]) -> Scale:
    """A scale for counts: a bin for each number, with a free one beyond the limits, as far as they are few enough."""
    low, high = (float(np.percentile(values, p)) for p in (1, 99))
    high = max([high, -low, 3.0, *(limit + 1 for limit in limits)])
    low = -high if low < 0 else 0.0  # offsets go either way
    if high - low > _BINS:
        return fit_scale(values, limits)
    return Scale(math.floor(low) - 0.5, math.ceil(high) + 0.5, is_whole=True)


def _bars(edges: Values, kept: NDArray[np.int64], lost: NDArray[np.int64], scale: Scale, path: str) -> Iterator[Bar]:
    heights = np.sort(kept + lost)
    next_tallest = int(heights[-2]) if len(heights) > 1 else 0
    top = int(heights[-1]) if heights[-1] <= _TALL * next_tallest or not next_tallest else 1.5 * next_tallest
    for left, right, stays, goes in zip(edges[:-1], edges[1:], kept.tolist(), lost.tolist(), strict=True):
        if not (both := stays + goes):
            continue
        x, unit = scale.at(left), HEIGHT / max(top, both)
        at = with_unit((left + right) / 2, path) if scale.is_whole else f"{left:.3g} to {with_unit(right, path)}"
        yield Bar(
            x=round(x + 0.6, 1),
            width=round(scale.at(right) - x - 1.2, 1),
            kept_height=round(unit * stays, 1),
            lost_height=round(unit * goes, 1),
            broken=f"{both:,}" if both > top else "",
            says=f"{at}: {stays:,} kept, {goes:,} not",
        )


def _mark(gauge: Gauge, scale: Scale) -> Mark:
    fails_low = gauge.judged.sense == "min"
    # Among whole numbers the limit itself still passes: the line stands beside its bin, not through it.
    x = scale.at(gauge.limit + (0.0 if not scale.is_whole else -0.5 if fails_low else 0.5))
    return Mark(
        x=x,
        text=gauge.text,
        fails_from=0.0 if fails_low else x,
        fails_width=x if fails_low else round(WIDTH - x, 1),
        is_right=x > WIDTH / 2,
    )


# ---- the funnel


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A row of the funnel: what is left after it, and what it took; shares are of the first row of its part."""

    title: str
    note: str
    left_share: float
    lost_share: float
    left_hours: float
    lost_hours: float
    is_total: bool = False


def picture_steps(counted: Funnel) -> list[Step]:
    """From the files given to the stretches of picture that became candidates."""
    whole, left = max(1, counted.files.us), counted.files.us
    rows = [_step("files given", f"{counted.files.count:,} files", left, 0, whole, is_total=True)]
    for title, gone in (
        ("failed", counted.failed), ("rejected unseen", counted.rejected), ("duplicates", counted.duplicates),
    ):  # fmt: skip
        if gone.count:
            left -= gone.us
            rows.append(_step(title, f"{gone.count:,} files", left, gone.us, whole))
    if (outside := max(0, left - counted.covered.us)) > 0:
        rows.append(_step("outside of candidates", "transitions, margins, rests", left - outside, outside, whole))
    return rows


def candidate_steps(counted: Funnel, order: Sequence[str]) -> list[Step]:
    """From the candidates to what is kept: each is taken away by its first reason, so that the rows add up.

    Args:
        counted: the funnel.
        order: reasons in the order in which they are judged.
    """
    whole, left = max(1, counted.candidates.us), counted.candidates.us
    rows = [_step("candidates", _clips(counted.candidates.count), left, 0, whole, is_total=True)]
    place = {reason: k for k, reason in enumerate(order)}
    for cost in sorted(counted.costs, key=lambda cost: (place.get(cost.reason, len(place)), cost.reason)):
        if cost.first.count:
            left -= cost.first.us
            rows.append(_step(words(cost.reason), _clips(cost.first.count), left, cost.first.us, whole))
    if counted.unjudged.count:
        left -= counted.unjudged.us
        rows.append(_step("not judged yet", _clips(counted.unjudged.count), left, counted.unjudged.us, whole))
    rows.append(_step("kept", _clips(counted.kept.count), counted.kept.us, 0, whole, is_total=True))
    return rows


def _step(title: str, note: str, left_us: int, lost_us: int, whole_us: int, *, is_total: bool = False) -> Step:
    return Step(
        title=title,
        note=note,
        left_share=round(left_us / whole_us, 4),
        lost_share=round(lost_us / whole_us, 4),
        left_hours=left_us / 3_600_000_000,
        lost_hours=lost_us / 3_600_000_000,
        is_total=is_total,
    )


def _clips(count: int) -> str:
    return f"{count:,} clip{'' if count == 1 else 's'}"
