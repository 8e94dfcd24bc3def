"""Several reviewers on one queue: locks, what the others decided, agreement, and verdicts on the checks."""

from datetime import UTC, datetime, timedelta

import pytest

from xsheet.audit.people.check_verdicts import CheckVerdict, check_records, check_verdicts
from xsheet.audit.review.locks import LOCK_S, ReviewLocks
from xsheet.audit.review.queue import QueueFilter
from xsheet.audit.review.reviewer_agreement import cohens_kappa
from xsheet.audit.review.session import LockedError
from xsheet.schemas.errors import ContractError

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(seconds=LOCK_S)


def states(desk) -> list[str]:
    return [one["state"] for one in desk.queue(QueueFilter())["entries"]]


@pytest.fixture
def two(desk_of):
    """Two desks that share no clip."""
    return desk_of("anna", overlap_share=0.0, step_s=1), desk_of("bo", overlap_share=0.0, step_s=1)


# ---- locks


def test_a_lock_is_one_reviewer_s_until_it_ends(tmp_path):
    anna, bo = (ReviewLocks(tmp_path, reviewer=name) for name in ("anna", "bo"))
    assert anna.claim("ann_1", at=NOW) is None
    assert bo.claim("ann_1", at=NOW) == "anna"
    assert bo.others(at=NOW) == {"ann_1": "anna"}
    bo.release("ann_1")
    assert bo.claim("ann_1", at=LATER - timedelta(seconds=1)) == "anna"
    assert bo.claim("ann_1", at=LATER) is None


def test_a_damaged_lock_stops_nobody(tmp_path):
    locks = ReviewLocks(tmp_path, reviewer="anna")
    locks.claim("ann_1", at=NOW)
    next((tmp_path / "reviews" / "_locks").glob("*.json")).write_text('{"reviewer": "<script>"')
    assert locks.claim("ann_1", at=NOW) is None


def test_a_clip_that_another_reviewer_has_open_takes_no_operation(two, act, keys):
    anna, bo = two
    anna.claim(keys[0])
    assert states(bo) == ["locked", "open"]
    assert bo.queue(QueueFilter())["entries"][0]["others"] == ["open at anna"]
    with pytest.raises(LockedError, match="anna"):
        act(bo, keys[0], "accept")
    anna.claim(keys[1], leave=keys[0])
    act(bo, keys[0], "accept")


def test_what_another_reviewer_decided_is_done(two, act, keys):
    anna, bo = two
    act(anna, keys[0], "reject")
    anna.claim(keys[1], leave=keys[0])
    entry = bo.queue(QueueFilter(state="by_other"))["entries"][0]
    assert (entry["key"], entry["others"]) == (keys[0], ["rejected by anna"])
    act(anna, keys[0], "undo", undoes=anna.clip_payload(keys[0])["draft"]["undo_id"])
    anna.claim(keys[1], leave=keys[0])
    assert states(bo)[0] == "open"


@pytest.mark.slow
def test_a_clip_for_everyone_shows_the_other_decision_after_one_s_own(desk_of, act, keys):
    anna, bo = desk_of("anna", overlap_share=1.0), desk_of("bo", overlap_share=1.0)
    act(anna, keys[0], "accept")
    assert bo.queue(QueueFilter())["entries"][0]["others"] == []
    act(bo, keys[0], "reject")
    assert bo.queue(QueueFilter())["entries"][0]["others"] == ["accepted by anna"]


# ---- agreement


@pytest.mark.slow
def test_agreement_counts_decisions_and_phases_of_clips_that_both_decided(desk_of, act, keys):
    anna, bo = desk_of("anna", overlap_share=1.0), desk_of("bo", overlap_share=1.0)
    for key in keys:
        act(anna, key, "accept")
    phases = bo.clip_payload(keys[0])["draft"]["phases"]
    act(bo, keys[0], "delete", phase_ids=[phases[0]["phase_id"]])
    act(bo, keys[0], "accept")
    act(bo, keys[1], "reject")
    (pair,) = bo.agreement()
    assert (pair.reviewers, pair.clips, pair.same_decision) == (("bo", "anna"), 2, 1)
    assert pair.phase_f1 == pytest.approx(2 * 8 / (8 + 9))
    assert pair.boundary_ms == 0
    assert set(pair.different) == set(keys)


def test_cohens_kappa_is_that_of_the_textbook():
    table = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert cohens_kappa(table) == pytest.approx(0.4)
    assert cohens_kappa([(True, True)]) is None


# ---- verdicts on checks


@pytest.mark.slow
def test_a_dispute_accepts_the_phase_and_marks_the_finding(desk_of, act, first_key):
    desk = desk_of()
    finding = next(one for one in desk.clip_payload(first_key)["findings"] if one["check"] == "G1")
    draft = act(desk, first_key, "dispute", finding_id=finding["finding_id"])
    assert (draft["disputed"], draft["accepted"]) == ([finding["place"]], [finding["phase_id"]])


@pytest.mark.slow
def test_an_edited_phase_cannot_be_disputed(desk_of, act, first_key):
    desk = desk_of()
    finding = next(one for one in desk.clip_payload(first_key)["findings"] if one["check"] == "G1")
    act(desk, first_key, "edit", changes=[{"phase_id": finding["phase_id"], "action": "nod", "track": "head"}])
    with pytest.raises(ContractError, match="as it was measured"):
        act(desk, first_key, "dispute", finding_id=finding["finding_id"])


@pytest.mark.slow
def test_disputed_and_confirmed_findings_are_the_calibration_set(desk_of, act, small_set, layer, first_key):
    anna, bo = desk_of("anna", overlap_share=1.0), desk_of("bo", overlap_share=1.0)
    finding = next(one for one in anna.clip_payload(first_key)["findings"] if one["check"] == "G1")
    act(anna, first_key, "dispute", finding_id=finding["finding_id"])
    act(bo, first_key, "reject", phase_ids=[finding["phase_id"]])
    found = check_verdicts(small_set, layer)
    assert [(one.check, one.reviewer, one.is_right, one.value, one.limit) for one in found] == [
        ("G1", "anna", False, 0.8, 1.5), ("G1", "bo", True, 0.8, 1.5),
    ]  # fmt: skip
    (record,) = check_records(found)
    assert (record.right, record.wrong, record.suggested_limit) == (1, 1, None)


def test_the_suggested_limit_has_the_fewest_errors():
    def verdict(value: float, is_right: bool) -> CheckVerdict:
        return CheckVerdict(
            check="G1", clip_id="c", annotation_id="a", phase_id="p", start_us=0, value=value, limit=1.2,
            reviewer="anna", is_right=is_right,
        )  # fmt: skip

    (record,) = check_records([verdict(0.5 + 0.05 * k, k < 8) for k in range(12)])
    assert record.suggested_limit == pytest.approx(0.9)
