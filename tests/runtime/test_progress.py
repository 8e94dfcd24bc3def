"""What a person sees of a run: a bar on a terminal, a line now and then in a log."""

import io
import logging

import pytest
from rich.console import Console

from xsheet.runtime.progress import Progress
from xsheet.runtime.task import Outcome
from xsheet.schemas.source import ItemStatus


def ended(status: ItemStatus) -> Outcome:
    return Outcome(key="0" * 64, name="a.mp4", status=status)


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(caplog: pytest.LogCaptureFixture):
    now = 0.0
    progress = Progress("probe", console=Console(file=io.StringIO()), interval_s=10, clock=lambda: now)
    with caplog.at_level(logging.INFO), progress.start(40):
        for _ in range(21):
            now += 1
            progress.add(ended("ok"), new_this_run=True)
        progress.add(ended("failed"), new_this_run=False)
    assert [r.getMessage() for r in caplog.records] == [
        "probe 10 of 40, ok 10 rejected 0 failed 0, 1.0/s, 30 s left",
        "probe 20 of 40, ok 20 rejected 0 failed 0, 1.0/s, 20 s left",
        "probe 22 of 40, ok 21 rejected 0 failed 1, 1 from earlier runs, 1.0/s, 18 s left",
    ]


def test_a_loop_counts_what_it_has_passed_on(caplog: pytest.LogCaptureFixture):
    progress = Progress("audit", console=Console(file=io.StringIO()), clock=lambda: 0.0)
    with caplog.at_level(logging.INFO):
        assert list(progress.over("abc", total=3)) == ["a", "b", "c"]
    assert caplog.messages == ["audit 3 of 3, ok 3 rejected 0 failed 0, 0.0/s, ? s left"]


def test_an_unknown_number_of_items_gives_no_remaining_time(caplog: pytest.LogCaptureFixture):
    progress = Progress("probe", console=Console(file=io.StringIO()), clock=lambda: 0.0)
    with caplog.at_level(logging.INFO), progress.start(None):
        progress.add(ended("rejected"), new_this_run=True)
    assert caplog.messages == ["probe 1 of ?, ok 0 rejected 1 failed 0, 0.0/s, ? s left"]


def test_a_terminal_gets_a_bar_with_counts():
    screen = io.StringIO()
    progress = Progress("probe", console=Console(file=screen, force_terminal=True, width=160))
    with progress.start(3):
        for status in ("ok", "rejected", "failed"):
            progress.add(ended(status), new_this_run=True)
    assert "3/3 ok 1 rejected 1 failed 1" in screen.getvalue().replace("\x1b[0m ", " ").replace("\x1b[32m", "")
