"""The gate as the page shows it: each criterion with the interval that its number has over clips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xsheet.audit.agreement.bootstrap import Estimate, estimate, per_clip, ratio, resampled
from xsheet.audit.gate import Criterion
from xsheet.audit.pipeline import Audited
from xsheet.audit.report.charts import Whisker, whisker
from xsheet.audit.report.summary import RESAMPLES, percent, share_of
from xsheet.audit.scores import Judged

_NOTHING = Estimate(None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One criterion."""

    name: str
    why: str
    value: str
    bounds: str
    limit: str
    passed: bool
    whisker: Whisker | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """The gate."""

    rows: tuple[GateRow, ...]
    passed: bool

    @property
    def failed(self) -> int:
        """Criteria that are not kept."""
        return sum(not row.passed for row in self.rows)


def gate_view(audited: Audited) -> GateView:
    """The gate of an audit."""
    intervals = _intervals(audited)
    rows = tuple(_row(one, intervals.get(one.name, _NOTHING)) for one in audited.gate.criteria)
    return GateView(rows=rows, passed=audited.gate.passed)


def _row(one: Criterion, interval: Estimate) -> GateRow:
    number = Estimate(one.value, interval.low, interval.high)
    low, high = number.low, number.high
    return GateRow(
        name=one.name.replace("_", " "),
        why=one.why,
        value="not measured" if one.value is None else percent(one.value),
        bounds="" if one.value is None or low is None or high is None else f"{100 * low:.3g} to {percent(high)}",
        limit=f"{'≤' if one.sense == '<=' else '≥'} {percent(one.limit)}",
        passed=one.passed,
        whisker=whisker(number, limit=one.limit, ends=(0.0, _end(one, high or 0.0))),
    )


def _end(one: Criterion, high: float) -> float:
    """The scale of a share that has to be small shows what is small."""
    return 1.0 if one.sense == ">=" else min(1.0, max(0.2, 1.2 * high, 1.2 * (one.value or 0.0), 2 * one.limit))


def _intervals(audited: Audited) -> dict[str, Estimate]:
    """By criterion: Wilson's for shares of annotations and replies, resampled clips for shares of what clips hold."""
    judged, said, found = audited.judged, audited.replies, dict(_resampled(audited.judged))
    values = {one.name: one.value for one in audited.gate.criteria}
    if values.get("structure") is not None:
        found["structure"] = share_of(round((values["structure"] or 0.0) * len(judged)), len(judged))
    found["unusable"] = Estimate(values.get("unusable"), *said.bounds("truncated", "invalid"))
    if audited.agreement is not None:
        found["f1"] = audited.agreement.tracks.at[1].f1
    return found


def _resampled(judged: Sequence[Judged]) -> Iterator[tuple[str, Estimate]]:
    ids, clip = np.unique([one.clip_id for one in judged], return_inverse=True)
    names = ("phases", "visible", "refuted", "missed_us", "moving_us")
    columns = ((clip, np.array([getattr(one, name) for one in judged], dtype=np.int64)) for name in names)
    block = {"sums": per_clip(len(ids), *columns)}
    sums = resampled([block], resamples=RESAMPLES, rng=np.random.default_rng(0))["sums"]
    phases, visible, refuted, missed, moving = sums.T
    yield "hallucinated", estimate(ratio(refuted, visible))
    yield "missed", estimate(ratio(missed, missed + moving))
    yield "verifiable", estimate(ratio(visible, phases))
