"""Distributions of a layer as positions on a page, and numbers with their intervals. Nothing here writes markup."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from xsheet.audit.agreement.bootstrap import Estimate, Floats
from xsheet.audit.agreement.phase_arrays import Ints, Units, horizon_us
from xsheet.audit.layer_profile import effective_number
from xsheet.audit.report.axis import words
from xsheet.curate.report.charts import HEIGHT, Scale, fit_scale, whole_scale
from xsheet.schemas import vocab
from xsheet.schemas.time import US_PER_S

MAX_CLASSES = 18
"""Of a list of classes; the rest are one line."""
_SHARES = Scale(0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """One line of a list of counts."""

    name: str
    look: str  # class of the style sheet; empty for none
    count: int
    share: float  # of all
    length: float  # by the longest, 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Counts by name, the most frequent first."""

    title: str
    note: str
    rows: tuple[Class, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bar of a histogram, in the units of its viewBox."""

    x: float
    width: float
    height: float
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often each value occurs."""

    title: str
    unit: str
    note: str
    bins: tuple[Bin, ...]
    ticks: tuple[tuple[float, str], ...]
    median_x: float
    median: str
    is_log: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisker:
    """A number with its interval on a line from 0 to 1, or from `low_end` to `high_end`; places in percent."""

    x: float
    low: float
    high: float
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counted:
    """Columns of a layer that its distributions are made of."""

    actions: Ints
    tracks: Ints
    durations_s: Floats  # (phases,)
    per_clip: Ints  # (clips,) phases
    coverage: Floats  # (clips,) share of the clip in any phase but rests
    seconds: Floats  # (clips,)


def counted(blocks: Iterable[Units]) -> Counted:
    """Columns of a layer, read block by block."""
    found = [_counted(units) for units in blocks]
    empty = np.empty(0)
    return Counted(
        actions=sum((one.actions for one in found), np.zeros(len(vocab.ACTIONS), np.int64)),
        tracks=sum((one.tracks for one in found), np.zeros(len(vocab.TRACKS), np.int64)),
        durations_s=np.concatenate([empty, *(one.durations_s for one in found)]),
        per_clip=np.concatenate([empty.astype(np.int64), *(one.per_clip for one in found)]),
        coverage=np.concatenate([empty, *(one.coverage for one in found)]),
        seconds=np.concatenate([empty, *(one.seconds for one in found)]),
    )


def _counted(units: Units) -> Counted:
    return Counted(
        actions=np.bincount(units.action, minlength=len(vocab.ACTIONS)),
        tracks=np.bincount(units.track, minlength=len(vocab.TRACKS)),
        durations_s=(units.end_us - units.start_us) / US_PER_S,
        per_clip=np.bincount(units.of, minlength=units.clips),
        coverage=coverage(units),
        seconds=units.duration_us / US_PER_S,
    )


def coverage(units: Units) -> Floats:
    """(A,) share of each annotation's clip that lies in any phase; a rest is a phase of nothing and does not count."""
    acts = np.flatnonzero(units.action != vocab.ACTIONS.index("rest"))
    zero = units.of[acts] * horizon_us(units)  # all clips one after the other on one line of time
    start, end = zero + units.start_us[acts], zero + units.end_us[acts]
    order = np.argsort(start, kind="stable")
    until = np.concatenate(([0], np.maximum.accumulate(end[order])[:-1])) if len(order) else start
    fresh = np.maximum(0, end[order] - np.maximum(start[order], until))
    return np.bincount(units.of[acts][order], weights=fresh, minlength=units.clips) / np.maximum(units.duration_us, 1)


def classes(title: str, counts: Ints, names: Sequence[str], *, are_tracks: bool = False) -> Classes:
    """Counts as a list; many rare classes become one line."""
    total, order = int(counts.sum()), np.argsort(-counts, kind="stable")
    there = [int(k) for k in order if counts[k]]
    shown, rest = there[:MAX_CLASSES], there[MAX_CLASSES:]
    rows = [(words(names[k]), names[k] if are_tracks else "", int(counts[k])) for k in shown]
    if rest:
        rows.append((f"{len(rest)} more", "", int(counts[rest].sum())))
    longest = max((count for *_, count in rows), default=1)
    return Classes(
        title=title,
        note=f"as diverse as {effective_number(counts):.1f} equally frequent ones" if there else "",
        rows=tuple(
            Class(name=name, look=look, count=count, share=count / total, length=count / longest)
            for name, look, count in rows
        ),
        total=total,
    )


def statuses(counts: Mapping[vocab.ReplyStatus, int]) -> Classes:
    """How replies ended."""
    names = sorted(counts, key=lambda status: (-counts[status], status))
    found = classes("replies", np.array([counts[name] for name in names], dtype=np.int64), names)
    return replace(found, note="")


Kind = Literal["number", "whole", "share"]


def histogram(
    title: str, values: Floats | Ints, *, unit: str = "", note: str = "", kind: Kind = "number"
) -> Histogram | None:
    """The distribution of one number; None without any value."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    scale = _SHARES if kind == "share" else whole_scale(known, ()) if kind == "whole" else fit_scale(known, ())
    edges = scale.edges()
    counts = np.histogram(np.clip(known, edges[0], edges[-1]), edges)[0].tolist()
    middle, top = float(np.median(known)), max(counts)
    return Histogram(
        title=title,
        unit=unit,
        note=note,
        bins=tuple(
            Bin(
                x=round(scale.at(low) + 0.6, 1),
                width=round(max(scale.at(high) - scale.at(low) - 1.2, 0.6), 1),
                height=round(HEIGHT * count / top, 1),
                says=f"{_range(low, high, scale)}{unit and ' ' + unit}: {count:,}",
            )
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
            if count
        ),
        ticks=tuple(scale.ticks()),
        median_x=scale.at(middle),
        median=f"{middle:.3g}" + (f" {unit}" if unit else ""),
        is_log=scale.is_log,
    )


def whisker(number: Estimate, *, ends: tuple[float, float] = (0.0, 1.0), limit: float | None = None) -> Whisker | None:
    """Where a number and its interval lie; None where there is no number."""
    if number.value is None:
        return None
    low = number.value if number.low is None else number.low
    high = number.value if number.high is None else number.high
    at = [_place(value, ends) for value in (number.value, low, high)]
    return Whisker(x=at[0], low=at[1], high=at[2], limit=None if limit is None else _place(limit, ends))


def _range(low: float, high: float, scale: Scale) -> str:
    return f"{(low + high) / 2:g}" if scale.is_whole else f"{low:.3g} to {high:.3g}"


def _place(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 1)
