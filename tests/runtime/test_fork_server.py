"""Workers are forked from one process that has imported what they need; nothing of an earlier run stays in them."""

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from planted_runs import drive, eventually, gone, item, pids, started

from xsheet.runtime import fork_server
from xsheet.runtime.executor import Execution, Item, run_task
from xsheet.schemas.errors import RunError

pytestmark = pytest.mark.slow  # processes: seconds


def server_pids() -> set[int]:
    alive = [child for child in psutil.Process().children() if not gone(child.pid)]
    return {child.pid for child in alive if "fork_workers" in " ".join(child.cmdline())}


@pytest.fixture(autouse=True)
def own_servers():
    """Servers of other tests end, so that a test sees its own alone."""
    fork_server.end_fork_servers()
    yield
    fork_server.end_fork_servers()


def test_all_workers_of_all_runs_come_from_one_process(go, notes):
    go([item("notes_parent", k=k) for k in range(4)], jobs=2, max_items_per_process=1)
    go([item("notes_parent", k=k) for k in range(4, 6)], out="again")
    (server,) = server_pids()
    assert set(pids(notes, "parents")) == {server} and len(pids(notes, "parents")) == 6


def test_a_variable_that_changes_between_two_runs_reaches_the_workers(go, notes, monkeypatch):
    go([item("notes_variable", "XSHEET_OF_A_TEST", k=1)])
    monkeypatch.setenv("XSHEET_OF_A_TEST", "set")
    go([item("notes_variable", "XSHEET_OF_A_TEST", k=2)], out="set")
    monkeypatch.delenv("XSHEET_OF_A_TEST")
    go([item("notes_variable", "XSHEET_OF_A_TEST", k=3)], out="deleted")
    assert [line.split()[0] for line in (notes / "variables").read_text().splitlines()] == ["None", "set", "None"]


def test_the_number_of_threads_is_that_of_the_run(go, notes):
    for threads in (1, 2, 1):
        go([item("notes_variable", "OPENBLAS_NUM_THREADS", k=threads)], out=f"out{threads}", threads=threads)
        go([item("notes_variable", "OPENBLAS_NUM_THREADS", k=10 + threads)], out=f"again{threads}", threads=threads)
    seen = [line.split()[0] for line in (notes / "variables").read_text().splitlines()]
    assert seen == ["1", "1", "2", "2"]  # the last two are stored already


def test_a_worker_has_folders_of_its_own(go, notes):
    go([item("notes_folders", k=k) for k in range(2)], max_items_per_process=1)
    folders = [line.split()[:2] for line in (notes / "folders").read_text().splitlines()]
    assert all(here == temporary for here, temporary in folders)
    assert folders[0] != folders[1]


def test_a_task_outside_the_package_is_read_anew_by_each_run(tmp_path, monkeypatch, notes):
    source = """
        from pathlib import Path
        class Edited:
            name = "edited"
            def open(self): pass
            def __call__(self, item):
                with Path(item.payload).open("a") as file:
                    file.write("{}")
                return []
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file of the same second and size would be taken for old
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for text in "ab":
        (tmp_path / "edited.py").write_text(textwrap.dedent(source.format(text)))
        sys.modules.pop("edited", None)
        task = importlib.import_module("edited").Edited()
        run_task(task, [Item(f"{ord(text):08x}", text, str(notes / "seen"))],
                 out=tmp_path / "out", execution=Execution())  # fmt: skip
    assert (notes / "seen").read_text() == "ab"


def test_a_server_that_was_killed_is_replaced(go):
    go([item("fine", 0, k=0)])
    (server,) = server_pids()
    os.kill(server, signal.SIGKILL)
    assert go([item("fine", 0, k=1)]).counts == {"ok": 1}
    assert server_pids() - {server}


def test_a_run_goes_on_when_its_server_is_killed(go):
    assert go([item("kills_its_parent"), item("segfaults"), item("fine", 0)]).counts == {"ok": 2, "failed": 1}


def test_an_idle_server_ends_and_the_next_run_starts_another(go, monkeypatch):
    hurried = "from xsheet.runtime import worker_main; worker_main.IDLE_S = 0.1; "
    monkeypatch.setattr(fork_server, "_SERVER_CODE", hurried + fork_server._SERVER_CODE)
    go([item("fine", 0.5, k=0)])
    (server,) = server_pids()
    assert eventually(lambda: gone(server))
    assert go([item("fine", 0, k=1)]).counts == {"ok": 1}


def test_a_server_ends_with_a_driver_that_is_killed(tmp_path, notes):
    driver = drive(tmp_path, notes, what="fine", count=2, argument="1000")
    assert eventually(lambda: len(started(notes)) == 2)
    children = psutil.Process(driver.pid).children(recursive=True)
    assert len(children) == 3
    driver.kill()
    driver.communicate()
    assert eventually(lambda: all(gone(child.pid) for child in children))


def test_imports_that_never_end_meet_the_time_limit(go, planted, tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text("import time; time.sleep(1000)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(planted, "WORKER_MODULES", ("endless",), raising=False)
    with pytest.raises(RunError, match="imports of a worker took more than 1 s"):
        go([item("fine", 0)], open_timeout_s=1)
    assert not server_pids()


def test_a_stop_does_not_wait_for_imports(planted, notes, tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text(f"import time; open({str(notes / 'begun')!r}, 'w'); time.sleep(1000)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(planted, "WORKER_MODULES", ("endless",), raising=False)

    def items():
        yield item("fine", 0)
        while not (notes / "begun").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_task(planted(notes), items(), out=tmp_path / "out", execution=Execution())
    assert not server_pids()


def test_an_import_that_fails_is_the_worker_s_to_report(go, planted, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise ValueError('broken')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(planted, "WORKER_MODULES", ("broken",), raising=False)
    assert go([item("fine", 0)]).counts == {"ok": 1}  # it needs no such module


def test_an_import_that_kills_is_reported_with_its_log(go, planted, tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text("import os; os.write(2, b'no such instruction'); os.abort()")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(planted, "WORKER_MODULES", ("deadly",), raising=False)
    with pytest.raises(RunError, match=r"exit code -6: .*no such instruction"):
        go([item("fine", 0)])


def test_no_library_that_workers_import_starts_a_thread_that_a_fork_would_lose():
    # jemalloc, which pyarrow brings, handles forks itself: a fork works without its background thread.
    code = """
        from pathlib import Path
        from xsheet.annotate.task import AnnotateTask
        from xsheet.audit.report.filmstrips import FilmstripTask
        from xsheet.curate.report.inspection_video import InspectionVideoTask
        from xsheet.curate.tasks.analyse import AnalysisTask
        from xsheet.curate.tasks.export import ExportTask
        from xsheet.curate.tasks.probe import ProbeTask
        from xsheet.curate.tasks.segment import SegmentTask
        from xsheet.demo.corpus import Film
        from xsheet.train.data.cache.task import CacheTask
        import xsheet.export.media, torch
        for task in (AnalysisTask, ExportTask, ProbeTask):
            for name in task.WORKER_MODULES:
                __import__(name)
        threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
        print(*threads, torch.cuda.is_initialized())
    """
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    words = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert words[-1] == "False" and len(set(words[:-1]) - {"jemalloc_bg_thd"}) == 1
    assert words.count("jemalloc_bg_thd") <= 1
