"""The page in a real browser: what is asked for is what is shown, and what is done is what is kept."""

import base64
import re
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from xsheet.annotate.text.training_text import compile_training_text
from xsheet.audit.accept import accept_layer
from xsheet.audit.review.apply import apply_reviews
from xsheet.audit.review.journal import read_journals
from xsheet.audit.review.session import ReviewSession
from xsheet.audit.settings import AuditSettings
from xsheet.demo.film.render import read_frame_number
from xsheet.schemas.annotation import EvidenceValue, Finding, annotation_id
from xsheet.schemas.layers import find_layer, write_findings, write_layer
from xsheet.schemas.run import Run
from xsheet.schemas.tables import SOURCES, iter_records, write_table

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
SHOWN = """async () => {
  const video = document.getElementById("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let text = "";
  for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
  return [canvas.height, canvas.width, btoa(text)];
}"""
WAIT_S = 120  # a busy machine may let a browser wait for half a minute
PLAYER = "(await (await import('/page/main.js')).review).player"
pytestmark = pytest.mark.slow


def until(page, expression: str) -> None:
    """Wait for something to become true; asked from outside, for the page's policy lets nobody evaluate text inside."""
    end = time.monotonic() + WAIT_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        time.sleep(0.02)


@pytest.fixture
def visit(chromium):
    """Opens a tab; the test fails when the page has an error of its own."""
    contexts, errors = [], []

    def visit(address, *, context=None):
        if context is None:
            context = chromium.new_context(viewport={"width": 1280, "height": 860})
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * WAIT_S)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        until(page, "document.getElementById('video').readyState >= 2")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def page(visit, served):
    return visit(served.address)


def shown(page) -> int | None:
    """Number of the frame that the browser shows, read from its pixels."""
    height, width, data = page.evaluate(SHOWN)
    return read_frame_number(np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3])


def reported(page) -> int:
    """Number of the frame that the page says it shows."""
    return int(re.search(r"frame (\d+)", page.inner_text("#timecode")).group(1))


def settle(page) -> None:
    """Wait until no seek is under way and its picture is on the screen."""
    until(page, "!document.getElementById('video').seeking")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def chosen(page) -> dict[str, str]:
    """The form of the chosen phase."""
    return {name: page.input_value(f"#{name}") for name in ("start", "end", "action", "track", "laterality", "text")}


def choose(page, words: str) -> None:
    page.locator("#phases button", has_text=words).first.click()


def history(page, count: int) -> None:
    page.wait_for_selector(f"summary:text('History ({count})')")


# ---- watching


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


# ---- changing


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


def drag(page, *, track: str, from_us: int, to_us: int, held: str | None = None) -> None:
    # A picture of the queue that arrives late moves what is below it.
    until(page, "[...document.images].every((image) => image.complete)")
    settle(page)
    places = page.evaluate(
        "async ([track, ...times]) => { const { axis } = await (await import('/page/main.js')).review;"
        " return times.map((us) => axis.place(us, track)); }",
        [track, from_us, to_us],
    )
    page.mouse.move(places[0]["x"], places[0]["y"])
    if held:
        page.keyboard.down(held)
    page.mouse.down()
    page.mouse.move(places[1]["x"], places[1]["y"], steps=6)
    page.mouse.up()
    if held:
        page.keyboard.up(held)


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


# ---- deciding


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


# ---- the shown check, and other reviewers


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


# ---- from the page to the text


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


# ---- text is text


def hostile_set(folder: Path) -> None:
    """Every text that anybody can write into a set, with markup in it."""
    layer = find_layer(folder, "consensus@xsheet.motion")
    rows = []
    for one in layer.read():
        phases = tuple(
            replace(p, text=HOSTILE, text_short=HOSTILE, action_raw=HOSTILE, evidence=replace(p.evidence, text=HOSTILE))
            for p in one.phases
        )
        base = replace(one.base, text=HOSTILE, subject=HOSTILE, scene=HOSTILE)
        key = {"clip_id": one.clip_id, "layer": one.layer, "run_id": one.run_id, "sample_index": None}
        rows.append(
            replace(one, base=base, phases=phases, annotation_id=annotation_id(**key, base=base, phases=phases))
        )
    model = replace(layer.run.model, id=HOSTILE, revision=HOSTILE)
    write_layer(folder, replace(layer.run, model=model, tool_version=HOSTILE), "consensus", rows)
    about = {"run_id": "run_audit2", "annotation_id": rows[1].annotation_id, "clip_id": rows[1].clip_id}
    finding = Finding(
        finding_id="f9", check="G9", severity="error", start_us=0, message=HOSTILE,
        evidence=(EvidenceValue(name=HOSTILE, value=1.0),), **about,
    )  # fmt: skip
    write_findings(folder, Run(run_id="run_audit2", kind="audit", tool_version="0"), [finding])
    write_table(folder, SOURCES, [replace(one, path=HOSTILE.replace("/", "")) for one in iter_records(folder, SOURCES)])


def test_markup_in_every_text_is_shown_as_text(made_set, tmp_path, serving, visit):
    folder = Path(shutil.copytree(made_set, tmp_path / "hostile"))
    (folder / "set.json").write_text((folder / "set.json").read_text().replace("puppet", HOSTILE.replace('"', '\\"')))
    hostile_set(folder)
    layer, shares = find_layer(folder, "consensus@run_ours"), {"repeat_share": 0.0, "overlap_share": 0.0}
    desk = ReviewSession(folder, layer, reviewer=HOSTILE[:79], **shares)
    other = ReviewSession(
        folder, layer, reviewer=HOSTILE[:78], clock=lambda: datetime(2100, 1, 1, tzinfo=UTC), **shares
    )
    other.claim(next(iter(layer.read())).annotation_id)
    with serving(desk) as server:
        page = visit(server.address)
        key = page.url.partition("#")[2]
        before = server.json(f"/api/clips/{key}")["draft"]["sha256"]
        server.operate(key, {"operation": "reject", "before_sha256": before, "note": HOSTILE})
        page.reload()
        history(page, 1)
        page.keyboard.press("g")
        time.sleep(0.5)
        texts = [page.inner_text(one) for one in ("#about", "#base", "#facts", "#notice", "#shown", "#phases")]
        assert [HOSTILE[:40] in text for text in texts] == [True] * 6
        assert f"open at {HOSTILE[:40]}" in page.inner_text("#queue")
        assert HOSTILE.replace("/", "")[:40] in page.inner_text("#queue")
        assert chosen(page)["text"] == HOSTILE
        assert texts[2].count("<script>") >= 6  # annotator's word, what it saw, finding, its number, model, note
        assert page.locator("img, body script").count() == 0
        assert "owned" not in page.title().replace(HOSTILE, "")


def test_a_clip_of_no_name_that_could_be_markup_gets_into_a_set():
    from pydantic import ValidationError

    from xsheet.schemas.annotation import Review

    with pytest.raises(ValidationError, match="clip_id"):
        Review(review_id="r", annotation_id="a", clip_id=HOSTILE, operation="accept", before_sha256="0" * 64)
