"""The script page: what is drawn is what is saved, and what is saved is what is sampled."""

import http.client
import json
import shutil
import time
from contextlib import contextmanager
from threading import Thread

import cv2
import numpy as np
import pytest
from scipy.io import wavfile

from xsheet.curate.media.reader import open_media
from xsheet.schemas.errors import ConfigError
from xsheet.train.sample.script_sources import read_script
from xsheet.train.script_page.script_file import ChangedElsewhereError, DrawnPhase, DrawnScript, ScriptFile
from xsheet.train.script_page.server import ScriptPage, prepare_server
from xsheet.train.script_page.worker import SamplingJob

TOKEN = "a-token-of-the-tests"
BASE = "A person speaks to the camera."
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">: \u2028 '\"#{{ &amp;"
SCRIPT = f"base: {BASE}\nphases:\n- {{start_s: 0.303, end_s: 0.7, text: nods twice, track: head, action: nod}}\n"


def drawn(*spans, text="nods twice", track="head") -> DrawnScript:
    phases = [
        DrawnPhase(start_us=a, end_us=b, text=text, track=track, action="other", laterality="none") for a, b in spans
    ]
    return DrawnScript(base=BASE, speaking="speaking", phases=tuple(phases))


# ---- the file


def test_times_are_saved_as_drawn_and_text_as_written(tmp_path):
    file = ScriptFile(tmp_path / "new.yaml", duration_us=3_000_000)
    file.write(drawn((1_230_000, 1_990_000), (0, 120_000), text=HOSTILE), before_sha256=None)
    phases = read_script(file.path).phases
    assert [(one.start_s, one.end_s, one.text) for one in phases] == [(0.0, 0.12, HOSTILE), (1.23, 1.99, HOSTILE)]


def test_what_is_read_is_what_was_written(tmp_path):
    file = ScriptFile(tmp_path / "new.yaml", duration_us=3_000_000)
    script = drawn((333_333, 900_001), text="grüßt \x85 die 観客")
    sha256 = file.write(script, before_sha256=None)
    assert file.read() == (script, sha256)


@pytest.mark.parametrize("spans", [((0, 110_000),), ((0, 500_000), (490_000, 900_000)), ((2_900_000, 3_100_000),)])
def test_a_phase_that_is_too_short_overlaps_or_exceeds_the_audio_is_not_saved(tmp_path, spans):
    file = ScriptFile(tmp_path / "new.yaml", duration_us=3_000_000)
    with pytest.raises(ConfigError):
        file.write(drawn(*spans), before_sha256=None)
    assert not file.path.exists()


def test_a_file_that_was_changed_elsewhere_is_not_overwritten(tmp_path):
    file = ScriptFile(tmp_path / "new.yaml", duration_us=3_000_000)
    sha256 = file.write(drawn((0, 500_000)), before_sha256=None)
    file.path.write_text(SCRIPT)
    with pytest.raises(ChangedElsewhereError):
        file.write(drawn((0, 900_000)), before_sha256=sha256)
    assert file.path.read_text() == SCRIPT


def test_another_format_is_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(ConfigError, match=r"\.yaml"):
        ScriptFile(tmp_path / "nod.eaf", duration_us=3_000_000)


# ---- the server


@pytest.fixture
def job(tmp_path, quick):
    """A portrait, 1.2 s of audio, and a run that is not there."""
    ramp = np.broadcast_to(np.linspace(40, 220, 160).astype(np.uint8)[None, :, None], (120, 160, 3))
    cv2.imwrite(str(tmp_path / "portrait.png"), ramp)
    wavfile.write(tmp_path / "audio.wav", 16000, (9000 * np.sin(np.arange(19200) / 5)).astype(np.int16))
    (tmp_path / "nod.yaml").write_text(SCRIPT)
    return SamplingJob(
        run=tmp_path / "run", stage=None, device="cpu", portrait=tmp_path / "portrait.png",
        audio=tmp_path / "audio.wav", settings=quick,
    )  # fmt: skip


@contextmanager
def serving(job, folder):
    """A running server; its port, its address and a function that sends it a request."""
    with ScriptPage(job, script=folder / "nod.yaml", samples=folder / "samples") as page:
        server, listening, address = prepare_server(page, port=0, token=TOKEN)
        thread, port = Thread(target=server.run, kwargs={"sockets": [listening]}), listening.getsockname()[1]
        thread.start()

        def ask(method, path, body=None, *, token=TOKEN, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            sent = {"Cookie": f"xsheet-{port}={token}", "Content-Type": "application/json"} | headers
            connection.request(method, path, body=None if body is None else json.dumps(body), headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.read()

        try:
            yield address, ask
        finally:
            server.should_exit = True
            thread.join()
            listening.close()


@pytest.mark.slow
def test_the_page_answers_its_own_requests_only(job, tmp_path):
    paths = ("/", "/page/main.js", "/page/dom.js", "/api/script", "/api/samples", "/media/audio", "/media/portrait")
    with serving(job, tmp_path) as (_, ask):
        assert [ask("GET", path)[0] for path in paths] == [200] * len(paths)
        assert [ask("GET", path, token="other")[0] for path in paths] == [401] * len(paths)
        assert ask("GET", "/api/script", Host="evil.example")[0] == 403
        assert ask("POST", "/api/samples", {}, Origin="http://evil.example")[0] == 403
        assert [ask("GET", f"/media/samples/{path}")[0] for path in ("1", "../nod", "%2e%2e")] == [404] * 3
        stale = {"before_sha256": None, "script": drawn((0, 500_000)).model_dump(mode="json")}
        assert ask("PUT", "/api/script", stale)[0] == 409
        assert ask("PUT", "/api/script", {"script": {}})[0] == 422
    assert (tmp_path / "nod.yaml").read_text() == SCRIPT


@pytest.mark.slow
def test_a_run_that_cannot_be_loaded_is_a_failed_sample_with_its_reason(job, tmp_path):
    with serving(job, tmp_path) as (_, ask):
        assert ask("POST", "/api/samples", {})[0] == 202
        (found,) = finished(ask)
    assert found["state"] == "failed"
    assert "xsheet train run" in found["message"]


def finished(ask):
    """All samples, when none is in progress."""
    end = time.monotonic() + 240
    while True:
        found = json.loads(ask("GET", "/api/samples")[1])
        if not any(one["state"] in ("loading", "sampling") for one in found):
            return found
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_the_saved_script_is_sampled_and_kept_beside_its_video(job, trained_run, tmp_path):
    shutil.copytree(trained_run, job.run)
    with serving(job, tmp_path) as (_, ask):
        assert ask("POST", "/api/samples", {})[0] == 202
        assert ask("POST", "/api/samples", {})[0] == 409
        (found,) = finished(ask)
        assert (found["state"], found["message"]) == ("done", "")
        assert ask("GET", "/media/samples/1")[0] == 200
    assert (tmp_path / "samples/sample-001.yaml").read_text() == SCRIPT
    with open_media(tmp_path / "samples/sample-001.mp4", root=tmp_path) as media:
        assert len(list(media.frames())) == 29  # 1.2 s in whole latent frames


# ---- the page


@pytest.fixture(params=[(1280, 800), (390, 844)], ids=["desktop", "phone"])
def visit(chromium, request, job, tmp_path):
    """The page in a browser; the test fails when the page has an error of its own."""
    job.audio.unlink()
    wavfile.write(job.audio, 16000, (9000 * np.sin(np.arange(64000) / 5)).astype(np.int16))
    (tmp_path / "nod.yaml").write_text(SCRIPT.replace("nods twice", json.dumps(HOSTILE)))
    width, height = request.param
    context, errors = chromium.new_context(viewport={"width": width, "height": height}), []
    with serving(job, tmp_path) as (address, _):
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector(".bar")
        yield page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        context.close()
    assert not errors


def drag(page, track, start_us, end_us):
    """Drag with the mouse from one time to another on a track."""
    at = "(await (await import('/page/main.js')).page).timeline.pointOf"
    a, b = (page.evaluate(f"async () => {at}({us}, '{track}')") for us in (start_us, end_us))
    page.mouse.move(a["x"], a["y"])
    page.mouse.down()
    page.mouse.move(b["x"], b["y"], steps=3)
    page.mouse.up()


def saved(page, path, count):
    """Phases of the file, as soon as it holds that many and the page has saved."""
    end = time.monotonic() + 30
    while page.inner_text("#saved") != "Saved in nod.yaml" or len(read_script(path).phases) != count:
        assert time.monotonic() < end, page.inner_text("#saved")
        time.sleep(0.05)
    return [(one.track, one.start_s, one.end_s) for one in read_script(path).phases]


@pytest.mark.slow
def test_phases_are_drawn_moved_resized_undone_and_saved(visit, tmp_path):
    path, old = tmp_path / "nod.yaml", ("head", 0.303, 0.7)
    assert HOSTILE in read_script(path).phases[0].text
    assert visit.title() == "nod.yaml · xsheet script"  # the text of the script is no markup
    drag(visit, "brows", 1_000_000, 2_000_000)
    (found,) = [one for one in saved(visit, path, 2) if one != old]
    assert found[0] == "brows" and found[1:] == pytest.approx((1, 2), abs=0.02)
    drag(visit, "brows", 1_500_000, 2_500_000)
    moved = saved(visit, path, 2)[1]
    assert moved[2] - moved[1] == pytest.approx(found[2] - found[1]) and moved[1] == pytest.approx(2, abs=0.04)
    visit.keyboard.press(".")
    visit.keyboard.press("}")
    nudged = saved(visit, path, 2)[1]
    assert nudged[1:] == pytest.approx((moved[1] + 0.01, moved[2] + 0.02))
    visit.keyboard.press("z")
    visit.keyboard.press("z")
    assert saved(visit, path, 2)[1] == moved
    visit.keyboard.press("Delete")
    assert saved(visit, path, 1) == [old]
