import pickle
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from xsheet.demo.film import voice
from xsheet.demo.puppet import act, script
from xsheet.demo.puppet.pose import Motion
from xsheet.schemas import vocab
from xsheet.schemas.annotation import MIN_PHASE_US, Phase
from xsheet.schemas.time import Span, us_from_seconds

pytestmark = pytest.mark.slow  # processes, films or models: seconds

seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 400)
SHOWN = {  # the curve that tells each action
    "nod": "pitch_deg", "shake_head": "yaw_deg", "tilt_head": "roll_deg", "turn_head": "yaw_deg",
    "look_away": "gaze_x", "blink_long": "eye_left_open", "raise_brows": "brow_raise", "smile": "smile",
    "open_mouth": "mouth_open", "lean_in": "lean", "lean_back": "lean", "sway": "torso_lean_x",
    "shrug": "shoulder_raise", "raise_hand": "arm_left_raise", "lower_hand": "arm_left_raise", "wave": "hand_left_wave",
}  # fmt: skip


def moved(motion, field):
    """Displacement of a curve from its rest value."""
    return getattr(motion, field) - getattr(Motion.rest(1), field)[0]


def peaks(curve, level):
    """How often the curve rises above the level."""
    return int(np.sum(np.diff((curve > level).astype(int), prepend=0) == 1))


def still_fields(planned):
    moving = {field for p in planned for field in act._keyframes(p)}
    return {f.name for f in fields(Motion)} - moving


@given(seeds, lengths)
def test_phases_of_one_track_never_overlap(seed, frames):
    planned = script.plan_actions(default_rng(seed), frames)
    for track in {p.track for p in planned}:
        spans = sorted(p.span for p in planned if p.track == track)
        assert all(a.end_us < b.start_us for a, b in pairwise(spans))


@given(seeds, lengths)
def test_phases_lie_inside_the_clip_and_on_its_frames(seed, frames):
    for p in script.plan_actions(default_rng(seed), frames):
        assert p.span.end_us <= frames * 40_000
        assert p.span.start_us % 40_000 == p.span.end_us % 40_000 == 0


@given(seeds, lengths)
def test_rests_fill_the_stretches_without_action(seed, frames):
    planned = script.plan_actions(default_rng(seed), frames, rest_share=0.3)
    idle = np.ones(frames, bool)
    for p in planned:
        idle[p.frames] = False
    resting = np.zeros(frames, bool)
    for rest in script.rest_phases(planned, frames):
        resting[rest.frames] = True
    assert not (resting & ~idle).any()
    assert all(len(run) < script.REST_FRAMES for run in "".join("x" if a else " " for a in idle & ~resting).split())


@given(seeds)
def test_every_planned_action_makes_a_valid_phase_of_the_contract(seed):
    planned = script.plan_actions(default_rng(seed), 250, rest_share=0)
    for n, p in enumerate((*planned, *script.rest_phases(planned, 250))):
        phase = Phase(
            phase_id=f"p{n}",
            track=p.track,
            start_us=p.span.start_us,
            end_us=p.span.end_us,
            action=p.action,
            text=p.action,
            laterality=p.laterality,
            kind="action",
            amplitude=p.amplitude,
            speed=p.speed,
            repetitions=p.repetitions,
            kinematics=p.kinematics,
            origin="truth",
        )
        assert phase.span.duration_us >= MIN_PHASE_US


@given(seeds, lengths)
def test_without_a_generator_nothing_moves_outside_the_phases(seed, frames):
    planned = script.plan_actions(default_rng(seed), frames, rest_share=0)
    motion = act.motion_curves(planned, frames)
    for field in still_fields(planned):
        assert np.ptp(getattr(motion, field)) == 0
    for field in {field for p in planned for field in act._keyframes(p)}:
        outside = np.ones(frames, bool)
        for p in planned:
            if field in act._keyframes(p) and p.action not in ("raise_hand", "lower_hand"):
                outside[p.frames] = False
            elif field in act._keyframes(p):  # a raised hand stays: only the change is confined to the phase
                outside[p.frames.start : p.frames.stop + 1] = False
        step = np.diff(moved(motion, field), prepend=0)
        assert not step[outside & np.roll(outside, 1)].any()


@given(seeds)
def test_displacement_spans_exactly_the_frames_of_the_phase(seed):
    rng = default_rng(seed)
    for action in script.ACTIONS:
        if action in ("raise_hand", "lower_hand"):
            continue
        p = script.place_action(action, 10, speed=int(rng.integers(1, 4)), amplitude=int(rng.integers(1, 4)), rng=rng)
        motion = act.motion_curves([p], 200)
        touched = np.any([moved(motion, field) != 0 for field in act._keyframes(p)], axis=0)
        assert np.flatnonzero(touched)[[0, -1]].tolist() == [p.frames.start, p.frames.stop - 1]


@pytest.mark.parametrize("speed", [1, 2, 3])
@pytest.mark.parametrize("amplitude", [1, 2, 3])
@pytest.mark.parametrize("action", ["nod", "shake_head", "sway", "wave"])
def test_repetitions_are_the_peaks_of_the_curve(action, amplitude, speed):
    for repetitions in range(1, script.ACTION_STYLES[action].max_repetitions + 1):
        p = script.place_action(action, 10, amplitude=amplitude, speed=speed, repetitions=repetitions)
        curve = moved(act.motion_curves([p], 250), SHOWN[action]) * np.sign(p.peak)
        assert peaks(curve, abs(p.peak) / 2) == repetitions


@pytest.mark.parametrize("action", script.ACTIONS)
def test_the_planted_peak_is_reached(action):
    side = {"side": "left"} if "left" in script.ACTION_STYLES[action].sides else {}
    p = script.place_action(action, 10, speed=1, **side)
    curve = moved(act.motion_curves([p], 250), SHOWN[action])
    assert np.abs(curve).max() == pytest.approx(abs(p.peak), rel=0.03)


@pytest.mark.parametrize(
    ("action", "field"), [("turn_head", "yaw_deg"), ("tilt_head", "roll_deg"), ("look_away", "gaze_x")]
)
def test_the_subjects_own_left_is_positive(action, field):
    left = moved(act.motion_curves([script.place_action(action, 10, side="left")], 100), field)
    right = moved(act.motion_curves([script.place_action(action, 10, side="right")], 100), field)
    assert left.min() == 0 < left.max()
    assert right.max() == 0 > right.min()


@pytest.mark.parametrize("action", ["raise_hand", "wave"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_only_the_named_arm_moves(action, side):
    p = script.place_action(action, 10, side=side)
    motion = act.motion_curves([p], 150)
    other = {"left": "right", "right": "left"}[side]
    assert p.track == f"arm_{side}"
    assert np.ptp(getattr(motion, f"arm_{side}_raise")) > 0.4
    assert np.ptp(getattr(motion, f"arm_{other}_raise")) == np.ptp(getattr(motion, f"hand_{other}_wave")) == 0


def test_a_nod_goes_down_and_lean_back_goes_back():
    assert moved(act.motion_curves([script.place_action("nod", 5)], 50), "pitch_deg").max() == 0
    assert moved(act.motion_curves([script.place_action("lean_back", 5)], 100), "lean").max() == 0


def test_a_raised_hand_stays_until_it_is_lowered():
    up = script.place_action("raise_hand", 10, side="right")
    down = script.place_action("lower_hand", 60, side="right")
    curve = act.motion_curves([up, down], 120).arm_right_raise
    assert (curve[up.frames.stop : 60] == np.float32(up.peak)).all()
    assert not curve[down.frames.stop :].any()


@given(seeds)
def test_hands_are_lowered_only_after_they_were_raised_and_from_the_same_height(seed):
    planned = script.plan_actions(default_rng(seed), 400, actions=("raise_hand", "lower_hand", "wave"), rest_share=0)
    for track in ("arm_left", "arm_right"):
        up = None
        for p in (p for p in planned if p.track == track):
            assert (p.action == "lower_hand") == (up is not None)
            assert up is None or up.peak == p.peak
            up = p if p.action == "raise_hand" else None


def test_amplitude_and_speed_order_the_curves():
    size = [np.ptp(act.motion_curves([script.place_action("nod", 5, amplitude=a)], 60).pitch_deg) for a in (1, 2, 3)]
    length = [script.place_action("nod", 5, speed=s).span.duration_us for s in (1, 2, 3)]
    assert size == sorted(size)
    assert length == sorted(length, reverse=True)


@given(seeds)
def test_durations_follow_physiology(seed):
    for p in script.plan_actions(default_rng(seed), 400, rest_share=0):
        seconds = p.span.duration_us / 1e6
        if p.action == "nod":
            assert 0.25 <= seconds / p.repetitions <= 0.68
        if p.action == "blink_long":
            assert 0.28 <= seconds <= 0.72
        if p.action == "turn_head":
            assert 0.6 <= seconds <= 2.6


@given(seeds)
def test_the_background_stays_well_below_an_action(seed):
    speech = voice.synthesise_speech(default_rng(seed), 100)
    motion = act.motion_curves([], 100, speech=speech, rng=default_rng(seed))
    for angle in (motion.yaw_deg, motion.pitch_deg, motion.roll_deg):
        assert np.abs(angle).max() < 1.5
    assert max(np.abs(motion.gaze_x).max(), np.abs(motion.gaze_y).max()) < 0.1


def test_blinks_come_about_sixteen_times_a_minute_and_last_two_to_four_frames():
    shut = np.concatenate(
        [act.motion_curves([], 1500, rng=default_rng(k)).eye_left_open < 1 for k in range(20)]
    ).astype(int)
    edges = np.flatnonzero(np.diff(shut, prepend=0, append=0))
    lasting = edges[1::2] - edges[::2]
    assert 12 <= len(lasting) / 20 <= 20
    assert 2 <= lasting.min() <= lasting.max() <= 4


@given(seeds)
def test_ordinary_blinks_keep_clear_of_a_long_one(seed):
    p = script.place_action("blink_long", 60)
    eye = act.motion_curves([p], 150, rng=default_rng(seed)).eye_left_open
    assert (eye[p.frames.start - 10 : p.frames.start] == 1).all()
    assert (eye[p.frames.stop : p.frames.stop + 10] == 1).all()


@given(seeds)
def test_beside_speech_the_mouth_opens_silently_in_pauses_only(seed):
    speech = voice.synthesise_speech(default_rng(seed), 250)
    for p in script.plan_actions(default_rng(seed), 250, actions=("open_mouth",), rest_share=0, speech=speech):
        assert any(pause.start_us <= p.span.start_us and p.span.end_us <= pause.end_us for pause in speech.pauses)


def test_the_mouth_of_the_speech_is_the_mouth_of_the_motion():
    speech = voice.synthesise_speech(default_rng(0), 100)
    motion = act.motion_curves([script.place_action("nod", 10)], 100, speech=speech, rng=default_rng(0))
    assert (motion.mouth_open == speech.mouth_open).all()
    assert (motion.mouth_wide == speech.mouth_wide).all()


@given(seeds)
def test_curves_stay_in_their_ranges(seed):
    rng = default_rng(seed)
    speech = voice.synthesise_speech(rng, 200)
    motion = act.motion_curves(script.plan_actions(rng, 200, speech=speech, rest_share=0), 200, speech=speech, rng=rng)
    for field in ("mouth_open", "smile", "brow_raise", "shoulder_raise", "arm_left_raise", "eye_left_open"):
        curve = getattr(motion, field)
        assert 0 <= curve.min() <= curve.max() <= 1
    for field in ("mouth_wide", "gaze_x", "gaze_y", "torso_lean_x", "lean"):
        assert np.abs(getattr(motion, field)).max() <= 1


def test_the_same_seed_gives_the_same_bytes():
    def made(seed):
        rng = default_rng(seed)
        planned = script.plan_actions(rng, 200, rest_share=0)
        return pickle.dumps(
            (planned, [getattr(act.motion_curves(planned, 200, rng=rng), f.name) for f in fields(Motion)])
        )

    assert made(3) == made(3) != made(4)


def test_every_action_and_both_sides_turn_up_and_some_clips_only_rest():
    plans = [script.plan_actions(default_rng(k), 250) for k in range(300)]
    seen = {(p.action, p.laterality) for planned in plans for p in planned}
    assert seen == {(a, side) for a in script.ACTIONS for side in script.ACTION_STYLES[a].sides}
    assert 10 <= sum(not planned for planned in plans) <= 60


def test_every_action_is_a_word_of_the_vocabulary():
    assert set(script.ACTIONS) <= set(vocab.ACTIONS)


def test_a_plan_keeps_to_the_actions_asked_for():
    planned = [p for k in range(50) for p in script.plan_actions(default_rng(k), 250, actions=("nod", "smile"))]
    assert {p.action for p in planned} == {"nod", "smile"}


@pytest.mark.parametrize("wrong", [{"side": "left"}, {"repetitions": 9}, {"amplitude": 0}, {"speed": 4}])
def test_an_impossible_action_is_refused(wrong):
    with pytest.raises(ValueError, match="nod: expected"):
        script.place_action("nod", 0, **wrong)


def test_a_phase_off_the_frame_grid_is_refused():
    with pytest.raises(ValueError, match="frame starts"):
        replace(script.place_action("nod", 5), span=Span(us_from_seconds(0.21), us_from_seconds(0.6)))


def test_speech_of_another_length_is_refused():
    with pytest.raises(ValueError, match="100 frames"):
        act.motion_curves([], 100, speech=voice.synthesise_speech(default_rng(0), 1))
