from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.text.mirror import mirror_annotation, mirror_signals, mirror_text
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base, Evidence, FacialEmotion, Phase, sorted_phases
from xsheet.schemas.clip import Signals

SERIES = [f.name for f in fields(Signals) if f.name not in ("clip_id", "frames", "extractor")]
ASPECT = 16 / 9


def phase(track: vocab.Track = "arm_left", **changes: Any) -> Phase:
    values: dict[str, Any] = {
        "phase_id": track, "track": track, "start_us": 400_000, "end_us": 1_200_000, "action": "raise_hand",
        "text": "raises the left hand", "laterality": vocab.SIDED_TRACK.get(track, "none"), "kind": "gesture",
        "origin": "vlm",
    }  # fmt: skip
    return Phase(**values | changes)


def annotation(*phases: Phase) -> Annotation:
    base = Base(
        text="A woman sits to the left of a lamp and speaks.", subject="a woman", framing="upper_body",
        scene="a lamp on her right side", camera="pan", camera_note="pans right", speaking="speaking",
    )  # fmt: skip
    return Annotation(
        annotation_id="ann_1", vocab_version="1", clip_id="c", layer="gold", run_id="r", status="ok",
        duration_us=5_000_000, base=base, phases=sorted_phases(phases),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "flipped"),
    [
        ("raises the left hand", "raises the right hand"),
        ("Left hand up, then RIGHT.", "Right hand up, then LEFT."),
        ("waves left-handed with a left-hand glove", "waves right-handed with a right-hand glove"),
        ("the lefthand, leftmost, upper-left finger", "the righthand, rightmost, upper-right finger"),
        ("leans leftward and rightwards", "leans rightward and leftwards"),
        ("the left's thumb", "the right's thumb"),
        ("hand_left, left/right", "hand_right, right/left"),
        ("turns left, looks right.", "turns right, looks left."),
        ("turns the head left before nodding", "turns the head right before nodding"),
        ("looks left before nodding", "looks right before nodding"),
        ("circles the hand clockwise", "circles the hand counterclockwise"),
    ],
)
def test_sides_are_exchanged(text, flipped):
    assert mirror_text(text) == flipped


@pytest.mark.parametrize(
    "text",
    [
        "nods right away",
        "All right, she nods",
        "right after the nod",
        "looks right at the camera",
        "holds it right in front of the face",
        "the mouth is left open",
        "has left the room",
        "at a right angle, at the right moment",
        "upright, bright, cleft, righteous, leftover, alright",
        "nods to say that's right",
    ],
)
def test_phrases_without_a_side_stay(text):
    assert mirror_text(text) == text


def test_a_side_stays_a_side_inside_what_sounds_like_a_phrase():
    assert mirror_text("moves her right away from her face") == "moves her left away from her face"


def test_track_parts_side_and_words_of_a_phase_change_together():
    one = phase(
        text_short="left hand up", action_raw="left raise", body_parts=("hand_left", "head", "fingers_right"),
        evidence=Evidence(text="left hand blurs"),
        emotion=FacialEmotion(label="happy", intensity=1, evidence="left mouth corner up"),
    )  # fmt: skip
    (flipped,) = mirror_annotation(annotation(one)).phases
    assert (flipped.track, flipped.laterality) == ("arm_right", "right")
    assert flipped.body_parts == ("hand_right", "head", "fingers_left")
    assert flipped.text == "raises the right hand"
    assert (flipped.text_short, flipped.action_raw) == ("right hand up", "right raise")
    assert flipped.evidence == Evidence(text="right hand blurs")
    assert flipped.emotion == FacialEmotion(label="happy", intensity=1, evidence="right mouth corner up")


def test_the_base_block_is_mirrored_too():
    base = mirror_annotation(annotation()).base
    assert base is not None
    assert base.text == "A woman sits to the right of a lamp and speaks."
    assert (base.scene, base.camera_note) == ("a lamp on her left side", "pans left")


def test_phases_stay_in_the_order_of_the_contract():
    both = mirror_annotation(annotation(phase("arm_left"), phase("arm_right"))).phases
    assert [p.track for p in both] == ["arm_left", "arm_right"]


def test_left_and_right_series_are_exchanged_and_signs_turned():
    flipped = mirror_signals(
        Signals(
            clip_id="c", frames=2, extractor="t", yaw_deg=(5.0, None), roll_deg=(1.0, -1.0), pitch_deg=(3.0, 3.0),
            gaze_x=(0.5, 0.5), gaze_y=(0.5, 0.5), eye_left_open=(1.0, 1.0), wrist_left_x=(0.25, None),
            wrist_left_y=(0.5, 0.5), head_x=(0.5, 0.75), hand_right_visible=(1.0, 0.0),
        ),
        aspect=2.0,
    )  # fmt: skip
    assert (flipped.yaw_deg, flipped.roll_deg, flipped.pitch_deg) == ((-5.0, None), (-1.0, 1.0), (3.0, 3.0))
    assert (flipped.gaze_x, flipped.gaze_y) == ((-0.5, -0.5), (0.5, 0.5))
    assert (flipped.eye_right_open, flipped.eye_left_open) == ((1.0, 1.0), ())
    assert (flipped.wrist_right_x, flipped.wrist_right_y, flipped.wrist_left_x) == ((1.75, None), (0.5, 0.5), ())
    assert (flipped.head_x, flipped.hand_left_visible) == ((1.5, 1.25), (1.0, 0.0))


@pytest.mark.slow
def test_the_truth_of_a_mirrored_puppet_agrees_with_its_signals():
    turned = [one for k in range(30) for one in turns(k)]
    assert len(turned) > 5
    for sign, side in turned:
        assert side == ("left" if sign > 0 else "right")


def turns(index: int):
    """(sign of the yaw in the middle, side) of each head turn of a flipped story."""
    _, measured, truth = truth_rows(plan_film(index, seed=3, kind="talk"), "src_1")
    assert isinstance(measured, Signals)
    assert isinstance(truth, Annotation)
    yaw = np.array(mirror_signals(measured, aspect=1.0).yaw_deg, float)
    for one in mirror_annotation(truth).phases:
        if one.action == "turn_head":
            middle = (one.start_us + one.end_us) // 80_000
            yield float(np.sign(yaw[middle])), one.laterality


pieces = st.sampled_from(
    ("left", "right", "Left", "RIGHT", "lEFT", "clockwise", "counterclockwise", "anticlockwise", "now", "away", "all",
     "the", "her", "looks", "the room", "at the camera", "hand", "-", "'s", "_", "most", "handed", " ", " ", " ", ",")
)  # fmt: skip
texts = st.lists(pieces | st.text(max_size=2), max_size=14).map("".join)


@pytest.mark.slow
@given(texts)
def test_flipping_words_twice_changes_nothing(text):
    assert mirror_text(mirror_text(text)) == text


@given(st.lists(st.sampled_from(vocab.TRACKS), unique=True, max_size=6), texts)
def test_flipping_an_annotation_twice_changes_nothing(tracks, text):
    phases = [phase(track, text="nods " + text[:300], body_parts=("hand_left", "eye_right")) for track in tracks]
    one = annotation(*phases)
    assert mirror_annotation(mirror_annotation(one)) == one


@pytest.mark.slow
@given(st.data(), st.floats(0.3, 3))
def test_flipping_signals_twice_changes_nothing(data, aspect):
    values = st.floats(-4, 4, width=32) | st.none()
    series = st.tuples(values, values, values)
    one = Signals(
        clip_id="c", frames=3, extractor="t", **data.draw(st.dictionaries(st.sampled_from(SERIES), series, max_size=9))
    )
    back = mirror_signals(mirror_signals(one, aspect=aspect), aspect=aspect)
    for name in SERIES:
        assert getattr(back, name) == pytest.approx(getattr(one, name), abs=1e-6)
