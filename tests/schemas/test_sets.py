import errno
import json
import os
from datetime import UTC, datetime

import pytest
from pydantic import Field

from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError, ContractError
from xsheet.schemas.files import atomic_path, write_text
from xsheet.schemas.ids import clip_id, content_key, file_sha256, shot_id, source_id
from xsheet.schemas.sets import RunManifest, build_manifest, check_set, create_set, open_set
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import Span


@pytest.fixture
def consistent(examples):
    """The examples, cut to rows that refer to one another."""
    rows = dict(examples)
    rows["verdicts"] = examples["verdicts"]
    return rows


@pytest.fixture
def a_set(tmp_path, consistent):
    folder = tmp_path / "mein Satz ü"
    create_set(folder, "test")
    for table in tables.TABLES:
        tables.write_table(folder, table, consistent[table.name])
    media = folder / "media" / "cl" / "clip_1.mp4"
    media.parent.mkdir(parents=True)
    media.write_bytes(b"not really a video")
    return folder


@pytest.mark.slow
def test_a_whole_set_has_no_problems(a_set):
    report = check_set(a_set)
    assert report.violations == ()
    assert report.rows["annotations"] == 2


@pytest.mark.slow
def test_a_moved_set_is_the_same_set(a_set):
    there = a_set.rename(a_set.with_name("elsewhere"))
    assert check_set(there).violations == ()


@pytest.mark.slow
def test_a_changed_clip_is_found_by_its_hash(a_set):
    (problem,) = check_set(a_set, media=True).violations
    assert "has changed" in problem.message


@pytest.mark.slow
def test_a_missing_clip_is_found(a_set):
    (a_set / "media" / "cl" / "clip_1.mp4").unlink()
    (problem,) = check_set(a_set).violations
    assert "is missing" in problem.message


@pytest.mark.slow
def test_a_row_that_names_a_row_that_is_not_there_is_found(a_set):
    tables.write_table(a_set, tables.RUNS, [])
    assert {p.table for p in check_set(a_set).violations} == {"annotations"}


@pytest.mark.slow
def test_an_id_that_stands_twice_is_found(a_set, examples):
    tables.write_table(a_set, tables.SHOTS, [*examples["shots"], examples["shots"][0]])
    (problem,) = check_set(a_set).violations
    assert "occur more than once" in problem.message


@pytest.mark.slow
def test_a_broken_table_is_one_problem_and_the_others_are_still_checked(a_set):
    tables.part_path(a_set, tables.FINDINGS, 0).write_bytes(b"PAR1 no")
    report = check_set(a_set)
    assert [p.table for p in report.violations] == ["findings"]
    assert "reviews" in report.rows


def test_a_folder_without_set_json_is_no_set(tmp_path):
    with pytest.raises(ContractError, match=r"no set\.json"):
        open_set(tmp_path)


def test_a_set_is_never_made_over_other_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="other content"):
        create_set(tmp_path, "test")


def test_making_a_set_twice_opens_it(tmp_path):
    first = create_set(tmp_path / "s", "first")
    assert create_set(tmp_path / "s", "second") == first


@pytest.mark.parametrize("text", ["{", "[]", '{"name": ""}', '{"name": "a", "color": 1}'])
def test_a_damaged_set_json_is_refused(tmp_path, text):
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(ContractError, match=r"set\.json"):
        open_set(tmp_path)


def test_a_set_of_another_contract_is_refused(tmp_path):
    create_set(tmp_path / "s", "x")
    info = json.loads((tmp_path / "s" / "set.json").read_text())
    (tmp_path / "s" / "set.json").write_text(json.dumps(info | {"contract": "9.0"}))
    with pytest.raises(ContractError, match=r"expected contract v1\.0, got v9\.0"):
        open_set(tmp_path / "s")


def test_ids_follow_from_content_alone(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"same")
    one, two = (source_id(file_sha256(tmp_path / n)) for n in ("a.mp4", "b.mp4"))
    assert one == two
    assert shot_id(one, Span(0, 10)) != shot_id(one, Span(0, 11))
    assert clip_id(one, Span(0, 10), None) != clip_id(one, Span(0, 10), "track_1")


def test_keys_do_not_depend_on_the_order_of_a_mapping():
    assert content_key({"a": 1, "b": [2.5, None]}) == content_key({"b": [2.5, None], "a": 1})
    assert content_key("ab", "c") != content_key("a", "bc")


def test_a_failing_writer_leaves_the_old_file_and_no_litter(tmp_path):
    write_text(tmp_path / "f.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "f.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "f.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


class Settings(StrictModel):
    limit: int = Field(3, description="any")


def test_a_manifest_says_what_ran_with_what(tmp_path):
    manifest = build_manifest(
        "curate run", arguments={"out": tmp_path}, settings=Settings(), distributions=["pyarrow", "no-such-thing"],
        started=datetime(2026, 1, 2, tzinfo=UTC), counts={"ok": 2}, seconds={"decode": 0.12345},
    )  # fmt: skip
    path = manifest.write(tmp_path)
    read = RunManifest.model_validate_json(path.read_text())
    assert read == manifest
    assert read.settings == {"limit": 3}
    assert read.versions["no-such-thing"] == "absent"
    assert path.name == "20260102T000000000000Z-curate-run.json"


def test_files_are_as_private_as_the_umask_says(tmp_path):
    before = os.umask(0o077)
    try:
        write_text(tmp_path / "private", "")
        os.umask(0o022)
        write_text(tmp_path / "shared", "")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"private": 0o600, "shared": 0o644}


def test_a_file_may_have_the_longest_name_of_any_letters(tmp_path):
    name = "ü" * 80 + "." + "ж" * 47
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Exception("x (os error 28)")])
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, error):
    """Python's own write names no file, and libraries in Rust only report a text."""
    names_it = pytest.raises(OSError, match=r"\[Errno 28\] No space left on device: '.*/page.html'")
    with names_it, atomic_path(tmp_path / "page.html"):
        raise error
    assert not list(tmp_path.iterdir())
