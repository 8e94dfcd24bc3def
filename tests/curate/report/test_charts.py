from itertools import pairwise

import pytest

from xsheet.curate.report.applied_limits import applied_limits, limits_of_verdicts, reason_order
from xsheet.curate.report.candidates import read_candidates
from xsheet.curate.report.charts import candidate_funnel_steps, measurement_histogram, video_funnel_steps
from xsheet.curate.report.funnel import compute_funnel
from xsheet.pages.histogram import HEIGHT


@pytest.fixture
def histograms(make_set):
    folder = make_set(sources=10, pieces=20)
    found, judges = read_candidates(folder), applied_limits(limits_of_verdicts(folder))
    return found, lambda path: measurement_histogram(found, path, judges)


def test_a_histogram_counts_every_candidate_that_was_measured(histograms):
    found, draw = histograms
    bars = draw("face.height_px").bars
    counts = [bar.tooltip.split(": ")[1] for bar in bars]
    total = sum(int(part.split()[0]) for text in counts for part in text.split(", "))
    assert total + draw("face.height_px").missing == len(found)


def test_no_bar_is_taller_than_the_plot(histograms):
    found, draw = histograms
    for path in found.values:
        if (chart := draw(path)) is not None:
            assert all(bar.kept_height + bar.rejected_height <= HEIGHT + 0.2 for bar in chart.bars)


def test_a_bar_that_would_hide_the_others_is_broken_and_counted(histograms):
    found, draw = histograms
    (tall,) = (bar for bar in draw("picture.frozen_share").bars if bar.broken_label)
    assert int(tall.broken_label) == pytest.approx((found.values["picture.frozen_share"] == 0).sum(), abs=5)


def test_a_limit_shades_the_side_that_fails(histograms):
    _, draw = histograms
    (low,) = draw("face.height_px").limit_marks
    assert (low.fail_x, low.fail_width) == (0.0, low.x)
    (high,) = draw("face.yaw_abs_deg").limit_marks
    assert high.fail_x == high.x


def test_a_measurement_without_a_value_has_no_histogram(histograms):
    _, draw = histograms
    assert draw("sync.syncnet.confidence") is None


@pytest.mark.slow
def test_the_steps_of_the_funnel_add_up(make_set):
    folder = make_set(sources=10, pieces=20)
    counted = compute_funnel(folder, read_candidates(folder), reason_order=reason_order(limits_of_verdicts(folder)))
    for rows in (video_funnel_steps(counted), candidate_funnel_steps(counted)):
        for before, row in pairwise(rows):
            assert before.remaining_hours - row.removed_hours == pytest.approx(row.remaining_hours)
    assert rows[-1].remaining_hours == pytest.approx(counted.kept.hours)
