"""What a set holds and no row names."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from xsheet.runtime.lock import write_lock
from xsheet.runtime.orphans import find_orphans, remove_orphans
from xsheet.runtime.result_store import ResultStore
from xsheet.runtime.segments import SegmentStore
from xsheet.runtime.task import Outcome
from xsheet.schemas import tables
from xsheet.schemas.layers import write_layer
from xsheet.schemas.run import Run
from xsheet.schemas.sets import create_set


@pytest.fixture
def clip_set(tmp_path, examples):
    """A set whose one clip is there."""
    folder = tmp_path / "set"
    create_set(folder, "test")
    for table in (tables.CLIPS, tables.SOURCES, tables.SIGNALS):
        tables.write_table(folder, table, examples[table.name])
    for clip in tables.iter_records(folder, tables.CLIPS):
        place(folder, clip.media_path)
    return folder


def place(folder, path, data=b"bytes"):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)


def found(folder):
    return {(orphan.kind, orphan.path) for orphan in find_orphans(folder)}


def test_a_set_that_is_whole_has_none(clip_set):
    assert found(clip_set) == set()


def test_a_clip_that_no_row_names_goes_with_the_result_that_names_it(clip_set):
    place(clip_set, "media/ab/clip_9.mp4")
    clip = next(tables.iter_records(clip_set, tables.CLIPS))
    results = ResultStore(clip_set, "export")
    for key, path in (("00000001", clip.media_path), ("00000002", "media/ab/clip_9.mp4")):
        results.write(Outcome(key=key, name=path, status="ok"), [replace(clip, media_path=path)])
    assert found(clip_set) == {("media without a row", "media/ab/clip_9.mp4")}
    remove_orphans(clip_set, find_orphans(clip_set))
    assert list(ResultStore(clip_set, "export")) == ["00000001"]
    assert not (clip_set / "media/ab/clip_9.mp4").exists()
    assert found(clip_set) == set()


def test_clips_of_a_run_that_was_stopped_before_its_tables_are_no_orphans(tmp_path):
    create_set(tmp_path / "set", "test")
    place(tmp_path / "set", "media/ab/clip_9.mp4")
    assert found(tmp_path / "set") == set()


def test_files_behind_a_link_are_not_those_of_the_set(clip_set, tmp_path):
    """A set that somebody else made may hold a link to the videos, or the caches, of the person who cleans it."""
    mine = tmp_path / "mine"
    place(mine, "holiday.mp4")
    place(mine, ".film.tmp1")
    SegmentStore(mine).append("tensors", b"tensors")
    for name in ("media/ff", "cache/clips-1", "shots"):
        (clip_set / name).parent.mkdir(exist_ok=True)
        (clip_set / name).symlink_to(mine)
    assert found(clip_set) == set()
    with write_lock(clip_set):
        assert (mine / ".film.tmp1").exists()


def test_features_and_tensors_need_one_another(clip_set, examples):
    tables.write_table(clip_set, tables.FEATURES, examples["features"][:1])
    (feature,) = tables.iter_records(clip_set, tables.FEATURES)
    assert found(clip_set) == {("features without a cache", "features/part-00000.parquet")}
    place(clip_set, f"cache/{feature.fingerprint[:16]}.json")
    segments = SegmentStore(clip_set / "cache/clips-0")
    segments.append(Path(feature.tensor_entry).name, b"tensors")
    segments.append("other", b"tensors")
    assert found(clip_set) == {("tensors without a row", "cache/clips-0/other")}
    remove_orphans(clip_set, find_orphans(clip_set))
    assert found(clip_set) == set()


@pytest.mark.slow
def test_an_older_layer_of_the_same_producer_goes_unless_something_refers_to_it(clip_set, make_annotation):
    def write(layer, run_id, *, parents=(), written_s):
        run = Run(run_id=run_id, kind="annotate", tool_version="0", parent_run_ids=parents)
        row = make_annotation(
            annotation_id=f"ann_{layer}_{run_id}", layer=layer, run_id=run_id, parent_ids=tuple(parents)
        )
        for file in write_layer(clip_set, run, layer, [row]).files:
            os.utime(file, (written_s, written_s))

    write("raw", "run_parent", written_s=1)
    write("raw", "run_old", written_s=2)
    write("raw", "run_new", written_s=3)
    write("human", "run_people", parents=("run_parent",), written_s=0)
    write("human", "run_later", parents=("run_parent",), written_s=4)
    assert found(clip_set) == {
        ("superseded layer", "annotations/part-raw-run_old-00000.parquet"),
        ("superseded layer", "runs/part-run_old-00000.parquet"),
    }
    remove_orphans(clip_set, find_orphans(clip_set))
    assert found(clip_set) == set()
    assert sum(1 for _ in tables.iter_records(clip_set, tables.ANNOTATIONS)) == 4


def test_a_temporary_file_is_listed(clip_set):
    place(clip_set, ".report.html.abc.tmp.html")
    assert found(clip_set) == {("temporary file", ".report.html.abc.tmp.html")}
