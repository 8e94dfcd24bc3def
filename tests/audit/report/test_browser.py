"""The page in a real browser, from a file, without a network."""

import pytest

from xsheet.audit.report.page import write_report

pytestmark = pytest.mark.slow


@pytest.fixture
def visit(chromium, small_set, repeat_set):
    """Opens the page of a layer of 63 clips; fails when it logs, raises, or asks for anything but itself."""
    layer = repeat_set(small_set, 60)
    address = write_report(small_set, layer, small_set / "audit.html", filmstrip_count=0).as_uri()
    context, messages = chromium.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce"), []

    def visit(width=1280):
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.set_viewport_size({"width": width, "height": 860})
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: messages.append(request.url) if not local(request.url, address) else None)
        page.goto(address)
        return page

    yield visit
    context.close()
    assert not messages


def local(url, address):
    return url == address or url.startswith("data:image/jpeg;base64,")


def clips_of(page):
    return page.locator("tr.row code").all_inner_texts()


def test_hostile_text_does_nothing_in_a_card_either(visit):
    page = visit()
    title = page.title()
    page.locator("tr.row").first.click()
    page.locator("tr.detail .base").wait_for()
    assert "<script>" in page.locator("tr.detail .base").first.inner_text()
    assert page.title() == title
    assert page.locator("script").count() == page.locator("body > script").count()


def test_a_row_opens_its_own_clip_by_keyboard_and_closes_again(visit):
    page = visit()
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    for _ in range(25):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("tr.detail h3").wait_for()
    assert clips_of(page)[25] in page.locator("tr.detail h3").inner_text()
    page.keyboard.press("Enter")
    assert page.locator("tr.detail").count() == 0


def test_clips_are_found_by_name_class_and_reply(visit):
    page = visit()
    page.locator("#find").fill("clip_0000000000000000003b")
    assert clips_of(page) == ["clip_0000000000000000003b"]
    page.locator("#find").fill("no such thing")
    assert clips_of(page) == []
    page.locator("#find").fill("")
    page.locator("#response").select_option("invalid")
    assert page.locator("#matching").inner_text() == "1 of 63"


def test_clips_are_sorted_either_way(visit):
    page = visit()
    seconds = lambda: [float(text) for text in page.locator("tr.row td:nth-child(8)").all_inner_texts()]  # noqa: E731
    page.get_by_role("button", name="seconds").click()
    assert seconds() == sorted(seconds(), reverse=True)
    page.get_by_role("button", name="seconds").click()
    assert seconds() == sorted(seconds())
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("seconds")


def test_pages_turn_by_keyboard(visit):
    page = visit()
    page.locator("tr.row").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#page").inner_text() == "page 2 of 2"
    assert len(clips_of(page)) == 13


def test_no_sentence_is_cut_on_a_phone(small_set, audited, gold, cut_on_a_phone):
    page = write_report(small_set, audited, small_set / "audit.html", references=[gold], filmstrip_count=2)
    assert not cut_on_a_phone(page)


@pytest.mark.parametrize("width", [390, 700, 1280])
def test_nothing_sticks_out_of_the_page(visit, width):
    page = visit(width)
    page.locator("tr.row").first.click()
    page.locator("tr.detail .axis").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
