"""CSV: formulas stay text, times stay exact, tables of other tools are read by their columns."""

import csv
import io

import pytest

from xsheet.annotate.formats import csv_tables
from xsheet.annotate.formats.files import read_files
from xsheet.schemas.errors import ContractError


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "'=1"])
def test_no_cell_begins_as_a_formula(text, annotation, phase, clip):
    files = csv_tables.export([annotation(phase(text=text, action_raw=text))], [clip]).files
    rows = list(csv.DictReader(io.StringIO(files["phases.csv"], newline="")))
    assert [rows[0][name] for name in ("text", "action_raw")] == [f"'{text}"] * 2
    (back,) = csv_tables.read(files, [clip]).layers
    assert back.annotations[0].phases[0].text == text


def test_seconds_have_six_decimals(annotation, phase, clip):
    files = csv_tables.export([annotation(phase(start_us=400_001))], [clip]).files
    (row,) = csv.DictReader(io.StringIO(files["phases.csv"]))
    assert (row["start_s"], row["end_s"]) == ("0.400001", "1.200000")


def test_pandas_reads_the_phases(annotation, phase, clip, tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "phases.csv"
    path.write_text(csv_tables.export([annotation(phase())], [clip]).files["phases.csv"], encoding="utf-8")
    frame = pandas.read_csv(path)
    assert frame[["track", "action", "start_s"]].to_dict("records") == [
        {"track": "head", "action": "nod", "start_s": 0.4}
    ]


def test_phases_alone_are_enough(annotation, phase, clip):
    files = csv_tables.export([annotation(phase())], [clip]).files
    (one,) = csv_tables.read({"phases.csv": files["phases.csv"]}, [clip]).layers
    assert one.annotations[0].status == "skipped"
    assert one.annotations[0].phases[0].text == "nods twice"


@pytest.mark.parametrize("text", ["start;end;label\n0,4;1,2;nod\n", "Start Time\tEnd Time\tClass\n0.4\t1.2\tNOD\n"])
def test_other_separators_and_names_are_understood(text, clip):
    (one,) = csv_tables.read({"x.csv": text}, [clip]).layers
    (found,) = one.annotations[0].phases
    assert (found.action, found.start_us, found.end_us) == ("nod", 400_000, 1_200_000)


@pytest.mark.parametrize("times", ["x,1", ",", "nan,1", "0,inf", "1e999,2", "0.4,"])
def test_times_that_are_no_seconds_are_counted(times, clip):
    reading = csv_tables.read({"x.csv": f"start_s,end_s,action\n{times},nod\n"}, [clip])
    assert "times that are not seconds" in {loss.reason for loss in reading.losses}


def test_cells_without_a_field_are_counted_by_column(clip):
    text = "start_s,end_s,action,mood\n0.4,1.2,nod,fine,extra\n"
    lost = {loss.field: loss.example for loss in csv_tables.read({"x.csv": text}, [clip]).losses}
    assert lost["column 'mood'"] == "x.csv, row 2: fine"
    assert lost["column"] == "x.csv, row 2: ['extra']"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "start_s,start,end_s\n1,2,3\n", 'start_s,end_s\n"1,2\n'])
def test_what_is_no_table_with_times_is_refused(text, clip):
    with pytest.raises(ContractError):
        csv_tables.read({"x.csv": text}, [clip])


def test_actions_noted_by_hand_find_their_clips_and_parts(shared, clip_named):
    files = read_files([shared / "data" / "labels" / "actions-hand-made.csv"])
    names = ["latentsync-demo3-man-gestures", "expressions-woman-d3", "asl-no"]
    (one,) = csv_tables.read(
        files, [clip_named(name, frames=600, clip_id=f"c{n}") for n, name in enumerate(names)]
    ).layers
    found = {each.clip_id: [(p.track, p.laterality, p.start_us) for p in each.phases] for each in one.annotations}
    assert found["c0"][0] == ("arm_left", "left", 2_550_000)
    assert [track for track, _, _ in found["c1"]] == ["face", "face", "gaze", "face", "face", "mouth"]
    assert found["c2"] == [("arm_right", "right", 500_000)]


def test_segments_of_a_gesture_detector_are_read_to_the_microsecond(shared, clip_named):
    files = read_files([shared / "data" / "labels" / "envisionhg-test-male-segments.csv"])
    (one,) = csv_tables.read(files, [clip_named("test_male", frames=400)]).layers
    assert one.annotations[0].phases[1].span.start_us == 4_504_500
    assert {p.track for p in one.annotations[0].phases} == {"hands"}
