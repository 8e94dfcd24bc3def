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


def test_links_to_folders_are_not_followed(folder, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.mp4").write_bytes(b"x")
    (folder / "link").symlink_to(tmp_path / "secret")
    assert "link/s.mp4" not in names(discover([str(folder)]), folder)


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


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("no.csv", "file\nb.mp4\n", "column 'path', got file"),
        ("hole.csv", "path,x\nb.mp4,1\n,2\n", "row 2: expected a value in column 'path'"),
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
