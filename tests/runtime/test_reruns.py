"""What is finished is finished once: a second run repeats only what failed, was damaged or was killed."""

import random
import signal
import time

import pytest
from planted_runs import commit_bytes, drive, eventually, gone, item, pids, started

from xsheet.runtime.executor import Item
from xsheet.runtime.result_store import ResultStore
from xsheet.schemas.ids import content_key

pytestmark = pytest.mark.slow  # processes, films or models: seconds


def test_a_rerun_starts_nothing_that_is_committed(go, notes):
    items = [item("fine", 0, k=1), item("raises"), item("reject")]
    first = list(go(items).outcomes())
    before = started(notes)
    assert list(go(items).outcomes()) == first
    assert started(notes) == before


def test_quarantined_items_run_again_only_with_retry_failed(go, notes, tmp_path):
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
