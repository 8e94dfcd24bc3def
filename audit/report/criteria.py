"""The gate section of the audit report: each criterion with the confidence interval of its number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xsheet.audit.agreement.bootstrap import (
    IntervalEstimate,
    bootstrap_sums,
    percentile_interval,
    safe_ratio,
    sum_by_clip,
)
from xsheet.audit.gate import Criterion
from xsheet.audit.pipeline import AuditResult
from xsheet.audit.report.charts import interval_whisker
from xsheet.audit.report.summary import BOOTSTRAP_RESAMPLES, wilson_estimate
from xsheet.audit.scores import ScoredAnnotation
from xsheet.pages.scales import Whisker
from xsheet.pages.wording import format_percent, readable

_NO_INTERVAL = IntervalEstimate(None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionRow:
    """One criterion as text, with its whisker."""

    name: str
    description: str
    value: str
    bounds: str
    limit: str
    passed: bool
    whisker: Whisker | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSection:
    """All criteria of the gate."""

    rows: tuple[CriterionRow, ...]
    passed: bool

    @property
    def failed_count(self) -> int:
        """Number of criteria that fail."""
        return sum(not row.passed for row in self.rows)


def build_gate_section(audited: AuditResult) -> GateSection:
    """The gate section of an audit."""
    intervals = _intervals(audited)
    rows = tuple(_row(one, intervals.get(one.name, _NO_INTERVAL)) for one in audited.gate.criteria)
    return GateSection(rows=rows, passed=audited.gate.passed)


def _row(one: Criterion, interval: IntervalEstimate) -> CriterionRow:
    number = IntervalEstimate(one.value, interval.low, interval.high)
    low, high = number.low, number.high
    return CriterionRow(
        name=readable(one.name),
        description=one.description,
        value="not measured" if one.value is None else format_percent(one.value),
        bounds="" if one.value is None or low is None or high is None else f"{100 * low:.3g} to {format_percent(high)}",
        limit=f"{'≤' if one.comparator == '<=' else '≥'} {format_percent(one.limit)}",
        passed=one.passed,
        whisker=interval_whisker(number, limit=one.limit, value_range=(0.0, _axis_maximum(one, high or 0.0))),
    )


def _axis_maximum(one: Criterion, high: float) -> float:
    """End of the axis: 1, or less for a share that must be small."""
    return 1.0 if one.comparator == ">=" else min(1.0, max(0.2, 1.2 * high, 1.2 * (one.value or 0.0), 2 * one.limit))


def _intervals(audited: AuditResult) -> dict[str, IntervalEstimate]:
    """By criterion: Wilson intervals for shares of annotations and responses, else the bootstrap over clips."""
    annotations, found = audited.annotations, dict(_bootstrap_intervals(audited.annotations))
    values = {one.name: one.value for one in audited.gate.criteria}
    if (error_rate := values.get("structural_error_rate")) is not None:
        found["structural_error_rate"] = wilson_estimate(round(error_rate * len(annotations)), len(annotations))
    bounds = audited.responses.wilson_bounds("truncated", "invalid")
    found["unusable_response_rate"] = IntervalEstimate(values.get("unusable_response_rate"), *bounds)
    if audited.agreement is not None:
        found["agreement_f1"] = audited.agreement.track_detection.by_tiou[1].f1
    return found


def _bootstrap_intervals(annotations: Sequence[ScoredAnnotation]) -> Iterator[tuple[str, IntervalEstimate]]:
    ids, clip = np.unique([one.clip_id for one in annotations], return_inverse=True)
    names = ("phase_count", "verifiable_phases", "refuted_phases", "missed_us", "moving_us")
    columns = ((clip, np.array([getattr(one, name) for one in annotations], dtype=np.int64)) for name in names)
    block = {"sums": sum_by_clip(len(ids), *columns)}
    sums = bootstrap_sums([block], resamples=BOOTSTRAP_RESAMPLES, rng=np.random.default_rng(0))["sums"]
    phases, visible, refuted, missed, moving = sums.T
    yield "movement_not_visible_rate", percentile_interval(safe_ratio(refuted, visible))
    yield "missed_motion_share", percentile_interval(safe_ratio(missed, missed + moving))
    yield "verifiable_share", percentile_interval(safe_ratio(visible, phases))
