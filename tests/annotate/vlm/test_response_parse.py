import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.vlm.response import parse_reply

GOOD = {
    "base": {
        "text": "A woman sits before a plain wall.", "subject": "a woman", "framing": "face", "scene": "a wall",
        "camera": "static", "speaking": "speaking", "emotion": None,
    },
    "phases": [
        {
            "evidence": "the chin goes down", "track": "head", "side": "none", "start_s": 1, "end_s": 2.25,
            "action": "nod", "action_raw": None, "amplitude": 2, "speed": None, "repetitions": 1, "text": "nods once",
        }
    ],
}  # fmt: skip
TEXT = json.dumps(GOOD)


def test_the_wire_form_is_read():
    found = parse_reply(TEXT, finish_reason="stop")
    assert (found.status, found.repairs) == ("ok", ())
    assert found.reply.phases[0].end_s == 2.25


@pytest.mark.parametrize(
    ("finish_reason", "status"),
    [("length", "truncated"), ("content_filter", "refused"), ("refusal", "refused"), ("abort", "error")],
)
def test_how_the_engine_stopped_decides_before_the_text(finish_reason, status):
    assert parse_reply(TEXT, finish_reason=finish_reason).status == status


@pytest.mark.parametrize("finish_reason", ["stop", "eos", "", None])
def test_other_ends_let_the_text_decide(finish_reason):
    assert parse_reply(TEXT, finish_reason=finish_reason).status == "ok"


@pytest.mark.parametrize(
    ("around", "taken_off"),
    [
        ("```json\n{}\n```", ["fence"]),
        ("Here it is:\n```\n{}\n```\nDone.", ["fence"]),
        ("<think>The head nods.</think>\n{}", ["thoughts"]),
        ("The head nods.\n</think>\n{}", ["thoughts"]),
        ("```json{}```", ["fence"]),
        ("Here it is, as {{asked}}: {}", ["prose"]),
        ("{}\n\nNote: one nod.", ["prose"]),
        ("[{}]", ["list"]),
        ("<think>```json\n{{}}\n```</think>\n```json\n{}\n```", ["thoughts", "fence"]),
    ],
)
def test_what_is_taken_off_around_the_json_is_a_repair(around, taken_off):
    found = parse_reply(around.format(TEXT), finish_reason="stop")
    assert found.status == "ok"
    assert [r.before.split(",")[0] for r in found.repairs] == taken_off


@pytest.mark.parametrize(
    ("written", "as_model_wrote", "repaired"),
    [
        ('"end_s": 2.25', '"end_s": "2.25s"', "phases/0/end_s"),
        ('"end_s": 2.25', '"end_s": "00:02.25"', "phases/0/end_s"),
        (', "speed": null', "", "phases/0/speed"),
        (', "emotion": null', "", "base/emotion"),
        ('"end_s": 2.25', '"end_s": 2.25, "mood": "good"', "phases/0/mood"),
        ('{"base"', '{"duration_s": 5, "base"', "duration_s"),
    ],
)
def test_a_deviation_with_one_meaning_is_read_and_logged(written, as_model_wrote, repaired):
    found = parse_reply(TEXT.replace(written, as_model_wrote, 1), finish_reason="stop")
    assert found.reply == parse_reply(TEXT, finish_reason="stop").reply
    assert [repair.path for repair in found.repairs] == [repaired]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "  \n",
        "I cannot help with that.",
        TEXT[:-1],
        TEXT[:-1] + ",}",
        TEXT.replace('"end_s": 2.25', '"end_s": "soon"'),
        TEXT + TEXT,
        "<think>" + TEXT,
        f"```json\n{TEXT}\n```\n```json\n{TEXT}\n```",
        TEXT.replace('"start_s": 1', '"start_s": NaN'),
        TEXT.replace('"start_s": 1', '"start_s": 1, "start_s": 1.5'),
        TEXT.replace('"start_s": 1', '"start_s": 1' + "0" * 5000),
        TEXT.replace('"start_s": 1, ', ""),
        TEXT.replace("nods once", "nods \\ud800 once"),
        "[" * 100_000,
    ],
)
def test_anything_else_is_invalid_with_a_note_of_one_line(text):
    found = parse_reply(text, finish_reason="stop")
    assert (found.status, found.reply) == ("invalid", None)
    assert found.note
    assert len(found.note) <= 300
    assert found.note.isprintable()


@given(st.one_of(st.text(), st.binary().map(lambda b: b.decode("utf-8", "replace"))), st.sampled_from(["stop", None]))
def test_no_text_makes_it_fail(text, finish_reason):
    assert parse_reply(text, finish_reason=finish_reason).status == "invalid"
