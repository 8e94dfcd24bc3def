"""A folder at a URL is published whole or not at all, and its copy never loses what was done."""

import hashlib
import json

import pytest

from xsheet.runtime.storage import attempts
from xsheet.runtime.storage.mirror import open_mirror
from xsheet.runtime.storage.stores import list_objects, read_object, write_object
from xsheet.schemas.errors import ConfigError, RunError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
URL = "s3://films/sets/talk"
FIRST = {"set.json": "{}", "clips/part-00000.parquet": "one", "clips/part-00001.parquet": "two"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.01)


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Go to another machine: one with an empty folder of copies."""

    def go(name):
        monkeypatch.setenv("XSHEET_CACHE", str(tmp_path / name))

    return go


def put(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def publish(files=(), *, gone=()):
    with open_mirror(URL) as mirror:
        put(mirror.folder, dict(files))
        for name in gone:
            (mirror.folder / name).unlink()
        return mirror.publish()


def contents():
    with open_mirror(URL) as mirror:
        paths = [path for path in mirror.folder.rglob("*") if path.is_file() and ".commits" not in path.parts]
        found = {str(path.relative_to(mirror.folder)): path.read_text() for path in paths}
        assert mirror.publish() == (0, 0)
        return found


def test_what_one_machine_publishes_another_one_sees_and_changes(s3, elsewhere):
    assert publish(FIRST)[0] == 3
    elsewhere("second")
    assert contents() == FIRST
    assert publish({"clips/part-00000.parquet": "new"}, gone=["clips/part-00001.parquet"]) == (1, 3)
    elsewhere("cache")
    assert contents() == {"set.json": "{}", "clips/part-00000.parquet": "new"}


@pytest.mark.parametrize("part", ["objects/", "manifest.json"])
def test_a_reader_sees_the_old_folder_while_an_upload_does_not_end_and_the_next_try_goes_on(part, s3, elsewhere):
    publish(FIRST)
    s3.fails(10**6, "drop before", method="PUT", part=part)
    with pytest.raises(RunError, match="run the same command again"):
        publish({"clips/part-00000.parquet": "new", "more": "more"}, gone=["clips/part-00001.parquet"])
    s3.fails(0, "")
    elsewhere("second")
    assert contents() == FIRST
    elsewhere("cache")
    assert publish()[0] == 2
    elsewhere("second")
    assert contents() == {"set.json": "{}", "clips/part-00000.parquet": "new", "more": "more"}


def test_contents_that_no_manifest_names_are_deleted_after_the_next_publication(s3):
    for text in ("one", "two", "three"):
        publish({"set.json": text})
    assert len(list_objects(f"{URL}/objects")) == 4  # of each of two publications, a file and the list


def test_a_second_writer_is_refused_and_loses_nothing(s3, elsewhere, monkeypatch):
    publish(FIRST)
    with open_mirror(URL) as mirror:
        elsewhere("second")
        publish({"set.json": "theirs"})
        elsewhere("cache")
        put(mirror.folder, {"set.json": "ours"})
        with pytest.raises(RunError, match="expected no other writer"):
            mirror.publish()
    with pytest.raises(ConfigError, match="1 files were changed here and not published"), open_mirror(URL):
        pass
    assert (mirror.folder / "set.json").read_text() == "ours"


def test_files_that_were_cleaned_from_the_copy_are_fetched_and_not_removed_at_the_url(s3):
    publish(FIRST)
    with open_mirror(URL) as mirror:
        mirror.publish()
    (mirror.folder / "clips/part-00001.parquet").unlink()
    assert contents() == FIRST


def test_a_copy_that_was_cut_off_is_fetched_again(s3, elsewhere):
    publish(FIRST)
    elsewhere("second")
    s3.fails(10**6, "503", part="objects/")
    with pytest.raises(ConfigError, match="expected an answer of the store"):
        contents()
    s3.fails(0, "")
    assert contents() == FIRST


def test_other_objects_at_a_url_are_left_alone(s3):
    write_object(f"{URL}/talk.mp4", b"film")
    with pytest.raises(ConfigError, match="got 1 other objects"), open_mirror(URL):
        pass
    assert read_object(f"{URL}/talk.mp4", max_bytes=9) == b"film"


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a//b", ".commits/lock"])
def test_a_manifest_cannot_name_a_file_outside_the_folder(name, s3, tmp_path):
    files = json.dumps({"files": {name: {"bytes": 1, "sha256": "a" * 64}}}).encode()
    head = hashlib.sha256(files).hexdigest()
    write_object(f"{URL}/objects/{head[:2]}/{head}.json", files)
    write_object(f"{URL}/manifest.json", json.dumps({"files_sha256": head}).encode())
    with pytest.raises(ConfigError, match="expected a manifest of xsheet"), open_mirror(URL):
        pass


def test_contents_that_are_not_what_the_manifest_names_are_refused(s3, elsewhere):
    publish({"model.bin": "{}"})
    (only,) = list_objects(f"{URL}/objects/*/*.bin")
    write_object(only.url, b"[]")
    elsewhere("second")
    with pytest.raises(RunError, match="expected the bytes that the manifest names, got other bytes"):
        contents()
