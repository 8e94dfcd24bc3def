"""The funnel: hours and clips from the files given to the clips kept, and what each reason costs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xsheet.curate.report.applied_limits import Gauge
from xsheet.curate.report.candidates import Candidates, Ints
from xsheet.schemas import tables

NEAR = 0.05
"""A candidate is borderline within this share of the spread (5th to 95th percentile) of a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How many, and how long together."""

    count: int = 0
    us: int = 0

    @property
    def hours(self) -> float:
        """For display."""
        return self.us / 3_600_000_000

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(count=self.count + other.count, us=self.us + other.us)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(count=self.count - other.count, us=self.us - other.us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one reason takes away."""

    reason: str
    any: Amount  # candidates it stands against
    first: Amount  # candidates it is the first reason of, so that these add up to all that is lost
    alone: Amount  # candidates that would be kept without it
    near_kept: int = 0  # just passing its limits
    near_lost: int = 0  # just failing them


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """From files to kept clips. Hours are of pictures; candidates of two faces in one shot count their span twice."""

    files: Amount
    failed: Amount  # could not be read; us holds what is known of their length
    rejected: Amount  # could be read, and were not worth it
    duplicates: Amount  # same bytes as another file, measured once
    usable: Amount
    shots: Amount
    covered: Amount  # stretches of picture that lie in a candidate
    candidates: Amount
    kept: Amount
    unjudged: Amount  # candidates without a verdict
    clips: Amount  # files written for kept candidates
    faults: dict[str, int]  # reasons of failed and rejected files, most frequent first
    costs: tuple[Cost, ...]  # the dearest first, by what is lost to each alone

    @property
    def dearest(self) -> Cost | None:
        """The reason that costs most on its own."""
        return self.costs[0] if self.costs and self.costs[0].alone.count else None

    @property
    def share_kept(self) -> float:
        """Hours kept of the hours of distinct files."""
        return self.kept.us / self.usable.us if self.usable.us else 0.0


def funnel(set_folder: Path, candidates: Candidates, gauges: Sequence[Gauge] = ()) -> Funnel:
    """Count a set; an empty one gives zeros.

    Args:
        set_folder: the set.
        candidates: its candidates; their measurements are needed for the borderline counts alone.
        gauges: limits to count borderline candidates of.
    """
    wanted = ["status", "reason", "duplicate_of", "duration_us", "duration_header_us"]
    sources = tables.read_table(set_folder, tables.SOURCES, wanted)
    lengths = pc.fill_null(pc.coalesce(sources["duration_us"], sources["duration_header_us"]), 0).to_numpy()
    failed, rejected = (pc.equal(sources["status"], status).to_numpy() for status in ("failed", "rejected"))
    bad = failed | rejected
    twice = ~bad & pc.is_valid(sources["duplicate_of"]).to_numpy()
    lasting = candidates.duration_us
    return Funnel(
        files=_amount(lengths),
        failed=_amount(lengths[failed]),
        rejected=_amount(lengths[rejected]),
        duplicates=_amount(lengths[twice]),
        usable=_amount(lengths[~bad & ~twice]),
        shots=_spans(tables.read_table(set_folder, tables.SHOTS, ["start_us", "end_us"])),
        covered=_covered(candidates),
        candidates=_amount(lasting),
        kept=_amount(lasting[candidates.kept]),
        unjudged=_amount(lasting[~candidates.judged]),
        clips=_spans(tables.read_table(set_folder, tables.CLIPS, ["start_us", "end_us"])),
        faults=dict(Counter(sources["reason"].filter(pa.array(bad)).to_pylist()).most_common()),
        costs=tuple(sorted(_costs(candidates, gauges), key=lambda c: (-c.alone.us, -c.first.us, -c.any.us, c.reason))),
    )


def _amount(lengths_us: Ints) -> Amount:
    return Amount(count=len(lengths_us), us=int(lengths_us.sum()))


def _spans(rows: pa.Table) -> Amount:
    return _amount(rows["end_us"].to_numpy() - rows["start_us"].to_numpy())


def _covered(candidates: Candidates) -> Amount:
    """Union of the candidates' spans within each source."""
    if not len(candidates):
        return Amount()
    source = candidates.source_ids.indices.to_numpy().astype(np.int64)
    # Sources one after the other on one long clock: a stride apart that no span is long enough to bridge.
    base = source * (int(candidates.end_us.max()) + 1)
    order = np.argsort(base + candidates.start_us, kind="stable")
    start, end = (base + candidates.start_us)[order], (base + candidates.end_us)[order]
    reached = np.concatenate([[-1], np.maximum.accumulate(end)[:-1]])
    fresh = np.maximum(0, end - np.maximum(start, reached))
    return Amount(count=int((start > reached).sum()), us=int(fresh.sum()))


def _costs(candidates: Candidates, gauges: Sequence[Gauge]) -> list[Cost]:
    reasons, lasting = candidates.reasons, candidates.duration_us
    leads = np.ones(len(reasons.rows), bool)
    leads[1:] = reasons.rows[1:] != reasons.rows[:-1]
    sole = candidates.reason_count[reasons.rows] == 1
    near: dict[str, tuple[int, int]] = dict.fromkeys(reasons.names, (0, 0))
    for gauge in (gauge for gauge in gauges if gauge.judged.reason in near):
        kept, lost = near_limit(candidates, gauge)
        before = near[gauge.judged.reason]
        near[gauge.judged.reason] = before[0] + len(kept), before[1] + len(lost)
    costs = []
    for code, name in enumerate(reasons.names):
        mine = reasons.codes == code
        any_, first, alone = (_amount(lasting[reasons.rows[mine & also]]) for also in (True, leads, sole))
        kept_near, lost_near = near[name]
        costs.append(Cost(reason=name, any=any_, first=first, alone=alone, near_kept=kept_near, near_lost=lost_near))
    return costs


def near_limit(candidates: Candidates, gauge: Gauge) -> tuple[Ints, Ints]:
    """Candidates next to a limit, the nearest first: kept ones that just pass, lost ones that just fail.

    Of those that fail, the ones that fail nothing else come first: for them the limit alone decides.
    """
    values = candidates.values.get(gauge.judged.measure)
    if values is None or np.isnan(values).all():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    low, high = np.nanpercentile(values, (5, 95))
    room = gauge.headroom(values)
    passing = np.flatnonzero(candidates.kept & (room >= 0) & (room <= NEAR * (high - low)))
    failing = np.flatnonzero(~candidates.kept & (room < 0) & (room >= -NEAR * (high - low)))
    others = candidates.reason_count[failing] > 1
    return passing[np.argsort(room[passing], kind="stable")], failing[np.lexsort((-room[failing], others))]


# ---- as tables for a terminal


def stage_rows(counted: Funnel) -> list[tuple[str, int, float]]:
    """(stage, count, hours) from the files to the clips."""
    stages = (
        ("files", counted.files),
        ("of them failed", counted.failed),
        ("of them rejected", counted.rejected),
        ("of them duplicates", counted.duplicates),
        ("files to measure", counted.usable),
        ("shots", counted.shots),
        ("candidates", counted.candidates),
        ("kept", counted.kept),
        ("clips written", counted.clips),
    )
    return [(name, amount.count, round(amount.hours, 4)) for name, amount in stages]


COST_HEADS = ("reason", "clips", "hours", "first: clips", "first: hours", "alone: clips", "alone: hours", "borderline")


def cost_rows(counted: Funnel) -> list[tuple[str, int, float, int, float, int, float, str]]:
    """One row per reason under COST_HEADS; borderline as "just kept + just lost"."""
    return [
        (
            cost.reason, cost.any.count, round(cost.any.hours, 4), cost.first.count, round(cost.first.hours, 4),
            cost.alone.count, round(cost.alone.hours, 4), f"{cost.near_kept} + {cost.near_lost}",
        )
        for cost in counted.costs
    ]  # fmt: skip
