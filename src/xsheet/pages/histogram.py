"""Histograms as positions in a viewBox of WIDTH by HEIGHT; the macro `histogram` draws them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xsheet.pages.scales import AxisScale, Values, fit_axis_scale, integer_axis_scale

WIDTH, HEIGHT = 320.0, 120.0
"""Of the plotting area, in the units of its viewBox."""
_BROKEN_BAR_RATIO = 3.0  # a bar more than so many times as tall as the next one is drawn broken
_BAR_GAP = 0.6  # on either side of a bar
ValueKind = Literal["number", "integer", "share"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotLimit:
    """A limit to draw: values below a "min" or above a "max" limit fail; a "mark" is only a line."""

    value: float
    label: str
    bound: Literal["min", "max", "mark"] = "mark"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramBar:
    """One bin: kept values at the bottom, rejected ones on top."""

    x: float
    width: float
    kept_height: float
    rejected_height: float
    broken_label: str  # count of a bar that is drawn broken; else empty
    tooltip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitMark:
    """A vertical line with its label, and the side that fails."""

    x: float
    label: str
    fail_x: float
    fail_width: float

    @property
    def is_right_half(self) -> bool:
        """Whether the line is in the right half, so that its label goes to the left of it."""
        return self.x > WIDTH / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The distribution of one number."""

    title: str
    unit: str
    note: str
    bars: tuple[HistogramBar, ...]
    limit_marks: tuple[LimitMark, ...]
    ticks: tuple[tuple[float, str], ...]  # (x, label)
    missing: int  # items without a value
    is_log: bool
    alt_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Texts of a histogram; `format_value` writes a value with its unit."""

    title: str
    unit: str = ""
    note: str = ""
    format_value: Callable[[float], str] = "{:.3g}".format


def build_histogram(
    values: Values,
    caption: Caption,
    *,
    limits: Sequence[PlotLimit] = (),
    kept: np.typing.NDArray[np.bool_] | None = None,
    kind: ValueKind = "number",
) -> Histogram | None:
    """The distribution of some values; None where all are NaN.

    Args:
        values: (N,), NaN where an item has no value.
        caption: texts of the plot.
        limits: lines to draw; "min" and "max" limits widen the scale, marks do not.
        kept: (N,) whether each item was kept; without it bars are not divided, and tooltips give one count.
        kind: integers have one bin each; shares are drawn from 0 to 1.
    """
    known = np.isfinite(values)
    if not known.any():
        return None
    scale = _scale(values[known], [limit.value for limit in limits if limit.bound != "mark"], kind)
    edges = scale.bin_edges()
    inside = np.clip(values, edges[0], edges[-1])
    chosen = [known] if kept is None else [known & kept, known & ~kept]
    counts = [np.histogram(inside[rows], edges)[0] for rows in chosen]
    median = caption.format_value(float(np.median(values[known])))
    return Histogram(
        title=caption.title,
        unit=caption.unit,
        note=caption.note,
        bars=tuple(_bars(counts, scale, caption)),
        limit_marks=tuple(_limit_mark(limit, scale) for limit in limits),
        ticks=tuple((_x(scale, tick), f"{tick:g}") for tick in scale.ticks()),
        missing=int((~known).sum()),
        is_log=scale.is_log,
        alt_text=", ".join(
            [
                f"{caption.title}: median {median}",
                *(f"limit {limit.label}" for limit in limits if limit.bound != "mark"),
            ]
        ),
    )


def _scale(values: Values, limits: Sequence[float], kind: ValueKind) -> AxisScale:
    if kind == "share":
        return AxisScale(0.0, 1.0)
    return integer_axis_scale(values, limits) if kind == "integer" else fit_axis_scale(values, limits)


def _bars(counts: Sequence[Values], scale: AxisScale, caption: Caption) -> Iterator[HistogramBar]:
    edges, totals = scale.bin_edges(), np.sum(counts, axis=0)
    heights = np.sort(totals)
    second = int(heights[-2]) if len(heights) > 1 else 0
    top = int(heights[-1]) if heights[-1] <= _BROKEN_BAR_RATIO * second or not second else 1.5 * second
    for k in np.flatnonzero(totals).tolist():
        kept, *rejected = (int(column[k]) for column in counts)
        total, left, right = int(totals[k]), float(edges[k]), float(edges[k + 1])
        x, per_item = _x(scale, left), HEIGHT / max(top, total)
        middle = caption.format_value((left + right) / 2)
        where = middle if scale.is_integer else f"{left:.3g} to {caption.format_value(right)}"
        yield HistogramBar(
            x=round(x + _BAR_GAP, 1),
            width=round(max(_x(scale, right) - x - 2 * _BAR_GAP, _BAR_GAP), 1),
            kept_height=round(per_item * kept, 1),
            rejected_height=round(per_item * sum(rejected), 1),
            broken_label=f"{total:,}" if total > top else "",
            tooltip=f"{where}: {kept:,} kept, {rejected[0]:,} rejected" if rejected else f"{where}: {kept:,}",
        )


def _limit_mark(limit: PlotLimit, scale: AxisScale) -> LimitMark:
    # An integer that equals the limit passes, so the line is drawn beside its bin.
    beside_bin = {"min": -0.5, "max": 0.5, "mark": 0.0}[limit.bound] if scale.is_integer else 0.0
    x = _x(scale, limit.value + beside_bin)
    fail_x, fail_end = {"min": (0.0, x), "max": (x, WIDTH), "mark": (0.0, 0.0)}[limit.bound]
    return LimitMark(x=x, label=limit.label, fail_x=fail_x, fail_width=round(fail_end - fail_x, 1))


def _x(scale: AxisScale, value: float) -> float:
    return round(WIDTH * scale.fraction(value), 1)
