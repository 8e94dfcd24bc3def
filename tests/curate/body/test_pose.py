"""Arms and hands of the puppet, and motion per part from signals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.curate.body.motion import part_motion, shoulder_width
from xsheet.curate.body.pose import PoseAnalyser, PoseSettings, person_window
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.reader import open_media
from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.schemas.clip import Signals
from xsheet.schemas.source import FaceTrack

SIDES = ("left", "right")


def follow(rgbs, *, face=None, **settings):
    with PoseAnalyser(PoseSettings(**settings)) as analyser:
        for index, rgb in enumerate(rgbs):
            analyser.add(Frame(index, 40_000 * index, rgb, index, 40_000 * index))
        return {
            name: np.array([np.nan if v is None else v for v in s]) for name, s in analyser.signals(face=face).items()
        }


def render_motion(motion, person=3002, size=360):
    puppet = Puppet(random_identity(person), height_px=size)
    return [puppet.draw(motion.at(k)) for k in range(len(motion))]


def raised(side, frames=30):
    return replace(Motion.rest(frames), **{f"arm_{side}_raise": np.ones(frames, np.float32)})


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_a_raised_hand_is_visible_on_the_subjects_side(side):
    motion, other = raised(side), SIDES[side == "left"]
    found, puppet = follow(render_motion(motion)), Puppet(random_identity(3002), height_px=360)
    assert np.median(found[f"hand_{side}_visible"]) > 0.5 > np.median(found[f"hand_{other}_visible"])
    wrist = np.array([np.nanmedian(found[f"wrist_{side}_{axis}"]) for axis in "xy"])
    assert np.linalg.norm(wrist - puppet.joints(motion.at(0), side)[2] / 360) < 0.06


def face_at(point, *, frames, height=0.25):
    """Signals of a face of one place and size."""
    x, y = ((float(value),) * frames for value in point)
    return Signals(clip_id="c", frames=frames, extractor="t", head_x=x, head_y=y, head_height=(height,) * frames)


@pytest.mark.slow
def test_a_drawn_hand_is_open_and_its_distance_counts_from_the_face():
    frames = 8
    motion, puppet = raised("left", frames=frames), Puppet(random_identity(3002), height_px=360)
    wrist = puppet.joints(motion.at(0), "left")[2] / 360
    pictures = render_motion(motion)
    over = follow(pictures, face=face_at(wrist, frames=frames))
    beside = follow(pictures, face=face_at(wrist - (0.5, 0), frames=frames))
    assert np.nanmedian(over["hand_left_open"]) > 0.9
    assert np.nanmax(over["hand_left_to_face"]) == 0
    assert np.nanmedian(beside["hand_left_to_face"]) > 0.5


@pytest.mark.slow
def test_hands_below_the_picture_are_not_visible():
    found = follow(render_motion(Motion.rest(20)))
    assert np.isnan(found["hand_left_open"]).mean() > 0.9
    assert np.isnan(found["wrist_left_x"]).mean() > 0.9
    assert np.median(found["hand_left_visible"]) < 0.5


@pytest.mark.slow
def test_there_is_one_value_per_frame_whatever_the_step():
    frames = render_motion(raised("left", frames=7))
    assert {len(series) for series in follow(frames, frame_stride=2).values()} == {7}
    assert {len(series) for series in follow(frames, frame_stride=1).values()} == {7}


@pytest.mark.slow
def test_results_do_not_depend_on_picture_size():
    small, large = (follow(render_motion(raised("right", frames=10), size=size)) for size in (360, 1080))
    assert abs(np.nanmedian(small["shoulder_left_x"]) - np.nanmedian(large["shoulder_left_x"])) < 0.02


def signals(frames=50, **series):
    return Signals(clip_id="clip_test", frames=frames, extractor="test", **{k: tuple(v) for k, v in series.items()})


def walking(speed, *, width=0.4, frames=50, camera=0.0):
    """A right wrist that moves down by `speed` heights per second in front of still shoulders, camera aside."""
    t = np.arange(frames) / 25
    still = {
        "shoulder_left_x": 0.6 + width / 2 + camera * t, "shoulder_right_x": 0.6 - width / 2 + camera * t,
        "shoulder_left_y": 0 * t + 0.5, "shoulder_right_y": 0 * t + 0.5,
    }  # fmt: skip
    wrist = {"wrist_right_x": 0.3 + camera * t, "wrist_right_y": 0.2 + speed * t}
    return signals(frames, **{k: v.tolist() for k, v in (still | wrist).items()})


@given(st.floats(0, 2), st.floats(0.1, 0.8))
def test_motion_is_counted_in_shoulder_widths_per_second(speed, width):
    motion = {part.part: part for part in part_motion(walking(speed, width=width))}
    assert motion["hand_right"].speed_median == pytest.approx(speed / width, abs=1e-3)
    assert motion["torso"].speed_p90 == pytest.approx(0, abs=1e-3)
    assert motion["hand_right"].visible_share == 1


def test_camera_motion_is_subtracted():
    signals, still = walking(0.5, camera=0.3), (0.0,) * 50
    motion = {p.part: p for p in part_motion(signals, camera_x=(0.3,) * 50, camera_y=still)}
    assert motion["torso"].speed_median == pytest.approx(0, abs=1e-3)
    assert motion["hand_right"].speed_median == pytest.approx(0.5 / 0.4, abs=1e-3)


def test_an_invisible_part_has_no_row():
    assert {part.part for part in part_motion(walking(1.0))} == {"torso", "hand_right"}


def test_without_shoulders_the_face_gives_the_scale():
    assert shoulder_width(signals(head_height=[0.2] * 50)) == pytest.approx(0.4)
    assert shoulder_width(signals()) is None
    assert part_motion(signals()) == ()


def face(x):
    box = {name: (v,) * 3 for name, v in (("x0", x - 0.1), ("y0", 0.2), ("x1", x + 0.1), ("y1", 0.4))}
    return FaceTrack(track_id=f"t{x}", source_id="s", detector="d", start_frame=0, frames=3, **box)


def test_the_person_window_ends_halfway_to_the_neighbours():
    left, middle, right = face(0.3), face(0.9), face(1.5)
    assert person_window(middle, [left, right], aspect=1.8) == pytest.approx((0.6, 1.2))
    assert person_window(left, [middle, right], aspect=1.8) == pytest.approx((0.0, 0.6))
    assert person_window(left, [], aspect=1.8) is None


@pytest.mark.slow
def test_the_window_keeps_to_its_person():
    puppets = [Puppet(random_identity(3000 + k), height_px=300) for k in (0, 2)]
    rest, up = Motion.rest(1).at(0), raised("left", frames=1).at(0)
    pair = np.hstack([puppets[0].draw(rest), puppets[1].draw(up)])
    for window, shoulders_in in (((0.0, 1.0), (0.0, 1.0)), ((1.0, 2.0), (1.0, 2.0))):
        with PoseAnalyser(PoseSettings(), window=window) as analyser:
            for k in range(6):
                analyser.add(Frame(k, 40_000 * k, pair, k, 40_000 * k))
            found = analyser.signals()
        assert shoulders_in[0] < found["shoulder_left_x"][0] < shoulders_in[1]
    assert max(found["hand_left_visible"]) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("word", ["no", pytest.param("yes", marks=pytest.mark.nightly)])
def test_words_signed_with_the_right_hand_move_the_right_hand(shared, word):
    path = shared / f"data/videos/asl-{word}.mkv"
    with open_media(path, root=path.parent) as media, PoseAnalyser(PoseSettings()) as analyser:
        for frame in media.frames():
            analyser.add(frame)
        found = Signals(clip_id="clip_test", frames=media.counts.emitted, extractor="body", **analyser.signals())
    motion = {part.part: part.speed_median for part in part_motion(found)}
    assert motion["hand_right"] > 3 * motion["hand_left"]
