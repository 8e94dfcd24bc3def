from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.base import AnnotationRequest
from xsheet.annotate.motion.annotator import MotionAnnotator, MotionSettings, annotate_motion, kinematic_phases
from xsheet.annotate.motion.detected_actions import DetectedAction
from xsheet.annotate.motion.segments import MotionSegment
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.time import Span

FRAMES = 150
STILL = {
    "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0, "gaze_x": 0.0, "gaze_y": 0.0, "eye_left_open": 0.3,
    "eye_right_open": 0.3, "brow_raise": 0.17, "smile": 0.1, "mouth_open": 0.0, "mouth_wide": 0.3, "head_x": 0.5,
    "head_y": 0.4, "head_height": 0.4, "face_visible": 1.0, "shoulder_left_x": 0.9, "shoulder_left_y": 0.8,
    "shoulder_right_x": 0.1, "shoulder_right_y": 0.8, "wrist_left_x": 0.8, "wrist_left_y": 0.95, "wrist_right_x": 0.2,
    "wrist_right_y": 0.95, "hand_left_visible": 1.0, "hand_right_visible": 1.0, "voice": 0.0,
}  # fmt: skip


def eased(*keys, frames=FRAMES):
    """Minimum jerk from key (instant in frames, value) to key, seen in the middle of each frame."""
    times, values = np.array(keys, float).T
    now = np.arange(frames) + 0.5
    k = np.clip(np.searchsorted(times, now, side="right"), 1, len(times) - 1)
    x = np.clip((now - times[k - 1]) / (times[k] - times[k - 1]), 0, 1)
    return values[k - 1] + (values[k] - values[k - 1]) * x**3 * (10 - 15 * x + 6 * x**2)


def held(peak, *, start=40, out=12, hold=15, back=15):
    """Out, stay, back; the phase ends with the frame that `end_of` names."""
    return eased((start, 0), (start + out, peak), (start + out + hold, peak), (start + out + hold + back, 0))


def waved(peak, cycles, *, start=40, length=12, both_ways=False):
    shares = ((0.25, 1), (0.75, -1)) if both_ways else ((0.45, 1), (1.0, 0))
    keys = [(start + length * (n + at), peak * share) for n in range(cycles) for at, share in shares]
    end = (start + length * cycles, 0)
    return eased((start, 0), *(key for key in keys if key[0] < end[0] - 0.5), end)


def opened(peak):
    """A mouth that opens, and the box of the face that grows with it."""
    mouth = held(peak)
    return {"mouth_open": mouth, "head_height": 0.4 * 0.8 * mouth, "head_y": 0.4 * 0.4 * mouth}


def pitched(change):
    """A head that is lowered or raised about the neck: its face sinks or rises by .01 of its height per degree."""
    return {"pitch_deg": change, "head_y": -0.01 * 0.4 * change}


def leaning(change):
    """A head that comes nearer, with the shoulders."""
    shoulder = held(change, out=18, back=20) / 2
    return {"head_height": 2 * shoulder, "shoulder_left_x": shoulder, "shoulder_right_x": -shoulder}


def smiling(widening):
    """A smile whose mouth widens; what the width adds to the measured smile comes on top."""
    return {"smile": held(0.6 + 3.6 * widening, hold=30), "mouth_wide": held(widening, hold=30)}


def signals(**moves):
    """Measured signals of a person who is still but for what is added to the named series."""
    series = {name: value + moves.get(name, np.zeros(FRAMES)) for name, value in STILL.items()}
    return of_arrays(series)


def of_arrays(series):
    frames = len(next(iter(series.values())))
    tuples = {n: tuple(None if np.isnan(v) else float(v) for v in values) for n, values in series.items()}
    return Signals(clip_id="clip_x", frames=frames, extractor="mesh", **tuples)


def clip_of(some, *, height=720):
    return Clip(
        clip_id="clip_x", source_id="src_x", start_us=0, end_us=40_000 * some.frames, media_path="media/x.mp4",
        media_sha256="0" * 64, frames=some.frames, samples=0, width=height, height=height,
    )  # fmt: skip


def phases(some, *, rest=False, height=720):
    stated = annotate_motion(clip_of(some, height=height), some, MotionSettings())
    return [p for p in stated.phases if rest or p.action != "rest"]


def only(some):
    (phase,) = phases(some)
    return phase


ACTS = {
    "nod": (signals(**pitched(waved(-11, 2))), "none", Span(1_600_000, 2_560_000)),
    "shake_head": (signals(yaw_deg=waved(15, 2, length=16, both_ways=True)), "none", Span(1_600_000, 2_880_000)),
    "turn_head": (signals(yaw_deg=held(30)), "left", Span(1_600_000, 3_280_000)),
    "tilt_head": (signals(roll_deg=held(-14)), "right", Span(1_600_000, 3_280_000)),
    "lower_head": (signals(**pitched(held(-14, hold=25))), "none", Span(1_600_000, 3_680_000)),
    "raise_head": (signals(**pitched(held(14))), "none", Span(1_600_000, 3_280_000)),
    "look_away": (signals(gaze_x=held(-0.4, out=4, back=5)), "right", Span(1_600_000, 2_560_000)),
    "blink_long": (
        signals(eye_left_open=held(-0.28, out=3, hold=6, back=4), eye_right_open=held(-0.28, out=3, hold=6, back=4)),
        "both",
        Span(1_600_000, 2_120_000),
    ),
    "raise_brows": (signals(brow_raise=held(0.03)), "both", Span(1_600_000, 3_280_000)),
    "smile": (signals(**smiling(0.06)), "none", Span(1_600_000, 3_880_000)),
    "open_mouth": (signals(**opened(0.12)), "none", Span(1_600_000, 3_280_000)),
    "purse_lips": (signals(mouth_wide=held(-0.08, hold=30)), "none", Span(1_600_000, 3_880_000)),
    "lean_in": (signals(**leaning(0.08)), "none", Span(1_600_000, 3_720_000)),
    "lean_back": (signals(**leaning(-0.06)), "none", Span(1_600_000, 3_720_000)),
    "sway": (
        signals(
            **dict.fromkeys(
                ("head_x", "shoulder_left_x", "shoulder_right_x"), waved(0.1, 2, length=36, both_ways=True, start=20)
            )
        ),
        "none",
        Span(800_000, 3_680_000),
    ),
    "shrug": (
        signals(**dict.fromkeys(("shoulder_left_y", "shoulder_right_y"), held(-0.06, out=8, hold=8, back=9))),
        "both",
        Span(1_520_000, 2_520_000),
    ),
    "raise_hand": (signals(wrist_left_y=held(-0.5)), "left", Span(1_600_000, 3_280_000)),
    "wave": (
        signals(wrist_right_y=held(-0.8, hold=48), wrist_right_x=waved(-0.15, 4, start=53, both_ways=True)), "right",
        Span(1_600_000, 4_600_000),
    ),
}  # fmt: skip


@pytest.mark.parametrize("action", ACTS)
def test_each_class_is_found_once_with_its_side_and_times(action):
    some, side, span = ACTS[action]
    phase = only(some)
    assert (phase.action, phase.laterality) == (action, side)
    assert phase.span.tiou(span) > 0.8
    assert abs(phase.start_us - span.start_us) <= 80_000


@pytest.mark.parametrize("action", ACTS)
def test_a_mirrored_person_acts_on_the_other_side_at_the_same_time(action):
    some, side, _ = ACTS[action]
    arrays = {name: np.array(getattr(some, name)) for name in STILL}
    for name in ("yaw_deg", "roll_deg", "gaze_x"):
        arrays[name] = -arrays[name]
    for name in [name for name in arrays if name.endswith("_x") and name != "gaze_x"]:
        arrays[name] = 1 - arrays[name]
    for name in [name for name in arrays if "left" in name]:
        other = name.replace("left", "right")
        arrays[name], arrays[other] = arrays[other], arrays[name]
    mirrored, phase = only(of_arrays(arrays)), only(some)
    assert mirrored.laterality == {"left": "right", "right": "left"}.get(side, side)
    assert mirrored.span == phase.span


@pytest.mark.parametrize("action", ACTS)
def test_a_later_action_gives_a_later_phase(action):
    some, _, _ = ACTS[action]
    arrays = {name: np.array(getattr(some, name)) for name in STILL}
    later = {name: np.concatenate((np.repeat(values[:1], 7), values[:-7])) for name, values in arrays.items()}
    assert only(of_arrays(later)).span == only(some).span.shift(7 * 40_000)


@pytest.mark.parametrize("action", ACTS)
def test_a_camera_that_drifts_evenly_changes_nothing(action):
    some, _, _ = ACTS[action]
    arrays = {name: np.array(getattr(some, name), float) for name in STILL}
    for name in arrays:
        if name.endswith(("_x", "_y")) and not name.startswith("gaze"):
            arrays[name] += 0.001 * np.arange(FRAMES)
    found_phases = [(p.action, p.span, p.laterality) for p in (only(of_arrays(arrays)), only(some))]
    assert found_phases[0] == found_phases[1]


def test_a_person_who_keeps_still_rests_from_the_first_frame_to_the_last():
    (rest,) = phases(signals(), rest=True)
    assert (rest.action, rest.track, rest.span) == ("rest", "whole_body", Span(0, 6_000_000))


def test_rest_fills_the_time_before_and_after_an_action():
    found_phases = [(p.action, p.start_us) for p in phases(ACTS["turn_head"][0], rest=True)]
    assert [action for action, _ in found_phases] == ["rest", "turn_head", "rest"]


@pytest.mark.parametrize("cycles", [1, 2, 3, 4])
def test_nods_are_counted(cycles):
    phase = only(signals(**pitched(waved(-11, cycles))))
    assert (phase.action, phase.repetitions) == ("nod", cycles)


def test_nods_far_apart_are_two_phases():
    twice = waved(-11, 1) + waved(-11, 1, start=80)
    assert [p.repetitions for p in phases(signals(**pitched(twice)))] == [1, 1]


def test_an_ordinary_blink_is_no_action():
    blink = np.zeros(FRAMES)
    blink[60:63] = -0.25
    assert phases(signals(eye_left_open=blink, eye_right_open=blink)) == []


def test_a_mouth_that_opens_to_speak_is_no_action():
    assert phases(signals(**opened(0.12), voice=np.ones(FRAMES))) == []


@pytest.mark.parametrize("change", [0.08, -0.06])
def test_a_head_that_comes_nearer_without_the_shoulders_does_not_lean(change):
    assert phases(signals(head_height=leaning(change)["head_height"])) == []


def test_raised_corners_of_a_mouth_that_does_not_widen_are_no_smile():
    assert phases(signals(**smiling(0.0))) == []


def test_lips_that_round_in_speech_are_not_pursed():
    assert phases(signals(mouth_wide=held(-0.08, hold=30), voice=np.ones(FRAMES))) == []


def test_eyes_that_are_closed_from_the_start_are_found():
    closed = np.where(np.arange(FRAMES) < 20, -0.25, 0.0)
    phase = only(signals(eye_left_open=closed, eye_right_open=closed))
    assert (phase.action, phase.start_us) == ("blink_long", 0)
    assert abs(phase.end_us - 800_000) <= 80_000


def test_lowered_lids_with_a_lowered_head_look_down():
    lids = held(-0.2, out=4, hold=25, back=4)
    found = phases(signals(eye_left_open=lids, eye_right_open=lids, pitch_deg=held(-6, out=4, hold=25, back=4)))
    assert "look_down" in [p.action for p in found]
    assert "blink_long" not in [p.action for p in found]


def test_a_small_turn_counts_only_where_the_face_moves_along():
    turned = {"yaw_deg": held(12)}
    assert phases(signals(**turned)) == []
    moved = phases(signals(**turned, head_x=held(0.06)))
    assert [p.action for p in moved] == ["turn_head"]


def test_a_turn_held_to_the_end_has_a_short_stroke_and_a_hold():
    phase = only(signals(yaw_deg=eased((110, 0), (122, 30), (FRAMES, 30))))
    assert [part.phase for part in phase.kinematics] == ["stroke", "post_stroke_hold"]
    assert phase.kinematics[0].end_us - phase.start_us <= 600_000
    assert phase.end_us == 40_000 * FRAMES


@pytest.mark.parametrize(("peak", "level"), [(-6, 1), (-10, 2), (-19, 3)])
def test_larger_nods_have_a_higher_level(peak, level):
    assert only(signals(**pitched(waved(peak, 2)))).amplitude == level


@pytest.mark.parametrize(("length", "level"), [(19, 1), (13, 2), (8, 3)])
def test_quicker_nods_have_a_higher_level(length, level):
    assert only(signals(**pitched(waved(-11, 2, length=length)))).speed == level


def test_a_speaker_is_measured_by_his_other_actions():
    small, large = waved(-10, 1), sum(waved(-19, 1, start=start) for start in (70, 95, 120))
    alone, among = phases(signals(**pitched(small)))[0], phases(signals(**pitched(small + large)))[0]
    assert among.amplitude_z < alone.amplitude_z


def test_words_say_what_how_often_and_how():
    assert only(signals(**pitched(waved(-6, 2, length=8)))).text == "nods twice, slightly and quickly"


def test_a_raised_hand_has_a_stroke_a_hold_and_a_retraction():
    parts = only(ACTS["raise_hand"][0]).kinematics
    assert [part.phase for part in parts] == ["stroke", "post_stroke_hold", "retraction"]


def test_a_wave_is_prepared_and_taken_back():
    parts = only(ACTS["wave"][0]).kinematics
    assert [part.phase for part in parts] == ["preparation", "stroke", "retraction"]


def test_a_hand_that_is_not_seen_does_nothing():
    unseen = replace(ACTS["raise_hand"][0], hand_left_visible=(0.0,) * FRAMES)
    assert phases(unseen) == []


def test_a_tiny_face_shows_no_expression():
    assert phases(ACTS["smile"][0], height=200) == []


def test_motion_ratio_says_how_much_faster_the_part_moves():
    evidence = only(ACTS["turn_head"][0]).evidence
    assert evidence is not None
    assert evidence.motion_ratio > 10


def test_phases_of_one_track_do_not_overlap():
    some = signals(**pitched(waved(-11, 3)), yaw_deg=held(20, start=50), roll_deg=held(12, start=70))
    found_phases = [p for p in phases(some) if p.track == "head"]
    assert all(a.end_us <= b.start_us for a, b in pairwise(found_phases))


def test_a_clip_without_signals_is_one_rest():
    empty = Signals(clip_id="clip_x", frames=FRAMES, extractor="mesh")
    assert [p.action for p in phases(empty, rest=True)] == ["rest"]


@pytest.mark.slow
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.01, 1.0, 1e3, 1e30]), st.floats(0, 0.9))
def test_whatever_the_signals_the_answer_keeps_the_contract(frames, seed, scale, hidden):
    rng = np.random.default_rng(seed)
    series = {name: np.where(rng.random(frames) < hidden, np.nan, rng.normal(0, scale, frames)) for name in STILL}
    some = of_arrays(series)
    stated = annotate_motion(clip_of(some), some, MotionSettings())
    Annotation(
        annotation_id="ann_x", vocab_version="2026.11", clip_id="clip_x", layer="raw", run_id="run_x", status="ok",
        duration_us=40_000 * frames, base=stated.base, phases=stated.phases,
    )  # fmt: skip


def test_every_ask_has_its_reply(tmp_path):
    some = ACTS["nod"][0]
    asks = [
        AnnotationRequest(request_id=f"a{k}", clip=clip_of(some), signals=some, media=tmp_path, sample_index=k, seed=k)
        for k in range(3)
    ]
    replies = list(MotionAnnotator()(asks))
    assert [(reply.request_id, reply.status) for reply in replies] == [("a0", "ok"), ("a1", "ok"), ("a2", "ok")]
    assert replies[0].structured == replies[2].structured


def hand_raised(**openness):
    """A left hand that goes up and stays; columns of Signals that say how far the hands are open, per frame."""
    held_up = {"wrist_left_y": held(-0.5)}
    return replace(signals(**held_up), **{f"hand_{side}_open": tuple(values) for side, values in openness.items()})


@pytest.mark.parametrize(
    ("openness", "text"),
    [
        ([0.95] * FRAMES, "raises the open left hand"),
        ([0.6] * FRAMES, "raises the left hand"),
        ([None] * FRAMES, "raises the left hand"),
        ([0.95] * 45 + [0.1] * (FRAMES - 45), "raises the left hand"),  # closes on its way
    ],
)
def test_a_hand_is_called_open_only_if_it_arrives_open(openness, text):
    assert only(hand_raised(left=openness)).text_short == text


def test_the_other_hand_says_nothing_about_a_hand():
    assert only(hand_raised(right=[0.95] * FRAMES)).text_short == "raises the left hand"


def test_a_hand_that_goes_back_before_the_other_arrives_keeps_the_order_of_its_parts():
    strokes = [MotionSegment(start=a, end=b, value=0.0, delta=1.0) for a, b in ((10, 20), (19, 30))]
    both = DetectedAction(
        action="raise_hand", track="hands", side="both", start=10, end=30, size=1.0, seconds=0.4, salience=2.0,
        segments=tuple(strokes),
    )  # fmt: skip
    stroke, retraction = kinematic_phases(both, range(10, 30))
    assert stroke.end_us == retraction.start_us


def test_a_small_way_of_both_hands_counts_and_that_of_one_does_not():
    lifted = held(-0.16)
    assert only(signals(wrist_left_y=lifted, wrist_right_y=lifted)).laterality == "both"
    assert phases(signals(wrist_left_y=lifted)) == []


def test_hands_that_tremble_while_they_sink_are_lowered_when_they_fall():
    fall = eased((20, 0), (80, 0.08), (92, 0.4), (FRAMES, 0.4))
    phase = only(signals(wrist_left_y=fall - 0.3, wrist_right_y=fall - 0.3))
    assert (phase.action, phase.laterality) == ("lower_hand", "both")
    assert abs(phase.start_us - 3_200_000) <= 160_000


def test_a_hand_that_comes_into_sight_needs_less_of_a_way():
    risen = held(-0.18, hold=60, back=38) + np.where(np.arange(FRAMES) < 42, np.nan, 0)
    seen = np.where(np.arange(FRAMES) < 42, -1.0, 0)
    phase = phases(signals(wrist_left_x=0 * risen, wrist_left_y=risen, hand_left_visible=seen))[0]
    assert (phase.action, phase.laterality) == ("raise_hand", "left")
    assert phases(signals(wrist_left_y=held(-0.18, hold=60, back=38))) == []


@pytest.mark.parametrize(("yaw", "actions"), [(0, ["raise_head"]), (60, ["move_head"])])
def test_a_head_in_profile_is_neither_raised_nor_lowered(yaw, actions):
    some = signals(**pitched(held(14)), yaw_deg=np.full(FRAMES, float(yaw)))
    assert [p.action for p in phases(some)] == actions


def test_a_head_that_the_body_carries_away_is_not_lowered():
    some = signals(**pitched(held(-14, hold=25)), head_x=held(0.2, hold=25))
    assert {p.action for p in phases(some)} <= {"move_head"}


def test_a_small_change_of_pitch_lowers_the_head_only_if_the_face_sinks_too():
    assert [p.action for p in phases(signals(**pitched(held(-11, hold=25))))] == ["lower_head"]
    assert "lower_head" not in [p.action for p in phases(signals(pitch_deg=held(-11, hold=25)))]


def test_a_slow_fall_of_the_head_counts_if_the_face_sinks_with_it():
    assert [p.action for p in phases(signals(**pitched(held(-12, out=22, hold=12, back=22))))] == ["lower_head"]


def test_a_head_that_moves_without_a_name_is_not_still():
    swings = eased((20, 0), (32, 7), (44, -7), (56, 6), (68, -6), (80, 0))
    some = signals(yaw_deg=swings, head_x=0.005 * 0.4 * swings)
    assert [p.text for p in phases(some)] == ["moves the head"]
    assert phases(signals(yaw_deg=swings)) == []  # the mesh alone turns with the mouth


def test_both_hands_rise_together_from_half_the_way_of_one():
    rise = held(-0.15, hold=20)
    found = phases(signals(wrist_left_y=rise, wrist_right_y=rise))
    assert [(p.action, p.laterality) for p in found] == [("raise_hand", "both")]
    assert phases(signals(wrist_left_y=rise)) == []


def test_hands_that_leave_the_picture_together_are_lowered():
    down = eased((40, 0), (52, 0.3)) + np.where(np.arange(FRAMES) >= 49, np.nan, 0)
    seen = np.where(np.arange(FRAMES) >= 49, -1.0, 0)
    some = signals(wrist_left_y=down, wrist_right_y=down, hand_left_visible=seen, hand_right_visible=seen)
    assert [(p.action, p.laterality) for p in phases(some)] == [("lower_hand", "both")]


def test_slow_turns_to_and_fro_are_no_shake():
    some = signals(yaw_deg=waved(30, 2, length=36, both_ways=True))
    assert "shake_head" not in [p.action for p in phases(some)]


def test_bared_teeth_are_no_open_mouth():
    assert [p.action for p in phases(signals(**opened(0.12), mouth_wide=held(0.06)))] != ["open_mouth"]
    assert only(signals(**opened(0.12))).action == "open_mouth"


def test_a_smile_that_lasts_to_the_end_is_found():
    risen = eased((100, 0), (112, 1), (FRAMES, 1))
    phase = only(signals(smile=0.8 * risen, mouth_wide=0.06 * risen))
    assert (phase.action, phase.end_us) == ("smile", 40_000 * FRAMES)


def test_shoulders_that_jitter_do_not_shrug():
    assert (
        phases(signals(**dict.fromkeys(("shoulder_left_y", "shoulder_right_y"), held(-0.06, out=2, hold=0, back=2))))
        == []
    )


@pytest.mark.parametrize(
    "moves",
    [
        leaning(0.03),
        dict.fromkeys(("head_x", "shoulder_left_x", "shoulder_right_x"), waved(0.06, 2, length=36, both_ways=True)),
        dict.fromkeys(("shoulder_left_y", "shoulder_right_y"), held(-0.032, out=8, hold=8, back=9)),
        {"brow_raise": held(0.017)},
        {"smile": held(0.3, hold=30), "mouth_wide": held(0.03, hold=30)},
        opened(0.06),
    ],
    ids=["lean", "sway", "shrug", "brows", "smile", "mouth"],
)
def test_the_smallest_measured_movements_of_torso_and_face_are_not_named(moves):
    assert phases(signals(**moves)) == []


@pytest.mark.parametrize(
    "gaze",
    [
        eased((40, 0), (43, 0.3), (60, 0.3), (63, 0.6), (80, 0.6), (84, 0)),
        eased((110, 0), (113, 0.4), (FRAMES, 0.4)),
    ],
    ids=["in two steps", "without a way back"],
)
def test_eyes_that_do_not_go_and_come_back_in_one_jump_each_do_not_look_away(gaze):
    assert phases(signals(gaze_x=gaze)) == []


def test_brows_that_stay_up_are_no_raise():
    assert [p.action for p in phases(signals(brow_raise=held(0.03)))] == ["raise_brows"]
    assert phases(signals(brow_raise=eased((20, 0), (30, 0.03), (50, 0.03), (110, 0)))) == []


def test_lips_that_part_before_speech_do_not_open_the_mouth():
    assert phases(signals(**opened(0.12), voice=np.where(np.arange(FRAMES) > 82, 1.0, 0.0))) == []


@pytest.mark.parametrize(("peak", "actions"), [(0.1, []), (0.2, ["open_mouth", "open_mouth"])])
def test_a_mouth_that_opens_again_and_again_speaks_unless_it_opens_wide(peak, actions):
    mouth = held(peak, start=30) + held(peak, start=75)
    some = signals(mouth_open=mouth, head_height=0.32 * mouth, head_y=0.16 * mouth)
    assert [p.action for p in phases(some)] == actions


def test_a_shout_that_spreads_the_lips_is_no_smile():
    some = signals(**opened(0.25), smile=held(0.9), mouth_wide=held(0.06))
    assert [p.action for p in phases(some)] == ["open_mouth"]


def test_lips_are_pursed_only_while_the_mouth_is_closed():
    mouth = eased((40, 0), (46, 0.09), (52, 0.09), (58, 0), (62, 0), (68, 0.09), (90, 0.09), (96, 0))
    some = signals(mouth_wide=held(-0.08, hold=30), mouth_open=mouth)
    assert "purse_lips" not in [p.action for p in phases(some)]
