"""A record is there whole or not at all, whoever died while it was written; the index is only a short cut."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from xsheet.runtime.segments import INDEX_FILE, SegmentStore


def fill(folder: Path, *keys: str, body: bytes = b"body of ", writer: str | None = None) -> SegmentStore:
    store = SegmentStore(folder, writer=writer, max_segment_bytes=1000)
    for key in keys:
        store.append(key, body + key.encode())
    return store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.seg"))


def contents(folder: Path) -> dict[str, bytes | None]:
    store = SegmentStore(folder)
    return {key: store.read(key) for key, _ in store.records()}


def test_records_of_several_writers_are_found_by_key(tmp_path):
    fill(tmp_path, "a", "b")
    fill(tmp_path, "c")
    assert contents(tmp_path) == {key: b"body of " + key.encode() for key in "abc"}
    assert SegmentStore(tmp_path).read("d") is None
    assert "a" in SegmentStore(tmp_path)


def test_an_empty_body_and_one_of_any_bytes_come_back(tmp_path):
    store = fill(tmp_path)
    store.append("none", b"")
    store.append("bytes", bytes(range(256)) * 9)
    assert contents(tmp_path) == {"none": b"", "bytes": bytes(range(256)) * 9}


@pytest.mark.parametrize("key", ["", "a b", "a\n", "../a", "ä", "a" * 161])
def test_a_key_that_could_break_a_header_is_refused(tmp_path, key):
    with pytest.raises(ValueError, match="expected a key"):
        SegmentStore(tmp_path).append(key, b"")


def test_the_latest_record_of_a_key_counts_within_a_segment_and_among_segments(tmp_path):
    fill(tmp_path, "a", "a", body=b"old ")
    fill(tmp_path, "a", body=b"new ")
    assert contents(tmp_path) == {"a": b"new a"}
    SegmentStore(tmp_path).compact()
    assert contents(tmp_path) == {"a": b"new a"}
    assert sum(path.stat().st_size for path in tmp_path.glob("*.seg")) < 100


def test_a_reader_sees_what_is_appended_later_when_it_looks_again(tmp_path):
    store, reader = fill(tmp_path, "a"), SegmentStore(tmp_path)
    assert reader.read("b") is None
    store.append("b", b"b")
    reader.refresh()
    assert reader.read("b") == b"b"


def test_processes_that_follow_each_other_share_segments_of_limited_size(tmp_path):
    for k in range(20):
        fill(tmp_path, f"key{k}", body=b"x" * 200, writer="same")
    assert len(names(tmp_path)) == 5  # 280 bytes a record: four in a segment of 1000
    assert len(contents(tmp_path)) == 20


@pytest.mark.parametrize("cut", [1, 5, 60, 78])
def test_a_torn_end_is_passed_over_and_cut_off_by_the_next_writer_of_the_segment(tmp_path, cut):
    fill(tmp_path, "a", "b", writer="same")
    (segment,) = tmp_path.glob("*.seg")
    segment.write_bytes(segment.read_bytes()[:-cut])
    assert contents(tmp_path) == {"a": b"body of a"}
    fill(tmp_path, "c", writer="same")
    assert contents(tmp_path) == {"a": b"body of a", "c": b"body of c"}
    assert len(names(tmp_path)) == 1


def test_one_handle_goes_on_behind_the_torn_end_that_another_process_left(tmp_path):
    mine = fill(tmp_path, "a", writer="same")
    fill(tmp_path, "b", writer="same")
    (segment,) = tmp_path.glob("*.seg")
    segment.write_bytes(segment.read_bytes()[:-3])
    mine.append("c", b"c")
    assert contents(tmp_path) == {"a": b"body of a", "c": b"c"}


def test_a_flipped_byte_costs_its_record_alone(tmp_path, caplog):
    fill(tmp_path, "a", "b", "c")
    SegmentStore(tmp_path).compact()
    (segment,) = tmp_path.glob("*.seg")
    segment.write_bytes(segment.read_bytes().replace(b"of b", b"of x"))
    assert contents(tmp_path) == {"a": b"body of a", "b": None, "c": b"body of c"}
    assert "damaged" in caplog.text


def test_compaction_merges_small_segments_in_one_order_and_keeps_full_ones(tmp_path):
    for folder, order in (("one", "abcdef"), ("two", "fbdace")):
        for key in order:
            fill(tmp_path / folder, key)
        SegmentStore(tmp_path / folder).compact()
    one, two = (tmp_path / folder for folder in ("one", "two"))
    assert [path.read_bytes() for path in one.glob("*.seg")] == [path.read_bytes() for path in two.glob("*.seg")]
    fill(one, "big", body=b"x" * 2000)
    (full,) = set(names(one)) - set(names(two))
    fill(one, "g")
    SegmentStore(one, max_segment_bytes=1000).compact()
    assert full in names(one)
    assert len(names(one)) == 2
    assert set(contents(one)) == {*"abcdefg", "big"}


def test_compaction_leaves_out_the_named_records(tmp_path):
    fill(tmp_path, "a", "b", "c", body=b"x" * 2000)
    SegmentStore(tmp_path).compact(without=["b", "never there"])
    assert set(contents(tmp_path)) == {"a", "c"}


def test_a_reader_finds_its_records_after_a_compaction(tmp_path):
    fill(tmp_path, "a")
    fill(tmp_path, "b")
    reader = SegmentStore(tmp_path)
    assert reader.read("a") == b"body of a"
    SegmentStore(tmp_path).compact()
    assert reader.read("b") == b"body of b"


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: None,
        lambda b: b[:-1],
        lambda b: b"",
        lambda b: b"[]\n",
        lambda b: b"\x80\x04.",
        lambda b: b.replace(b"merged", b"absent"),
        lambda b: b'{"segments": {"../../a.seg": 0}, "sha256": "' + b"e3b0c442" + b'"}\n',
    ],
    ids=["missing", "torn", "empty", "list", "pickle", "other names", "outside"],
)
def test_a_damaged_index_is_made_again(tmp_path, damage):
    fill(tmp_path, "a", "b")
    fill(tmp_path, "c")
    SegmentStore(tmp_path).compact()
    index = tmp_path / INDEX_FILE
    whole, before = contents(tmp_path), index.read_bytes()
    index.unlink() if (data := damage(before)) is None else index.write_bytes(data)
    assert contents(tmp_path) == whole
    SegmentStore(tmp_path).compact()
    assert index.read_bytes() == before


def test_a_store_where_nothing_is_new_is_not_written(tmp_path):
    fill(tmp_path, "a")
    fill(tmp_path, "b")
    SegmentStore(tmp_path).compact()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    SegmentStore(tmp_path).compact()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    SegmentStore(tmp_path / "none").compact()
    assert not (tmp_path / "none").exists()


def test_a_compaction_that_was_killed_leaves_every_record(tmp_path, monkeypatch):
    fill(tmp_path, "a")
    fill(tmp_path, "b")

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", die)
        SegmentStore(tmp_path).compact()
    assert len(names(tmp_path)) == 3
    assert set(contents(tmp_path)) == {"a", "b"}
    SegmentStore(tmp_path).compact()
    assert len(names(tmp_path)) == 1
    assert set(contents(tmp_path)) == {"a", "b"}


def test_what_a_writer_appended_since_a_mark_is_found_without_the_rest(tmp_path):
    store = fill(tmp_path, "a", writer="same")
    mark = store.mark()
    fill(tmp_path, "b", body=b"x" * 2000, writer="same")
    fill(tmp_path, "c", writer="same")
    fill(tmp_path, "d")
    assert [store.find_appended(key, mark) is not None for key in "abcd"] == [False, True, True, False]


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    # A limit on the size of files fails a write as a full disk does, and needs no rights.
    code = (
        "import resource, sys; from pathlib import Path; from xsheet.runtime.segments import SegmentStore\n"
        f"store = SegmentStore(Path({str(tmp_path)!r})); store.append('a', b'a' * 100)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); store.append('b', b'b' * 2000)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    (segment,) = tmp_path.glob("*.seg")
    assert set(contents(tmp_path)) == {"a"}
    assert segment.stat().st_size < 200


@pytest.mark.slow
def test_writers_that_are_killed_at_any_moment_lose_no_record_that_was_acknowledged(tmp_path):
    code = (
        "import sys; from pathlib import Path; from xsheet.runtime.segments import SegmentStore\n"
        f"store = SegmentStore(Path({str(tmp_path)!r}), writer=sys.argv[1])\n"
        "for k in range(10**9):\n"
        "    store.append(f'{sys.argv[2]}-{k}', str(k).encode() * 300); print(k, flush=True)"
    )
    acknowledged: dict[str, int] = {}
    for turn in range(6):
        running = subprocess.Popen(
            [sys.executable, "-c", code, str(turn % 2), str(turn)], stdout=subprocess.PIPE, text=True
        )
        timer = threading.Timer(0.6 + 0.13 * turn, os.kill, (running.pid, signal.SIGKILL))
        timer.start()
        assert running.stdout is not None
        acknowledged[str(turn)] = sum(1 for _ in running.stdout)
        running.wait()
        timer.join()
    found = contents(tmp_path)
    for turn, count in acknowledged.items():
        for k in range(count):
            assert found[f"{turn}-{k}"] == str(k).encode() * 300
    assert sum(acknowledged.values()) <= len(found) <= sum(acknowledged.values()) + len(acknowledged)
