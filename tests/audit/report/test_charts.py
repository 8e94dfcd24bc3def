import numpy as np
import pytest

from xsheet.audit.agreement.phase_arrays import concatenate
from xsheet.audit.people.sampling import wilson_interval
from xsheet.audit.report.charts import (
    MAX_CLASSES,
    active_coverage,
    count_classes,
    count_statuses,
    layer_columns,
    layer_histogram,
)
from xsheet.audit.report.summary import summary_numbers
from xsheet.audit.review.queue import QueueEntry


def test_coverage_counts_time_once_and_rests_not_at_all(units):
    clip = units(("head", "nod", 0, 2), ("torso", "sway", 1, 3), ("gaze", "rest", 3, 5), ("brows", "frown", 4, 4.5))
    assert active_coverage(clip) == pytest.approx([3.5 / 5])


def test_coverage_of_one_clip_does_not_reach_into_the_next(units):
    both = concatenate(units(("head", "nod", 0, 5), clip="c0"), units(("head", "nod", 0, 1), clip="c1"))
    assert active_coverage(both) == pytest.approx([1.0, 0.2])


def test_coverage_does_not_hang_on_how_a_span_is_cut(random_units):
    clip = random_units(np.random.default_rng(0), clips=5)
    frames = np.zeros((5, 150), bool)
    for of, action, start, end in zip(clip.annotation_index, clip.action, clip.start_us, clip.end_us, strict=True):
        frames[of, start // 40_000 : end // 40_000] |= action != 47  # no rest among the random classes
    assert active_coverage(clip) == pytest.approx(frames.mean(axis=1))


def test_a_layer_without_phases_has_columns_of_nothing():
    found = layer_columns(iter(()))
    assert (len(found.durations_s), int(found.action_counts.sum())) == (0, 0)


def test_classes_come_most_frequent_first_and_rare_ones_together():
    counts = np.arange(1, MAX_CLASSES + 4)
    found = count_classes("classes", counts, [f"class_{k}" for k in counts])
    assert [row.count for row in found.rows[:2]] == [MAX_CLASSES + 3, MAX_CLASSES + 2]
    assert (found.rows[-1].name, found.rows[-1].count) == ("3 more", 6)
    assert sum(row.share for row in found.rows) == pytest.approx(1)


def test_classes_of_nothing_are_an_empty_list():
    assert count_classes("classes", np.zeros(3, np.int64), ["a", "b", "c"]).rows == ()


def test_statuses_are_sorted_by_how_often_they_occur():
    assert [row.name for row in count_statuses({"invalid": 1, "ok": 5}).rows] == ["ok", "invalid"]


def test_a_histogram_holds_every_value():
    found = layer_histogram("x", np.array([0.1, 0.2, 0.2, np.nan, 0.9]), kind="share")
    assert found is not None
    assert sum(int(one.tooltip.rpartition(" ")[2]) for one in found.bars) == 4
    assert found.limit_marks[0].label == "median 0.2"


@pytest.mark.parametrize("values", [[], [np.nan]])
def test_a_histogram_of_nothing_is_none(values):
    assert layer_histogram("x", np.array(values)) is None


def test_a_histogram_of_one_value_can_be_drawn():
    found = layer_histogram("x", np.array([3, 3, 3]), kind="integer")
    assert found is not None
    assert [one.kept_height for one in found.bars] == [120.0]


def entry(clip, phases=4, **fields):
    shared = {"response_status": "ok", "duration_us": 4_000_000, "tracks": (), "actions": ()}
    return QueueEntry(key=clip, clip_id=clip, annotation_id=clip, phases=phases, **shared | fields)


def test_headline_numbers_are_shares_with_their_bounds():
    entries = [
        *(entry(f"c{k}") for k in range(9)),
        entry("c9", errors=1),
        entry("bad", phases=0, response_status="invalid"),
    ]
    usable, clean, phases = summary_numbers(entries, {"c9": 2})
    low, high = (100 * bound for bound in wilson_interval(10, 11))
    assert usable.note == f"{low:.3g}–{high:.3g} % · 10 of 11"
    assert (clean.value, phases.value) == ("90 %", "95 %")


def test_phases_of_one_clip_are_no_independent_witnesses():
    one_bad_clip = [entry(f"c{k}", phases=10) for k in range(10)]
    spread, bunched = ({f"c{k}": 1 for k in range(10)}, {"c0": 10})
    widths = [summary_numbers(one_bad_clip, faulty)[2].whisker for faulty in (spread, bunched)]
    assert all(widths)
    assert widths[1].high - widths[1].low > 5 * (widths[0].high - widths[0].low)


def test_a_layer_of_nothing_has_no_numbers():
    assert [fact.value for fact in summary_numbers([], {})] == ["–", "–", "–"]
