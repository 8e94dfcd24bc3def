"""WebVTT: what a browser would show, and cues that other tools write."""

from dataclasses import replace

import pytest

from xsheet.annotate.formats import webvtt
from xsheet.schemas.errors import ContractError

FREE_HAND = """\ufeffWEBVTT - some title

STYLE
::cue { color: red }

NOTE
a remark

00:00.400 --> 00:01.200 line:0
<v Left hand>Wave</v>

second
00:00:01.500 --> 00:00:02.500
she <b>nods</b> &lt;twice&gt;
and smiles

00:00:03.000 --> broken
lost
"""


def phases_of(text, clip):
    reading = webvtt.read({"clip_1.vtt": text}, [clip])
    return reading.layers[0].annotations[0].phases, {(loss.field, loss.reason) for loss in reading.losses}


def test_a_cue_has_the_id_of_its_phase_and_shows_its_text(annotation, phase, clip):
    out = webvtt.export([annotation(phase())], [clip])
    assert "\n\np0\n00:00:00.400 --> 00:00:01.200\n<v.nod.none head>nods twice</v>\n" in out.files["clip_1.gold.vtt"]


@pytest.mark.parametrize(
    "text", ["a --> b", "<script>alert(1)</script>", "</v><v x>", "a\n\nb", "x\r\n00:00:01.000 --> "]
)
def test_no_text_can_end_its_cue_or_open_a_tag(text, annotation, phase, clip):
    lines = webvtt.export([annotation(phase(text=text))], [clip]).files["clip_1.gold.vtt"].split("\n\np0\n")[1]
    _timing, payload, *rest = lines.split("\n")
    assert payload.count("<") == 2
    assert "-->" not in payload
    assert rest == [""]


def test_a_base_that_holds_an_arrow_stays_inside_the_note(annotation, phase, clip):
    one = annotation(phase(), base=replace(annotation().base, scene="left --> right\n\nwall"))
    files = webvtt.export([one], [clip]).files
    assert files["clip_1.gold.vtt"].count("-->") == 1
    assert webvtt.read(files, [clip]).layers[0].annotations[0].base == one.base


def test_cues_of_another_tool_are_read_by_voice_and_text(clip):
    found, lost = phases_of(FREE_HAND, clip)
    assert [(one.track, one.action, one.text, one.start_us, one.end_us) for one in found] == [
        ("arm_left", "wave", "wave", 400_000, 1_200_000),
        ("whole_body", "other", "she nods <twice> and smiles", 1_500_000, 2_500_000),
    ]
    assert {("phases", "no times"), ("cue settings", "the contract has no field for them")} <= lost


def test_windows_line_ends_read_the_same(clip):
    assert phases_of(FREE_HAND.replace("\n", "\r\n"), clip) == phases_of(FREE_HAND, clip)


@pytest.mark.parametrize("text", ["", "WEBVTTX\n\n", "1\n00:01,000 --> 00:02,000\nsrt", "WEBVTT\n\nNOTE xsheet {"])
def test_what_is_no_webvtt_is_refused(text, clip):
    with pytest.raises(ContractError):
        webvtt.read({"clip_1.vtt": text}, [clip])


def test_a_note_of_the_wrong_kinds_is_data_like_any_other(clip):
    note = 'WEBVTT\n\nNOTE xsheet {"clip_id": 3, "annotator": [], "base": [1], "annotation_id": {}}\n\n'
    found, _ = phases_of(note + "00:01.000 --> 00:02.000\nnod\n", clip)
    assert [one.action for one in found] == ["nod"]
