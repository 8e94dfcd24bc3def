"""Manifests and names that nobody would write by hand: an error for the table, or a row for each of its rows."""

import csv
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from xsheet.cli import app
from xsheet.curate.discover import discover
from xsheet.schemas import tables
from xsheet.schemas.errors import XsheetError

MANY = pytest.param(500, 300, marks=pytest.mark.nightly)
FEW = pytest.param(30, 40, marks=pytest.mark.slow)

PATHS = (
    "film.mp4", "./other.mp4", "sub/../film.mp4", "gone/film.mp4", "http://example.org/a.mp4", "file:///etc/passwd",
    "concat:a|b", "nul\0byte.mp4", "\x1b[31mred.mp4", "x" * 5000, "a\nb.mp4", "/dev/zero", "/", ".", "..", "~/a.mp4",
    "film.mp4 ", "ﬁlm.mp4", "e\u0301.mp4", "%s%n.mp4", "-rf.mp4", "=HYPERLINK(1)", "😀.mp4", "\u202egpj.mp4", "$(id)",
    "", "clips/\x7f.mp4", "a/" * 3000 + "b.mp4",
)  # fmt: skip


def random_name(chance: random.Random) -> bytes:
    """Any bytes that a file system takes."""
    size = chance.choice((1, 5, 40, 200))
    return bytes(chance.choice([b for b in range(1, 256) if b != 0x2F]) for _ in range(size)) + b".mp4"


def random_table(chance: random.Random) -> tuple[str, bytes]:
    """A suffix and the bytes of a table, well formed or not."""
    licences = ("", "cc-by", "a,b", '"q"', "\ufeff", "1e999")
    # Two rows of one path that differ are refused, so most tables name each path once.
    paths = chance.sample(PATHS, 9) if chance.random() < 0.8 else chance.choices(PATHS, k=9)
    rows = [[path, chance.choice(licences)] for path in paths]
    if chance.random() < 0.25:
        values = chance.choice(([1, 2], [b"a.mp4", b"\xff"], [["a"], None], [1.5, None], ["a.mp4", None]))
        sink = io.BytesIO()
        pq.write_table(pa.table({chance.choice(("path", "Path")): values}), sink)
        data = sink.getvalue()
        return ".parquet", data[: chance.choice((len(data), len(data) // 2, 3, 0))]
    text = io.StringIO()
    style = {"delimiter": chance.choice(",,,,,,;\t|"), "quoting": chance.choice((0, 1, 3)), "escapechar": "\\"}
    writer = csv.writer(text, lineterminator=chance.choice(("\n", "\r\n", "\r")), **style)
    writer.writerow(
        chance.choice(
            (["path", "licence"], ["path", "licence"], ["path", "path"], ["licence", "path"], ["url"], ["path", ""])
        )
    )
    writer.writerows([*rows, *chance.choice(([], [[]], [["a.mp4", "b", "c", "d"]], [[" "]]))])
    encoding = chance.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-8-sig", "utf-16", "latin-1"))
    data = bytearray(text.getvalue().encode(encoding, "replace"))
    for _ in range(chance.choice((0, 0, 0, 1, 5))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return ".csv", bytes(data)


@pytest.mark.parametrize(("manifests", "names"), [FEW, MANY])
def test_no_manifest_and_no_name_ends_a_run(tmp_path, manifests, names):
    """Each table is refused with a sentence of ours, or all of its files end as rows, in one run over all of them."""
    chance = random.Random(manifests)
    usable = []
    for k in range(manifests):
        suffix, data = random_table(chance)
        table = tmp_path / f"{k:04d}{suffix}"
        table.write_bytes(data)
        try:
            files = discover([str(table)])
        except XsheetError:
            continue
        if files:
            usable.append(str(table))
    assert len(usable) >= manifests / 10
    folder = tmp_path / "films"
    folder.mkdir()
    for _ in range(names):
        with (folder / "seed.mp4").open("wb") as file:
            file.write(b"\0\0\0\x18ftypmp42" + chance.randbytes(40))
        (folder / "seed.mp4").rename(
            bytes(folder).decode() + "/" + random_name(chance).decode("utf-8", "surrogateescape")
        )
    expected = {file.name for file in discover([*usable, str(folder)])}
    ran = CliRunner().invoke(app, ["curate", "run", *usable, str(folder), "--out", str(tmp_path / "set"), "-j2", "-q"])
    assert ran.exit_code == 1 and isinstance(ran.exception, SystemExit), (ran.output[-500:], ran.exception)
    rows = tables.read_table(tmp_path / "set", tables.SOURCES, ["path", "status", "reason"]).to_pylist()
    assert {row["path"] for row in rows} == expected
    assert all(row["status"] == "failed" and row["reason"] for row in rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,start_s\nfilm.mp4,1\n", "expected a column 'path', got file, start_s"),
        ("path,start_s,end_s\nfilm.mp4,0,3\nfilm.mp4,2,5\n", "row 2: expected segments of a video that do not overlap"),
        ("path,start_s,end_s\nfilm.mp4,4,2\n", "row 1: expected an end after the start, got 4 s to 2 s"),
        ("path,start_s,end_s\nfilm.mp4,0,3\n./film.mp4,2,5\n", "row 2: expected segments of a video that do not"),
        ("path,start_s,end_s\nfilm.mp4,0:50,1:75\n", "row 1: expected seconds or [H:]MM:SS, got '1:75'"),
        ("path,label,label\nfilm.mp4,a,b\n", "got two columns 'label'"),
        ("path,x0,y0,x1,y1\nfilm.mp4,1,0,0,1\n", "row 1: expected 0 <= x0 < x1 and 0 <= y0 < y1"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence_and_leaves_no_set(text, message, tmp_path):
    (tmp_path / "films.csv").write_text(text)
    command = ["curate", "run", str(tmp_path / "films.csv"), "--out", str(tmp_path / "set")]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, XsheetError)
    assert message in str(error)
    assert "\n" not in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["films.csv"]


@pytest.mark.parametrize("text", ["start_s=from,start_s=to", "start_s=from,end_s=from"])
def test_a_column_that_is_named_twice_is_refused(text, tmp_path):
    (tmp_path / "films.csv").write_text("path,from,to\nfilm.mp4,1,2\n")
    command = ["curate", "run", str(tmp_path / "films.csv"), "--columns", text, "--out", str(tmp_path / "set")]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, XsheetError)
    assert "--columns: expected each column once" in str(error)


def test_what_a_manifest_states_of_a_video_stays_where_others_name_the_same_video(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"")
    for name, times in (("a", "0,3"), ("b", "0,3"), ("c", "4,5")):
        (tmp_path / f"{name}.csv").write_text(f"path,start_s,end_s\nfilm.mp4,{times}\n")
    a, b, c = (str(tmp_path / f"{name}.csv") for name in "abc")
    (found,) = discover([str(tmp_path), a, b])
    assert [one.end_us for one in found.segments] == [3_000_000]
    with pytest.raises(XsheetError, match="expected one manifest that names segments of a video"):
        discover([a, c])


def test_times_that_a_manifest_calls_otherwise_are_a_warning(tmp_path, caplog):
    (tmp_path / "film.mp4").write_bytes(b"")
    (tmp_path / "films.csv").write_text("path,start,end\nfilm.mp4,1,2\n")
    (found,) = discover([str(tmp_path / "films.csv")])
    assert found.segments == ()
    assert "add --columns start_s=COLUMN,end_s=COLUMN" in caplog.text


@pytest.mark.slow
def test_rows_of_json_that_no_table_can_hold_end_as_rows(tmp_path):
    rows = [
        {"path": "half \ud800.mp4"},
        {"path": "a.mp4", "caption": "half \ud83d", "key \udfff": "x"},
        {"path": "b/" * 3000 + "c.mp4"},
        {"path": "http://example.org/d.mp4"},
    ]
    (tmp_path / "films.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["curate", "run", str(tmp_path / "films.jsonl"), "--out", str(tmp_path / "set"), "-j1", "-q"]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 1 and isinstance(ran.exception, SystemExit), (ran.output[-500:], ran.exception)
    found = tables.read_table(tmp_path / "set", tables.SOURCES).to_pylist()
    reasons = {row["path"].removeprefix(f"{tmp_path}/")[:30]: row["reason"] for row in found}
    assert reasons == {
        r"half \x5cud800.mp4": "missing", "a.mp4": "missing", "b/" * 15: "missing",
        "http://example.org/d.mp4": "outside_root",
    }  # fmt: skip
    (columns,) = [row["manifest_columns"] for row in found if row["manifest_columns"]]
    assert columns == [{"key": "caption", "value": r"half \ud83d"}, {"key": r"key \udfff", "value": "x"}]
