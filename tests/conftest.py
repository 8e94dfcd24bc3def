"""What every test gets: the real clips where they are present, and a failure whenever something logs an ERROR."""

import fcntl
import gc
import hashlib
import logging
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

# A property holds however busy the machine is; `make test-all` asks for the thorough profile.
settings.register_profile("quick", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=25)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=200)
settings.load_profile("quick")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores, and threads of OpenBLAS spin while they wait. It reads this when numpy is imported, so
    # nothing above imports numpy.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts pytest in the background makes it ignore Ctrl-C, and every command that a test starts would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import a file whose `pytestmark` excludes all its tests: every process imports what it collects."""
    excluded = re.findall(r"not (\w+)", config.option.markexpr)
    if collection_path.suffix != ".py" or not excluded:
        return None
    marked = rf"^pytestmark = .*pytest\.mark\.({'|'.join(excluded)})\b"
    return re.search(marked, collection_path.read_text(encoding="utf-8"), re.MULTILINE) is not None or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Look for no garbage among the modules and tests that are being loaded, nor ever after: they all stay."""
    gc.disable()  # a sixth of the time of collection
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # after -m has taken out what does not run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by the time they take, longest first, so that no process is left with a long one at the end.

    Files with a time limit of their own take longest, then those with many slow tests.
    """
    weights: dict[Path, tuple[float, int]] = {}
    for item in items:
        limit, slow_count = weights.get(item.path, (0, 0))
        own = item.get_closest_marker("timeout")
        weights[item.path] = (
            max(limit, own.args[0] if own else 0),
            slow_count + (item.get_closest_marker("slow") is not None),
        )
    items.sort(key=lambda item: weights[item.path], reverse=True)  # stable: within a file the order stays


@contextmanager
def _without_the_name_of_the_test() -> Iterator[None]:
    """Workers of one environment are forked from one process, and pytest changes this variable with every test."""
    name = os.environ.pop("PYTEST_CURRENT_TEST", None)
    try:
        yield
    finally:
        if name is not None:
            os.environ["PYTEST_CURRENT_TEST"] = name


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Iterator[None]:
    """Of a fixture."""
    with _without_the_name_of_the_test():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Iterator[None]:
    """Of a test."""
    with _without_the_name_of_the_test():
        return (yield)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real clips, labels and broken inputs, kept beside the checkout; absent on most machines."""
    folder = ROOT.parent / "shared"
    if not (folder / "data" / "README.md").is_file():
        pytest.skip("the real test clips (../shared/data) are not on this machine")
    return folder


Built = TypeVar("Built")


@pytest.fixture(scope="session")
def build_once() -> Callable[[str, Callable[[Path], Built]], Built]:
    """Build a folder once for all processes and all runs over the same sources; returns what the builder returned.

    The folder lies below .pytest_cache, keyed by the hash of every tracked source and preset. Those of other hashes are
    removed an hour after their last use: a run over older sources may go on beside this one.
    """
    key = hashlib.sha256()
    tracked = subprocess.run(
        ["git", "ls-files", "*.py", "*.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in tracked.split():
        if (ROOT / name).is_file():
            key.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    ours = ROOT / ".pytest_cache" / "built" / key.hexdigest()[:16]
    ours.mkdir(parents=True, exist_ok=True)
    ours.touch()
    for other in ours.parent.iterdir():
        with suppress(FileNotFoundError):  # another process removes it, too
            if other.stat().st_mtime < ours.stat().st_mtime - 3600:
                shutil.rmtree(other, ignore_errors=True)

    def build(name: str, builder: Callable[[Path], Built]) -> Built:
        folder = ours / name
        result = folder.with_suffix(".pickle")
        with folder.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not result.is_file():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                built = builder(folder)
                result.write_bytes(pickle.dumps(built))
            return pickle.loads(result.read_bytes())

    return build


@pytest.fixture(scope="session")
def short_films() -> Callable[..., list[Path]]:
    """Draws short films of one talking puppet, of `frames` at 25 fps and 128 pixels, each with bytes of its own."""

    def draw(folder: Path, count: int, *, frames: int = 30) -> list[Path]:
        import numpy as np

        from xsheet.curate.media.writer import write_clip
        from xsheet.demo.film.plan import plan_film
        from xsheet.demo.film.render import render_film

        plan, starts = plan_film(0, seed=79, kind="talk"), 60 - frames
        pictures = list(islice(render_film(plan, height_px=128), starts + frames))
        folder.mkdir(parents=True, exist_ok=True)
        films = [folder / f"{k:05d}.mp4" for k in range(count)]
        for k, film in enumerate(films):
            shown = slice(k % starts, k % starts + frames)
            sound = plan.sound[640 * shown.start : 640 * shown.stop] * np.float32(1 - k / (2 * count))
            write_clip(film, frames=[np.roll(picture, k // starts, axis=1) for picture in pictures[shown]], sound=sound)
        return films

    return draw


@pytest.fixture
def lock_elsewhere() -> Iterator[Callable[..., int]]:
    """Lets another process hold the write locks of folders; returns its id."""
    holders = []

    def hold(*folders: Path) -> int:
        code = "import sys; from pathlib import Path; from xsheet.runtime.lock import write_locks\n"
        code += "with write_locks(map(Path, sys.argv[1:])): print('held', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", code, *folders]
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert holders[-1].stdout.readline() == "held\n"
        return holders[-1].pid

    yield hold
    for holder in holders:
        holder.kill()
        holder.communicate()


@pytest.fixture(autouse=True)
def no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An ERROR in the log fails the test, whatever else it asserts."""
    yield
    errors = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.ERROR]
    assert not errors, f"logged at ERROR: {errors}"


class Disk:
    """A file system of its own, of 64 MB."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, *, but_bytes: int) -> None:
        """Leave only so much."""
        with (self.path / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.path).free - but_bytes)

    def empty(self) -> None:
        """Give the space back."""
        (self.path / "filler").unlink()

    def make_read_only(self) -> None:
        """Nobody may write from now on, not even root."""
        subprocess.run(["mount", "-o", "remount,ro", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk to fill up or to protect; only where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "xsheet-test", folder]
    if os.getuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs rights")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


# Debian, Ubuntu, and the machines of GitHub's workflows.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
# Elements with text of their own that is wider than their box; inline elements have no box of their own.
CUT_TEXT = """() => [...document.querySelectorAll("body *:not(svg, svg *, script, style, img, video)")]
  .filter((element) => element.clientWidth && getComputedStyle(element).overflowX !== "visible"
    || [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
  .filter((element) => element.clientWidth && element.scrollWidth > element.clientWidth + 1)
  .map((element) => `${element.tagName} ${element.className}: ${element.textContent.trim().slice(0, 60)}`)"""


@pytest.fixture(scope="session")
def chromium():
    """The browser of this machine. One for all: Playwright does not start twice in a process."""
    if CHROMIUM is None:
        pytest.skip("no browser: neither chromium nor google-chrome is on the PATH (Debian's package chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="no driver: playwright is not installed")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def cut_on_a_phone(chromium):
    """Gives the texts of a page that do not fit their box at 390 px, and those of the page if it is wider."""

    def measure(path: Path) -> list[str]:
        context = chromium.new_context(viewport={"width": 390, "height": 844})
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(path.as_uri())
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        cut = page.evaluate(CUT_TEXT)
        width = page.evaluate("document.documentElement.scrollWidth")
        context.close()
        return cut if width <= 390 else [*cut, f"the page is {width} px wide"]

    return measure
