"""Files about the whole recording: their events go to the clips that were cut from it."""

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xsheet.annotate.formats import csv_tables, elan, label_studio, webvtt
from xsheet.schemas.annotation import MIN_PHASE_US, Base
from xsheet.schemas.clip import Clip
from xsheet.schemas.source import SourceVideo

BASE = Base(
    text="A person speaks to the camera.", subject="a person", framing="face", scene="a room", camera="static",
    speaking="speaking",
)  # fmt: skip


def clip_at(name: str, start_s: int, *, source_id: str = "src_1") -> Clip:
    """Four seconds of a recording."""
    return Clip(
        clip_id=name, source_id=source_id, start_us=start_s * 1_000_000, end_us=(start_s + 4) * 1_000_000,
        media_path=f"media/{name}.mp4", media_sha256="ab" * 32, frames=100, samples=0, width=64, height=64,
    )  # fmt: skip


SOURCE = SourceVideo(source_id="src_1", path="films/talk one.mp4", status="ok")
CLIPS = [clip_at("clip_1", 10), clip_at("clip_2", 20)]
BASES = {clip.clip_id: BASE for clip in CLIPS}


def eaf(slots, tiers, media="talk one.mp4"):
    order = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="{k}"' + (f' TIME_VALUE="{v}"/>' if v is not None else "/>") for k, v in slots
    )
    return (
        '<ANNOTATION_DOCUMENT FORMAT="3.0"><HEADER TIME_UNITS="milliseconds">'
        f'<MEDIA_DESCRIPTOR MEDIA_URL="file:///D:/rec/{media}"/></HEADER>'
        f"<TIME_ORDER>{order}</TIME_ORDER>{tiers}</ANNOTATION_DOCUMENT>"
    )


def aligned(name, start, end, value):
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{name}" TIME_SLOT_REF1="{start}" TIME_SLOT_REF2="{end}">'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


def child(name, parent, value, previous=""):
    before = f' PREVIOUS_ANNOTATION="{previous}"' if previous else ""
    return (
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{name}" ANNOTATION_REF="{parent}"{before}>'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
    )


def tier(name, content, **attributes):
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<TIER TIER_ID="{name}"{more}>{content}</TIER>'


def read(module, files):
    return module.read(files, CLIPS, bases=BASES, recordings=[SOURCE])


def phases(result):
    return {
        row.clip_id: [(p.action, p.start_us, p.end_us) for p in row.phases]
        for layer in result.layers
        for row in layer.annotations
    }


EAF = eaf(
    [("t1", 10_400), ("t2", 11_600), ("t3", 23_500), ("t4", 26_000)],
    tier("head", aligned("a1", "t1", "t2", "nod") + aligned("a2", "t3", "t4", "tilt head")),
)
CSV = "video,tier,start,end,label\n" + "".join(
    f"talk one.mp4,head,{start},{end},{label}\n"
    for start, end, label in [("0:00:10.400", "11.6", "nod"), ('"23,5"', "0:26", "tilt head")]
)
VTT = "WEBVTT\n\n0:00:10.400 --> 0:00:11.600\n<v head>nod\n\n00:23.500 --> 00:26,000\n<v head>tilt head\n"
TIGHT_VTT = (  # legal: a cue at once behind the header, one behind another, settings, a comment, hours left out
    "WEBVTT - talk\nKind: captions\n00:10.400-->00:11.600 align:start line:10%\n<v head>nod\n"
    "00:00:23.500 --> 00:00:26.000\n<v head>tilt head\n\nNOTE\nchecked\n"
)
TIGHT_SRT = (
    "\ufeff1\r\n00:00:10,400 --> 00:00:11,600\r\n{\\an8}<v head>nod\r\n \r\n"
    "2\r\n00:00:23,500 --> 00:00:26,000\r\n<v head>tilt head\r\n3\r\n00:00:40,000 --> 00:00:41,000\r\n<v head>nod\r\n"
)
SRT = "1\n00:00:10,400 --> 00:00:11,600\n<v head>nod\n\n2\n00:00:23,500 --> 00:00:26,000\n<v head>tilt head\n"


@pytest.mark.parametrize(
    ("module", "name", "text"),
    [
        (elan, "other.eaf", EAF), (csv_tables, "all.csv", CSV), (webvtt, "talk one.vtt", VTT),
        (webvtt, "talk one.en.vtt", VTT), (webvtt, "talk one.srt", SRT), (webvtt, "talk one.vtt", TIGHT_VTT),
        (webvtt, "talk one.srt", TIGHT_SRT),
    ],
)  # fmt: skip
def test_events_of_a_recording_go_to_its_clips_with_times_from_their_first_frame(module, name, text):
    assert phases(read(module, {name: text})) == {
        "clip_1": [("nod", 400_000, 1_600_000)],
        "clip_2": [("tilt_head", 3_500_000, 4_000_000)],  # cut at the end of the clip
    }


def clock(ms, mark):
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def written_as(form, spans):
    """A file with a nod at each span (milliseconds of the recording) in one of the forms that people have."""
    if form == "eaf":
        slots = [(f"t{k}{edge}", ms) for k, span in enumerate(spans) for edge, ms in zip("ab", span, strict=True)]
        head = "".join(aligned(f"a{k}", f"t{k}a", f"t{k}b", "nod") for k in range(len(spans)))
        return elan, "other.eaf", eaf(sorted(slots, key=lambda one: one[1]), tier("head", head))
    if form == "csv":
        rows = "".join(f'talk one.mp4,head,{a / 1000:.3f},"{clock(b, ",")}",nod\n' for a, b in spans)
        return csv_tables, "all.csv", "video,tier,start,end,label\n" + rows
    mark, head = ("," if form == "srt" else "."), ("" if form == "srt" else "WEBVTT\n\n")
    cues = (f"{k}\n{clock(a, mark)} --> {clock(b, mark)}\n<v head>nod\n\n" for k, (a, b) in enumerate(spans, 1))
    return webvtt, f"talk one.{form}", head + "".join(cues)


@pytest.mark.parametrize("form", ["eaf", "csv", "srt", "vtt"])
@given(
    first_frame=st.integers(0, 200_000),
    edges=st.lists(st.integers(0, 3_999), min_size=2, max_size=8, unique=True).map(sorted),
)
def test_times_of_a_recording_are_kept_to_the_millisecond(form, first_frame, edges):
    start_us = first_frame * 40_000
    clip = replace(CLIPS[0], start_us=start_us, end_us=start_us + 4_000_000)
    pairs = zip(edges[::2], edges[1::2], strict=False)
    spans = [(a + start_us // 1000, b + start_us // 1000) for a, b in pairs if b - a >= MIN_PHASE_US // 1000]
    assume(spans)
    module, name, text = written_as(form, spans)
    found = module.read({name: text}, [clip], bases=BASES, recordings=[SOURCE])
    phases = [phase for layer in found.layers for row in layer.annotations for phase in row.phases]
    ends = sorted(((p.start_us + start_us) / 1000, (p.end_us + start_us) / 1000) for p in phases)
    assert ends == spans


def test_an_event_in_no_clip_is_a_loss_and_an_untouched_clip_gets_no_annotation():
    slots = [("t1", 10_400), ("t2", 11_600), ("t3", 15_000), ("t4", 16_000)]
    text = eaf(slots, tier("head", aligned("a1", "t1", "t2", "nod") + aligned("a2", "t3", "t4", "nod")))
    result = read(elan, {"other.eaf": text})
    assert list(phases(result)) == ["clip_1"]
    assert [(loss.reason, loss.count) for loss in result.losses] == [("lies in no clip of the recording", 1)]


def test_an_annotation_of_which_nothing_is_left_is_invalid():
    text = eaf([("t1", 9_000), ("t2", 10_050)], tier("head", aligned("a1", "t1", "t2", "nod")))
    ((row,),) = (layer.annotations for layer in read(elan, {"other.eaf": text}).layers)
    assert (row.status, row.phases) == ("invalid", ())


def test_slots_without_a_time_divide_the_time_of_their_own_tier():
    slots = [("t1", 10_000), ("t2", None), ("t5", 10_300), ("t3", None), ("t6", 10_900), ("t4", 12_100)]
    head = aligned("a2", "t1", "t2", "nod") + aligned("a3", "t2", "t3", "tilt head") + aligned("a4", "t3", "t4", "nod")
    text = eaf(slots, tier("head", head) + tier("gaze", aligned("a5", "t5", "t6", "look away")))
    assert phases(read(elan, {"other.eaf": text}))["clip_1"] == [
        ("nod", 0, 700_000), ("look_away", 300_000, 900_000), ("tilt_head", 700_000, 1_400_000),
        ("nod", 1_400_000, 2_100_000),
    ]  # fmt: skip


def test_slots_in_a_ring_end():
    slots = [("t1", 10_000), ("t2", None), ("t3", None)]
    ring = aligned("a1", "t1", "t2", "nod") + aligned("a2", "t2", "t3", "nod") + aligned("a3", "t3", "t2", "nod")
    assert not phases(read(elan, {"other.eaf": eaf(slots, tier("head", ring))})).get("clip_1")


def test_children_follow_the_one_that_they_name_as_previous():
    words = child("a4", "a1", "third", "a3") + child("a2", "a1", "first") + child("a3", "a1", "second", "a2")
    text = eaf(
        [("t1", 10_400), ("t2", 11_600)],
        tier("head@SP1", aligned("a1", "t1", "t2", "nod")) + tier("tx@SP1", words, PARENT_REF="head@SP1"),
    )
    ((row,),) = (layer.annotations for layer in read(elan, {"other.eaf": text}).layers)
    assert row.phases[0].text.index("first") < row.phases[0].text.index("second") < row.phases[0].text.index("third")


def test_speaker_and_coder_of_a_tier_are_both_kept():
    slots = [("t1", 10_400), ("t2", 11_600)]
    tiers = "".join(
        tier(f"head@{who}", aligned(f"a{who}", "t1", "t2", "nod"), ANNOTATOR="coder1") for who in ("ADA", "BEN")
    )
    found = read(elan, {"other.eaf": eaf(slots, tiers)})
    assert [layer.annotator_id for layer in found.layers] == ["coder1.ADA", "coder1.BEN"]


def test_two_recordings_of_one_name_identify_neither():
    twin = replace(SOURCE, source_id="src_2", path="other/talk one.mp4")
    clips = [*CLIPS, clip_at("clip_3", 0, source_id="src_2")]
    result = elan.read({"other.eaf": EAF}, clips, bases=BASES, recordings=[SOURCE, twin])
    assert not result.layers
    assert result.losses


def test_the_media_of_a_label_studio_task_may_be_the_recording():
    """Its upload gives `talk one.mp4` another name."""
    region = {
        "id": "r1", "from_name": "head", "to_name": "video", "type": "timelinelabels",
        "value": {"ranges": [{"start": 261, "end": 290}], "timelinelabels": ["nod"]},
    }  # fmt: skip
    task = {"data": {"video": "/data/upload/1/0a1b2c3d-talk_one.mp4"}, "annotations": [{"id": 1, "result": [region]}]}
    config = '<View><Video name="video" value="$video" framerate="25"/></View>'
    found = read(label_studio, {"tasks.json": json.dumps([task]), "config.xml": config})
    assert phases(found) == {"clip_1": [("nod", 400_000, 1_600_000)]}
