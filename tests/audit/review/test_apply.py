"""From reviews to a human layer: what was accepted, and nothing that is in conflict."""

import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from xsheet.annotate.text.training_text import compile_training_text
from xsheet.audit.review.apply import apply_reviews
from xsheet.audit.review.draft import EditHistory
from xsheet.audit.review.journal import journal_path, read_journals
from xsheet.audit.review.queue import QueueFilter
from xsheet.cli import app
from xsheet.schemas.annotation import Review
from xsheet.schemas.errors import ContractError
from xsheet.schemas.layers import find_layer, list_layers
from xsheet.schemas.tables import REVIEWS, iter_records

pytestmark = pytest.mark.slow  # processes, films or models: seconds


def edit(**values):
    return {"changes": [{"phase_id": "p1", **values}]}


def test_accepted_clips_become_a_human_layer_that_names_its_parents(small_set, layer, desk_of, act, keys):
    desk = desk_of()
    act(desk, keys[0], "edit", **edit(text="turns the head, slowly"))
    for key in keys:
        act(desk, key, "accept")
    applied = apply_reviews(small_set, layer)
    rows = list(find_layer(small_set, "human").read())
    assert (applied.accepted_count, applied.changed_count, applied.conflicts) == (2, 1, ())
    assert {row.parent_ids for row in rows} == {(key,) for key in keys}
    edited = next(row for row in rows if row.parent_ids == (keys[0],))
    assert next(p for p in edited.phases if p.phase_id == "p1").text == "turns the head, slowly"
    assert [(one.op, one.path) for one in edited.repairs] == [("set", "phases/p1/text")]


def test_the_layer_that_was_reviewed_stays_as_it_was(small_set, layer, desk_of, act, keys):
    before = {path: path.read_bytes() for one in list_layers(small_set) for path in one.files}
    act(desk_of(), keys[0], "accept")
    apply_reviews(small_set, layer)
    assert {path: path.read_bytes() for path in before} == before


def test_applying_twice_gives_the_same_bytes(small_set, layer, desk_of, act, keys):
    act(desk_of(), keys[0], "accept")
    first, again = (apply_reviews(small_set, layer).human_layer for _ in range(2))
    assert first.run == again.run
    assert [path.read_bytes() for path in first.files] == [path.read_bytes() for path in again.files]
    assert len([one for one in list_layers(small_set) if one.layer == "human"]) == 1


def test_a_second_review_is_the_newest_human_layer(small_set, layer, desk_of, act, keys):
    desk = desk_of()
    act(desk, keys[0], "accept")
    first = apply_reviews(small_set, layer).human_layer
    act(desk, keys[1], "accept")
    second = apply_reviews(small_set, layer).human_layer
    assert find_layer(small_set, "human").run == second.run != first.run
    assert len([one for one in list_layers(small_set) if one.layer == "human"]) == 2


def test_accept_takes_the_newest_human_layer(small_set, layer, desk_of, act, keys):
    desk = desk_of()
    act(desk, keys[0], "accept")
    apply_reviews(small_set, layer)
    act(desk, keys[1], "accept")
    apply_reviews(small_set, layer)
    done = CliRunner().invoke(app, ["audit", "accept", str(small_set), "--layer", "human", "-q"])
    assert done.exit_code == 0, done.output
    assert len(list(find_layer(small_set, "accepted").read())) == 2


def test_the_stretch_of_a_deleted_phase_is_unknown_and_has_no_text(small_set, layer, desk_of, act, keys):
    desk = desk_of()
    act(desk, keys[0], "delete", phase_ids=["p1"])
    act(desk, keys[0], "accept")
    apply_reviews(small_set, layer)
    (row,) = find_layer(small_set, "human").read()
    deleted = next(p for one in layer.read() if one.annotation_id == keys[0] for p in one.phases if p.phase_id == "p1")
    assert [(s.track, s.start_us, s.end_us) for s in row.unknown] == [(deleted.track, deleted.start_us, deleted.end_us)]
    still = [block for block in compile_training_text(row).blocks if not block.phase_ids]
    assert not any(block.start_us < deleted.end_us and deleted.start_us < block.end_us for block in still)


def test_rejected_and_undecided_clips_are_listed_and_left_out(small_set, layer, desk_of, act, keys):
    desk = desk_of()
    act(desk, keys[0], "reject")
    act(desk, keys[1], "edit", **edit(text="looks somewhere else"))
    applied = apply_reviews(small_set, layer)
    assert applied.human_layer is None
    assert (len(applied.rejected), len(applied.undecided)) == (1, 1)


def test_what_was_taken_back_counts_for_nothing(small_set, layer, desk_of, act, keys):
    desk = desk_of()
    act(desk, keys[0], "undo", undoes=act(desk, keys[0], "accept")["undo_id"])
    applied = apply_reviews(small_set, layer)
    assert (applied.accepted_count, applied.undecided, applied.conflicts) == (0, (), ())


def test_two_reviewers_who_differ_are_a_conflict_and_neither_wins(small_set, layer, desk_of, act, keys):
    for reviewer, text in (("anna", "turns to the door"), ("ben", "turns to the wall")):
        act(desk_of(reviewer), keys[0], "edit", **edit(text=text))
        act(desk_of(reviewer), keys[0], "accept")
    applied = apply_reviews(small_set, layer)
    (conflict,) = applied.conflicts
    assert applied.human_layer is None
    assert (conflict.phase_ids, set(conflict.reviewers)) == (("p1",), {"anna", "ben"})


def test_two_reviewers_who_agree_are_no_conflict(small_set, layer, desk_of, act, keys):
    for reviewer in ("anna", "ben"):
        act(desk_of(reviewer), keys[0], "accept")
    applied = apply_reviews(small_set, layer)
    assert (applied.accepted_count, applied.conflicts) == (1, ())


def test_acceptance_against_rejection_is_a_conflict_of_the_whole_clip(small_set, layer, desk_of, act, keys):
    act(desk_of("anna"), keys[0], "accept")
    act(desk_of("ben"), keys[0], "reject")
    (conflict,) = apply_reviews(small_set, layer).conflicts
    assert conflict.phase_ids == ()


def test_naming_whose_word_counts_settles_a_conflict(small_set, layer, desk_of, act, keys):
    act(desk_of("anna"), keys[0], "accept")
    act(desk_of("ben"), keys[0], "reject")
    assert apply_reviews(small_set, layer, reviewers=["anna"]).accepted_count == 1
    assert apply_reviews(small_set, layer, reviewers=["ben"]).accepted_count == 0


def test_an_operation_on_another_state_is_a_conflict(small_set, layer, desk_of, act, keys):
    desk = desk_of()
    act(desk, keys[0], "edit", **edit(text="turns to the door"))
    act(desk, keys[0], "accept")
    path = journal_path(small_set, "anna")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))  # the edit is lost
    applied = apply_reviews(small_set, layer)
    assert applied.human_layer is None
    assert "another state" in applied.conflicts[0].reason


def test_operations_on_what_the_layer_does_not_have_are_counted(small_set, desk_of, act, keys):
    act(desk_of(), keys[0], "accept")
    assert apply_reviews(small_set, find_layer(small_set, "consensus@vlm")).unknown_operations == 1


def test_the_table_of_reviews_holds_every_operation_once(small_set, layer, desk_of, act, keys):
    for reviewer in ("anna", "ben"):
        act(desk_of(reviewer), keys[0], "accept")
    apply_reviews(small_set, layer)
    apply_reviews(small_set, layer)
    assert Counter(one.review_id for one in iter_records(small_set, REVIEWS)) == Counter(
        one.review_id for one in read_journals(small_set)
    )


def test_the_table_keeps_what_a_lost_journal_held(small_set, layer, desk_of, act, keys):
    act(desk_of(), keys[0], "accept")
    before = apply_reviews(small_set, layer)
    shutil.rmtree(small_set / "reviews" / "_journal")
    assert apply_reviews(small_set, layer) == before


def test_clips_that_came_twice_are_pairs_and_change_nothing(small_set, layer, desk_of, act, keys):
    desk = desk_of(repeat_share=1.0)
    entries = [one for one in desk.queue(QueueFilter())["entries"] if one["annotation_id"] == keys[0]]
    again = next(one["key"] for one in entries if one["key"] != keys[0])
    act(desk, keys[0], "accept")
    act(desk, again, "edit", **edit(text="turns to the door"))
    act(desk, again, "accept")
    assert apply_reviews(small_set, layer).changed_count == 0
    (pair,) = desk.agreement()
    assert (pair.reviewers[1], pair.clips, pair.same_decision) == ("anna, second time", 1, 1)
    assert pair.different == (keys[0],)


def test_a_failed_reply_cannot_be_accepted(layer):
    annotation = replace(next(iter(layer.read())), status="invalid", base=None, phases=())
    trail = EditHistory(annotation)
    review = Review(
        review_id="r", annotation_id=annotation.annotation_id, clip_id=annotation.clip_id, operation="accept",
        before_sha256=trail.draft.sha256, reviewer="anna", at=datetime.now(UTC),
    )  # fmt: skip
    with pytest.raises(ContractError, match="base"):
        trail.append(review)
