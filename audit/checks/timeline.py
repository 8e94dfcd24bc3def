"""Shape of the timeline (B): slabs, round numbers and other signs that nobody looked."""

import math
from collections.abc import Iterator
from itertools import combinations, pairwise

from xsheet.audit.checks.base import Check, Outcome, View
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.annotation import Phase
from xsheet.schemas.time import US_PER_S

_HALF_SECOND_US = 500_000
_NEAR_US = 10_000  # |2 t - round(2 t)| < 0.02 (§9-B)
_NEAR_PARTITION_US = 40_000  # one frame


def _coverage(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    if view.annotation.status == "ok":
        limit = settings.timeline.min_coverage
        share = covered_us(view.annotation.phases) / view.duration_us
        yield Outcome(share >= limit, share, limit)


def covered_us(phases: tuple[Phase, ...]) -> int:
    """Length of the union of phases that are sorted by start."""
    total = end = 0
    for phase in phases:
        total += max(0, phase.end_us - max(phase.start_us, end))
        end = max(end, phase.end_us)
    return total


def _overlap(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.timeline.max_overlap
    pairs = combinations(view.annotation.phases, 2)
    shared = sum(max(0, min(a.end_us, b.end_us) - b.start_us) for a, b in pairs) / view.duration_us
    yield Outcome(shared <= limit, shared, limit)


def _slabs(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, acts = settings.timeline, [p for p in view.annotation.phases if p.action != "rest"]
    if len(acts) >= limits.min_slabs:
        lengths = [p.end_us - p.start_us for p in acts]
        mean = sum(lengths) / len(lengths)
        spread = math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths)) / mean
        # Actions of equal length happen; slabs also lie side by side.
        even = spread < limits.min_duration_cv
        tiled = even and (_touching(acts) >= len(acts) - 1 or _on_partition(view) >= limits.max_on_partition)
        yield Outcome(not tiled, spread, limits.min_duration_cv)


def _partition(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits = settings.timeline
    if sum(p.action != "rest" for p in view.annotation.phases) >= limits.min_slabs:
        share = _on_partition(view)
        yield Outcome(share < limits.max_on_partition, share, limits.max_on_partition)


def _on_partition(view: View) -> float:
    """The largest share of inner boundaries that lie on a division of the clip into as many equal parts as phases."""
    inner = _inner_boundaries(view)
    parts = len(view.annotation.phases)
    if len(inner) < 2 or parts < 2:
        return 0.0
    # A coarser division than the number of phases: tracks side by side share their slabs.
    best = 0.0
    for count in range(2, parts + 1):
        step = view.duration_us / count
        if step > 4 * _NEAR_PARTITION_US:
            best = max(best, sum(abs(us - step * round(us / step)) <= _NEAR_PARTITION_US for us in inner) / len(inner))
    return best


def _touching(phases: list[Phase]) -> int:
    """Pairs of neighbours of which the second begins where the first ends."""
    return sum(abs(b.start_us - a.end_us) <= _NEAR_PARTITION_US for a, b in pairwise(phases))


def _inner_boundaries(view: View) -> list[int]:
    edges = {us for p in view.annotation.phases for us in (p.start_us, p.end_us)}
    return [us for us in edges if _NEAR_US < us < view.duration_us - _NEAR_PARTITION_US]


def _round_numbers(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, inner = settings.timeline, _inner_boundaries(view)
    if len(inner) >= limits.min_boundaries:
        near = sum(abs(us - _HALF_SECOND_US * round(us / _HALF_SECOND_US)) <= _NEAR_US for us in inner)
        yield Outcome(near / len(inner) <= limits.max_round, near / len(inner), limits.max_round)


def _full_span(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.timeline.full_span
    for phase in view.annotation.phases:
        if phase.action not in ("rest", "talk", "listen"):
            share = (phase.end_us - phase.start_us) / view.duration_us
            yield Outcome(share <= limit, share, limit, phase)


def _grid(view: View, _: AuditSettings) -> Iterator[Outcome]:
    seen, inner = view.annotation.seen, _inner_boundaries(view)
    if seen is not None and seen.stamps_us and inner:
        stamps = set(seen.stamps_us)
        share = sum(us in stamps for us in inner) / len(inner)
        yield Outcome(share < 1.0, share, 1.0, detail="all boundaries lie on the stamps that the model was shown")


def _cuts(view: View, _: AuditSettings) -> Iterator[Outcome]:
    if view.clip is not None and view.clip.cuts_us:
        for phase in view.annotation.phases:
            crossed = [us for us in view.clip.cuts_us if phase.start_us < us < phase.end_us]
            at = f"crosses the cut at {crossed[0] / US_PER_S:.2f} s" if crossed else ""
            yield Outcome(not crossed, phase=phase, detail=at)


def _density(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.timeline.max_phases_per_s
    rate = len(view.annotation.phases) * US_PER_S / view.duration_us
    yield Outcome(rate <= limit, rate, limit)


TIMELINE = (
    Check(id="B1", why="a clip is covered, by rests where nothing is done", severity="warning", number="coverage",
          sense=">=", judge=_coverage, formula="length of the union of all phases / duration (§9-B)"),
    Check(id="B2", why="no more goes on at once than a body does", severity="warning", number="overlap", sense="<=",
          judge=_overlap, formula="sum over pairs of their common time / duration (§9-B)"),
    Check(id="B3", why="actions differ in length; slabs side by side do not", severity="error",
          number="duration_cv", sense=">=", judge=_slabs,
          formula="standard deviation / mean of durations, where they touch or lie on an even division (§9-B)"),
    Check(id="B3b", why="boundaries are looked up, not dealt out evenly", severity="error",
          number="on_partition", sense="<=", judge=_partition,
          formula="share of inner boundaries within a frame of a division into n equal parts (§9-B)"),
    Check(id="B4", why="boundaries lie where things happen, not on half seconds", severity="warning",
          number="round_share", sense="<=", judge=_round_numbers,
          formula="share of inner boundaries with |2 t - round(2 t)| < 0.02 (§9-B)"),
    Check(id="B5", why="an action is shorter than its clip, or nothing was timed", severity="warning",
          number="span_share", sense="<=", judge=_full_span,
          formula="duration of a phase / duration of the clip (§9-B)"),
    Check(id="B6", why="boundaries are no finer than the stamps that were shown", severity="info",
          number="grid_share", sense="<=", judge=_grid, formula="share of inner boundaries on seen stamps (§9-B)"),
    Check(id="B7", why="an action does not go on over a cut", severity="error", judge=_cuts,
          formula="no shot cut strictly inside a phase (§9-B)"),
    Check(id="B8", why="nobody does more things than a body can", severity="warning", number="phases_per_s", sense="<=",
          judge=_density, formula="phases / duration (§9-B)"),
)  # fmt: skip
