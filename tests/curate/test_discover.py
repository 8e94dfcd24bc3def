import json
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xsheet.curate.discover import discover
from xsheet.schemas.errors import ConfigError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my videos ü"
    for name in ("b.mp4", "a.MKV", "deep/c.webm", "notes.txt", ".hidden.mp4", ".cache/d.mp4", "deep/old.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def names(found, folder):
    return [str(given.path).removeprefix(f"{folder}/") for given in found]


def test_a_folder_is_searched_for_names_that_claim_to_be_video(folder):
    found = discover([str(folder)])
    assert names(found, folder) == ["a.MKV", "b.mp4", "deep/c.webm", "deep/old.avi"]
    assert {given.root for given in found} == {folder}


@pytest.fixture
def store(folder, tmp_path):
    """A folder beside the searched one, with a link to it and one to its file."""
    store = tmp_path / "store"
    (store / "deep").mkdir(parents=True)
    for name in ("s.mp4", "deep/t.mp4"):
        (store / name).write_bytes(b"x")
    (store / "loop").symlink_to(store)
    (folder / "link").symlink_to(store)
    (folder / "file.mp4").symlink_to(store / "s.mp4")
    return store


def test_links_out_of_the_folder_are_inputs_for_the_probe_to_refuse(folder, store):
    found = {given.path: given.root for given in discover([str(folder)])}
    assert found[str(folder / "link")] == found[str(folder / "file.mp4")] == folder
    assert str(folder / "link" / "s.mp4") not in found


def test_links_into_a_declared_root_are_followed_once(folder, store):
    found = {given.path: given.root for given in discover([str(folder)], roots=[store])}
    linked = {path for path, root in found.items() if root == store}
    assert linked == {str(folder / name) for name in ("file.mp4", "link/s.mp4", "link/deep/t.mp4")}


def test_links_inside_the_folder_add_nothing(folder):
    (folder / "again").symlink_to(folder / "deep")
    assert len(discover([str(folder)])) == 4


def test_a_link_named_by_itself_is_followed(folder, store):
    (given,) = discover([str(folder / "file.mp4")])
    assert given.root == store


@pytest.mark.parametrize("pattern", ["", "/**/*.mp4"])
def test_the_output_of_a_run_is_no_input(pattern, folder):
    (folder / "my-set" / "media").mkdir(parents=True)
    (folder / "my-set" / "set.json").write_text("{}")
    (folder / "my-set" / "media" / "clip.mp4").write_bytes(b"x")
    assert not [given.path for given in discover([f"{folder}{pattern}"]) if "my-set" in given.path]
    with pytest.raises(ConfigError, match=r"got the output of a run, a folder with set\.json"):
        discover([str(folder / "my-set")])


def test_a_name_is_found_in_either_unicode_form(tmp_path):
    on_disk, typed = (unicodedata.normalize(form, "Zoë/ä.mp4") for form in ("NFD", "NFC"))
    (tmp_path / on_disk).parent.mkdir()
    (tmp_path / on_disk).write_bytes(b"x")
    (tmp_path / "list.csv").write_text(f"path\n{typed}\n", encoding="utf-8")
    for argument in ("list.csv", typed):
        assert names(discover([str(tmp_path / argument)]), tmp_path) == [on_disk]


def test_a_pattern_takes_what_it_matches(folder):
    assert names(discover([f"{folder}/**/*.webm"]), folder) == ["deep/c.webm"]


def test_a_file_named_by_itself_is_taken_whatever_its_name(folder):
    assert names(discover([f"{folder}/notes.txt"]), folder) == ["notes.txt"]


def test_a_path_named_twice_is_one_input(folder):
    assert len(discover([str(folder), f"{folder}/b.mp4", str(folder)])) == 4


def test_a_csv_keeps_its_other_columns(folder):
    table = folder / "list.csv"
    table.write_text("path,rights,speaker\nb.mp4,CC BY,Ann\ndeep/c.webm,,Bob\n", encoding="utf-8-sig")
    found = discover([str(table)])
    assert names(found, folder) == ["b.mp4", "deep/c.webm"]
    assert [(e.key, e.value) for e in found[0].manifest_columns] == [("rights", "CC BY"), ("speaker", "Ann")]


def test_a_parquet_table_works_the_same(folder):
    pq.write_table(pa.table({"path": [str(folder / "b.mp4")], "year": [2020]}), folder / "list.parquet")
    (given,) = discover([str(folder / "list.parquet")])
    assert [(e.key, e.value) for e in given.manifest_columns] == [("year", "2020")]


def test_a_row_of_a_table_that_is_missing_on_disk_is_still_an_input(folder):
    (folder / "list.csv").write_text("path\ngone.mp4\n")
    assert names(discover([str(folder / "list.csv")]), folder) == ["gone.mp4"]


def test_a_row_without_a_path_is_an_input_that_is_not_there(folder):
    (folder / "hole.csv").write_text("path,x\nb.mp4,1\n,2\n")
    assert names(discover([str(folder / "hole.csv")]), folder) == ["b.mp4", "hole.csv, row 2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("no.csv", "file\nb.mp4\n", "column 'path', got file"),
        ("bin.csv", b"path\n\xff\xfe\x00", "readable table"),
        ("no.parquet", "PAR1", "readable table"),
        ("empty.csv", "path\n", "at least one video"),
    ],
)
def test_a_malformed_table_names_the_problem(folder, name, text, message):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message):
        discover([str(folder / name)])


@pytest.mark.parametrize(("argument", "message"), [("nowhere", "no such path"), ("deep/*.mov", "at least one video")])
def test_an_argument_without_video_is_refused(folder, argument, message):
    with pytest.raises(ConfigError, match=message):
        discover([f"{folder}/{argument}"])


def test_a_folder_without_videos_says_what_a_video_is_called(tmp_path):
    with pytest.raises(ConfigError, match=r"\.mkv"):
        discover([str(tmp_path)])


def test_urls_that_can_name_no_object_are_inputs_without_one_and_need_no_store(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    urls = ["s3://", "s3:///a.mp4", "s3://bucket//a.mp4", "gs://bucket/a\0.mp4"]
    (tmp_path / "films.json").write_text(json.dumps([{"path": url} for url in urls]))
    found = discover([str(tmp_path / "films.json")])
    assert [(file.path, file.remote) for file in found] == [(url, None) for url in sorted(urls)]
