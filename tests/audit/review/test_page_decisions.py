"""The page in a real browser: decisions, verdicts on checks, and what other tabs and reviewers see of them."""

import pytest
from review_browser import choose, history, until

from xsheet.annotate.text.training_text import compile_training_text
from xsheet.audit.accept import accept_layer
from xsheet.audit.review.apply import apply_reviews
from xsheet.audit.review.journal import read_journals
from xsheet.audit.settings import AuditSettings
from xsheet.schemas.layers import find_layer

pytestmark = pytest.mark.slow


def test_one_key_accepts_a_clip_and_goes_to_the_next(page, keys, small_set):
    page.keyboard.press("a")
    page.wait_for_url(f"**/#{keys[1]}")
    assert [(one.operation, one.phase_ids) for one in read_journals(small_set)] == [("accept", ())]
    assert "1 of 2 decided" in page.inner_text("#count")


def test_what_was_done_is_there_after_a_reload(page):
    choose(page, "turn head")
    page.keyboard.press("Enter")
    history(page, 1)
    page.keyboard.press("x")
    history(page, 2)
    page.reload()
    history(page, 2)
    assert page.locator("#phases button").count() == 8


def test_a_second_tab_reports_the_conflict_and_nothing_is_merged(page, visit, served, small_set):
    other = visit(served.address, context=page.context)
    choose(page, "turn head")
    choose(other, "turn head")
    page.keyboard.press("r")
    history(page, 1)
    other.keyboard.press("Delete")
    other.wait_for_selector("#alert:not([hidden])")
    assert "was not applied" in other.inner_text("#alert")
    assert [one.operation for one in read_journals(small_set)] == ["flip_side"]
    history(other, 1)
    other.keyboard.press("Delete")
    history(other, 2)
    assert other.locator("#alert").is_hidden()


def test_a_wrong_measurement_is_one_key_and_the_annotation_is_right(page, small_set):
    page.keyboard.press("d")
    history(page, 1)
    review = read_journals(small_set)[0]
    assert (review.operation, review.finding.check, review.phase_ids) == ("dispute", "G1", (review.finding.phase_id,))
    assert "measurement wrong" in page.inner_text("#shown")


def test_two_reviewers_share_a_queue(desk_of, serving, visit, keys):
    with (
        serving(desk_of("anna", overlap_share=0.0, step_s=1)) as one,
        serving(desk_of("bo", overlap_share=0.0, step_s=1)) as other,
    ):
        anna = visit(one.address)
        until(anna, "document.querySelectorAll('#queue .entry').length === 2")
        bo = visit(other.address)
        bo.wait_for_url(f"**/#{keys[1]}")  # the first is locked
        assert "open at anna" in bo.inner_text("#queue")
        bo.keyboard.press("ArrowUp")
        bo.wait_for_selector("#alert:text('anna is reviewing')")
        bo.keyboard.press("a")
        bo.wait_for_selector("#notice:text('anna has it open')")
        anna.keyboard.press("a")
        anna.wait_for_url(f"**/#{keys[1]}")
        bo.keyboard.press("u")
        bo.wait_for_selector("#queue .entry.by_other")
        assert "accepted by anna" in bo.inner_text("#queue")
        anna.click("#show-agreement")
        anna.wait_for_selector("#agreement:has-text('No other reviewer')")
        for page in (anna, bo):
            page.close()  # before its server ends: a page asks at intervals who else reviews


def test_a_rejected_phase_leaves_a_stretch_of_which_the_text_says_nothing(page, small_set, layer, keys):
    choose(page, "turn head")
    page.keyboard.press("x")
    history(page, 1)
    page.keyboard.press("a")
    page.wait_for_url(f"**/#{keys[1]}")
    first = apply_reviews(small_set, layer)
    page.keyboard.press("a")
    until(page, "document.querySelectorAll('#queue .entry.accepted').length === 2")
    second = apply_reviews(small_set, layer)
    assert (first.accepted_count, second.accepted_count) == (1, 2)
    assert accept_layer(small_set, find_layer(small_set, "human"), AuditSettings()).accepted_count == 2
    before = next(one for one in layer.read() if one.annotation_id == keys[0])
    gone = next(one for one in before.phases if one.action == "turn_head")
    row = next(one for one in find_layer(small_set, "accepted").read() if one.clip_id == before.clip_id)
    assert [(one.track, one.start_us, one.end_us) for one in row.unknown] == [("head", gone.start_us, gone.end_us)]
    blocks = compile_training_text(row).blocks
    assert gone.phase_id in {name for block in compile_training_text(before).blocks for name in block.phase_ids}
    assert gone.phase_id not in {name for block in blocks for name in block.phase_ids}
    still = [block for block in blocks if not block.phase_ids]
    assert not [block for block in still if block.start_us < gone.end_us and gone.start_us < block.end_us]
