import numpy as np
import pytest

from xsheet.annotate.motion.curves import motion_curves
from xsheet.annotate.motion.detectors import detection_strength, displacement
from xsheet.demo.puppet import act
from xsheet.demo.puppet.script import place_action
from xsheet.schemas.clip import Signals

FRAMES, START = 150, 50
FIELDS = (
    "yaw_deg", "pitch_deg", "roll_deg", "gaze_x", "brow_raise", "smile", "mouth_open", "eye_left_open",
    "eye_right_open",
)  # fmt: skip
CASES = [
    ("nod", "none"), ("shake_head", "none"), ("turn_head", "left"), ("turn_head", "right"), ("tilt_head", "left"),
    ("tilt_head", "right"), ("look_away", "left"), ("look_away", "right"), ("blink_long", "both"),
    ("raise_brows", "both"), ("smile", "none"), ("open_mouth", "none"),
]  # fmt: skip


def acted(action, side):
    """The planted course of one action, and the frames of its phase."""
    planned = place_action(action, START, side=side, repetitions=1)
    motion = act.motion_curves([planned], FRAMES)
    series = {name: tuple(map(float, getattr(motion, name))) for name in FIELDS}
    signals = Signals(clip_id="clip_x", frames=FRAMES, extractor="truth", face_visible=(1.0,) * FRAMES, **series)
    return motion_curves(signals), planned.frames


@pytest.mark.parametrize(("action", "side"), CASES)
def test_a_class_shows_where_it_is_planted(action, side):
    course, inside = acted(action, side)
    assert detection_strength(course, action, inside, side=side) >= 1


@pytest.mark.parametrize(("action", "side"), CASES)
def test_it_does_not_show_before_it_begins(action, side):
    course, inside = acted(action, side)
    assert detection_strength(course, action, range(10, 10 + min(len(inside), 30)), side=side) < 1


@pytest.mark.parametrize(("action", "side"), [case for case in CASES if case[1] in ("left", "right")])
def test_the_other_side_is_denied(action, side):
    course, inside = acted(action, side)
    assert detection_strength(course, action, inside, side={"left": "right", "right": "left"}[side]) < 0


@pytest.mark.parametrize("action", ["nod", "tilt_head", "look_away", "raise_brows", "smile"])
def test_another_class_does_not_show_in_a_turn(action):
    course, inside = acted("turn_head", "left")
    assert detection_strength(course, action, inside, side="left") < 1


def test_a_turn_is_no_shake():
    course, inside = acted("turn_head", "left")
    assert detection_strength(course, "nod", inside) < 1


def test_rest_shows_where_nothing_moves_and_not_in_an_action():
    course, inside = acted("shake_head", "none")
    assert detection_strength(course, "rest", range(5, 40)) >= 1
    assert detection_strength(course, "rest", inside) < 1


def test_a_part_that_is_not_seen_is_unknown():
    course = motion_curves(Signals(clip_id="clip_x", frames=FRAMES, extractor="mesh"))
    assert detection_strength(course, "nod", range(20, 40)) is None
    assert detection_strength(course, "raise_hand", range(20, 40), side="left") is None


def test_a_class_without_a_detector_is_unknown():
    course, inside = acted("nod", "none")
    assert detection_strength(course, "hold_object", inside) is None


def test_reach_is_negative_for_a_movement_to_the_other_side():
    values = np.zeros(60)
    values[20:30] = -4.0
    assert displacement(values, range(20, 30), sign=1) == pytest.approx(-4.0)
    assert displacement(values, range(20, 30), sign=-1) == pytest.approx(4.0)
