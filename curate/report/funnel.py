"""The funnel: counts and durations from the input files to the kept clips, and the cost of each reason.

All durations of the funnel are of source video: a minute that two faces share counts once. Costs of reasons are
durations of clips.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xsheet.curate.report.applied_limits import AppliedLimit
from xsheet.curate.report.candidates import Bools, CandidateTable, Ints
from xsheet.schemas import tables

BORDERLINE_SHARE = 0.05
"""A candidate is borderline within this share of the spread (5th to 95th percentile) of a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountAndDuration:
    """A count and a total duration."""

    count: int = 0
    duration_us: int = 0

    @property
    def hours(self) -> float:
        """Duration in hours."""
        return self.duration_us / 3_600_000_000

    def __add__(self, other: "CountAndDuration") -> "CountAndDuration":
        return CountAndDuration(count=self.count + other.count, duration_us=self.duration_us + other.duration_us)

    def __sub__(self, other: "CountAndDuration") -> "CountAndDuration":
        return CountAndDuration(count=self.count - other.count, duration_us=self.duration_us - other.duration_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonCost:
    """Candidates with one reason."""

    reason: str
    in_total: CountAndDuration  # candidates with the reason
    as_first_reason: CountAndDuration  # candidates whose first reason it is; these add up to all rejected candidates
    as_only_reason: CountAndDuration  # candidates that would be kept without it
    borderline_kept: int = 0  # within BORDERLINE_SHARE of its limits
    borderline_rejected: int = 0  # within BORDERLINE_SHARE of its limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """From files to kept clips. Durations named `covered` are the union of spans; the others count each candidate."""

    files: CountAndDuration
    failed: CountAndDuration  # not readable; the duration covers the known ones
    rejected: CountAndDuration  # readable, and rejected before decoding
    duplicates: CountAndDuration  # same bytes as another file
    usable: CountAndDuration
    near_duplicates: CountAndDuration  # usable files whose picture or sound an earlier one of their group has
    shots: CountAndDuration
    covered_by_candidates: CountAndDuration  # union of the spans of all candidates
    candidates: CountAndDuration
    kept: CountAndDuration
    covered_by_kept: CountAndDuration
    covered_removals: tuple[tuple[str | None, CountAndDuration], ...]
    """(first reason, candidates with it and the duration that no remaining candidate covers), one after the other; None
    stands for candidates without a verdict."""
    covered_by_clips: CountAndDuration  # files written for kept candidates
    failure_reasons: dict[str, int]  # reasons of failed and rejected files, most frequent first
    reason_costs: tuple[ReasonCost, ...]  # the costliest first, by as_only_reason

    @property
    def costliest_reason(self) -> ReasonCost | None:
        """The reason that alone rejects the longest duration."""
        return self.reason_costs[0] if self.reason_costs and self.reason_costs[0].as_only_reason.count else None

    @property
    def share_kept(self) -> float:
        """Duration that kept candidates cover by duration of usable files."""
        return self.covered_by_kept.duration_us / self.usable.duration_us if self.usable.duration_us else 0.0


def compute_funnel(
    set_folder: Path,
    candidates: CandidateTable,
    applied_limits: Sequence[AppliedLimit] = (),
    *,
    reason_order: Sequence[str] = (),
) -> Funnel:
    """Count a set; an empty set gives zeros.

    Args:
        set_folder: the set.
        candidates: its candidates; only the borderline counts need their measurements.
        applied_limits: limits whose borderline candidates are counted.
        reason_order: reasons in the order in which the limits are applied; others follow by name.
    """
    wanted = ["source_id", "status", "reason", "duplicate_of", "duration_us", "duration_header_us"]
    sources = tables.read_table(set_folder, tables.SOURCES, wanted)
    lengths = pc.fill_null(pc.coalesce(sources["duration_us"], sources["duration_header_us"]), 0).to_numpy()
    failed, rejected = (pc.equal(sources["status"], status).to_numpy() for status in ("failed", "rejected"))
    bad = failed | rejected
    twice = ~bad & pc.is_valid(sources["duplicate_of"]).to_numpy()
    near = tables.read_table(set_folder, tables.NEAR_DUPLICATES, ["group", "source_id", "other_id"])
    copies = pa.chunked_array([*near["source_id"].chunks, *near["other_id"].chunks], pa.string())
    is_copy = pc.is_in(sources["source_id"], value_set=copies.unique()).to_numpy()
    is_first = pc.is_in(sources["source_id"], value_set=near["group"].unique()).to_numpy()
    duration_us = candidates.duration_us
    covered = _Coverage(candidates.source_ids, candidates.start_us, candidates.end_us)
    return Funnel(
        files=_total(lengths),
        failed=_total(lengths[failed]),
        rejected=_total(lengths[rejected]),
        duplicates=_total(lengths[twice]),
        usable=_total(lengths[~bad & ~twice]),
        near_duplicates=_total(lengths[~bad & ~twice & is_copy & ~is_first]),
        shots=_span_total(tables.read_table(set_folder, tables.SHOTS, ["start_us", "end_us"])),
        covered_by_candidates=covered.total(),
        candidates=_total(duration_us),
        kept=_total(duration_us[candidates.kept]),
        covered_by_kept=covered.total(candidates.kept),
        covered_removals=tuple(_covered_removals(candidates, covered, reason_order)),
        covered_by_clips=_covered_by_clips(set_folder),
        failure_reasons=dict(Counter(sources["reason"].filter(pa.array(bad)).to_pylist()).most_common()),
        reason_costs=tuple(
            sorted(
                _reason_costs(candidates, applied_limits),
                key=lambda c: (
                    -c.as_only_reason.duration_us,
                    -c.as_first_reason.duration_us,
                    -c.in_total.duration_us,
                    c.reason,
                ),
            )
        ),
    )


def _total(lengths_us: Ints) -> CountAndDuration:
    return CountAndDuration(count=len(lengths_us), duration_us=int(lengths_us.sum()))


def _span_total(rows: pa.Table) -> CountAndDuration:
    return _total(rows["end_us"].to_numpy() - rows["start_us"].to_numpy())


class _Coverage:
    """Spans of sources, sorted once, so that the union of any selection is cheap."""

    def __init__(self, source_ids: pa.DictionaryArray, start_us: Ints, end_us: Ints) -> None:
        # All sources one after the other on one clock; the stride is longer than any source.
        stride = int(end_us.max(initial=0)) + 1
        base = source_ids.indices.to_numpy().astype(np.int64) * stride
        self._order = np.argsort(base + start_us, kind="stable")
        self._start, self._end = (base + start_us)[self._order], (base + end_us)[self._order]

    def total(self, chosen: Bools | None = None) -> CountAndDuration:
        """Number of the chosen spans, and the duration of their union."""
        sorted_choice = slice(None) if chosen is None else chosen[self._order]
        start, end = self._start[sorted_choice], self._end[sorted_choice]
        reached = np.concatenate([[-1], np.maximum.accumulate(end)[:-1]]) if len(end) else end
        new_us = np.maximum(0, end - np.maximum(start, reached))
        return CountAndDuration(count=len(start), duration_us=int(new_us.sum()))


def _covered_removals(
    candidates: CandidateTable, covered: _Coverage, reason_order: Sequence[str]
) -> Iterator[tuple[str | None, CountAndDuration]]:
    """First reasons in order, each with its candidates and the duration that no remaining one covers."""
    reasons = candidates.reasons
    leads = np.ones(len(reasons.rows), bool)
    leads[1:] = reasons.rows[1:] != reasons.rows[:-1]
    first = np.full(len(candidates), -1)
    first[reasons.rows[leads]] = reasons.codes[leads]
    rank = {reason: k for k, reason in enumerate(reason_order)}
    codes = sorted(range(len(reasons.names)), key=lambda c: (rank.get(reasons.names[c], len(rank)), reasons.names[c]))
    remaining = np.ones(len(candidates), bool)
    before = covered.total()
    for name, removed in [*((reasons.names[c], first == c) for c in codes), (None, ~candidates.has_verdict)]:
        remaining = remaining & ~removed
        after = covered.total(remaining)
        if removed.any():
            yield name, before - after
        before = after


def _covered_by_clips(set_folder: Path) -> CountAndDuration:
    rows = tables.read_table(set_folder, tables.CLIPS, ["source_id", "start_us", "end_us"]).combine_chunks()
    source_ids = pc.dictionary_encode(rows["source_id"].combine_chunks())
    return _Coverage(source_ids, rows["start_us"].to_numpy(), rows["end_us"].to_numpy()).total()


def _reason_costs(candidates: CandidateTable, applied_limits: Sequence[AppliedLimit]) -> list[ReasonCost]:
    reasons, duration_us = candidates.reasons, candidates.duration_us
    leads = np.ones(len(reasons.rows), bool)
    leads[1:] = reasons.rows[1:] != reasons.rows[:-1]
    sole = candidates.reason_count[reasons.rows] == 1
    near: dict[str, tuple[int, int]] = dict.fromkeys(reasons.names, (0, 0))
    for gauge in (gauge for gauge in applied_limits if gauge.rule.reason in near):
        kept, lost = borderline_rows(candidates, gauge)
        before = near[gauge.rule.reason]
        near[gauge.rule.reason] = before[0] + len(kept), before[1] + len(lost)
    costs = []
    for code, name in enumerate(reasons.names):
        mine = reasons.codes == code
        any_, first, alone = (_total(duration_us[reasons.rows[mine & also]]) for also in (True, leads, sole))
        kept_near, lost_near = near[name]
        costs.append(
            ReasonCost(
                reason=name,
                in_total=any_,
                as_first_reason=first,
                as_only_reason=alone,
                borderline_kept=kept_near,
                borderline_rejected=lost_near,
            )
        )
    return costs


def borderline_rows(candidates: CandidateTable, limit: AppliedLimit) -> tuple[Ints, Ints]:
    """Candidates next to a limit, the nearest first: kept ones that pass, rejected ones that fail.

    Rejected candidates without any other reason come first.
    """
    values = candidates.values.get(limit.rule.measure_path)
    if values is None or np.isnan(values).all():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    low, high = np.nanpercentile(values, (5, 95))
    room = limit.headroom(values)
    passing = np.flatnonzero(candidates.kept & (room >= 0) & (room <= BORDERLINE_SHARE * (high - low)))
    failing = np.flatnonzero(~candidates.kept & (room < 0) & (room >= -BORDERLINE_SHARE * (high - low)))
    others = candidates.reason_count[failing] > 1
    return passing[np.argsort(room[passing], kind="stable")], failing[np.lexsort((-room[failing], others))]


def stage_rows(funnel: Funnel) -> list[tuple[str, int, float]]:
    """(stage, count, hours of source video) from the files to the clips."""
    stages = (
        ("files", funnel.files),
        ("failed files", funnel.failed),
        ("rejected files", funnel.rejected),
        ("duplicate files", funnel.duplicates),
        ("usable files", funnel.usable),
        ("of these near duplicates", funnel.near_duplicates),
        ("shots", funnel.shots),
        ("candidates", funnel.covered_by_candidates),
        ("kept", funnel.covered_by_kept),
        ("clips written", funnel.covered_by_clips),
    )
    return [(name, amount.count, round(amount.hours, 4)) for name, amount in stages]


COST_COLUMNS = (
    "reason",
    "clips",
    "hours",
    "first reason: clips",
    "first reason: hours",
    "only reason: clips",
    "only reason: hours",
    "borderline",
)


def cost_rows(funnel: Funnel) -> list[tuple[str, int, float, int, float, int, float, str]]:
    """One row per reason under COST_COLUMNS; borderline is "kept + rejected"."""
    return [
        (
            cost.reason,
            cost.in_total.count,
            round(cost.in_total.hours, 4),
            cost.as_first_reason.count,
            round(cost.as_first_reason.hours, 4),
            cost.as_only_reason.count,
            round(cost.as_only_reason.hours, 4),
            f"{cost.borderline_kept} + {cost.borderline_rejected}",
        )
        for cost in funnel.reason_costs
    ]
