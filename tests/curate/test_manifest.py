import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xsheet.curate.manifest import parse_column_map, read_manifest
from xsheet.schemas.errors import ConfigError

TEXT = (
    "path,start_s,end_s,speaker,x0,y0,x1,y1\na.mp4,0,3.5,ada,,,,\na.mp4,0:04,1:02.5,ben,0,0,320,240\nb.mp4,,,cy,,,,\n"
)


def table(tmp_path, text, name="m.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def spans(entry):
    return [(segment.start_us, segment.end_us) for segment in entry.segments]


def test_rows_of_one_video_are_its_segments_in_order_of_time(tmp_path):
    a, b = read_manifest(table(tmp_path, TEXT), {})
    assert (a.path, spans(a)) == ("a.mp4", [(0, 3_500_000), (4_000_000, 62_500_000)])
    assert [{c.key: c.value for c in one.columns}["speaker"] for one in a.segments] == ["ada", "ben"]
    assert [one.crop for one in a.segments] == [None, (0, 0, 320, 240)]
    assert (b.segments, [(c.key, c.value) for c in b.columns]) == ((), [("speaker", "cy")])


def test_segments_of_one_file_meet_whatever_name_a_row_gives_it(tmp_path):
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "a.mp4").touch()
    rows = f"{tmp_path}/a.mp4,4,5\nlink.mp4,2,3\nsub/../a.mp4,0,1\n"
    a, other = read_manifest(table(tmp_path, f"path,start_s,end_s\n{rows}"), {})
    assert (a.path, spans(a)) == (f"{tmp_path}/a.mp4", [(2_000_000, 3_000_000), (4_000_000, 5_000_000)])
    assert other.path == "sub/../a.mp4"  # there is no folder `sub`
    with pytest.raises(ConfigError, match="row 2: expected segments of a video that do not overlap"):
        read_manifest(table(tmp_path, "path,start_s,end_s\na.mp4,0,3\nlink.mp4,2,4\n"), {})


def test_every_kind_of_table_is_read_alike(tmp_path):
    rows = [{"path": "a.mp4", "start_s": 1.5, "end_s": 4.0, "speaker": None}, {"path": "b.mp4", "speaker": "x"}]
    found = [
        read_manifest(table(tmp_path, "path\tstart_s\tend_s\tspeaker\na.mp4\t1.5\t4\t\nb.mp4\t\t\tx\n", "m.tsv"), {}),
        read_manifest(table(tmp_path, json.dumps(rows), "m.json"), {}),
        read_manifest(table(tmp_path, "\n".join(map(json.dumps, rows)), "m.jsonl"), {}),
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    found.append(read_manifest(tmp_path / "m.parquet", {}))
    assert all(
        [(e.path, spans(e)) for e in one] == [("a.mp4", [(1_500_000, 4_000_000)]), ("b.mp4", [])] for one in found
    )


def test_a_column_map_names_the_columns_of_other_tables(tmp_path):
    columns = parse_column_map("path=video_path, start_s=start,end_s=stop")
    (entry,) = read_manifest(table(tmp_path, "video_path,start,stop,path\na.mp4,1,4,other\n"), columns)
    assert (entry.path, spans(entry)) == ("a.mp4", [(1_000_000, 4_000_000)])


def test_times_are_also_read_in_frames_and_with_a_decimal_comma(tmp_path):
    text = 'path,start_frame,end_frame,fps,end_s\na.mp4,30,60,30000/1001,\nb.mp4,,,,"0:00:00,400"\n'
    a, b = read_manifest(table(tmp_path, text), {})
    assert (spans(a), spans(b)) == ([(1_001_000, 2_002_000)], [(0, 400_000)])


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_csv_of_a_spreadsheet_with_decimal_commas_is_read(delimiter, tmp_path):
    text = "\ufeffpath;start_s;end_s\r\na.mp4;0,5;3,5\r\n".replace(";", delimiter)
    (entry,) = read_manifest(table(tmp_path, text), {})
    assert spans(entry) == [(500_000, 3_500_000)]


def test_words_are_taken_from_a_file_beside_the_manifest(tmp_path):
    (tmp_path / "a.json").write_text('[{"word": "hi", "start": 0.5, "end": 0.7}]')
    (entry,) = read_manifest(table(tmp_path, "path,words\na.mp4,a.json\n"), {})
    assert json.loads(entry.columns[0].value)[0]["word"] == "hi"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,start_s\na.mp4,1\n", "expected a column 'path', got file, start_s"),
        ("path,start_s,end_s\na.mp4,4,2\n", "row 1: expected an end after the start, got 4 s to 2 s"),
        ("path,start_s,end_s\na.mp4,0,3\na.mp4,2,5\n", "row 2: expected segments of a video that do not overlap"),
        ("path,start_s,end_s\na.mp4,0,\na.mp4,2,5\n", "row 2: expected segments of a video that do not overlap"),
        ("path,speaker\na.mp4,x\na.mp4,y\n", "row 2: expected one row per video, or segments"),
        ("path,start_s\na.mp4,soon\n", "row 1: expected seconds or [H:]MM:SS, got 'soon'"),
        ("path,start_s\na.mp4,nan\n", "row 1: expected seconds or [H:]MM:SS, got 'nan'"),
        ("path,start_frame\na.mp4,12\n", "row 1: expected a frame number and its rate in column 'fps'"),
        ("path,x0,y0,x1,y1\na.mp4,0.5,0,0.2,1\n", "row 1: expected 0 <= x0 < x1 and 0 <= y0 < y1"),
        ("path,x0,y0,x1,y1\na.mp4,0.5,0,,1\n", "row 1: expected numbers in x0, y0, x1 and y1"),
        ("path,start_s,start_frame,fps\na.mp4,1,25,25\n", "row 1: expected either start_s or start_frame, got both"),
        ("path,x0,y0,x1,y1,crop_height\na.mp4,0,0,9,9,0\n", "row 1: expected a height of 1 to 100000 pixels, got '0'"),
        ("path,caption\na.mp4,well, no\n", "row 1: more values than columns"),
        ("path,words\na.mp4,missing.json\n", "row 1: expected word times as JSON, TextGrid or WebVTT"),
        (f"path,words\na.mp4,{'x' * 300}.json\n", "(File name too long); correct 'words'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_what_was_expected(tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        read_manifest(table(tmp_path, text), {})
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["speed=x", "path", "path="])
def test_a_column_map_that_cannot_be_used_is_an_error(text):
    with pytest.raises(ConfigError, match="--columns"):
        parse_column_map(text)
