"""The plan of a run: its steps with their limits, and an estimate of time and disk."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xsheet.curate.filter.limits import FilterLimits
from xsheet.curate.report.applied_limits import applied_limits
from xsheet.curate.report.wording import measurement_title

MINUTES_PER_HOUR = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCosts:
    """Costs per minute of video, as the benchmark measured them."""

    cpu_s_per_minute: Mapping[str, float]  # of source video, by step, in the order of the steps
    write_cpu_s_per_minute: float  # of kept clips
    kept_share: float  # of the duration; 0.1 to 0.25 in public corpora
    clip_mb_per_minute: float  # of kept clips
    table_mb_per_hour: float  # of source video: series, tracks, thumbnails


MEASURED_COSTS = UnitCosts(
    cpu_s_per_minute={
        "probe": 0.1,
        "sound": 3.0,
        "decode": 9.4,
        "cuts": 1.2,
        "picture": 1.4,
        "faces": 7.8,
        "sync": 0.4,
    },
    write_cpu_s_per_minute=75.0,
    kept_share=0.2,
    clip_mb_per_minute=30.0,
    table_mb_per_hour=51.0,
)
"""For 720p video with one face on one core; docs/log/curate.md#cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One step of a run over some hours of video."""

    step: str
    description: str
    limits: tuple[str, ...]
    cpu_hours: float
    disk_gb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationPlan:
    """All steps; `wall_hours` assumes an even load of the workers."""

    steps: tuple[PlanStep, ...]
    wall_hours: float
    disk_gb: float


STEP_DESCRIPTIONS = {
    "probe": "hash and header of every file; identical files count once",
    "sound": "voice activity and levels; a file without voice is not decoded further",
    "decode": "one decode at 25 fps for all analysers of pictures",
    "cuts": "shots without gradual transitions",
    "picture": "brightness, freezes, bars, camera",
    "faces": "face tracks with mouth, head and eyes",
    "sync": "lip-audio offset, measured and corrected",
}
"""Descriptions of the steps."""


def estimate_run(limits: FilterLimits, costs: UnitCosts, *, hours: float, jobs: int = 1) -> CurationPlan:
    """The plan for `hours` of video on `jobs` workers."""
    steps = tuple(_plan_steps(limits, costs, hours))
    return CurationPlan(
        steps=steps,
        wall_hours=sum(step.cpu_hours for step in steps) / max(1, jobs),
        disk_gb=sum(step.disk_gb for step in steps),
    )


def _plan_steps(limits: FilterLimits, costs: UnitCosts, hours: float) -> Iterator[PlanStep]:
    minutes = hours * MINUTES_PER_HOUR
    for step, cpu_s in costs.cpu_s_per_minute.items():
        yield PlanStep(
            step=step,
            description=STEP_DESCRIPTIONS.get(step, ""),
            limits=(),
            cpu_hours=minutes * cpu_s / 3600,
            disk_gb=0.0,
        )
    yield PlanStep(
        step="decide",
        description="verdicts with all reasons, from the measurements only",
        limits=tuple(f"{measurement_title(limit.rule.measure_path)} {limit.text}" for limit in applied_limits(limits)),
        cpu_hours=0.0,
        disk_gb=hours * costs.table_mb_per_hour / 1000,
    )
    kept = minutes * costs.kept_share
    yield PlanStep(
        step="export",
        description="kept candidates, encoded from their source, with body motion and signals",
        limits=(),
        cpu_hours=kept * costs.write_cpu_s_per_minute / 3600,
        disk_gb=kept * costs.clip_mb_per_minute / 1000,
    )


PLAN_COLUMNS = ("step", "description", "limits", "CPU hours", "GB")


def plan_rows(plan: CurationPlan) -> list[tuple[str, str, str, float, float]]:
    """Rows under PLAN_COLUMNS, the sum last."""
    rows = [
        (step.step, step.description, "; ".join(step.limits), round(step.cpu_hours, 3), round(step.disk_gb, 3))
        for step in plan.steps
    ]
    total = sum(step.cpu_hours for step in plan.steps)
    return [
        *rows,
        ("total", f"about {plan.wall_hours:.3g} h wall-clock time", "", round(total, 3), round(plan.disk_gb, 3)),
    ]
