"""A draft follows from its operations, and from nothing else."""

import shutil

import pytest

from xsheet.audit.review.draft import EditHistory, StaleError
from xsheet.audit.review.edits import HUMAN_BOUNDARY_SIGMA_US
from xsheet.audit.review.session import ReviewSession
from xsheet.schemas.errors import ContractError
from xsheet.schemas.layers import find_layer


def phase(draft, phase_id):
    return next(one for one in draft["phases"] if one["phase_id"] == phase_id)


def of(draft, action):
    return next(one for one in draft["phases"] if one["action"] == action)


@pytest.fixture
def desk(desk_of):
    return desk_of()


@pytest.fixture
def draft(desk, first_key):
    return desk.clip_payload(first_key)["draft"]


@pytest.fixture(scope="module")
def unchanged(made_set, first_key, tmp_path_factory):
    """A desk for all operations that are refused, and the draft as it was before the first of them."""
    folder = shutil.copytree(made_set, tmp_path_factory.mktemp("unchanged") / "set")
    desk = ReviewSession(folder, find_layer(folder, "consensus@xsheet.motion"), reviewer="anna")
    return desk, desk.clip_payload(first_key)["draft"]


def change(phase, **values):
    return {"changes": [{"phase_id": phase["phase_id"], **values}]}


def test_an_edit_changes_what_it_names_and_drops_what_was_claimed_of_the_old_phase(desk, act, draft, first_key):
    before = of(draft, "turn_head")
    after = phase(act(desk, first_key, "edit", **change(before, start_us=1_000_000)), before["phase_id"])
    assert (after["start_us"], after["end_us"], after["action"]) == (1_000_000, before["end_us"], "turn_head")
    assert (after["start_sigma_us"], after["end_sigma_us"]) == (HUMAN_BOUNDARY_SIGMA_US, before["end_sigma_us"])
    assert (after["origin"], after["confidence"], after["evidence"]) == ("human", None, None)


def test_another_class_brings_its_own_kind(desk, act, draft, first_key):
    turn = of(draft, "turn_head")
    after = act(desk, first_key, "edit", **change(turn, action="look_down", track="gaze", start_us=0, end_us=400_000))
    assert phase(after, turn["phase_id"])["kind"] == "gaze"


def test_a_split_leaves_no_gap_and_keeps_the_first_id(desk, act, draft, first_key):
    turn = of(draft, "turn_head")
    after = act(desk, first_key, "split", phase_ids=(turn["phase_id"],), at_us=1_200_000)
    halves = [one for one in after["phases"] if one["track"] == "head"][:2]
    assert [(one["start_us"], one["end_us"]) for one in halves] == [
        (turn["start_us"], 1_200_000), (1_200_000, turn["end_us"]),
    ]  # fmt: skip
    assert halves[0]["phase_id"] == turn["phase_id"] != halves[1]["phase_id"]


def test_a_merge_of_the_halves_is_the_whole_again(desk, act, draft, first_key):
    turn = of(draft, "turn_head")
    split = act(desk, first_key, "split", phase_ids=(turn["phase_id"],), at_us=1_200_000)
    ids = tuple(one["phase_id"] for one in split["phases"] if one["track"] == "head")[:2]
    merged = act(desk, first_key, "merge", phase_ids=ids)
    heads = [(one["start_us"], one["end_us"]) for one in merged["phases"] if one["track"] == "head"]
    assert heads == [(one["start_us"], one["end_us"]) for one in draft["phases"] if one["track"] == "head"]


def test_the_other_side_is_the_other_side_everywhere(desk, act, draft, first_key):
    hand = of(draft, "raise_hand")
    flipped = phase(act(desk, first_key, "flip_side", phase_ids=(hand["phase_id"],)), hand["phase_id"])
    assert (hand["track"], flipped["track"], flipped["laterality"]) == ("arm_right", "arm_left", "left")
    assert flipped["body_parts"] == ["arm_left", "hand_left"]
    assert flipped["text"] == hand["text"].replace("right", "left")


def test_the_other_side_twice_is_the_same_phase_but_for_its_maker(desk, act, draft, first_key):
    hand = of(draft, "raise_hand")
    act(desk, first_key, "flip_side", phase_ids=(hand["phase_id"],))
    twice = phase(act(desk, first_key, "flip_side", phase_ids=(hand["phase_id"],)), hand["phase_id"])
    assert all(
        twice[name] == hand[name] for name in ("track", "laterality", "body_parts", "text", "start_us", "end_us")
    )


def test_a_new_phase_is_the_reviewer_s(desk, act, first_key):
    span = {"start_us": 0, "end_us": 200_000}
    after = act(desk, first_key, "new", changes=[{"track": "brows", "action": "frown", **span}])
    made = of(after, "frown")
    assert (made["origin"], made["kind"], made["start_us"]) == ("human", "expression", 0)


def test_a_rejected_phase_is_gone_and_remembered_as_a_judgement(desk, act, draft, first_key):
    turn = of(draft, "turn_head")
    after = act(desk, first_key, "reject", phase_ids=(turn["phase_id"],), note="not_happening")
    assert turn["phase_id"] not in [one["phase_id"] for one in after["phases"]]
    assert [one["phase_id"] for one in after["rejected"]] == [turn["phase_id"]]


def test_an_edit_takes_back_the_acceptance_of_the_clip(desk, act, draft, first_key):
    assert act(desk, first_key, "accept")["decision"] == "accept"
    edited = act(desk, first_key, "edit", **change(of(draft, "turn_head"), text="turns the head away"))
    assert edited["decision"] is None


@pytest.mark.slow
def test_undo_and_redo_walk_through_all_drafts(desk, act, draft, first_key):
    seen = [draft["sha256"]]
    turn = of(draft, "turn_head")["phase_id"]
    for operation, values in (
        ("accept", {"phase_ids": (turn,)}),
        ("split", {"phase_ids": (turn,), "at_us": 1_200_000}),
        ("delete", {"phase_ids": (turn,)}),
        ("accept", {}),
    ):
        seen.append(act(desk, first_key, operation, **values)["sha256"])
    for direction, expected in (("undo", seen[-2::-1]), ("redo", seen[1:]), ("undo", seen[-2::-1])):
        for sha256 in expected:
            now = desk.clip_payload(first_key)["draft"]
            assert act(desk, first_key, "undo", undoes=now[f"{direction}_id"])["sha256"] == sha256


def test_a_new_operation_ends_what_could_be_redone(desk, act, first_key):
    now = act(desk, first_key, "accept")
    act(desk, first_key, "undo", undoes=now["undo_id"])
    assert act(desk, first_key, "reject")["redo_id"] is None


@pytest.mark.parametrize(
    ("operation", "values", "message"),
    [
        ("split", {"phase_ids": ("p1",), "at_us": 10}, "inside"),
        ("edit", {"changes": [{"phase_id": "p1", "start_us": 3_200_000, "end_us": 3_600_000}]}, "overlap"),
        ("edit", {"changes": [{"phase_id": "p1", "start_us": 2_000_000}]}, ">= 120000"),
        ("edit", {"changes": [{"phase_id": "p1", "end_us": 9_000_000}]}, "ends at"),
        ("edit", {"changes": [{"phase_id": "p1", "text": "x" * 401}]}, "400"),
        ("edit", {"changes": [{"phase_id": "p3", "laterality": "left"}]}, "laterality"),
        ("edit", {"changes": [{"phase_id": "nobody", "text": "nods"}]}, "nobody"),
        ("merge", {"phase_ids": ("p1", "p3")}, "one track"),
        ("flip_side", {"phase_ids": ("p7",)}, "side"),
        ("new", {"changes": [{"start_us": 0, "end_us": 400_000}]}, "track"),
        ("delete", {}, "phase to delete"),
        ("undo", {"undoes": "rev_of_another"}, "rev_of_another"),
        ("undo", {}, "undo"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused_and_changes_nothing(unchanged, act, first_key, operation, values, message):
    desk, draft = unchanged
    with pytest.raises(ContractError, match=message):
        act(desk, first_key, operation, **values)
    assert desk.clip_payload(first_key)["draft"] == draft


def test_an_edit_touches_the_phases_that_it_changes_and_no_others(desk, act, draft, first_key):
    after = act(desk, first_key, "edit", phase_ids=("p1", "p3"), changes=[{"phase_id": "p1", "text": "turns away"}])
    assert len(after["phases"]) == len(draft["phases"])


def test_an_operation_on_another_draft_does_not_fit(desk, act, first_key, layer, small_set):
    from xsheet.audit.review.journal import read_journals

    act(desk, first_key, "accept")
    (review,) = read_journals(small_set)
    annotation = next(one for one in layer.read() if one.annotation_id == first_key)
    trail = EditHistory(annotation)
    trail.append(review)
    with pytest.raises(StaleError):
        trail.append(review)
