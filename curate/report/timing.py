"""Processing time of a set, summed over its manifests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xsheet.schemas.sets import RunManifest

CPU_PREFIX = "cpu."
"""Prefix of the CPU times of analysers in `seconds` of a manifest; all others are wall-clock times of steps."""
TimeShare = tuple[str, float, float]
"""(name, seconds, share of the total)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBreakdown:
    """Time over all runs; `realtime_factor` is seconds of usable video per second of wall clock."""

    wall_s: float
    cpu_s: float
    realtime_factor: float
    wall_by_step: tuple[TimeShare, ...]
    cpu_by_analyser: tuple[TimeShare, ...]
    runs: tuple[RunManifest, ...]


def time_breakdown(runs: Sequence[RunManifest], *, video_s: float) -> TimeBreakdown:
    """Sum the runs over a set with `video_s` seconds of usable video."""
    seconds: Counter[str] = Counter()
    for manifest in runs:
        seconds.update(manifest.seconds)
    wall_s = sum((manifest.finished - manifest.started).total_seconds() for manifest in runs)
    cpu = {name.removeprefix(CPU_PREFIX): s for name, s in seconds.items() if name.startswith(CPU_PREFIX)}
    return TimeBreakdown(
        wall_s=wall_s,
        cpu_s=sum(cpu.values()),
        realtime_factor=video_s / wall_s if wall_s > 0 else 0.0,
        wall_by_step=_time_shares({name: s for name, s in seconds.items() if not name.startswith(CPU_PREFIX)}),
        cpu_by_analyser=_time_shares(cpu),
        runs=tuple(runs),
    )


def _time_shares(seconds: Mapping[str, float]) -> tuple[TimeShare, ...]:
    whole = sum(seconds.values()) or 1.0
    return tuple((name, s, s / whole) for name, s in sorted(seconds.items(), key=lambda entry: (-entry[1], entry[0])))
