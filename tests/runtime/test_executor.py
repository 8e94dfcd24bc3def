"""One bad item never hurts another; what is finished is finished once."""

import errno
import importlib
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from xsheet.runtime.executor import Execution, Item, Outcome, run_task
from xsheet.runtime.result_store import ResultStore, RunResults
from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.ids import content_key
from xsheet.schemas.source import Shot

pytestmark = pytest.mark.slow  # processes, films or models: seconds

TASKS = Path(__file__).parent / "tasks"
LIMIT_S = 0.7  # of what hangs; only a hang should meet its limit, however busy the machine is
ODD = [
    ("raises", None),
    ("exits", 3),
    ("leaves", 5),
    ("segfaults", None),
    ("allocates", 4096),
    ("hangs", None),
    ("media", None),
    ("reject", None),
]


def item(do: str, argument: object = None, *, k: object = 0) -> Item:
    return Item(content_key(do, k), f"{do} {k}", (do, argument))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TASKS))
    return importlib.import_module("planted").Planted


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture
def go(planted: Any, notes: Path, tmp_path: Path) -> Callable[..., RunResults]:
    def go(
        items: Any, *, out: str = "out", opening: str = "fine", retry_failed: bool = False, **how: Any
    ) -> RunResults:
        execution = Execution(**{"stall_timeout_s": 60.0, "memory_mb": 512, **how})
        task = planted(notes, opening=opening)
        return run_task(task, items, out=tmp_path / out, execution=execution, retry_failed=retry_failed)

    return go


def started(notes: Path) -> Counter[str]:
    file = notes / "starts"
    return Counter(line.split()[0] for line in file.read_text().splitlines()) if file.exists() else Counter()


def pids(notes: Path, file: str) -> list[int]:
    return [int(line.split()[1]) for line in (notes / file).read_text().splitlines()]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # its parent may not reap it
    except psutil.NoSuchProcess:
        return True


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.02)
    return False


def commit_bytes(out: Path) -> dict[str, bytes]:
    """The stored results by key, without what a log of a failure holds of its process."""
    results = ResultStore(out, "planted")
    return {key: b"\n".join(results.lines(key)) for key in results}


def only(committed: RunResults) -> Outcome:
    (outcome,) = committed.outcomes()
    return outcome


# What becomes of an item


def test_fine_items_give_their_rows_in_the_order_of_keys(go):
    items = [item("fine", 0, k=k) for k in range(5)]
    committed = go(items, jobs=2)
    assert [s.shot_id for s in committed.rows(Shot)] == [
        i.key[:20] for i in sorted(items, key=lambda i: i.key) for _ in "ab"
    ]


def test_a_rejected_item_keeps_its_rows_and_its_reason(go):
    committed = go([item("reject")])
    outcome = only(committed)
    assert (outcome.status, outcome.stage, outcome.reason) == ("rejected", "decide", "too_short")
    assert len(list(committed.rows(Shot))) == 1


def test_an_unfinished_item_keeps_its_rows_and_runs_again_when_asked(go, notes, tmp_path):
    items = [item("half", str(tmp_path / "server"))]
    first = go(items)
    assert (only(first).status, only(first).reason, len(list(first.rows(Shot)))) == ("failed", "away", 1)
    (tmp_path / "server").touch()
    assert go(items).counts == {"failed": 1}
    again = go(items, retry_failed=True)
    assert (again.counts, len(list(again.rows(Shot)))) == ({"ok": 1}, 2)


@pytest.mark.parametrize(
    ("do", "argument", "reason", "says", "tries"),
    [
        ("raises", None, "raised", "ValueError: bad\\n\\x1b[31m\\udcff <object object at 0x…>", 2),
        ("exits", 3, "exited", "exit code 3", 2),
        ("leaves", 5, "exited", "exit code 5", 2),
        ("forks_and_exits", 6, "exited", "exit code 6", 2),
        ("segfaults", None, "crashed", "SIGSEGV < string_at (__init__.py:", 2),
        ("allocates", 4096, "out_of_memory", "memory limit", 2),
        ("hangs", None, "timed_out", "no progress for", 2),
        ("hangs_with_the_gil", None, "timed_out", "no progress for", 2),
        ("hangs_with_a_grandchild", None, "timed_out", "no progress for", 2),
        ("media", None, "empty", "expected bytes, got none", 1),
        ("disk_error", errno.EACCES, "unreadable", "Permission denied", 1),
        ("disk_error", errno.EIO, "unreadable", "Input/output error", 2),
        ("no_record", None, "raised", "expected a record of the contract", 2),
        ("huge_row", 2, "raised", "bytes of rows", 2),
    ],
)
def test_a_bad_item_is_its_own_failed_row(go, notes, do, argument, reason, says, tries):
    limit_s = LIMIT_S if do.startswith("hangs") else 60.0
    items = [item("fine", 0, k="before"), item(do, argument), item("fine", 0, k="after")]
    committed = go(items, stall_timeout_s=limit_s)
    bad = next(o for o in committed.outcomes() if o.name == f"{do} 0")
    assert (bad.status, bad.reason, bad.attempts, says in (bad.message or "")) == ("failed", reason, tries, True), bad
    assert bad.stage == ("commit" if do in ("no_record", "huge_row") else do)
    assert committed.counts == {"ok": 2, "failed": 1}


@pytest.mark.parametrize("do", ["hangs_with_a_grandchild", "forks_and_exits"])
def test_a_grandchild_dies_with_the_worker(go, notes, do):
    go([item(do, 0)], stall_timeout_s=LIMIT_S)
    grandchildren = pids(notes, "grandchildren")
    assert grandchildren
    assert eventually(lambda: all(gone(pid) for pid in grandchildren))


def test_the_log_of_a_hang_shows_where_it_hung(go):
    committed = go([item("hangs")], stall_timeout_s=LIMIT_S)
    assert "in hangs" in committed.log(only(committed))


def test_a_hang_ends_where_a_background_shell_had_quit_signals_ignored(go):
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        assert only(go([item("hangs_with_the_gil")], stall_timeout_s=LIMIT_S)).reason == "timed_out"
    finally:
        signal.signal(signal.SIGQUIT, before)


def test_an_item_that_fails_once_is_fine_at_the_second_try(go, tmp_path):
    outcome = only(go([item("fails_once", str(tmp_path / "marker"))]))
    assert (outcome.status, outcome.attempts) == ("ok", 2)


def test_a_hostile_name_is_made_printable(go):
    outcome = only(go([Item("0" * 64, "\x1b[2J\udcff.mp4\n", ("fine", 0))]))
    assert outcome.name == "\\x1b[2J\\udcff.mp4"


# What is repeated, and what is not


def test_a_rerun_starts_nothing_that_is_committed(go, notes):
    items = [item("fine", 0, k=1), item("raises"), item("reject")]
    first = list(go(items).outcomes())
    before = started(notes)
    assert list(go(items).outcomes()) == first
    assert started(notes) == before


def test_quarantined_items_run_again_only_when_asked(go, notes, tmp_path):
    items = [item("fails_until", str(tmp_path / "marker")), item("fine", 0)]
    assert go(items).counts == {"failed": 1, "ok": 1}
    (tmp_path / "marker").touch()
    assert go(items).counts == {"failed": 1, "ok": 1}
    assert go(items, retry_failed=True).counts == {"ok": 2}
    assert started(notes)[items[1].key] == 1


def test_items_with_one_key_are_one_item(go, notes):
    committed = go([item("fine", 0)] * 3)
    assert (len(committed), committed.counts, sum(started(notes).values())) == (1, {"ok": 1}, 1)


def test_commits_of_other_items_are_not_part_of_the_result(go):
    a, b, c = (item("fine", 0, k=k) for k in "abc")
    go([a, b])
    assert {o.key for o in go([b, c]).outcomes()} == {b.key, c.key}


@pytest.mark.parametrize(
    ("damage", "repeated"),
    [
        (lambda b: b[:-40], 1),
        (lambda b: b"", 3),
        (lambda b: b.replace(b'"ok"', b'"no"', 1), 1),
        (lambda b: b.replace(b"\x1e", b"\x1d", 1), 1),
    ],
    ids=["torn", "emptied", "flipped body", "flipped header"],
)
def test_a_damaged_result_counts_as_not_done(go, notes, tmp_path, damage, repeated):
    items = [item("fine", 0, k=k) for k in range(3)]
    go(items)
    whole = commit_bytes(tmp_path / "out")
    (segment,) = (tmp_path / "out/.commits/planted").glob("*.seg")
    segment.write_bytes(damage(segment.read_bytes()))
    go(items)
    assert commit_bytes(tmp_path / "out") == whole
    assert sum(started(notes).values()) == 3 + repeated


def test_an_item_that_reports_progress_may_take_longer_than_the_limit(go):
    assert go([item("goes_on", 4.0)], stall_timeout_s=2.0).counts == {"ok": 1}


# The run as a whole


@pytest.mark.parametrize("opening", ["raises", "exits"])
def test_a_task_that_does_not_open_ends_the_run(go, notes, opening):
    with pytest.raises(RunError, match="a worker that opens"):
        go([item("fine", 0, k=k) for k in range(3)], opening=opening, jobs=2)
    assert not started(notes)


def test_a_task_can_say_that_the_run_cannot_go_on(go):
    with pytest.raises(RunError, match="weights: expected a file"):
        go([item("stop")])


def test_an_output_that_is_a_file_is_refused(go, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match="a folder that can be written"):
        go([item("fine", 0)])


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_written(notes, tmp_path):
    # A limit on the size of files fails a write as a full disk does, and needs no rights.
    driver = drive(tmp_path, notes, what="large", count=4, argument="200")
    resource.prlimit(driver.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    stderr = driver.communicate(timeout=60)[1]
    assert b"RunError" in stderr and b"a folder that can be written" in stderr
    assert not list((tmp_path / "out").rglob("*.tmp*"))
    assert not commit_bytes(tmp_path / "out")


def test_two_workers_run_side_by_side(go, tmp_path):
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert go([item("meets", (a, b), k=1), item("meets", (b, a), k=2)], jobs=2, stall_timeout_s=60).counts == {"ok": 2}


def test_a_worker_is_replaced_after_so_many_items(go, notes):
    go([item("fine", 0, k=k) for k in range(6)], max_items_per_process=2)
    assert Counter(Counter(pids(notes, "starts")).values()) == {2: 3}


def test_nothing_stays_of_the_workers(go, notes, tmp_path):
    go([item("fine", 0), item("segfaults")], jobs=2)
    assert not (tmp_path / "out" / ".commits" / "planted" / "scratch").exists()
    assert all(gone(pid) for pid in pids(notes, "starts"))


def test_items_are_read_as_they_are_needed(go, notes):
    read = []

    def items() -> Iterator[Item]:
        for k in range(20):
            read.append(len(read) - sum(started(notes).values()))
            yield item("fine", 0, k=k)

    assert len(go(items())) == 20
    assert max(read) <= 4


def test_an_error_in_the_caller_s_items_is_the_caller_s(go):
    def items() -> Iterator[Item]:
        yield item("fine", 0)
        raise LookupError("the manifest is broken")

    with pytest.raises(LookupError):
        go(items())


def test_a_limit_that_is_not_positive_is_refused():
    with pytest.raises(ConfigError, match=r"execution\.jobs"):
        Execution(jobs=0)


def test_a_task_of_a_script_is_refused(tmp_path):
    code = (
        "from pathlib import Path; from xsheet.runtime.executor import *\n"
        "class Mine:\n    name = 'mine'\n"
        f"run_task(Mine(), [], out=Path({str(tmp_path)!r}), execution=Execution())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "move Mine into a module" in done.stderr


def test_ray_is_not_imported_until_asked_for():
    code = "import sys, xsheet.runtime.executor; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# A driver that goes away


def drive(tmp_path: Path, notes: Path, *, what: str, count: int, argument: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, TASKS / "drive.py", tmp_path / "out", notes, "2", what, str(count), argument]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@pytest.mark.parametrize("what", ["hangs", "hangs_with_the_gil", "hangs_with_a_grandchild"])
def test_workers_die_with_a_killed_driver(notes, tmp_path, what):
    driver = drive(tmp_path, notes, what=what, count=2, argument="0")
    expected = 4 if what == "hangs_with_a_grandchild" else 2
    alive = lambda: [p for f in notes.iterdir() for p in pids(notes, f.name)]  # noqa: E731
    assert eventually(lambda: len(alive()) == expected)
    driver.kill()
    driver.wait()
    assert eventually(lambda: all(gone(pid) for pid in alive()))


def test_an_interrupt_kills_the_workers_and_keeps_the_commits(notes, tmp_path, go):
    go([item("fine", 0)])
    (notes / "starts").unlink()
    kept = commit_bytes(tmp_path / "out")
    driver = drive(tmp_path, notes, what="hangs", count=8, argument="0")
    assert eventually(lambda: len(started(notes)) == 2)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(20) == -signal.SIGINT
    assert all(gone(pid) for pid in pids(notes, "starts"))
    assert commit_bytes(tmp_path / "out") == kept


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "count"), [(4, 300), pytest.param(20, 1500, marks=pytest.mark.nightly)])
def test_a_driver_that_is_killed_again_and_again_ends_with_the_same_commits(go, planted, notes, tmp_path, kills, count):
    rng = random.Random(7)
    count_results = lambda: sum(1 for _ in ResultStore(tmp_path / "out", "planted"))  # noqa: E731
    for _ in range(kills):
        before = count_results()
        driver = drive(tmp_path, notes, what="fine", count=count, argument="0.01")
        assert eventually(lambda before=before: count_results() > before)  # type: ignore[misc]
        time.sleep(rng.uniform(0.0, 0.2))
        driver.kill()
        driver.wait()
    assert 0 < count_results() < count, "the kills did not fall into the work"
    assert drive(tmp_path, notes, what="fine", count=count, argument="0.01").wait(200) == 0
    starts = started(notes)
    assert len(list((tmp_path / "out/.commits/planted").glob("*.seg"))) == 1
    items = [Item(content_key(k), f"item {k}", ("fine", 0)) for k in range(count)]
    go(items, out="undisturbed", jobs=2)
    assert commit_bytes(tmp_path / "out") == commit_bytes(tmp_path / "undisturbed")
    assert not list((tmp_path / "out").rglob("*.tmp*"))
    assert sum(starts.values()) <= count + kills * 2, "more than the items in hand were repeated"


# The same result, however it is carried out


@pytest.mark.slow
def test_results_are_the_same_bytes_for_one_worker_two_workers_and_ray(go, tmp_path):
    how = {"stall_timeout_s": 5}  # filling the memory of a busy machine takes a while
    items = [item("fine", 0, k=k) for k in range(12)] + [item(do, argument) for do, argument in ODD]
    counts = [
        go(items, out="one", jobs=1, **how).counts,
        go(items[::-1], out="two", jobs=2, **how).counts,
        go(items, out="ray", jobs=2, ray="local", **how).counts,
    ]
    assert counts == [{"ok": 12, "failed": 7, "rejected": 1}] * 3
    one, two, on_ray = (commit_bytes(tmp_path / out) for out in ("one", "two", "ray"))
    assert one == two
    assert one == on_ray


@pytest.mark.slow
def test_the_driver_keeps_little_of_each_item(planted, notes, tmp_path):
    class Memory:
        def __init__(self) -> None:
            self.rss: list[int] = []

        def start(self, total: int | None) -> Any:
            return nullcontext()

        def add(self, outcome: Outcome, *, new_this_run: bool) -> None:
            self.rss.append(psutil.Process().memory_info().rss)

        def show_standstill(self, text: str) -> None:
            """Nothing is shown."""

    memory, count = Memory(), 4_000
    items = (item("fine", 0, k=k) for k in range(count))
    how = Execution(jobs=2, max_items_per_process=count)
    run_task(planted(notes), items, out=tmp_path / "out", execution=how, progress=memory)  # type: ignore[arg-type]
    assert (memory.rss[-1] - memory.rss[1000]) / (count - 1000) < 1000  # bytes: a key, and what the allocator rounds up


def test_a_row_is_stored_under_its_tag_not_under_its_class_name(tmp_path, planted):
    key = "ab" * 8
    ResultStore(tmp_path, "tagged").write(
        Outcome(key=key, name="a", status="ok"), [sys.modules[planted.__module__].shot(key)]
    )
    assert ResultStore(tmp_path, "tagged").lines(key)[1].startswith(b'{"shot":{')
