"""The page in a real browser: an edit by keys or by mouse is the edit that the journal holds."""

import pytest
from review_browser import PLAYER, choose, drag, history, until

from xsheet.audit.review.journal import read_journals

pytestmark = pytest.mark.slow


def test_keys_set_borders_class_and_text(page, small_set):
    choose(page, "turn head")
    page.evaluate(f"async () => {PLAYER}.seek(20)")
    page.keyboard.press("[")
    history(page, 1)
    page.evaluate(f"async () => {PLAYER}.seek(40)")
    page.keyboard.press("]")
    history(page, 2)
    page.keyboard.press("}")
    history(page, 3)
    page.keyboard.press("3")
    history(page, 4)
    page.keyboard.press("e")
    page.keyboard.press("Control+a")
    page.keyboard.type("tilts the head & looks up <i>")
    page.keyboard.press("Enter")
    history(page, 5)
    phase = read_journals(small_set)[-1].after[0]
    assert (phase.start_us, phase.end_us) == (20 * 40_000, 42 * 40_000)
    assert (phase.action, phase.text) == ("tilt_head", "tilts the head & looks up <i>")


def test_split_merge_flip_new_delete_undo_and_redo_by_keys(page, small_set):
    choose(page, "raise hand")
    page.evaluate(f"async () => {PLAYER}.seek(35)")
    for count, key in enumerate(["s", "m", "r", "Delete", "z", "y", "n"], start=1):
        page.keyboard.press(key)
        history(page, count)
    kept = [one.operation for one in read_journals(small_set)]
    assert kept == ["split", "merge", "flip_side", "delete", "undo", "undo", "new"]


def test_a_dragged_border_snaps_to_a_frame(page, small_set):
    drag(page, track="arm_right", from_us=1_880_000, to_us=2_313_000)
    history(page, 1)
    assert read_journals(small_set)[0].after[0].end_us == 2_320_000


def test_with_alt_a_dragged_border_goes_free(page, small_set):
    drag(page, track="arm_right", from_us=1_880_000, to_us=2_313_000, held="Alt")
    history(page, 1)
    end_us = read_journals(small_set)[0].after[0].end_us
    assert abs(end_us - 2_313_000) < 10_000
    assert end_us % 40_000


def test_a_dragged_border_snaps_to_a_cut(page, small_set):
    drag(page, track="arm_right", from_us=1_880_000, to_us=2_375_000)
    history(page, 1)
    assert read_journals(small_set)[0].after[0].end_us == 2_400_000


def test_a_touching_neighbour_goes_along(page, small_set):
    choose(page, "raise hand")
    page.evaluate(f"async () => {PLAYER}.seek(35)")
    page.keyboard.press("s")
    history(page, 1)
    drag(page, track="arm_right", from_us=1_400_000, to_us=1_600_000)
    history(page, 2)
    first, second = read_journals(small_set)[-1].after
    assert first.end_us == second.start_us == 1_600_000


def test_a_border_stops_at_its_neighbour(page, small_set):
    drag(page, track="arm_right", from_us=3_520_000, to_us=1_000_000)
    history(page, 1)
    assert read_journals(small_set)[0].after[0].start_us == 1_880_000


def test_a_class_key_held_while_playing_paints_a_phase(page, small_set):
    choose(page, "blink long")
    page.evaluate(f"async () => {PLAYER}.seek(35)")
    page.keyboard.press("Space")
    until(page, "document.getElementById('video').currentTime > 1.6")
    page.keyboard.down("3")
    until(page, "document.getElementById('video').currentTime > 2.1")
    page.keyboard.up("3")
    history(page, 1)
    phase = read_journals(small_set)[0].after[0]
    assert (phase.action, phase.track) == ("look_down", "gaze")
    assert 1_560_000 <= phase.start_us < phase.end_us <= 2_960_000


def test_a_refused_edit_says_why_and_changes_nothing(page, small_set):
    choose(page, "turn head")
    page.evaluate(f"async () => {PLAYER}.seek(0)")
    page.keyboard.press("s")
    page.wait_for_selector("#notice:text('inside')")
    assert read_journals(small_set) == []
