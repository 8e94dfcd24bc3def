"""The page in a real browser: the frame that is requested is the frame that is shown; everything is found by keys."""

import numpy as np
import pytest
from review_browser import PLAYER, choose, reported, settle, shown, until

pytestmark = pytest.mark.slow


def test_the_worst_clip_is_there_at_once_and_the_token_is_out_of_the_address(page, first_key):
    assert page.url.endswith(f"/#{first_key}")
    assert page.locator("#phases button").count() == 9
    assert "G1" in page.inner_text("#facts")


def test_the_frame_that_is_asked_for_is_the_frame_that_is_shown(page):
    asked = [0, 1, 2, 24, 25, 49, 50, 51, 99, 110, 3]
    seen = []
    for frame in asked:
        page.evaluate(f"async () => {PLAYER}.seek({frame})")
        settle(page)
        seen.append((shown(page), reported(page)))
    assert seen == [(frame, frame) for frame in asked]


def test_steps_go_frame_by_frame_also_when_the_key_repeats(page):
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert (shown(page), reported(page)) == (14, 14)


def test_no_step_leads_out_of_the_clip(page):
    page.keyboard.press("Shift+ArrowLeft")
    settle(page)
    assert shown(page) == 0
    page.evaluate(f"async () => {PLAYER}.seek(9999)")
    settle(page)
    assert (shown(page), reported(page)) == (110, 110)


def test_playing_stops_at_the_reported_frame(page):
    page.keyboard.press("Space")
    until(page, "document.getElementById('video').currentTime > 0.5")
    page.keyboard.press("Space")
    settle(page)
    assert shown(page) == reported(page) >= 12


def test_a_phase_is_played_again_and_again(page):
    choose(page, "blink long")
    page.keyboard.press("p")
    until(page, "document.getElementById('video').currentTime > 1.0")
    until(page, "document.getElementById('video').currentTime < 0.8")
    assert page.evaluate("!document.getElementById('video').paused")


def test_the_waveform_lies_on_the_clock_of_the_picture(page, served, first_key):
    found = page.evaluate(
        "async () => { const { waveform } = await import('/page/waveform.js');"
        " return Array.from((await waveform(document.getElementById('video').src)).levels); }"
    )
    level_db = np.array(served.json(f"/api/clips/{first_key}")["curves"]["level_db"])
    frames = 20 * np.log10(np.array(found).reshape(-1, 8).max(axis=1) + 1e-4)
    fits = [np.corrcoef(np.roll(frames, -lag)[3:-3], level_db[3:-3])[0, 1] for lag in (-2, -1, 0, 1, 2)]
    assert int(np.argmax(fits)) == 2


def test_filters_and_findings_by_keys(page):
    page.keyboard.press("g")
    page.wait_for_selector("#notice:text('G1')")
    page.keyboard.press("g")
    page.wait_for_selector("#notice:text('B4')")
    assert reported(page) == 60
    page.select_option("#filter-check", "G1")
    until(page, "document.querySelectorAll('#queue .entry').length === 1")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("nobody")
    page.wait_for_selector("#queue .none")


def test_everything_is_reached_by_keys_and_the_help_says_how(page):
    page.keyboard.press("Tab")
    assert page.locator("#phases button[aria-current=true]").inner_text().startswith("0.560")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    help_text = page.inner_text("dialog")
    assert not [word for word in ("play", "accept clip", "split", "undo", "next finding") if word not in help_text]
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_the_shown_check_has_pictures_of_its_time(page):
    until(page, "document.querySelectorAll('#shown canvas[data-drawn=yes]').length === 6")
    times = page.locator("#shown .still small").all_inner_texts()
    assert [text.split()[0] for text in times][:2] == ["0.000", "0.040"]
    page.locator("#shown .still").nth(1).click()
    settle(page)
    assert (shown(page), reported(page)) == (1, 1)


def test_every_clip_of_the_queue_has_a_thumbnail_and_its_phases_have_words(page):
    until(page, "document.querySelectorAll('#queue canvas[data-drawn=yes]').length === 2")
    assert page.inner_text("#queue .name >> nth=0") == "film.mp4"
    assert "shrugs" in page.inner_text("#phases")


def test_the_ruler_stays_in_view_while_the_rows_scroll(page):
    page.evaluate("document.getElementById('axis').scrollTop = 120")
    top = "document.getElementById('{}').getBoundingClientRect().top"
    assert page.evaluate(top.format("ruler")) == page.evaluate(top.format("axis"))
    box = page.locator("#ruler").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    settle(page)
    assert 40 < reported(page) < 65


def test_on_a_phone_the_page_is_one_column_without_cut_texts(chromium, served_still):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(served_still.address)
    until(page, "document.querySelectorAll('#phases button').length === 9")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("scrollY") == 0
    page.tap("#show-queue")
    page.tap("#queue .entry >> nth=1")
    until(page, "document.querySelectorAll('#phases button').length === 11")
    assert page.locator("nav").is_hidden()
    context.close()
