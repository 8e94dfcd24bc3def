"""Timeline checks (B): uniform segments, rounded boundaries and other signs of guessed times."""

import math
from collections.abc import Iterator
from itertools import combinations, pairwise

from xsheet.audit.checks.base import AnnotationView, Check, CheckResult
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.annotation import Phase
from xsheet.schemas.time import US_PER_S

_HALF_SECOND_US = 500_000
_ROUND_TOLERANCE_US = 10_000  # |2t - round(2t)| < 0.02, t in seconds
_PARTITION_TOLERANCE_US = 40_000  # one frame


def _check_coverage(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    if view.annotation.status == "ok":
        limit = settings.timeline.min_coverage
        share = covered_duration_us(view.annotation.phases) / view.duration_us
        yield CheckResult(share >= limit, share, limit)


def covered_duration_us(phases: tuple[Phase, ...]) -> int:
    """Length of the union of phases; they must be sorted by start."""
    total = end = 0
    for phase in phases:
        total += max(0, phase.end_us - max(phase.start_us, end))
        end = max(end, phase.end_us)
    return total


def _check_overlap(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.timeline.max_overlap_ratio
    pairs = combinations(view.annotation.phases, 2)
    shared = sum(max(0, min(a.end_us, b.end_us) - b.start_us) for a, b in pairs) / view.duration_us
    yield CheckResult(shared <= limit, shared, limit)


def _check_uniform_segments(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, actions = settings.timeline, [p for p in view.annotation.phases if p.action != "rest"]
    if len(actions) >= limits.min_phases_for_uniformity:
        lengths = [p.end_us - p.start_us for p in actions]
        mean = sum(lengths) / len(lengths)
        spread = math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths)) / mean
        # Equal durations occur by chance; uniform segments are also adjacent.
        is_tiled = spread < limits.min_duration_cv and (
            _count_adjacent(actions) >= len(actions) - 1
            or _even_partition_share(view) >= limits.max_even_partition_share
        )
        yield CheckResult(not is_tiled, spread, limits.min_duration_cv)


def _check_even_partition(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits = settings.timeline
    if sum(p.action != "rest" for p in view.annotation.phases) >= limits.min_phases_for_uniformity:
        share = _even_partition_share(view)
        yield CheckResult(share < limits.max_even_partition_share, share, limits.max_even_partition_share)


def _even_partition_share(view: AnnotationView) -> float:
    """Largest share of inner boundaries on a division of the clip into n equal parts, n up to the phase count."""
    inner = _inner_boundaries(view)
    parts = len(view.annotation.phases)
    if len(inner) < 2 or parts < 2:
        return 0.0
    # Also coarser divisions: parallel tracks can share their segments.
    best = 0.0
    for count in range(2, parts + 1):
        step = view.duration_us / count
        if step > 4 * _PARTITION_TOLERANCE_US:
            best = max(
                best, sum(abs(us - step * round(us / step)) <= _PARTITION_TOLERANCE_US for us in inner) / len(inner)
            )
    return best


def _count_adjacent(phases: list[Phase]) -> int:
    """Number of consecutive pairs in which the second phase starts at the end of the first."""
    return sum(abs(b.start_us - a.end_us) <= _PARTITION_TOLERANCE_US for a, b in pairwise(phases))


def _inner_boundaries(view: AnnotationView) -> list[int]:
    times = {us for p in view.annotation.phases for us in (p.start_us, p.end_us)}
    return [us for us in times if _ROUND_TOLERANCE_US < us < view.duration_us - _PARTITION_TOLERANCE_US]


def _check_rounding(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, inner = settings.timeline, _inner_boundaries(view)
    if len(inner) >= limits.min_boundaries_for_rounding:
        near = sum(abs(us - _HALF_SECOND_US * round(us / _HALF_SECOND_US)) <= _ROUND_TOLERANCE_US for us in inner)
        yield CheckResult(
            near / len(inner) <= limits.max_half_second_share, near / len(inner), limits.max_half_second_share
        )


def _check_full_span(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.timeline.max_phase_share
    for phase in view.annotation.phases:
        if phase.action not in ("rest", "talk", "listen"):
            share = (phase.end_us - phase.start_us) / view.duration_us
            yield CheckResult(share <= limit, share, limit, phase)


def _check_timestamp_grid(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    model_input, inner = view.annotation.model_input, _inner_boundaries(view)
    if model_input is not None and model_input.stamps_us and inner:
        timestamps = set(model_input.stamps_us)
        share = sum(us in timestamps for us in inner) / len(inner)
        yield CheckResult(share < 1.0, share, 1.0, detail="every boundary equals a frame timestamp of the model input")


def _check_shot_cuts(view: AnnotationView, _: AuditSettings) -> Iterator[CheckResult]:
    if view.clip is not None and view.clip.cuts_us:
        for phase in view.annotation.phases:
            crossed = [us for us in view.clip.cuts_us if phase.start_us < us < phase.end_us]
            detail = f"crosses the cut at {crossed[0] / US_PER_S:.2f} s" if crossed else ""
            yield CheckResult(not crossed, phase=phase, detail=detail)


def _check_phase_rate(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.timeline.max_phases_per_s
    rate = len(view.annotation.phases) * US_PER_S / view.duration_us
    yield CheckResult(rate <= limit, rate, limit)


TIMELINE_CHECKS = (
    Check(
        id="B1",
        requirement="Phases, including rests, cover enough of the clip",
        severity="warning",
        metric="coverage_share",
        comparator=">=",
        evaluate=_check_coverage,
        formula="length of the union of all phases / clip duration",
    ),
    Check(
        id="B2",
        requirement="Phases overlap no more than a body allows",
        severity="warning",
        metric="overlap_ratio",
        comparator="<=",
        evaluate=_check_overlap,
        formula="sum of pairwise phase overlap / clip duration",
    ),
    Check(
        id="B3",
        requirement="Phase durations vary instead of forming uniform segments",
        severity="error",
        metric="duration_cv",
        comparator=">=",
        evaluate=_check_uniform_segments,
        formula="standard deviation / mean of durations; evaluated for adjacent or evenly partitioned phases",
    ),
    Check(
        id="B3b",
        requirement="Phase boundaries follow observed motion, not an even grid",
        severity="error",
        metric="even_partition_share",
        comparator="<=",
        evaluate=_check_even_partition,
        formula="share of inner boundaries within one frame of a division of the clip into n equal parts",
    ),
    Check(
        id="B4",
        requirement="Phase boundaries are not rounded to half seconds",
        severity="warning",
        metric="half_second_share",
        comparator="<=",
        evaluate=_check_rounding,
        formula="share of inner boundaries with |2t − round(2t)| < 0.02, t in seconds",
    ),
    Check(
        id="B5",
        requirement="A phase does not span almost the whole clip",
        severity="warning",
        metric="phase_share",
        comparator="<=",
        evaluate=_check_full_span,
        formula="phase duration / clip duration, except rest, talk and listen",
    ),
    Check(
        id="B6",
        requirement="Phase boundaries are finer than the timestamps of the sampled frames",
        severity="info",
        metric="frame_timestamp_share",
        comparator="<=",
        evaluate=_check_timestamp_grid,
        formula="share of inner boundaries that equal a timestamp of a frame in the model input",
    ),
    Check(
        id="B7",
        requirement="A phase does not cross a shot cut",
        severity="error",
        evaluate=_check_shot_cuts,
        formula="number of shot cuts strictly inside the phase = 0",
    ),
    Check(
        id="B8",
        requirement="The phase rate is physically plausible",
        severity="warning",
        metric="phases_per_s",
        comparator="<=",
        evaluate=_check_phase_rate,
        formula="number of phases / clip duration in seconds",
    ),
)
