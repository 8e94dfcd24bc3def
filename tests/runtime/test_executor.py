"""The run as a whole: its workers, its end, and the same results however it is carried out."""

import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import psutil
import pytest
from planted_runs import commit_bytes, drive, gone, item, pids, started

from xsheet.runtime.executor import Execution, Item, Outcome, run_task
from xsheet.runtime.result_store import ResultStore
from xsheet.schemas.errors import ConfigError, RunError

pytestmark = pytest.mark.slow  # processes, films or models: seconds


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
