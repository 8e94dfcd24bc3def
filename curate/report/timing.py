"""Where the time of a set went: its manifests added up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xsheet.schemas.sets import RunManifest

CPU_PREFIX = "cpu."
"""Entries of a manifest's seconds that begin so are CPU time of one analyser, the others wall clock of one step."""
TimeShare = tuple[str, float, float]
"""What, how many seconds, and which share of them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBreakdown:
    """Time over all runs; `speed` is seconds of distinct usable video per second of wall clock."""

    wall_s: float
    cpu_s: float
    realtime_factor: float
    wall_by_step: tuple[TimeShare, ...]
    cpu_by_analyser: tuple[TimeShare, ...]
    runs: tuple[RunManifest, ...]


def time_breakdown(runs: Sequence[RunManifest], *, video_s: float) -> TimeBreakdown:
    """Add up runs over a set that holds `video_s` seconds of usable video."""
    seconds: Counter[str] = Counter()
    for told in runs:
        seconds.update(told.seconds)
    wall_s = sum((told.finished - told.started).total_seconds() for told in runs)
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
