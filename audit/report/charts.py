"""Charts of the audit report: counts by class, distributions of a layer, numbers with their intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xsheet.audit.agreement.bootstrap import Floats, IntervalEstimate
from xsheet.audit.agreement.phase_arrays import Ints, PhaseArrays, horizon_us
from xsheet.audit.layer_profile import effective_number
from xsheet.pages.histogram import Caption, Histogram, PlotLimit, ValueKind, build_histogram
from xsheet.pages.scales import Whisker, build_whisker
from xsheet.pages.wording import readable
from xsheet.schemas import vocab
from xsheet.schemas.time import US_PER_S

MAX_CLASSES = 18
"""Rows of a list of classes; all other classes share one more row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """One row of a list of counts."""

    name: str
    css_class: str  # empty: no colour of its own
    count: int
    share: float  # of all
    relative_length: float  # relative to the largest count


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCounts:
    """Counts by name, the most frequent first."""

    title: str
    note: str
    rows: tuple[ClassCount, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerColumns:
    """Columns behind the distributions of a layer."""

    action_counts: Ints
    track_counts: Ints
    durations_s: Floats  # (N phases,)
    phases_per_clip: Ints  # (N clips,)
    coverage: Floats  # (N clips,) share of the clip inside a phase that is not a rest
    clip_durations_s: Floats  # (N clips,)


def layer_columns(blocks: Iterable[PhaseArrays]) -> LayerColumns:
    """Columns of a layer from its phase arrays, block by block."""
    found = [_block_columns(block) for block in blocks]
    empty = np.empty(0)
    return LayerColumns(
        action_counts=sum((one.action_counts for one in found), np.zeros(len(vocab.ACTIONS), np.int64)),
        track_counts=sum((one.track_counts for one in found), np.zeros(len(vocab.TRACKS), np.int64)),
        durations_s=np.concatenate([empty, *(one.durations_s for one in found)]),
        phases_per_clip=np.concatenate([empty.astype(np.int64), *(one.phases_per_clip for one in found)]),
        coverage=np.concatenate([empty, *(one.coverage for one in found)]),
        clip_durations_s=np.concatenate([empty, *(one.clip_durations_s for one in found)]),
    )


def _block_columns(block: PhaseArrays) -> LayerColumns:
    return LayerColumns(
        action_counts=np.bincount(block.action, minlength=len(vocab.ACTIONS)),
        track_counts=np.bincount(block.track, minlength=len(vocab.TRACKS)),
        durations_s=(block.end_us - block.start_us) / US_PER_S,
        phases_per_clip=np.bincount(block.annotation_index, minlength=block.annotation_count),
        coverage=active_coverage(block),
        clip_durations_s=block.duration_us / US_PER_S,
    )


def active_coverage(phases: PhaseArrays) -> Floats:
    """(A,) share of each annotation's clip that lies in a phase; rests do not count."""
    active = np.flatnonzero(phases.action != vocab.ACTIONS.index("rest"))
    offset_us = phases.annotation_index[active] * horizon_us(phases)  # all clips one after the other on one clock
    start, end = offset_us + phases.start_us[active], offset_us + phases.end_us[active]
    order = np.argsort(start, kind="stable")
    covered_until = np.concatenate(([0], np.maximum.accumulate(end[order])[:-1])) if len(order) else start
    new_us = np.maximum(0, end[order] - np.maximum(start[order], covered_until))
    return np.bincount(
        phases.annotation_index[active][order], weights=new_us, minlength=phases.annotation_count
    ) / np.maximum(phases.duration_us, 1)


def count_classes(title: str, counts: Ints, names: Sequence[str], *, are_tracks: bool = False) -> ClassCounts:
    """Counts as a list, the most frequent first; classes beyond MAX_CLASSES share one row."""
    total, order = int(counts.sum()), np.argsort(-counts, kind="stable")
    present = [int(k) for k in order if counts[k]]
    shown, rest = present[:MAX_CLASSES], present[MAX_CLASSES:]
    rows = [(readable(names[k]), names[k] if are_tracks else "", int(counts[k])) for k in shown]
    if rest:
        rows.append((f"{len(rest)} more", "", int(counts[rest].sum())))
    longest = max((count for *_, count in rows), default=1)
    return ClassCounts(
        title=title,
        note=f"effective number of classes: {effective_number(counts):.1f}" if present else "",
        rows=tuple(
            ClassCount(
                name=name, css_class=css_class, count=count, share=count / total, relative_length=count / longest
            )
            for name, css_class, count in rows
        ),
        total=total,
    )


def count_statuses(counts: Mapping[vocab.ResponseStatus, int]) -> ClassCounts:
    """Responses by status."""
    names = sorted(counts, key=lambda status: (-counts[status], status))
    found = count_classes("responses", np.array([counts[name] for name in names], dtype=np.int64), names)
    return replace(found, note="")


def layer_histogram(
    title: str, values: Floats | Ints, *, unit: str = "", note: str = "", kind: ValueKind = "number"
) -> Histogram | None:
    """The distribution of one number with its median; None without any value."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    caption = Caption(title=title, unit=unit, note=note, format_value=lambda value: f"{value:.3g} {unit}".rstrip())
    median = float(np.median(known))
    mark = PlotLimit(value=median, label=f"median {caption.format_value(median)}")
    return build_histogram(known, caption, limits=[mark], kind=kind)


def interval_whisker(
    number: IntervalEstimate, *, value_range: tuple[float, float] = (0.0, 1.0), limit: float | None = None
) -> Whisker | None:
    """Position of a number and its interval; None where there is no number."""
    return build_whisker(number.value, number.low, number.high, limit=limit, value_range=value_range)
