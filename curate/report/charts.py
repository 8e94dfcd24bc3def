"""Geometry of the pictures on a page: scales, ticks, histograms with their limits, and how the hours melt away.

Nothing here writes markup: numbers go in, positions come out, and the template draws them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.report.applied_limits import AppliedLimit
from xsheet.curate.report.candidates import CandidateTable
from xsheet.curate.report.funnel import Funnel
from xsheet.curate.report.wording import (
    format_value,
    measurement_description,
    measurement_title,
    measurement_unit,
    reason_text,
)

Values = NDArray[np.float64]
WIDTH, HEIGHT = 320.0, 120.0
"""Of the plotting area, in the units of its viewBox."""
_BINS = 32
INTEGER_MEASUREMENTS = ("offset_frames", "windows", "faces_median")
"""Measurements in whole numbers."""
_BROKEN_BAR_RATIO = 3.0  # a bar this many times as tall as the next would leave nothing to see of the others
_MIN_LOG_RATIO = 30.0  # 95th by 5th percentile: a measurement that spans more is read in decades


@dataclass(frozen=True, slots=True)
class AxisScale:
    """From values to 0..WIDTH, linear or logarithmic; with `is_whole` each whole number has a bin of its own."""

    low: float
    high: float
    is_log: bool = False
    is_integer: bool = False

    def position(self, value: float) -> float:
        """Position of a value, held inside the plot."""
        low, high, value = (self._transform(v) for v in (self.low, self.high, max(value, self.low)))
        return round(float(WIDTH * min(1.0, (value - low) / (high - low))), 1)

    def bin_edges(self) -> Values:
        """Limits of bins of equal width on the page."""
        if self.is_log:
            return np.geomspace(self.low, self.high, _BINS + 1)
        return np.linspace(self.low, self.high, round(self.high - self.low if self.is_integer else _BINS) + 1)

    def ticks(self) -> list[tuple[float, str]]:
        """(position, label) of a few round values."""
        return [
            (self.position(value), f"{value:g}")
            for value in (self._log_ticks() if self.is_log else self._linear_ticks())
        ]

    def _transform(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def _linear_ticks(self) -> list[float]:
        step = max(_round_step((self.high - self.low) / 4), 1.0 if self.is_integer else 0.0)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) for k in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps, every = (1, 3) if last - first <= 3 else (1,), 1 + (last - first) // 8
        marks = [s * 10.0**k for k in range(first, last + 1, every) for s in steps]
        return [m for m in marks if self.low <= m * (1 + 1e-9) and m <= self.high * (1 + 1e-9)]


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(s * power for s in (1, 2, 5, 10) if s * power >= about * 0.999)


# ---- histograms


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramBar:
    """One bin: kept candidates below, lost ones on top."""

    x: float
    width: float
    kept_height: float
    rejected_height: float
    broken_label: str  # how many, where the bar is too tall for the plot and drawn broken; else empty
    tooltip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitMark:
    """A limit drawn into a histogram, with the side that fails."""

    x: float
    label: str
    fail_x: float
    fail_width: float
    is_right_half: bool  # the label goes to the left of the line, where there is room


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """One measurement over all candidates."""

    path: str
    title: str
    unit: str
    description: str
    is_log: bool
    bars: tuple[HistogramBar, ...]
    limit_marks: tuple[LimitMark, ...]
    ticks: tuple[tuple[float, str], ...]
    missing: int
    alt_text: str  # the same in words, for those who do not see it


def build_histogram(candidates: CandidateTable, path: str, applied_limits: Sequence[AppliedLimit]) -> Histogram | None:
    """The distribution of a measurement with its limits; None when it was taken of no candidate."""
    values = candidates.values[path]
    there = ~np.isnan(values)
    if not there.any():
        return None
    mine = [gauge for gauge in applied_limits if gauge.rule.measure_path == path]
    limits = [gauge.value for gauge in mine]
    scale = (
        integer_axis_scale(values[there], limits)
        if path.endswith(INTEGER_MEASUREMENTS)
        else fit_axis_scale(values[there], limits)
    )
    edges = scale.bin_edges()
    inside = np.clip(values, edges[0], edges[-1])
    kept, lost = (np.histogram(inside[there & which], edges)[0] for which in (candidates.kept, ~candidates.kept))
    middle = float(np.median(values[there]))
    return Histogram(
        path=path,
        title=measurement_title(path),
        unit=measurement_unit(path),
        description=measurement_description(path),
        is_log=scale.is_log,
        bars=tuple(_histogram_bars(edges, kept, lost, scale, path)),
        limit_marks=tuple(_limit_mark(gauge, scale) for gauge in mine),
        ticks=tuple(scale.ticks()),
        missing=int((~there).sum()),
        alt_text=", ".join(
            [f"{measurement_title(path)}: median {format_value(middle, path)}", *(f"limit {g.text}" for g in mine)]
        ),
    )


def fit_axis_scale(values: Values, limits: Sequence[float]) -> AxisScale:
    """A scale that shows all but the farthest hundredth of values on each side, and every limit."""
    low, p5, p95, high = (float(v) for v in np.percentile(values, (1, 5, 95, 99)))
    low, high = min([low, *limits]), max([high, *limits])
    if low > 0 and p95 > _MIN_LOG_RATIO * p5:
        return AxisScale(low / 1.1, high * 1.1, is_log=True)
    if 0 <= low < 0.4 * high:
        low = 0.0  # a scale that begins at nothing where it is near enough
    if high <= low:
        low, high = (0.0, 2 * low) if low > 0 else (low - 1, low + 1)
    room = 0.02 * (high - low)
    # Shares end at 1 and counts begin at 0: no room is added beyond what a value can be.
    return AxisScale(low if low == 0 else low - room, high if high == 1 else high + room)


def integer_axis_scale(values: Values, limits: Sequence[float]) -> AxisScale:
    """A scale for counts: a bin for each number, with a free one beyond the limits, as far as they are few enough."""
    low, high = (float(np.percentile(values, p)) for p in (1, 99))
    high = max([high, -low, 3.0, *(limit + 1 for limit in limits)])
    low = -high if low < 0 else 0.0  # offsets go either way
    if high - low > _BINS:
        return fit_axis_scale(values, limits)
    return AxisScale(math.floor(low) - 0.5, math.ceil(high) + 0.5, is_integer=True)


def _histogram_bars(
    edges: Values, kept: NDArray[np.int64], lost: NDArray[np.int64], scale: AxisScale, path: str
) -> Iterator[HistogramBar]:
    heights = np.sort(kept + lost)
    next_tallest = int(heights[-2]) if len(heights) > 1 else 0
    top = (
        int(heights[-1]) if heights[-1] <= _BROKEN_BAR_RATIO * next_tallest or not next_tallest else 1.5 * next_tallest
    )
    for left, right, stays, goes in zip(edges[:-1], edges[1:], kept.tolist(), lost.tolist(), strict=True):
        if not (both := stays + goes):
            continue
        x, unit = scale.position(left), HEIGHT / max(top, both)
        at = (
            format_value((left + right) / 2, path) if scale.is_integer else f"{left:.3g} to {format_value(right, path)}"
        )
        yield HistogramBar(
            x=round(x + 0.6, 1),
            width=round(scale.position(right) - x - 1.2, 1),
            kept_height=round(unit * stays, 1),
            rejected_height=round(unit * goes, 1),
            broken_label=f"{both:,}" if both > top else "",
            tooltip=f"{at}: {stays:,} kept, {goes:,} not",
        )


def _limit_mark(gauge: AppliedLimit, scale: AxisScale) -> LimitMark:
    fails_low = gauge.rule.bound == "min"
    # Among whole numbers the limit itself still passes: the line stands beside its bin, not through it.
    x = scale.position(gauge.value + (0.0 if not scale.is_integer else -0.5 if fails_low else 0.5))
    return LimitMark(
        x=x,
        label=gauge.text,
        fail_x=0.0 if fails_low else x,
        fail_width=x if fails_low else round(WIDTH - x, 1),
        is_right_half=x > WIDTH / 2,
    )


# ---- the funnel


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelStep:
    """A row of the funnel: what is left after it, and what it took; shares are of the first row of its part."""

    title: str
    note: str
    remaining_share: float
    removed_share: float
    remaining_hours: float
    removed_hours: float
    is_total: bool = False


def video_funnel_steps(funnel: Funnel) -> list[FunnelStep]:
    """From the files given to the stretches of picture that became candidates."""
    whole, left = max(1, funnel.files.duration_us), funnel.files.duration_us
    rows = [_funnel_step("files given", f"{funnel.files.count:,} files", left, 0, whole, is_total=True)]
    for title, gone in (
        ("failed", funnel.failed), ("rejected unseen", funnel.rejected), ("duplicates", funnel.duplicates),
    ):  # fmt: skip
        if gone.count:
            left -= gone.duration_us
            rows.append(_funnel_step(title, f"{gone.count:,} files", left, gone.duration_us, whole))
    if (outside := max(0, left - funnel.covered_by_candidates.duration_us)) > 0:
        rows.append(
            _funnel_step("outside of candidates", "transitions, margins, rests", left - outside, outside, whole)
        )
    return rows


def candidate_funnel_steps(funnel: Funnel, reason_order: Sequence[str]) -> list[FunnelStep]:
    """From the candidates to what is kept: each is taken away by its first reason, so that the rows add up.

    Args:
        funnel: the funnel.
        reason_order: reasons in the order in which they are judged.
    """
    whole, left = max(1, funnel.candidates.duration_us), funnel.candidates.duration_us
    rows = [_funnel_step("candidates", _clip_count_text(funnel.candidates.count), left, 0, whole, is_total=True)]
    place = {reason: k for k, reason in enumerate(reason_order)}
    for cost in sorted(funnel.reason_costs, key=lambda cost: (place.get(cost.reason, len(place)), cost.reason)):
        if cost.as_first_reason.count:
            left -= cost.as_first_reason.duration_us
            rows.append(
                _funnel_step(
                    reason_text(cost.reason),
                    _clip_count_text(cost.as_first_reason.count),
                    left,
                    cost.as_first_reason.duration_us,
                    whole,
                )
            )
    if funnel.undecided.count:
        left -= funnel.undecided.duration_us
        rows.append(
            _funnel_step(
                "not judged yet", _clip_count_text(funnel.undecided.count), left, funnel.undecided.duration_us, whole
            )
        )
    rows.append(
        _funnel_step("kept", _clip_count_text(funnel.kept.count), funnel.kept.duration_us, 0, whole, is_total=True)
    )
    return rows


def _funnel_step(
    title: str, note: str, left_us: int, lost_us: int, whole_us: int, *, is_total: bool = False
) -> FunnelStep:
    return FunnelStep(
        title=title,
        note=note,
        remaining_share=round(left_us / whole_us, 4),
        removed_share=round(lost_us / whole_us, 4),
        remaining_hours=left_us / 3_600_000_000,
        removed_hours=lost_us / 3_600_000_000,
        is_total=is_total,
    )


def _clip_count_text(count: int) -> str:
    return f"{count:,} clip{'' if count == 1 else 's'}"
