"""Distributions of a layer as positions on a page, and numbers with their intervals. Nothing here writes markup."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xsheet.audit.agreement.bootstrap import Floats, IntervalEstimate
from xsheet.audit.agreement.phase_arrays import Ints, PhaseArrays, horizon_us
from xsheet.audit.layer_profile import effective_number
from xsheet.audit.report.axis import readable
from xsheet.curate.report.charts import HEIGHT, AxisScale, fit_axis_scale, integer_axis_scale
from xsheet.schemas import vocab
from xsheet.schemas.time import US_PER_S

MAX_CLASSES = 18
"""Of a list of classes; the rest are one line."""
_SHARE_SCALE = AxisScale(0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """One line of a list of counts."""

    name: str
    css_class: str  # class of the style sheet; empty for none
    count: int
    share: float  # of all
    relative_length: float  # by the longest, 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCounts:
    """Counts by name, the most frequent first."""

    title: str
    note: str
    rows: tuple[ClassCount, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramBin:
    """One bar of a histogram, in the units of its viewBox."""

    x: float
    width: float
    height: float
    tooltip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricHistogram:
    """How often each value occurs."""

    title: str
    unit: str
    note: str
    bins: tuple[HistogramBin, ...]
    ticks: tuple[tuple[float, str], ...]
    median_x: float
    median_label: str
    is_log: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A number with its interval on a line from 0 to 1, or from `low_end` to `high_end`; places in percent."""

    x: float
    low: float
    high: float
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerColumns:
    """Columns of a layer that its distributions are made of."""

    action_counts: Ints
    track_counts: Ints
    durations_s: Floats  # (phases,)
    phases_per_clip: Ints  # (clips,) phases
    coverage: Floats  # (clips,) share of the clip in any phase but rests
    clip_durations_s: Floats  # (clips,)


def layer_columns(tables: Iterable[PhaseArrays]) -> LayerColumns:
    """Columns of a layer, read block by block."""
    found = [_table_columns(units) for units in tables]
    empty = np.empty(0)
    return LayerColumns(
        action_counts=sum((one.action_counts for one in found), np.zeros(len(vocab.ACTIONS), np.int64)),
        track_counts=sum((one.track_counts for one in found), np.zeros(len(vocab.TRACKS), np.int64)),
        durations_s=np.concatenate([empty, *(one.durations_s for one in found)]),
        phases_per_clip=np.concatenate([empty.astype(np.int64), *(one.phases_per_clip for one in found)]),
        coverage=np.concatenate([empty, *(one.coverage for one in found)]),
        clip_durations_s=np.concatenate([empty, *(one.clip_durations_s for one in found)]),
    )


def _table_columns(units: PhaseArrays) -> LayerColumns:
    return LayerColumns(
        action_counts=np.bincount(units.action, minlength=len(vocab.ACTIONS)),
        track_counts=np.bincount(units.track, minlength=len(vocab.TRACKS)),
        durations_s=(units.end_us - units.start_us) / US_PER_S,
        phases_per_clip=np.bincount(units.annotation_index, minlength=units.annotation_count),
        coverage=active_coverage(units),
        clip_durations_s=units.duration_us / US_PER_S,
    )


def active_coverage(units: PhaseArrays) -> Floats:
    """(A,) share of each annotation's clip that lies in any phase; a rest is a phase of nothing and does not count."""
    acts = np.flatnonzero(units.action != vocab.ACTIONS.index("rest"))
    zero = units.annotation_index[acts] * horizon_us(units)  # all clips one after the other on one line of time
    start, end = zero + units.start_us[acts], zero + units.end_us[acts]
    order = np.argsort(start, kind="stable")
    until = np.concatenate(([0], np.maximum.accumulate(end[order])[:-1])) if len(order) else start
    fresh = np.maximum(0, end[order] - np.maximum(start[order], until))
    return np.bincount(
        units.annotation_index[acts][order], weights=fresh, minlength=units.annotation_count
    ) / np.maximum(units.duration_us, 1)


def count_classes(title: str, counts: Ints, names: Sequence[str], *, are_tracks: bool = False) -> ClassCounts:
    """Counts as a list; many rare classes become one line."""
    total, order = int(counts.sum()), np.argsort(-counts, kind="stable")
    there = [int(k) for k in order if counts[k]]
    shown, rest = there[:MAX_CLASSES], there[MAX_CLASSES:]
    rows = [(readable(names[k]), names[k] if are_tracks else "", int(counts[k])) for k in shown]
    if rest:
        rows.append((f"{len(rest)} more", "", int(counts[rest].sum())))
    longest = max((count for *_, count in rows), default=1)
    return ClassCounts(
        title=title,
        note=f"as diverse as {effective_number(counts):.1f} equally frequent ones" if there else "",
        rows=tuple(
            ClassCount(name=name, css_class=look, count=count, share=count / total, relative_length=count / longest)
            for name, look, count in rows
        ),
        total=total,
    )


def count_statuses(counts: Mapping[vocab.ResponseStatus, int]) -> ClassCounts:
    """How replies ended."""
    names = sorted(counts, key=lambda status: (-counts[status], status))
    found = count_classes("replies", np.array([counts[name] for name in names], dtype=np.int64), names)
    return replace(found, note="")


ValueKind = Literal["number", "whole", "share"]


def build_histogram(
    title: str, values: Floats | Ints, *, unit: str = "", note: str = "", kind: ValueKind = "number"
) -> MetricHistogram | None:
    """The distribution of one number; None without any value."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    scale = (
        _SHARE_SCALE
        if kind == "share"
        else integer_axis_scale(known, ())
        if kind == "whole"
        else fit_axis_scale(known, ())
    )
    edges = scale.bin_edges()
    counts = np.histogram(np.clip(known, edges[0], edges[-1]), edges)[0].tolist()
    middle, top = float(np.median(known)), max(counts)
    return MetricHistogram(
        title=title,
        unit=unit,
        note=note,
        bins=tuple(
            HistogramBin(
                x=round(scale.position(low) + 0.6, 1),
                width=round(max(scale.position(high) - scale.position(low) - 1.2, 0.6), 1),
                height=round(HEIGHT * count / top, 1),
                tooltip=f"{_range(low, high, scale)}{unit and ' ' + unit}: {count:,}",
            )
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
            if count
        ),
        ticks=tuple(scale.ticks()),
        median_x=scale.position(middle),
        median_label=f"{middle:.3g}" + (f" {unit}" if unit else ""),
        is_log=scale.is_log,
    )


def build_whisker(
    number: IntervalEstimate, *, value_range: tuple[float, float] = (0.0, 1.0), limit: float | None = None
) -> Whisker | None:
    """Where a number and its interval lie; None where there is no number."""
    if number.value is None:
        return None
    low = number.value if number.low is None else number.low
    high = number.value if number.high is None else number.high
    at = [_position_percent(value, value_range) for value in (number.value, low, high)]
    return Whisker(
        x=at[0], low=at[1], high=at[2], limit=None if limit is None else _position_percent(limit, value_range)
    )


def _range(low: float, high: float, scale: AxisScale) -> str:
    return f"{(low + high) / 2:g}" if scale.is_integer else f"{low:.3g} to {high:.3g}"


def _position_percent(value: float, value_range: tuple[float, float]) -> float:
    low, high = value_range
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 1)
