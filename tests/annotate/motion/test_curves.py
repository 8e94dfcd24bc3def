from dataclasses import replace

import numpy as np
import pytest

from xsheet.annotate.motion.curves import (
    MOVING_SPEED,
    hand_motion_share,
    motion_curves,
    motion_ratio,
    moving_ranges,
    track_speeds,
)
from xsheet.annotate.motion.series import true_ranges
from xsheet.schemas.clip import Signals

FRAMES = 100


def signals(**series):
    """Measured signals of a body that stands still, with some series replaced."""
    still = {
        "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0, "gaze_x": 0.0, "gaze_y": 0.0, "eye_left_open": 0.3,
        "eye_right_open": 0.3, "brow_raise": 0.17, "smile": 0.1, "mouth_open": 0.0, "mouth_wide": 0.3, "head_x": 0.5,
        "head_y": 0.4, "head_height": 0.4, "face_visible": 1.0, "shoulder_left_x": 0.9, "shoulder_left_y": 0.8,
        "shoulder_right_x": 0.1, "shoulder_right_y": 0.8, "wrist_left_x": 0.8, "wrist_left_y": 0.95,
        "wrist_right_x": 0.2, "wrist_right_y": 0.95, "hand_left_visible": 1.0, "hand_right_visible": 1.0,
    }  # fmt: skip
    values = {name: np.full(FRAMES, value) for name, value in still.items()} | series
    tuples = {name: tuple(None if np.isnan(v) else float(v) for v in array) for name, array in values.items()}
    return Signals(clip_id="clip_x", frames=FRAMES, extractor="mesh", **tuples)


def ramp(start, stop, low, high):
    """`low` until frame `start`, then evenly up to `high` at frame `stop`, and there it stays."""
    return np.interp(np.arange(FRAMES), (start, stop), (low, high))


def test_a_turn_of_thirty_degrees_a_second_has_that_speed():
    speed = track_speeds(motion_curves(signals(yaw_deg=ramp(40, 60, 0, 24))))["head"]
    assert speed[50] == pytest.approx(30, rel=0.03)  # a little of it is taken for the sway that a turn brings
    assert speed[10] == pytest.approx(0, abs=0.01)


def test_a_hand_is_measured_in_shoulder_widths():
    speed = track_speeds(motion_curves(signals(wrist_left_y=ramp(25, 75, 0.95, 0.15))))["arm_left"]
    assert speed[50] == pytest.approx(0.5, rel=0.02)  # 0.8 picture heights = one shoulder width, in two seconds


def test_speed_is_unknown_where_a_hand_is_not_seen():
    hidden = np.where(np.arange(FRAMES) >= 50, np.nan, 0.95)
    speed = track_speeds(motion_curves(signals(wrist_left_y=hidden)))["arm_left"]
    assert np.isnan(speed[60:]).all()
    assert np.isfinite(speed[10:40]).all()


def test_a_short_gap_is_filled_and_a_long_one_is_not():
    yaw = np.zeros(FRAMES)
    yaw[20:25] = yaw[50:60] = np.nan
    course = motion_curves(signals(yaw_deg=yaw))
    assert np.isfinite(course.yaw_deg[20:25]).all()
    assert np.isnan(course.yaw_deg[50:60]).all()


def test_a_blink_moves_neither_gaze_nor_brows():
    lids, gaze = np.full(FRAMES, 0.3), np.zeros(FRAMES)
    lids[40:43], gaze[40:43] = 0.05, -0.6
    course = motion_curves(signals(eye_left_open=lids, eye_right_open=lids, gaze_x=gaze))
    assert np.ptp(course.gaze_x) == pytest.approx(0, abs=1e-6)


def test_a_camera_that_drifts_evenly_moves_nobody():
    drift = np.arange(FRAMES) * 0.003
    places = {
        name: value + drift
        for name, value in {
            "head_x": 0.5, "shoulder_left_x": 0.9, "shoulder_right_x": 0.1, "wrist_left_x": 0.8, "wrist_right_x": 0.2,
        }.items()
    }  # fmt: skip
    found = track_speeds(motion_curves(signals(**places)))
    assert max(np.nanmax(found[track]) for track in ("torso", "arm_left", "arm_right")) < 1e-3


def test_an_open_mouth_does_not_bring_the_head_nearer():
    mouth = ramp(40, 50, 0, 0.15)
    course = motion_curves(signals(mouth_open=mouth, head_height=0.4 * (1 + 0.8 * mouth)))
    assert np.ptp(course.log_head_height) < 1e-6


def test_planted_series_are_taken_as_they_are():
    planted = motion_curves(
        Signals(clip_id="clip_x", frames=FRAMES, extractor="truth", smile=(0.5,) * FRAMES, mouth_wide=(0.9,) * FRAMES)
    )
    assert planted.smile == pytest.approx(0.5)


def test_movement_begins_below_and_counts_only_above_the_speed_of_a_small_one():
    speed = np.zeros(FRAMES)
    speed[20:30], speed[30:40], speed[60:70] = 0.5, 2.0, 0.5
    assert moving_ranges(speed * MOVING_SPEED["head"], track="head") == [range(20, 40)]


def test_stretches_are_the_runs_of_true():
    assert true_ranges(np.array([1, 1, 0, 0, 1, 0, 1], bool)) == [range(2), range(4, 5), range(6, 7)]


def test_motion_ratio_compares_inside_with_outside_and_leaves_other_phases_out():
    speed, others = np.ones(FRAMES), np.zeros(FRAMES, bool)
    speed[20:30], speed[50:99] = 3.0, 9.0
    others[50:99] = True
    assert motion_ratio(speed, range(20, 30), other_phases=others) == pytest.approx(3.0)


def test_motion_ratio_of_a_part_that_is_not_seen_is_unknown():
    assert motion_ratio(np.full(FRAMES, np.nan), range(20, 30)) is None


def test_the_side_that_moves_has_all_of_the_motion():
    course = motion_curves(signals(wrist_left_y=ramp(25, 75, 0.95, 0.15)))
    assert hand_motion_share(course, range(30, 70), left=True) == pytest.approx(1, abs=1e-6)
    assert hand_motion_share(course, range(30, 70), left=False) == pytest.approx(0, abs=1e-6)


def test_a_smile_of_who_does_not_speak_keeps_what_the_wide_mouth_adds():
    smile, wide, still = (0.0,) * 20 + (0.5,) * 20, (0.3,) * 20 + (0.4,) * 20, (0.0,) * 40
    silent = Signals(clip_id="clip_x", frames=40, extractor="mesh", smile=smile, mouth_wide=wide, mouth_open=still)
    speaking = replace(silent, voice=(1.0,) * 40)
    assert np.ptp(motion_curves(silent).smile) == pytest.approx(0.5)
    assert np.ptp(motion_curves(speaking).smile) < 0.3
