"""What an import makes of sheets that do not keep to the contract, and of the words of other people."""

import pytest

from xsheet.annotate.formats import csv_tables, vocabulary
from xsheet.annotate.formats.base import AnnotationSheet, GesturePart, LossTally, SheetEvent
from xsheet.annotate.formats.files import ClipIndex, read_files
from xsheet.annotate.formats.imported import MAX_LANES, import_sheets
from xsheet.schemas.errors import ContractError
from xsheet.schemas.layers import find_layer, write_layer
from xsheet.schemas.vocab import ACTIONS, TRACKS


def event(start_us=400_000, end_us=1_200_000, tier="head", label="nod", **more):
    return SheetEvent(tier=tier, label=label, start_us=start_us, end_us=end_us, **more)


@pytest.fixture
def made(clip):
    def make(*events, **sheet):
        one = AnnotationSheet(clip_id=clip.clip_id, events=events, **sheet)
        return import_sheets([one], ClipIndex([clip]), format_name="x", files={}, bases={}, tally=LossTally())

    return make


def only(reading):
    return reading.layers[0].annotations[0]


@pytest.mark.parametrize(
    ("span", "kept"),
    [
        ((1_200_000, 400_000), (400_000, 1_200_000)),
        ((-500_000, 400_000), (0, 400_000)),
        ((4_800_000, 9_000_000), (4_800_000, 5_000_000)),
        ((4_800_000, 5_010_000), (4_800_000, 5_010_000)),
        ((10**400, 0), (0, 5_000_000)),
    ],
    ids=["swapped", "before", "behind", "half a frame", "absurd"],
)
def test_times_are_brought_into_the_clip_and_the_change_is_noted(span, kept, made):
    one = only(made(event(*span)))
    assert (one.phases[0].start_us, one.phases[0].end_us) == kept
    assert bool(one.repairs) == (span != kept)


@pytest.mark.parametrize("span", [(400_000, 500_000), (400_000, 400_000), (5_000_000, 9_000_000), (-9, -1)])
def test_what_is_too_short_or_outside_is_left_out_and_counted(span, made):
    reading = made(event(*span), event(2_000_000, 3_000_000))
    assert len(only(reading).phases) == 1
    (loss,) = (loss for loss in reading.losses if loss.field == "phases")
    assert (loss.count, loss.example.partition("/p")[2].partition(": ")[2]) == (1, f"nod {span[0]}..{span[1]} µs")


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "dance"), ("amplitude", "9"), ("amplitude", "x"), ("body_parts", "tail"), ("confidence", "nan"),
     ("visibility", "1e999"), ("text", "a" * 500), ("repetitions", "0"), ("laterality", "<b>")],
)  # fmt: skip
def test_a_field_that_the_contract_refuses_is_dropped_alone(name, value, made):
    reading = made(event(attributes={name: value, "text_short": "kept"}))
    assert only(reading).phases[0].text_short == "kept"
    assert f"phases.{name}" in {loss.field for loss in reading.losses}


def test_parts_out_of_order_are_dropped_and_the_phase_stays(made):
    parts = (GesturePart("retraction", 400_000, 600_000), GesturePart("stroke", 600_000, 800_000))
    reading = made(event(kinematics=parts))
    assert only(reading).phases[0].kinematics == ()
    assert "phases.kinematics" in {loss.field for loss in reading.losses}


def test_an_unknown_part_is_kept_as_unknown(made):
    reading = made(event(kinematics=(GesturePart("wobble", 400_000, 600_000),)))
    assert [part.phase for part in only(reading).phases[0].kinematics] == ["unknown"]


@pytest.mark.parametrize("phase_id", ["", "a b", "../x", "<script>", "x" * 200])
def test_an_id_that_is_none_is_replaced(phase_id, made):
    assert only(made(event(phase_id=phase_id))).phases[0].phase_id == "p0"


def test_an_id_that_stands_twice_is_replaced_once(made):
    one = only(made(event(phase_id="p0"), event(2_000_000, 3_000_000, phase_id="p0")))
    assert [p.phase_id for p in one.phases] == ["p0", "p1"]


def test_a_long_text_is_cut_and_its_word_is_kept_whole(made):
    reading = made(event(label="wiggles " * 100))
    (found,) = only(reading).phases
    assert (len(found.text), len(found.action_raw)) == (400, 800)
    assert "phases.text" in {loss.field for loss in reading.losses}


def test_many_events_on_one_another_end_in_a_bounded_number_of_voices(made):
    reading = made(*[event() for _ in range(50)])
    assert len(reading.layers) == MAX_LANES
    assert [loss.count for loss in reading.losses if loss.reason.startswith("more than")] == [50 - MAX_LANES]


def test_a_spilled_voice_never_takes_the_name_of_another(clip):
    sheets = [
        AnnotationSheet(clip_id=clip.clip_id, annotator_id="a", events=(event(), event())),
        AnnotationSheet(clip_id=clip.clip_id, annotator_id="a#2", events=(event(label="wave"),)),
    ]
    found = import_sheets(sheets, ClipIndex([clip]), format_name="x", files={}, bases={}, tally=LossTally()).layers
    assert [(one.annotator_id, one.annotations[0].phases[0].action) for one in found] == [
        ("a", "nod"), ("a#2", "wave"), ("a#3", "nod"),
    ]  # fmt: skip


def test_a_base_that_violates_the_contract_is_counted_and_left_out(made):
    reading = made(event(), base={"text": "short", "framing": "wide"})
    assert only(reading).status == "skipped"
    assert any(loss.field == "base" and "violates" in loss.reason for loss in reading.losses)


def test_an_import_is_a_layer_that_a_set_takes_and_finds_by_its_voice(tmp_path, annotation, phase, clip):
    files = csv_tables.export([annotation(phase())], [clip]).files
    (one,) = csv_tables.read(files, [clip]).layers
    write_layer(tmp_path, one.run, "imported", one.annotations)
    assert list(find_layer(tmp_path, "imported@csv.gold").read()) == list(one.annotations)


# ---- words


@pytest.mark.parametrize("word", TRACKS)
def test_a_track_means_itself(word):
    assert vocabulary.track_of(word, "other") == word


@pytest.mark.parametrize("word", ACTIONS)
def test_a_class_means_itself_in_any_spelling(word):
    assert {vocabulary.action_of(text) for text in (word, word.upper(), f" {word.replace('_', '-')} ")} == {word}


@pytest.mark.parametrize(
    ("tier", "track", "side"),
    [
        ("both hands", "hands", "both"), ("left hand", "arm_left", "left"), ("RH-phase", "arm_right", "right"),
        ("RightHand", "arm_right", "right"), ("eye and mouth", "face", "none"), ("Eyebrows", "brows", "none"),
        ("hands and arms", "arms", "both"), ("upper body", "whole_body", "none"),
        ("hand on head", "whole_body", "none"),
        ("speaker_a", "whole_body", "none"), ("", "whole_body", "none"), ("left and right hand", "hands", "both"),
    ],
)  # fmt: skip
def test_a_tier_means_the_body_parts_in_its_name(tier, track, side):
    found = vocabulary.track_of(tier, "other")
    assert (found, vocabulary.side_of(tier, found)) == (track, side)


# ---- files


def test_a_file_above_the_limit_is_refused_before_it_is_read_whole(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"x" * 1001)
    with pytest.raises(ContractError, match="at most 1000 bytes"):
        read_files([tmp_path / "x.csv"], max_bytes=1000)


def test_a_file_of_another_encoding_or_name_is_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes("ü".encode("latin-1"))
    for path in ("x.csv", "gone.csv"):
        with pytest.raises(ContractError, match="readable file in UTF-8"):
            read_files([tmp_path / path])


def test_a_name_that_two_clips_share_finds_neither(clip_named):
    clips = ClipIndex([clip_named("same", clip_id="a"), clip_named("same", clip_id="b")])
    assert clips.find(["same.mp4"], file="") is None
    assert clips.find(["a"], file="").clip_id == "a"


def test_a_windows_path_or_url_finds_its_clip(clip_named):
    clips = ClipIndex([clip_named("test x", clip_id="c"), clip_named("other")])
    for name in (r"file://d:\videos\test x.mp4", "file:///d/test%20x.mp4", "/data/local-files/?d=a/test%20x.mp4"):
        assert clips.find([name], file="").clip_id == "c"
