import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.vlm.normalise import TimeSnapTargets, normalise
from xsheet.annotate.vlm.response import ResponseBase, ResponseDocument, ResponsePhase
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation

CLIP_US = 5_000_000
BASE = ResponseBase(
    text="A woman with short dark hair sits in front of a plain wall.",
    subject="a woman with short dark hair",
    framing="head_shoulders",
    scene="a plain wall",
    camera="static",
    speaking="speaking",
    emotion=None,
)
NOD = ResponsePhase(
    evidence="the chin goes down and up again",
    track="head",
    side="none",
    start_s=1.0,
    end_s=2.0,
    action="nod",
    action_raw=None,
    amplitude=2,
    speed=None,
    repetitions=1,
    text="nods once",
)


def reply_of(*phases):
    return ResponseDocument(base=BASE, phases=phases)


def changed(**fields):
    return reply_of(NOD.model_copy(update=fields))


def ops(found):
    return [(one.op, one.path, one.before, one.after) for one in found.repairs]


def test_a_sound_reply_is_left_as_it_is():
    found = normalise(reply_of(NOD), TimeSnapTargets(duration_us=CLIP_US))
    (phase,) = found.phases
    assert not found.repairs
    assert (phase.start_us, phase.end_us, phase.action, phase.kind) == (1_000_000, 2_000_000, "nod", "action")
    assert (phase.origin, phase.evidence.text) == ("vlm", "the chin goes down and up again")


def test_no_phases_stay_no_phases():
    found = normalise(reply_of(), TimeSnapTargets(duration_us=CLIP_US))
    assert found.base is not None
    assert found.phases == ()


def test_swapped_times_are_swapped_back():
    found = normalise(changed(start_s=2.0, end_s=1.0), TimeSnapTargets(duration_us=CLIP_US))
    assert [(p.start_us, p.end_us) for p in found.phases] == [(1_000_000, 2_000_000)]
    assert ops(found) == [("swap", "phases/0/start_s", "2.0", "1.0"), ("swap", "phases/0/end_s", "1.0", "2.0")]


def test_an_end_beyond_the_clip_is_clipped():
    found = normalise(changed(end_s=5.4), TimeSnapTargets(duration_us=CLIP_US))
    assert found.phases[0].end_us == CLIP_US
    assert ops(found) == [("clip", "phases/0/end_s", "5.4", "5.0")]


@pytest.mark.parametrize(
    "last", [(8.0, 9.0), (24.0, 30.0), (5.5, 9.5)], ids=["behind the clip", "frames", "twice too long"]
)
def test_times_that_fit_no_unit_for_certain_make_the_reply_invalid(last):
    late = NOD.model_copy(update={"start_s": last[0], "end_s": last[1]})
    found = normalise(reply_of(NOD, late), TimeSnapTargets(duration_us=CLIP_US))
    assert (found.base, found.phases) == (None, ())
    assert "do not fit a clip of 5 s" in found.note


def test_milliseconds_are_read_as_such():
    found = normalise(changed(start_s=1200.0, end_s=2400.0), TimeSnapTargets(duration_us=CLIP_US))
    assert [(p.start_us, p.end_us) for p in found.phases] == [(1_200_000, 2_400_000)]
    assert {r.op for r in found.repairs} == {"scale"}


def test_words_of_another_script_are_kept():
    chinese = changed(text="点头")
    base = chinese.base.model_copy(update={"text": "女士对镜头讲话。"})
    found = normalise(chinese.model_copy(update={"base": base}), TimeSnapTargets(duration_us=CLIP_US))
    assert (found.base.text, found.phases[0].text) == ("女士对镜头讲话。", "点头")


def test_a_phase_that_is_too_short_is_given_the_minimum():
    found = normalise(changed(end_s=1.02), TimeSnapTargets(duration_us=CLIP_US))
    assert found.phases[0].end_us == 1_120_000


def test_on_one_track_the_earlier_phase_ends_where_the_later_starts():
    shake = NOD.model_copy(update={"start_s": 1.5, "end_s": 3.0, "action": "shake_head"})
    found = normalise(reply_of(shake, NOD), TimeSnapTargets(duration_us=CLIP_US))
    assert [(p.action, p.start_us, p.end_us) for p in found.phases] == [
        ("nod", 1_000_000, 1_500_000),
        ("shake_head", 1_500_000, 3_000_000),
    ]
    assert [r.op for r in found.repairs] == ["trim"]


def test_of_two_phases_for_the_same_stretch_the_longer_stays():
    twin = NOD.model_copy(update={"start_s": 1.05, "end_s": 1.5})
    found = normalise(reply_of(NOD, twin), TimeSnapTargets(duration_us=CLIP_US))
    assert [p.phase_id for p in found.phases] == ["p0"]
    assert [r.op for r in found.repairs] == ["drop"]


def test_phases_of_different_tracks_may_overlap():
    smile = NOD.model_copy(update={"track": "face", "action": "smile"})
    assert len(normalise(reply_of(NOD, smile), TimeSnapTargets(duration_us=CLIP_US)).phases) == 2


def test_times_snap_to_a_measured_edge_before_a_stamp():
    ruler = TimeSnapTargets(duration_us=CLIP_US, stamps_us=(0, 1_000_000, 2_000_000), edges_us={"head": (1_080_000,)})
    found = normalise(changed(start_s=1.02, end_s=1.95), ruler)
    assert (found.phases[0].start_us, found.phases[0].end_us) == (1_080_000, 2_000_000)
    assert ops(found) == [("snap", "phases/0/start_s", "1.02", "1.08"), ("snap", "phases/0/end_s", "1.95", "2.0")]


def test_times_far_from_all_marks_stay():
    ruler = TimeSnapTargets(duration_us=CLIP_US, stamps_us=(0, 1_500_000, 3_000_000), edges_us={"gaze": (1_000_001,)})
    assert not normalise(reply_of(NOD), ruler).repairs


def test_an_edge_of_another_track_does_not_attract():
    ruler = TimeSnapTargets(duration_us=CLIP_US, edges_us={"gaze": (1_050_000,)})
    assert normalise(reply_of(NOD), ruler).phases[0].start_us == 1_000_000


def test_uncertainty_is_the_stamp_step_by_root_12():
    ruler = TimeSnapTargets(duration_us=CLIP_US, stamps_us=tuple(range(0, CLIP_US, 125_000)))
    phase = normalise(reply_of(NOD), ruler).phases[0]
    assert phase.start_sigma_us == phase.end_sigma_us == 36_085


@pytest.mark.parametrize(
    ("track", "side", "text", "expected"),
    [
        ("arm_left", "right", "raises an arm", ("arm_left", "left")),
        ("arm_left", "right", "raises the right hand", ("arm_right", "right")),
        ("arm_left", "right", "raises the left hand", ("arm_left", "left")),
        ("hands", "right", "opens the left palm", ("hands", "left")),
        ("hands", "both", "lays the left hand on the table", ("hands", "both")),
        ("head", "left", "turns the head to the right", ("head", "left")),
        ("left hand", "left", "waves", ("arm_left", "left")),
        ("Eyebrows", "None", "raises both brows", ("brows", "none")),
    ],
)
def test_track_side_and_words_come_to_agree(track, side, text, expected):
    phase = normalise(changed(track=track, side=side, text=text), TimeSnapTargets(duration_us=CLIP_US)).phases[0]
    assert (phase.track, phase.laterality) == expected


def test_an_unknown_class_becomes_other_with_the_own_word_kept():
    found = normalise(changed(action="nodding vigorously"), TimeSnapTargets(duration_us=CLIP_US))
    assert (found.phases[0].action, found.phases[0].action_raw) == ("other", "nodding vigorously")
    assert [r.op for r in found.repairs] == ["set", "set"]


def test_a_class_in_another_spelling_is_found():
    found = normalise(changed(action="Shake-head"), TimeSnapTargets(duration_us=CLIP_US))
    assert (found.phases[0].action, found.phases[0].action_raw) == ("shake_head", None)


def test_an_unknown_track_is_dropped():
    found = normalise(reply_of(NOD, NOD.model_copy(update={"track": "tail"})), TimeSnapTargets(duration_us=CLIP_US))
    assert len(found.phases) == 1
    assert found.repairs[0].op == "drop"


@pytest.mark.parametrize(
    ("reply_text", "kept"),
    [
        ("The video shows a woman who nods.", "A woman who nods."),
        ("In this clip, the man waves. The camera shows that he smiles.", "The man waves. He smiles."),
        ("we can see nods once", "nods once"),
        ("holds a picture frame", "holds a picture frame"),
        ("nods\u202e once\x00\n twice", "nods once twice"),
        ("", "nod"),
    ],
)
def test_talk_about_the_medium_and_invisible_characters_go(reply_text, kept):
    assert normalise(changed(text=reply_text), TimeSnapTargets(duration_us=CLIP_US)).phases[0].text == kept


def test_numbers_outside_their_scale_are_clipped():
    found = normalise(changed(amplitude=10**40, speed=-1, repetitions=0), TimeSnapTargets(duration_us=CLIP_US))
    phase = found.phases[0]
    assert (phase.amplitude, phase.speed, phase.repetitions) == (3, 0, 1)


def test_a_ruler_of_another_clip_is_refused():
    with pytest.raises(ValueError, match="instants of the clip"):
        TimeSnapTargets(duration_us=CLIP_US, stamps_us=(0, CLIP_US + 1))


# ---- properties


WORDS = st.one_of(
    st.text(max_size=30), st.sampled_from(["the left hand", "The video shows a nod", "right-arm", "x" * 700])
)
SECONDS = st.one_of(st.floats(-1, 6), st.floats(allow_nan=False, allow_infinity=False))
LEVEL = st.one_of(st.none(), st.integers())
PHASES = st.builds(
    ResponsePhase,
    evidence=WORDS,
    track=st.one_of(st.sampled_from(vocab.TRACKS[:9]), WORDS),
    side=st.one_of(st.sampled_from(["left", "right", "both", "none"]), WORDS),
    start_s=SECONDS,
    end_s=SECONDS,
    action=st.one_of(st.sampled_from(vocab.ACTIONS), WORDS),
    action_raw=st.one_of(st.none(), WORDS),
    amplitude=LEVEL,
    speed=LEVEL,
    repetitions=LEVEL,
    text=WORDS,
)
BASES = st.builds(ResponseBase, text=WORDS, subject=WORDS, scene=WORDS, emotion=st.one_of(st.none(), WORDS))
REPLIES = st.builds(ResponseDocument, base=BASES, phases=st.lists(PHASES, max_size=6).map(tuple))
INSTANTS = st.lists(st.integers(0, CLIP_US), max_size=12).map(sorted)
RULERS = st.builds(
    TimeSnapTargets,
    duration_us=st.just(CLIP_US),
    stamps_us=INSTANTS,
    edges_us=st.dictionaries(st.sampled_from(vocab.TRACKS), INSTANTS),
)


def as_wire(found):
    phases = [
        ResponsePhase(
            evidence=(p.evidence.text or "") if p.evidence else "",
            track=p.track,
            side=p.laterality,
            start_s=p.start_us / 1e6,
            end_s=p.end_us / 1e6,
            action=p.action,
            action_raw=p.action_raw,
            amplitude=p.amplitude,
            speed=p.speed,
            repetitions=p.repetitions,
            text=p.text,
        )
        for p in found.phases
    ]
    base = {name: getattr(found.base, name) for name in ResponseBase.model_fields}
    return ResponseDocument(base=ResponseBase(**base), phases=tuple(phases))


@pytest.mark.slow
@given(REPLIES, RULERS)
def test_any_reply_of_the_wire_form_is_normalised_to_a_valid_annotation(reply, ruler):
    found = normalise(reply, ruler)
    if found.base is None:
        assert found.note
    else:
        Annotation(
            annotation_id="a", vocab_version=vocab.VOCAB_VERSION, clip_id="c", layer="normalised", parent_ids=("r",),
            run_id="r", status="ok", duration_us=CLIP_US, base=found.base, phases=found.phases, repairs=found.repairs,
        )  # fmt: skip


@pytest.mark.slow
@given(REPLIES, RULERS)
def test_normalising_twice_changes_nothing(reply, ruler):
    once = normalise(reply, ruler)
    if once.base is not None:
        twice = normalise(as_wire(once), ruler)
        renamed = [replace(p, phase_id=once.phases[i].phase_id) for i, p in enumerate(twice.phases)]
        assert tuple(renamed) == once.phases
        assert twice.base == once.base
        assert not twice.repairs


@pytest.mark.slow
@given(REPLIES)
def test_a_reply_survives_its_own_json(reply):
    assert ResponseDocument.model_validate_json(json.dumps(reply.model_dump())) == reply
