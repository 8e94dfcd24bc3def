import hashlib
import importlib.util
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from xsheet.demo.puppet.draw import Puppet, add_camera_noise, draw, side_by_side
from xsheet.demo.puppet.identity import HAIRS, random_identity
from xsheet.demo.puppet.pose import Motion, Pose

pytestmark = pytest.mark.slow  # processes, films or models: seconds

pytest.importorskip("mediapipe", reason="the tracker that the puppet is drawn for")

BUSY = Pose(yaw_deg=14, pitch_deg=-6, roll_deg=4, mouth_open=0.6, smile=0.4, arm_left_raise=0.8, hand_left_wave=9)


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark, whose measuring functions the tests share."""
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "puppet.py"
    spec = importlib.util.spec_from_file_location("puppet_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sha256(picture: np.ndarray) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


def moved(name: str, low: float, high: float, *, frames: int = 40) -> Motion:
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frames) / 20)
    return replace(Motion.rest(frames), **{name: (low + (high - low) * swing).astype(np.float32)})


def test_pose_and_motion_hold_the_same_quantities():
    assert [f.name for f in fields(Pose)] == [f.name for f in fields(Motion)]
    assert Motion.rest(3).at(2) == Pose()


def test_motion_refuses_curves_of_another_length():
    with pytest.raises(ValueError, match="smile"):
        replace(Motion.rest(3), smile=np.zeros(4, np.float32))


def test_same_seed_and_pose_give_the_same_bytes_in_another_process():
    here = sha256(Puppet(random_identity(5)).draw(BUSY))
    code = (
        "import hashlib\nfrom xsheet.demo.puppet.draw import Puppet\n"
        "from xsheet.demo.puppet.identity import random_identity\n"
        "from xsheet.demo.puppet.pose import Pose\n"
        f"print(hashlib.sha256(Puppet(random_identity(5)).draw({BUSY!r}).tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there


def test_a_frame_does_not_depend_on_the_frames_before_it():
    puppet = Puppet(random_identity(2))
    first = puppet.draw(BUSY)
    puppet.draw(Pose(yaw_deg=-20))
    assert np.array_equal(puppet.draw(BUSY), first)


def test_grain_follows_from_its_generator():
    picture = draw(random_identity(0), Pose())
    grainy = [add_camera_noise(picture, np.random.default_rng(7)) for _ in range(2)]
    assert np.array_equal(*grainy)
    assert not np.array_equal(grainy[0], picture)


def test_people_differ_and_cover_hair_and_skin():
    people = [random_identity(seed) for seed in range(200)]
    assert {person.appearance.hair for person in people} == set(HAIRS)
    light = [sum(person.appearance.skin) / 3 for person in people]
    assert min(light) < 80
    assert max(light) > 205
    assert len(set(people)) == 200


@pytest.mark.parametrize("size", [64, 255, 640])
def test_any_size_is_drawn(size: int):
    picture = draw(random_identity(1), BUSY, height_px=size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_a_head_outside_the_picture_leaves_the_wall():
    puppet = Puppet(random_identity(3))
    assert np.array_equal(puppet.draw(Pose(shift_x=3.0)), puppet.background())


def test_heads_stand_side_by_side():
    left, right = draw(random_identity(0), Pose()), draw(random_identity(1), Pose())
    both = side_by_side(left, right)
    assert both.shape == (256, 512, 3)
    assert np.array_equal(both[:, 256:], right)


def test_the_own_left_arm_is_on_the_right_of_the_picture():
    puppet = Puppet(random_identity(4))
    change = np.abs(puppet.draw(Pose(arm_left_raise=1)).astype(int) - puppet.draw(Pose())).sum((0, 2))
    assert change[128:].sum() > 20 * change[:128].sum()
    assert puppet.joints(Pose(arm_left_raise=1), "left")[2, 0] > 128


def test_turning_to_the_own_left_moves_the_nose_right_and_looking_up_moves_it_up(bench: ModuleType):
    poses = (Pose(), Pose(yaw_deg=20), Pose(pitch_deg=12), Pose(roll_deg=12))
    puppet = Puppet(random_identity(4))
    rest, turned, up, tilted = (bench.landmarks(iter([puppet.draw(pose)] * 3))[-1] for pose in poses)

    def nose(marks: np.ndarray) -> np.ndarray:
        return marks[1, :2] - marks[[33, 263], :2].mean(0)

    assert nose(turned)[0] > nose(rest)[0] + 3
    assert nose(up)[1] < nose(rest)[1] - 2
    # The crown leans to the right of the picture, so the own left eye sinks.
    assert tilted[263, 1] > tilted[33, 1] + 3


def test_planted_head_and_mouth_are_what_a_tracker_measures(bench: ModuleType):
    motion = bench.random_motion(4, 60)
    marks = bench.landmarks(bench.pictures(4, motion))
    assert np.isfinite(marks).all()
    truth, seen = bench.planted(motion), bench.measured(marks)
    r = {
        name: bench.correlation(truth[name], seen[name]) for name in ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open")
    }
    assert min(r.values()) > 0.93, r


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("smile", 0, 1), ("brow_raise", 0, 1), ("eye_left_open", 1, 0), ("pitch_deg", -3, 3), ("yaw_deg", -3, 3)],
)
def test_one_quantity_alone_is_visible(bench: ModuleType, name: str, low: float, high: float):
    motion = moved(name, low, high)
    if name == "eye_left_open":
        motion = replace(motion, eye_right_open=motion.eye_left_open)
    quantity = "eye_open" if name == "eye_left_open" else name
    seen = bench.measured(bench.landmarks(bench.pictures(0, motion)))[quantity]
    assert bench.correlation(bench.planted(motion)[quantity], seen) > 0.85


@pytest.mark.nightly
def test_people_are_tracked(bench: ModuleType):
    people, frames = 20, 100
    truth, seen = [], []
    for seed in range(people):
        motion = bench.random_motion(seed, frames)
        truth.append(bench.planted(motion))
        seen.append(bench.measured(bench.landmarks(bench.pictures(seed, motion))))
    assert np.mean([np.isfinite(s["yaw_deg"]).mean() for s in seen]) >= 0.99
    for name in ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open"):
        pooled = bench.correlation(*(np.concatenate([series[name] for series in side]) for side in (truth, seen)))
        assert pooled >= 0.95, name


def test_drawing_needs_no_more_than_one_thread():
    threads = cv2.getNumThreads()
    many = draw(random_identity(6), BUSY)
    try:
        cv2.setNumThreads(1)
        assert np.array_equal(draw(random_identity(6), BUSY), many)
    finally:
        cv2.setNumThreads(threads)
