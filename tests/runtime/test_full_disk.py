"""A full disk ends a run with one sentence that names it, wherever it strikes."""

import importlib
from pathlib import Path

import pytest

from xsheet.runtime.executor import Execution, Item, run_task
from xsheet.schemas.errors import RunError
from xsheet.schemas.ids import content_key

pytestmark = pytest.mark.slow


@pytest.fixture
def run_planted(disk, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "tasks"))

    def run(do, argument=None, *, opening="fine"):
        task = importlib.import_module("planted").Planted(tmp_path, opening=opening)
        items = [Item(content_key(do), do, (do, argument))]
        return run_task(task, items, out=disk.path / "out", execution=Execution(memory_mb=512))

    return run


def test_before_a_worker_opens(run_planted, disk):
    (disk.path / "out/.commits/planted/scratch").mkdir(parents=True)
    disk.fill(but_bytes=0)
    with pytest.raises(RunError, match=r"out: expected a folder that can be written, got No space left on device"):
        run_planted("fine", 0)


def test_while_an_item_runs_in_a_library_that_hides_it(run_planted, disk):
    disk.fill(but_bytes=1 << 20)
    with pytest.raises(RunError, match="No space left on device"):
        run_planted("fills_the_disk_and_exits", str(disk.path / "more"))
    disk.empty()
    (disk.path / "more").unlink()
    assert run_planted("fine", 0).counts == {"ok": 1}


def test_after_a_failure_with_space_left_the_item_fails(run_planted):
    assert run_planted("exits", 3).counts == {"failed": 1}
