import pytest

from xsheet.curate.report.estimate import PLAN_COLUMNS, UnitCosts, estimate_run, plan_rows

COSTS = UnitCosts(
    cpu_s_per_minute={"decode": 6.0, "faces": 9.0}, write_cpu_s_per_minute=30.0, kept_share=0.2,
    clip_mb_per_minute=10.0, table_mb_per_hour=5.0,
)  # fmt: skip


def test_time_is_the_work_of_all_steps_over_the_workers(limits):
    plan = estimate_run(limits(), COSTS, hours=10, jobs=2)
    work = 600 * (6 + 9) / 3600 + 120 * 30 / 3600
    assert plan.wall_hours == pytest.approx(work / 2)


def test_disk_is_for_kept_clips_and_tables(limits):
    assert estimate_run(limits(), COSTS, hours=10).disk_gb == pytest.approx(120 * 10 / 1000 + 10 * 5 / 1000)


def test_twice_the_video_costs_twice(limits):
    once, twice = (estimate_run(limits(), COSTS, hours=h) for h in (5, 10))
    assert twice.wall_hours == pytest.approx(2 * once.wall_hours)


def test_every_limit_that_is_set_is_named(limits):
    decide = next(step for step in estimate_run(limits(), COSTS, hours=1).steps if step.step == "decide")
    assert "face height ≥ 100 px" in decide.limits


def test_the_rows_end_with_the_sum(limits):
    rows = plan_rows(estimate_run(limits(), COSTS, hours=10))
    assert {len(row) for row in rows} == {len(PLAN_COLUMNS)}
    assert rows[-1][3] == pytest.approx(sum(row[3] for row in rows[:-1]), abs=0.01)
