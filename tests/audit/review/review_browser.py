"""What the browser tests of the review page do to it and read from it."""

import base64
import re
import time

import numpy as np

from xsheet.demo.film.render import read_frame_number

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


def until(page, expression: str) -> None:
    """Wait for something to become true; asked from outside, for the page's policy lets nobody evaluate text inside."""
    end = time.monotonic() + WAIT_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        time.sleep(0.02)


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
