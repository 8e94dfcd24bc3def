"""An item that stands still is shown with its name, its stage, its frames and its seconds while the run goes on."""

import io
import logging
from pathlib import Path

import pytest
from planted_runs import TASKS
from rich.console import Console

from xsheet.runtime import standstill
from xsheet.runtime.executor import Execution, Item, Progress, run_task
from xsheet.runtime.standstill import StandstillWatch, WorkerProgress
from xsheet.schemas.ids import content_key


def report(scratch: Path, worker: str, item: str, frames: int) -> None:
    (scratch / worker).mkdir(exist_ok=True)
    progress = WorkerProgress(stage="picture", reports=frames, stage_reports=frames, item=item)
    (scratch / worker / "stage").write_bytes(progress.to_bytes())


def test_the_item_without_progress_for_longest_is_shown(tmp_path):
    now = 0.0
    watch = StandstillWatch(tmp_path, clock=lambda: now)
    seen = []
    for now, frames in ((0.0, 7), (20.0, 8), (50.0, 8), (90.0, 9)):  # the clock reads `now`
        report(tmp_path, "a", "/films/goes on.mp4", int(now))
        report(tmp_path, "b", "/films/stuck.mp4", frames)
        report(tmp_path, "idle", "", 3)
        seen.append(watch.look())
    assert seen == ["", "", "stuck.mp4 stands at picture 8 for 30 s", ""]


@pytest.mark.parametrize("data", [b"", b"\0" * 9, b"\xff" * 400, b"\xff" * 272])
def test_a_damaged_file_of_a_worker_ends_nothing(tmp_path, data):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "stage").write_bytes(data)
    assert StandstillWatch(tmp_path).look() == ""


def test_a_name_is_no_markup_on_a_terminal():
    screen = io.StringIO()
    progress = Progress("probe", console=Console(file=screen, force_terminal=True, width=160))
    with progress.start(3):
        progress.show_standstill("[/red]\\x1b[link=x].mp4 stands at picture 8 for 30 s")
    assert "[/red]\\x1b[link=x].mp4 stands" in screen.getvalue()


@pytest.mark.slow
def test_a_run_names_the_item_that_hangs(tmp_path, monkeypatch, caplog):
    monkeypatch.syspath_prepend(str(TASKS))
    monkeypatch.setattr(standstill, "STANDSTILL_S", 0.3)
    monkeypatch.setattr(standstill, "POLL_INTERVAL_S", 0.1)
    from planted import Planted  # on the path now

    items = [Item(content_key(what), f"/films/{what}.mp4", (what, 0)) for what in ("hangs", "fine")]
    progress = Progress("run", console=Console(file=io.StringIO()), interval_s=0.1)
    with caplog.at_level(logging.INFO):
        run_task(Planted(tmp_path), items, out=tmp_path, execution=Execution(stall_timeout_s=1), progress=progress)
    assert any("hangs.mp4 stands at hangs 1 for" in line for line in caplog.messages)
    assert "stands" not in caplog.messages[-1]
