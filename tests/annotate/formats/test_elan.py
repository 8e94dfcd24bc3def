"""EAF of our own and of other people: tiers, vocabularies, times, and what an attacker may put into a file."""

from xml.etree import ElementTree as ET

import pytest

from xsheet.annotate.formats import elan
from xsheet.annotate.formats.files import read_files
from xsheet.schemas.annotation import KinematicPhase
from xsheet.schemas.errors import ContractError

HEAD = '<ANNOTATION_DOCUMENT FORMAT="{version}" VERSION="3.0"><HEADER TIME_UNITS="{units}">{header}</HEADER>'


def eaf(tiers, slots, *, header="", version="3.0", units="milliseconds", types=""):
    """A document by hand; `slots` are times in ms, None for a slot without one."""
    order = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="ts{n}"' + ("/>" if ms is None else f' TIME_VALUE="{ms}"/>')
        for n, ms in enumerate(slots)
    )
    head = HEAD.format(version=version, units=units, header=header)
    return f"{head}<TIME_ORDER>{order}</TIME_ORDER>{tiers}{types}</ANNOTATION_DOCUMENT>"


def tier(name, *values, parent=None, **attributes):
    """A tier of (id, first slot, second slot, value), or of (id, id of the annotation it hangs on, value)."""
    rows = ""
    for own, *where, value in values:
        if len(where) == 2:
            kind, refs = "ALIGNABLE", f'TIME_SLOT_REF1="ts{where[0]}" TIME_SLOT_REF2="ts{where[1]}"'
        else:
            kind, refs = "REF", f'ANNOTATION_REF="{where[0]}"'
        rows += f'<ANNOTATION><{kind}_ANNOTATION ANNOTATION_ID="{own}" {refs}>'
        rows += f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></{kind}_ANNOTATION></ANNOTATION>"
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    above = "" if parent is None else f' PARENT_REF="{parent}"'
    return f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="x"{above}{more}>{rows}</TIER>'


def phases_of(text, clip):
    (one,) = elan.read({"clip_1.eaf": text}, [clip]).layers
    return one.annotations[0].phases


# ---- writing


@pytest.fixture
def written(annotation, phase, clip):
    gesture = phase(
        phase_id="p1", track="arm_left", laterality="left", action="raise_hand", kind="gesture",
        kinematics=(KinematicPhase(phase="stroke", start_us=480_000, end_us=720_000),),
    )  # fmt: skip
    files = elan.export([annotation(phase(), gesture)], [clip], made_by={"run_1": "A & B"}, media_prefix="../").files
    return ET.fromstring(files["clip_1.eaf"])


def test_the_name_of_the_producer_in_an_own_file_makes_no_second_annotator(annotation, phase, clip):
    one = annotation(phase())
    files = elan.export([one], [clip], made_by={"run_1": "A & B"}).files
    (layer,) = elan.read(files, [clip]).layers
    assert [len(row.phases) for row in layer.annotations] == [1]


def test_a_track_is_a_tier_and_its_fields_hang_below_it(written):
    tiers = {one.get("TIER_ID"): one for one in written.iter("TIER")}
    assert {"head@gold", "arm_left@gold", "base@gold", "arm_left@gold/kinematics"} <= set(tiers)
    parts = tiers["arm_left@gold/kinematics"]
    types = {one.get("LINGUISTIC_TYPE_ID"): one for one in written.iter("LINGUISTIC_TYPE")}
    assert parts.get("PARENT_REF") == "arm_left@gold"
    assert types[parts.get("LINGUISTIC_TYPE_REF")].get("CONSTRAINTS") == "Included_In"
    assert tiers["head@gold"].get("ANNOTATOR") == "A & B"


def test_every_reference_inside_the_document_is_met(written):
    slots = {one.get("TIME_SLOT_ID") for one in written.iter("TIME_SLOT")}
    types = {one.get("LINGUISTIC_TYPE_ID") for one in written.iter("LINGUISTIC_TYPE")}
    vocabularies = {one.get("CV_ID") for one in written.iter("CONTROLLED_VOCABULARY")}
    ids = [one.get("ANNOTATION_ID") for tag in ("ALIGNABLE", "REF") for one in written.iter(f"{tag}_ANNOTATION")]
    used = {one.get(f"TIME_SLOT_REF{n}") for one in written.iter("ALIGNABLE_ANNOTATION") for n in (1, 2)}
    assert used == slots
    assert len(set(ids)) == len(ids)
    assert {one.get("ANNOTATION_REF") for one in written.iter("REF_ANNOTATION")} <= set(ids)
    assert {one.get("LINGUISTIC_TYPE_REF") for one in written.iter("TIER")} <= types
    refs = {one.get("CONTROLLED_VOCABULARY_REF") for one in written.iter("LINGUISTIC_TYPE")} - {None}
    assert refs == vocabularies


def test_elements_stand_in_the_order_of_the_schema(written):
    order = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LANGUAGE", "CONSTRAINT", "CONTROLLED_VOCABULARY"]
    assert list(dict.fromkeys(one.tag for one in written)) == order


def test_times_are_whole_milliseconds_in_order(written):
    times = [one.get("TIME_VALUE") for one in written.iter("TIME_SLOT")]
    assert all(time.isdecimal() for time in times)
    assert sorted(times, key=int) == times


def test_the_media_url_is_relative(written):
    assert written.find("HEADER/MEDIA_DESCRIPTOR").get("RELATIVE_MEDIA_URL") == "../media/cl/clip_1.mp4"


def test_samples_of_a_layer_lie_beside_each_other_and_come_back_apart(annotation, phase, clip):
    samples = [annotation(phase(end_us=end), layer="raw") for end in (1_200_000, 1_600_000)]
    out = elan.export([*samples, annotation(phase())], [clip])
    tiers = {one.get("TIER_ID") for one in ET.fromstring(out.files["clip_1.eaf"]).iter("TIER")}
    assert {"head@raw", "head@raw#2", "head@gold"} <= tiers
    back = {one.annotator_id: one.annotations[0].phases[0].end_us for one in elan.read(out.files, [clip]).layers}
    assert back == {"raw": 1_200_000, "raw#2": 1_600_000, "gold": 1_200_000}


def test_a_time_off_the_millisecond_is_rounded_and_reported(annotation, phase, clip):
    out = elan.export([annotation(phase(start_us=400_400))], [clip])
    assert [(loss.count, loss.example) for loss in out.losses if loss.field == "phases.start_us"] == [
        (1, "clip_1: 400400 µs as 400 ms")
    ]


def test_the_imported_annotation_names_the_one_that_was_exported(annotation, phase, clip):
    one = annotation(phase())
    (back,) = elan.read(elan.export([one], [clip]).files, [clip]).layers
    assert back.annotations[0].parent_ids == (one.annotation_id,)


def test_an_annotation_that_a_person_adds_to_our_tiers_needs_no_more_than_its_class(annotation, phase, clip):
    root = ET.fromstring(elan.export([annotation(phase())], [clip]).files["clip_1.eaf"])
    for name, ms in (("n1", "2000"), ("n2", "3000")):
        ET.SubElement(root.find("TIME_ORDER"), "TIME_SLOT", {"TIME_SLOT_ID": name, "TIME_VALUE": ms})
    head = next(one for one in root.iter("TIER") if one.get("TIER_ID") == "head@gold")
    refs = {"ANNOTATION_ID": "a90", "TIME_SLOT_REF1": "n1", "TIME_SLOT_REF2": "n2"}
    own = ET.SubElement(ET.SubElement(head, "ANNOTATION"), "ALIGNABLE_ANNOTATION", refs)
    ET.SubElement(own, "ANNOTATION_VALUE").text = "shake_head"
    edited = ET.tostring(root, encoding="unicode")
    assert [(one.phase_id, one.text) for one in phases_of(edited, clip)] == [("p0", "nods twice"), ("p1", "shake head")]


# ---- files of other people


def test_a_free_hand_tier_means_the_body_part_in_its_name(clip):
    (found,) = phases_of(eaf(tier("Right Hand", ("a1", 0, 1, "Palm up")), [400, 1200]), clip)
    assert (found.track, found.laterality, found.action) == ("arm_right", "right", "palm_up")


def test_a_class_of_their_own_is_other_and_keeps_its_word(clip):
    (found,) = phases_of(eaf(tier("Kopf", ("a1", 0, 1, "nickt &amp; lächelt")), [400, 1200]), clip)
    assert (found.track, found.action, found.action_raw, found.text) == (
        "whole_body", "other", "nickt & lächelt", "nickt & lächelt",
    )  # fmt: skip


def test_annotators_are_voices_with_runs_of_their_own(clip):
    tiers = tier("head", ("a1", 0, 1, "nod"), ANNOTATOR="AB") + tier("head-2", ("a2", 0, 1, "nod"), ANNOTATOR="CD")
    found = elan.read({"clip_1.eaf": eaf(tiers, [400, 1200])}, [clip]).layers
    assert [(one.annotator_id, one.run.model.id, len(one.annotations)) for one in found] == [
        ("AB", "eaf.AB", 1), ("CD", "eaf.CD", 1),
    ]  # fmt: skip
    assert found[0].run.run_id != found[1].run.run_id


def test_the_time_origin_of_the_media_is_added(clip):
    media = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///x/{}.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="{}"/>'
    header = media.format("other", 3000) + media.format("clip_1", 500)
    (found,) = phases_of(eaf(tier("head", ("a1", 0, 1, "nod")), [400, 1200], header=header), clip)
    assert (found.start_us, found.end_us) == (900_000, 1_700_000)


def test_slots_without_a_time_are_spread_evenly(clip):
    tiers = tier("head", ("a1", 0, 1, "nod"), ("a2", 1, 2, "shake head"))
    found = phases_of(eaf(tiers, [400, None, 1200]), clip)
    assert [(one.start_us, one.end_us) for one in found] == [(400_000, 800_000), (800_000, 1_200_000)]


def test_values_below_an_annotation_join_its_text(clip):
    tiers = tier("gesture", ("a1", 0, 1, "wave")) + tier("shape", ("a2", "a1", "flat"), parent="gesture")
    tiers += tier("note", ("a3", "a2", "again"), parent="shape")
    (found,) = phases_of(eaf(tiers, [400, 1200]), clip)
    assert (found.action, found.text) == ("wave", "wave (shape: flat; note: again)")


def test_aligned_children_of_kinematic_words_are_parts_of_the_gesture(clip):
    tiers = tier("hands", ("a1", 0, 3, "wave"))
    tiers += tier("phase", ("a2", 0, 1, "prep"), ("a3", 1, 2, "Stroke"), ("a4", 2, 3, "retraction"), parent="hands")
    (found,) = phases_of(eaf(tiers, [400, 600, 1000, 1200]), clip)
    assert [(part.phase, part.start_us) for part in found.kinematics] == [
        ("preparation", 400_000), ("stroke", 600_000), ("retraction", 1_000_000),
    ]  # fmt: skip


def test_overlaps_in_one_tier_are_kept_as_a_second_voice(clip):
    text = eaf(tier("head", ("a1", 0, 2, "nod"), ("a2", 1, 3, "shake_head")), [400, 800, 1200, 1600])
    reading = elan.read({"clip_1.eaf": text}, [clip])
    assert [(one.annotator_id, one.annotations[0].phases[0].action) for one in reading.layers] == [
        ("", "nod"), ("#2", "shake_head"),
    ]  # fmt: skip
    assert "phases.track" in {loss.field for loss in reading.losses}


def test_children_that_hang_on_each_other_in_a_ring_are_counted_and_end(clip):
    tiers = tier("a", ("a1", "a2", "x"), parent="b") + tier("b", ("a2", "a1", "y"), parent="a")
    reading = elan.read({"clip_1.eaf": eaf(tiers, [])}, [clip])
    assert [loss.count for loss in reading.losses if loss.field == "phases"] == [2]


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]>' + eaf("", []),
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>' + eaf("", []),
        '<!DOCTYPE ANNOTATION_DOCUMENT SYSTEM "http://example.org/x.dtd">' + eaf("", []),
        "<a>" * 100_000,
        eaf("", [])[:-5],
        "",
        eaf("", [], version="2.6"),
        eaf("", [], version="4.0"),
        eaf("", [], units="PAL-frames"),
        "<html/>",
    ],
    ids=["bomb", "file", "dtd", "deep", "cut", "empty", "old", "new", "frames", "html"],
)
def test_a_file_that_is_no_harmless_eaf_is_refused(text, clip):
    with pytest.raises(ContractError):
        elan.read({"clip_1.eaf": text}, [clip])


def test_one_bad_file_does_not_stop_the_others(clip):
    good = eaf(tier("head", ("a1", 0, 1, "nod")), [400, 1200])
    reading = elan.read({"bad.eaf": "<html/>", "clip_1.eaf": good}, [clip])
    assert len(reading.layers) == 1
    assert [loss.example for loss in reading.losses if loss.field == "file"] == ["bad.eaf: html"]


# ---- real files


def test_files_of_a_gesture_detector_are_read_whole(shared, clip_named):
    files = read_files(sorted((shared / "data" / "labels").glob("envisionhg-*.eaf")))
    (one,) = elan.read(files, [clip_named("test_female", frames=300), clip_named("test_male", frames=400)]).layers
    found = {each.clip_id: [(p.start_us, p.end_us) for p in each.phases] for each in one.annotations}
    assert found["test_female"][0] == (133_000, 1_468_000)
    assert found["test_male"][-1] == (12_479_000, 12_946_000)
    assert {p.action_raw for each in one.annotations for p in each.phases} == {"Gesture"}
    assert {p.track for each in one.annotations for p in each.phases} == {"hands"}


def test_a_file_of_eaf_2_7_keeps_all_nine_annotations(shared, clip):
    files = read_files([shared / "data" / "labels" / "elan-fto-sample.eaf"])
    reading = elan.read(files, [clip])
    texts = sorted(p.text for one in reading.layers for p in one.annotations[0].phases)
    assert texts == [
        "B_speaker_a_speaker_b", "G21_speaker_b_speaker_a", "O12_speaker_a_speaker_b", "P_speaker_a",
        "speaker_a: a", "speaker_a: a", "speaker_a: a", "speaker_b: b", "speaker_b: b",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["elan-fto-sample", "envisionhg-test-female", "envisionhg-test-male"])
def test_a_real_file_read_written_and_read_again_says_the_same(shared, clip_named, name):
    clips = [clip_named(stem, frames=400) for stem in ("elan-fto-sample", "test_female", "test_male")]
    files = read_files([shared / "data" / "labels" / f"{name}.eaf"])
    once = [one for voice in elan.read(files, clips).layers for one in voice.annotations]
    out = elan.export(once, clips)
    twice = [one for voice in elan.read(out.files, clips).layers for one in voice.annotations]
    assert [one.phases for one in twice] == [one.phases for one in once]
    assert elan.export(twice, clips).files.keys() == out.files.keys()
