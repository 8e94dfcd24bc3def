"""One bad item never affects another: each ends as a row of its own."""

import errno
import signal

import pytest
from planted_runs import LIMIT_S, eventually, gone, item, pids

from xsheet.runtime.executor import Item, Outcome
from xsheet.runtime.result_store import RunResults
from xsheet.schemas.source import Shot

pytestmark = pytest.mark.slow  # processes, films or models: seconds


def only(committed: RunResults) -> Outcome:
    (outcome,) = committed.outcomes()
    return outcome


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


def test_an_unfinished_item_keeps_its_rows_and_runs_again_with_retry_failed(go, notes, tmp_path):
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


def test_an_item_that_reports_progress_may_take_longer_than_the_limit(go):
    assert go([item("goes_on", 4.0)], stall_timeout_s=2.0).counts == {"ok": 1}
