"""Sections of the audit report: distributions, comparison with other layers, cost, provenance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xsheet.audit.agreement.bootstrap import IntervalEstimate
from xsheet.audit.agreement.compare import Agreement, TrackAgreement, compare_layers
from xsheet.audit.agreement.phase_arrays import layer_phase_arrays
from xsheet.audit.agreement.segmentation import TOLERANCES_US
from xsheet.audit.layer_profile import response_stats
from xsheet.audit.report.charts import (
    ClassCounts,
    count_classes,
    count_statuses,
    interval_whisker,
    layer_columns,
    layer_histogram,
)
from xsheet.audit.review.queue import QueueEntry
from xsheet.pages.histogram import Histogram
from xsheet.pages.scales import Whisker
from xsheet.pages.wording import format_duration, plural, readable
from xsheet.schemas import vocab
from xsheet.schemas.layers import LayerRun
from xsheet.schemas.run import Run
from xsheet.schemas.time import US_PER_S

_COST_LABELS = {
    "prompt_tokens": "prompt tokens", "vision_tokens": "of these, vision tokens", "output_tokens": "output tokens",
    "latency_s": "latency",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """Counts by class and track, and histograms of a layer."""

    classes: tuple[ClassCounts, ...]
    histograms: tuple[Histogram, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric of a comparison, with its interval."""

    name: str
    value: str
    bounds: str
    note: str = ""
    whisker: Whisker | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackAgreementRow:
    """Agreement on one track."""

    track: vocab.Track
    phases_a: int
    phases_b: int
    kappa: str
    kappa_whisker: Whisker | None
    alpha: str
    alpha_whisker: Whisker | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerComparison:
    """A layer compared with a reference."""

    name: str
    clips: int
    detection_rows: tuple[MetricRow, ...]
    boundary_rows: tuple[MetricRow, ...]
    track_rows: tuple[TrackAgreementRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSection:
    """Responses by status, and the usage that they report."""

    status_counts: ClassCounts
    cost_rows: tuple[tuple[str, str, str], ...]  # (name, total, per response)


def layer_distributions(layer: LayerRun, entries: Sequence[QueueEntry]) -> Distributions:
    """Classes and tracks, durations, phases per clip, coverage and scores."""
    columns = layer_columns(layer_phase_arrays(layer))
    scores = np.array([np.nan if entry.score is None else entry.score for entry in entries], dtype=np.float64)
    histograms = (
        layer_histogram("phase duration", columns.durations_s, unit="s", note="all phases, including rests"),
        layer_histogram("phases per clip", columns.phases_per_clip, kind="integer"),
        layer_histogram("coverage", columns.coverage, kind="share", note="share of the clip in phases, without rests"),
        layer_histogram("clip duration", columns.clip_durations_s, unit="s"),
        layer_histogram("score", scores, kind="share", note="per clip; 1 is best"),
    )
    return Distributions(
        classes=(
            count_classes("classes", columns.action_counts, vocab.ACTIONS),
            count_classes("tracks", columns.track_counts, vocab.TRACKS, are_tracks=True),
        ),
        histograms=tuple(one for one in histograms if one is not None),
    )


def compare_with(layer: LayerRun, reference: LayerRun, *, label: str) -> LayerComparison:
    """Compare a layer with a reference, which the page calls `label`."""
    found = compare_layers(layer_phase_arrays(reference), layer_phase_arrays(layer), rng=np.random.default_rng(0))
    return LayerComparison(
        name=label,
        clips=found.clips,
        detection_rows=tuple(_detection_rows(found)),
        boundary_rows=tuple(_boundary_rows(found)),
        track_rows=tuple(_track_row(track) for track in found.by_track),
    )


def layer_cost(layer: LayerRun) -> CostSection:
    """Responses of a layer by status, and their usage in total and per response."""
    stats = response_stats(layer)
    rows = []
    for name, total in stats.cost_totals.items():
        each = total / max(stats.total, 1)
        amounts = (
            (format_duration(total), format_duration(each))
            if name == "latency_s"
            else (f"{total:,.0f}", f"{each:,.0f}")
        )
        rows.append((_COST_LABELS.get(name, readable(name)), *amounts))
    return CostSection(status_counts=count_statuses(stats.status_counts), cost_rows=tuple(rows))


def provenance_rows(run: Run) -> Iterator[tuple[str, str]]:
    """Provenance of a layer as (name, value)."""
    yield "run", f"{run.run_id} ({run.kind})"
    yield "tool", f"xsheet {run.tool_version}"
    if run.model is not None:
        yield (
            "model",
            " ".join(filter(None, (run.model.id, run.model.revision, run.model.dtype, run.model.quantisation))),
        )
    if run.engine is not None:
        yield "engine", f"{run.engine.name} {run.engine.version}"
    for prompt in run.prompts:
        yield "prompt", f"{prompt.id} {prompt.version}, {prompt.sha256[:12]}"
    if run.sampling is not None:
        sampling = run.sampling
        yield (
            "sampling",
            f"{plural(sampling.samples, 'sample')} per clip, temperature {sampling.temperature}, seed {sampling.seed}",
        )
    if run.frames is not None:
        yield "frame sampling", f"{run.frames.fps:g} frames per second"
    if run.settings_sha256 is not None:
        yield "settings", run.settings_sha256[:12]
    if run.parent_run_ids:
        yield "parent runs", ", ".join(run.parent_run_ids)
    if run.libraries:
        yield "libraries", ", ".join(f"{one.name} {one.version}" for one in run.libraries)


def _detection_rows(found: Agreement) -> Iterator[MetricRow]:
    for at in found.track_detection.by_tiou:
        precision, recall = (_format_value(one) for one in (at.precision, at.recall))
        yield _metric_row(f"F1 at tIoU {at.tiou}", at.f1, note=f"precision {precision}, recall {recall}")
    yield _metric_row("mean tIoU", found.track_detection.mean_tiou, note="an unmatched phase counts 0")
    yield _metric_row("F1 at tIoU 0.5, same class", found.class_detection.by_tiou[1].f1)
    yield _metric_row("linked κ", found.linked_kappa, note="classes of overlapping phases")
    yield _metric_row("Krippendorff's uα", found.alpha, note="≥ 0.8 reliable, ≥ 0.667 tentative")


def _boundary_rows(found: Agreement) -> Iterator[MetricRow]:
    for within, f1 in zip(TOLERANCES_US, found.boundary_f1, strict=True):
        yield _metric_row(f"boundary F1 within {within / US_PER_S:g} s", f1)
    for name, error in (("start", found.start_error), ("end", found.end_error)):
        bias = _format_value(error.bias_us, scale=US_PER_S, sign="+")
        p90 = _format_value(error.p90_abs_us, scale=US_PER_S)
        value, bounds = (
            f"{_format_value(error.mean_abs_us, scale=US_PER_S)} s",
            _format_interval(error.mean_abs_us, scale=US_PER_S),
        )
        note = f"bias {bias} s (positive: late), 90th percentile {p90} s"
        yield MetricRow(name=f"mean error of the {name}", value=value, bounds=bounds, note=note)


def _metric_row(name: str, number: IntervalEstimate, *, note: str = "") -> MetricRow:
    return MetricRow(
        name=name,
        value=_format_value(number),
        bounds=_format_interval(number),
        note=note,
        whisker=interval_whisker(number),
    )


def _track_row(track: TrackAgreement) -> TrackAgreementRow:
    return TrackAgreementRow(
        track=track.track,
        phases_a=track.phases_a,
        phases_b=track.phases_b,
        kappa=_format_value(track.kappa),
        kappa_whisker=interval_whisker(track.kappa),
        alpha=_format_value(track.alpha),
        alpha_whisker=interval_whisker(track.alpha),
    )


def _format_value(number: IntervalEstimate, *, scale: float = 1.0, sign: str = "") -> str:
    return "–" if number.value is None else f"{number.value / scale:{sign}.2f}"


def _format_interval(number: IntervalEstimate, *, scale: float = 1.0) -> str:
    return "" if number.low is None or number.high is None else f"{number.low / scale:.2f} to {number.high / scale:.2f}"
