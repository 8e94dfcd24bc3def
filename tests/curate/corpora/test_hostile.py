"""Metadata is untrusted: a broken row is a row, a broken file is one sentence, and nothing is half-written."""

import json

import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.curate.corpora.importer import import_corpus, write_import
from xsheet.curate.manifest import read_manifest
from xsheet.schemas.errors import ConfigError

GOOD = {"id": "x", "start-time": 0.0, "end-time": 2.0, "info": {"Video Link": "aaaaaaaaaa1"}}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (GOOD | {"end-time": 0.0}, "expected 0 <= start < end, got 0 s to 0 s"),
        (GOOD | {"start-time": -1}, "expected 0 <= start < end"),
        (GOOD | {"end-time": 1e300}, "expected 0 <= start < end"),
        (GOOD | {"end-time": "later"}, "expected a number in 'end-time', got 'later'"),
        (GOOD | {"end-time": True}, "expected a number in 'end-time', got True"),
        (GOOD | {"end-time": 10**400}, "expected a number in 'end-time'"),
        (GOOD | {"info": "no object"}, "expected an object with 'Video Link', got 'no object'"),
        (GOOD | {"info": {"Video Link": "https://[half"}}, "expected the link or id of a video"),
        (GOOD | {"id": []}, "expected text in 'id', got []"),
    ],
)
def test_a_broken_row_is_a_row_and_the_others_go_in(row, message, tmp_path):
    (tmp_path / "aaaaaaaaaa1.mp4").write_bytes(b"")
    (tmp_path / "m.json").write_text(json.dumps([row, GOOD]))
    found = import_corpus("talkvid", tmp_path / "m.json", tmp_path, {})
    (problem,) = found.problems
    assert (problem.reason, problem.where) == ("malformed", "m.json, row 1")
    assert message in problem.message
    assert len(found.placed) == 1


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("talkvid", "[1]", "expected one object per row"),
        ("talkvid", "[" * 100_000, "expected a readable table"),
        ("celebv-hq", "[]", "expected an object with 'clips', got list"),
        ("celebv-hq", '{"clips": 4}', "expected an object with 'clips'"),
        ("celebv-hq", "\xff{", "expected a readable JSON file in UTF-8"),
        ("openhumanvid", '[{"a": 1}]', "expected a column with the id or file of each clip, got a"),
        ("video-folder", '[{"a": 1}]', "expected a column 'file_name', got a"),
        ("hdtf", "", "expected a folder with files called SUBSET_annotion_time.txt"),
        ("voxceleb2", "", "expected metadata as .txt, got none"),
    ],
)
def test_a_broken_file_is_one_sentence(kind, text, message, tmp_path):
    (tmp_path / "aaaaaaaaaa1.mp4").write_bytes(b"")
    (tmp_path / "m.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        import_corpus(kind, tmp_path / "m.json", tmp_path, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metadata_names_no_file_outside_the_folder(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "out.mp4").write_bytes(b"")
    (inside / "a.mp4").write_bytes(b"")
    (inside / "link.mp4").symlink_to(tmp_path / "out.mp4")
    names = ("../out.mp4", str(tmp_path / "out.mp4"), "link.mp4", "nul\0.mp4", "half \ud800.mp4", "x" * 300, "a.mp4")
    (inside / "metadata.jsonl").write_text("".join(json.dumps({"file_name": name}) + "\n" for name in names))
    found = import_corpus("video-folder", inside, inside, {})
    assert [one.reason for one in found.problems] == ["outside_folder"] * 5 + ["missing"]
    assert [one.file.name for one in found.placed] == ["a.mp4"]


def test_metadata_does_not_change_the_path_the_times_or_the_words_of_a_row(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "secret.json").write_text("[]")
    row = {"file_name": "a.mp4", "path": "/etc/passwd", "start_s": "9", "words": "secret.json"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    write_import(import_corpus("video-folder", tmp_path, tmp_path, {}), tmp_path / "m.csv")
    (entry,) = read_manifest(tmp_path / "m.csv", {})
    kept = {one.key: one.value for one in entry.columns}
    assert (entry.path, entry.segments, kept["corpus_words"]) == ("a.mp4", (), "secret.json")


def test_pixels_of_voxceleb1_are_not_taken_for_shares(tmp_path):
    (tmp_path / "aaaaaaaaaa1.mp4").write_bytes(b"")
    text = "Identity : \tid1\nReference : \taaaaaaaaaa1\n\nFRAME X Y W H\n{}\n"
    for name, line in (("1.txt", "000010 223 80 130 130"), ("2.txt", "000010 0.1 0.1 0.5 0.5")):
        (tmp_path / name).write_text(text.format(line))
    found = import_corpus("voxceleb2", tmp_path, tmp_path, {})
    assert [(one.where.rpartition("/")[2], one.reason) for one in found.problems] == [("1.txt", "malformed")]


def test_without_any_video_nothing_is_written(corpus, tmp_path):
    meta, videos = corpus("talkvid")
    for video in videos.iterdir():
        video.rename(video.with_name(f"other {video.name}"))
    result = CliRunner().invoke(app, ["curate", "import", "talkvid", str(meta), "--videos", str(videos), "--out",
                                      str(tmp_path / "m.parquet")])  # fmt: skip
    assert isinstance(result.exception, ConfigError)
    assert "expected at least one video of talkvid, got none of 4 clips among 2 videos" in str(result.exception)
    assert not list(tmp_path.glob("m.*"))


def test_a_dry_run_reports_and_writes_nothing(corpus, tmp_path):
    meta, videos = corpus("celebv-hq")
    arguments = ["curate", "import", "celebv-hq", str(meta), "--videos", str(videos), "--out", str(tmp_path / "m.csv")]
    printed = json.loads(CliRunner().invoke(app, [*arguments, "--dry-run", "--json"]).stdout)
    assert printed["counts"] == {"clips": 4, "in_manifest": 3, "files": 2, "clip_files": 0, "segments": 3, "missing": 1}
    assert (printed["rows"][0]["name"], printed["manifest"]) == ("cccccccccc3_3", None)
    assert not list(tmp_path.glob("m.*"))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("m.*")) == ["m.csv", "m.missing.csv"]


def placed(kind, document, tmp_path, *, name="m.json"):
    """The clips of a document, given as JSON or as text, whose recording is there; and the problems."""
    (tmp_path / "aaaaaaaaaa1.mp4").write_bytes(b"")
    (tmp_path / name).write_text(document if isinstance(document, str) else json.dumps(document))
    found = import_corpus(kind, tmp_path / name, tmp_path, {})
    return [one.clip for one in found.placed], found.problems


@pytest.mark.parametrize("start", ["0.5", "0,5", "0:00.5", "00:00:00.500", 0.5, "5e-1"])
def test_a_time_may_be_a_number_or_a_text_in_seconds_or_clock_form(start, tmp_path):
    ((one,), _) = placed("talkvid", [GOOD | {"start-time": start}], tmp_path)
    assert one.span.start_us == 500_000


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("talkvid", {"ID": "x", "Start_Time": 0, "end time": 2, "Info": {"video_link": "aaaaaaaaaa1"}}),
        ("openhumanvid", {"Clip_ID": "x", "URL": "https://www.youtube.com/watch?v=aaaaaaaaaa1", "Start": 0, "END": 2}),
        ("speakervid-5m", {"Video_ID": "aaaaaaaaaa1", "start": "0", "end": "2"}),
    ],
)
def test_names_in_another_case_or_with_other_separators_are_the_same(kind, row, tmp_path):
    ((one,), problems) = placed(kind, [row], tmp_path)
    assert (one.span.start_us, one.span.end_us, problems) == (0, 2_000_000, [])


@pytest.mark.parametrize("edge", [1.002, -0.01])
def test_a_face_box_that_reaches_slightly_beyond_the_picture_is_not_taken_for_pixels(edge, tmp_path):
    box = {"top": min(edge, 0.0), "bottom": max(edge, 0.9), "left": 0.1, "right": 0.6}
    clip = {"ytb_id": "aaaaaaaaaa1", "duration": {"start_sec": 0, "end_sec": 2}, "bbox": box}
    far = clip | {"bbox": box | {"right": 640}}
    ((one,), (problem,)) = placed("celebv-hq", {"clips": {"a_0": clip, "b_0": far}}, tmp_path)
    assert one.crop == (0.1, 0.0, 0.6, min(1.0, box["bottom"]))
    assert "expected a crop in shares of the picture" in problem.message


def test_one_wrong_time_of_a_recording_costs_one_clip(tmp_path):
    meta = tmp_path / "HDTF_dataset"
    meta.mkdir()
    (meta / "RD_annotion_time.txt").write_text("aaaaaaaaaa1.mp4 00:01-00:03 00:05 00:07-00:06 00:08-00:09\n")
    (tmp_path / "aaaaaaaaaa1.mp4").write_bytes(b"")
    found = import_corpus("hdtf", meta, tmp_path, {})
    assert [one.clip.name for one in found.placed] == ["RD/aaaaaaaaaa1_0", "RD/aaaaaaaaaa1_3"]
    assert [one.reason for one in found.problems] == ["malformed", "malformed"]


def test_halves_of_characters_in_a_text_are_replaced(tmp_path):
    text = json.dumps([GOOD | {"id": "x\ud800", "description": "talks \ud83d"}])
    (tmp_path / "aaaaaaaaaa1.mp4").write_bytes(b"")
    (tmp_path / "m.json").write_text(text)
    for suffix in ("csv", "jsonl", "parquet"):
        write_import(import_corpus("talkvid", tmp_path / "m.json", tmp_path, {}), tmp_path / f"o.{suffix}")
        (entry,) = read_manifest(tmp_path / f"o.{suffix}", {})
        columns = {one.key: one.value for one in entry.segments[0].columns}
        assert (columns["corpus_clip"], columns["caption"]) == ("x?", "talks ?")


def test_a_name_with_backslashes_is_a_path_of_windows(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.mp4").write_bytes(b"")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"File_Name": "sub\\a.mp4"}))
    (one,) = import_corpus("video-folder", tmp_path, tmp_path, {}).placed
    assert one.file == tmp_path / "sub" / "a.mp4"
