"""Effort of a review: counted by hand on three clips."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from xsheet.audit.people.effort import PAUSE_S, effort
from xsheet.schemas.review import Review

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def operation(annotation_id, at_s, reviewer="one"):
    return Review(
        review_id=f"rev_{annotation_id}_{at_s}_{reviewer}", annotation_id=annotation_id, clip_id="c0",
        operation="accept", before_sha256="ab" * 32, reviewer=reviewer, at=NOON + timedelta(seconds=at_s),
    )  # fmt: skip


@pytest.fixture
def layer(annotation):
    return [
        annotation(("head", "nod", 0, 1), ("gaze", "look_away", 2, 3), clip=f"c{k}", annotation_id=f"ann_{k}")
        for k in range(3)
    ]


def human(one, *phases):
    return replace(
        one, annotation_id=f"{one.annotation_id}_h", layer="human", parent_ids=(one.annotation_id,), phases=phases
    )


def test_a_clip_taken_as_it_is_is_accepted_at_first_pass(layer):
    found = effort([operation("ann_0", 0)], layer, [human(layer[0], *layer[0].phases)])
    assert (found.clips, found.unchanged, found.gone, found.edited) == (1, 1, 0, {})


def test_another_origin_is_no_change(layer):
    phases = [replace(phase, origin="human") for phase in layer[0].phases]
    assert effort([operation("ann_0", 0)], layer, [human(layer[0], *phases)]).unchanged == 1


def test_changes_are_counted_by_field(layer):
    nod, look = layer[0].phases
    edited = human(layer[0], replace(nod, start_us=200_000, action="tilt_head"), replace(look, end_us=3_100_000))
    found = effort([operation("ann_0", 0)], layer, [edited])
    assert (found.unchanged, found.phases) == (0, 2)
    assert found.edited == {"start_us": 1, "action": 1, "end_us": 1}
    assert found.median_shift_us == 150_000


def test_deleted_and_new_phases_are_counted(layer):
    nod, _ = layer[0].phases
    found = effort([operation("ann_0", 0)], layer, [human(layer[0], replace(nod, phase_id="p9"))])
    assert (found.deleted, found.new, found.edited) == (2, 1, {})


def test_a_clip_without_a_human_annotation_is_gone(layer):
    found = effort([operation("ann_0", 0), operation("ann_1", 9)], layer, [human(layer[0], *layer[0].phases)])
    assert (found.clips, found.unchanged, found.gone) == (2, 1, 1)
    assert found.acceptance[0] < 0.5 < found.acceptance[1]


def test_time_runs_from_the_reviewers_operation_before_and_stops_in_breaks(layer):
    mine = [operation("ann_0", 0), operation("ann_1", 10), operation("ann_1", 15), operation("ann_2", 9_999)]
    others = [operation("ann_2", 12, "two")]
    assert effort(mine, layer, []).median_seconds == 15  # of 0, 15 and one pause
    assert effort([*mine, *others], layer[2:], []).median_seconds == PAUSE_S


def test_nothing_reviewed_has_no_medians(layer):
    found = effort([], layer, [])
    assert (found.clips, found.median_shift_us, found.median_seconds, found.acceptance) == (0, None, None, (0.0, 1.0))
