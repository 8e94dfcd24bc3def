from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.report.applied_limits import applied_limits, limits_of_verdicts, reason_order
from xsheet.curate.report.candidates import read_candidates
from xsheet.curate.report.charts import (
    HEIGHT,
    WIDTH,
    build_histogram,
    candidate_funnel_steps,
    fit_axis_scale,
    integer_axis_scale,
    video_funnel_steps,
)
from xsheet.curate.report.funnel import compute_funnel

numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=50)


@given(numbers, st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), max_size=2))
def test_a_scale_shows_every_limit_and_rises(values, limits):
    scale = fit_axis_scale(np.array(values), limits)
    assert scale.low < scale.high
    assert all(scale.low <= limit <= scale.high for limit in limits)
    assert (np.diff(scale.bin_edges()) > 0).all()
    assert all(0 <= scale.position(value) <= WIDTH for value in values)


@given(numbers)
def test_ticks_are_few_and_inside(values):
    ticks = fit_axis_scale(np.array(values), []).ticks()
    assert len(ticks) <= 12
    assert all(0 <= x <= WIDTH for x, _ in ticks)


def test_a_measurement_over_decades_is_drawn_in_decades():
    assert fit_axis_scale(np.geomspace(1, 10_000, 100), []).is_log
    assert not fit_axis_scale(np.linspace(50, 100, 100), []).is_log


def test_a_count_has_a_bin_for_each_number_and_its_limit_between_two():
    scale = integer_axis_scale(np.array([0.0, 1, 2, 2, 5]), [3.0])
    assert len(scale.bin_edges()) - 1 == 6
    assert scale.bin_edges()[0] == -0.5


@pytest.fixture
def drawn(make_set):
    folder = make_set(sources=10, pieces=20)
    found, judges = read_candidates(folder), applied_limits(limits_of_verdicts(folder))
    return found, lambda path: build_histogram(found, path, judges)


def test_a_histogram_counts_every_candidate_that_was_measured(drawn):
    found, draw = drawn
    bars = draw("face.height_px").bars
    said = [bar.tooltip.split(": ")[1] for bar in bars]
    total = sum(int(part.split()[0]) for text in said for part in text.split(", "))
    assert total + draw("face.height_px").missing == len(found)


def test_no_bar_is_taller_than_the_plot(drawn):
    found, draw = drawn
    for path in found.values:
        if (chart := draw(path)) is not None:
            assert all(bar.kept_height + bar.rejected_height <= HEIGHT + 0.2 for bar in chart.bars)


def test_a_bar_that_would_hide_the_others_is_broken_and_counted(drawn):
    found, draw = drawn
    (tall,) = (bar for bar in draw("picture.frozen_share").bars if bar.broken_label)
    assert int(tall.broken_label) == pytest.approx((found.values["picture.frozen_share"] == 0).sum(), abs=5)


def test_a_limit_shades_the_side_that_fails(drawn):
    _, draw = drawn
    (low,) = draw("face.height_px").limit_marks
    assert (low.fail_x, low.fail_width) == (0.0, low.x)
    (high,) = draw("face.yaw_abs_deg").limit_marks
    assert high.fail_x == high.x


def test_a_measurement_nobody_took_has_no_histogram(drawn):
    _, draw = drawn
    assert draw("sync.syncnet.confidence") is None


def test_the_steps_of_the_funnel_add_up(make_set):
    folder = make_set(sources=10, pieces=20)
    counted = compute_funnel(folder, read_candidates(folder))
    for rows in (
        video_funnel_steps(counted),
        candidate_funnel_steps(counted, reason_order(limits_of_verdicts(folder))),
    ):
        for before, row in pairwise(rows):
            assert before.remaining_hours - row.removed_hours == pytest.approx(row.remaining_hours)
    assert rows[-1].remaining_hours == pytest.approx(counted.kept.hours)
