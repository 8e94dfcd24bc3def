"""The networks of the body behind one border: files, hashes, and what they find in a drawn person."""

from dataclasses import replace

import numpy as np
import pytest

from xsheet.curate.body.networks import (
    LandmarkerHands,
    LandmarkerPose,
    WheelHands,
    WheelPose,
    create_hand_network,
    create_pose_network,
)
from xsheet.curate.body.pose import PoseSettings, check_networks
from xsheet.curate.media.reader import open_media
from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.schemas.errors import ConfigError

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_WRIST = 11, 12, 15
HEIGHT_PX = 360
SPREAD_HANDS_FRAME = 62


@pytest.fixture(scope="module")
def person():
    return Puppet(random_identity(3002), height_px=HEIGHT_PX)


@pytest.fixture(scope="module")
def left_hand_up():
    return replace(Motion.rest(1), arm_left_raise=np.ones(1, np.float32)).at(0)


def seen_by(network, picture, times=4):
    network.open()
    try:
        for _ in range(times - 1):  # trackers settle
            network(picture)
        return network(picture)
    finally:
        network.close()


def test_a_network_of_a_file_needs_a_models_folder():
    with pytest.raises(ConfigError, match="pose_landmarker_heavy"):
        create_pose_network("heavy", models=None)


def test_a_missing_file_is_reported_before_the_run(tmp_path):
    with pytest.raises(ConfigError, match="pose_landmarker_lite"):
        check_networks(PoseSettings(pose_network="lite"), tmp_path)
    check_networks(PoseSettings(), None)


def test_a_network_of_a_file_is_named_by_its_hash():
    assert LandmarkerPose(b"x").name != LandmarkerPose(b"y").name


def test_another_file_of_that_name_is_refused(tmp_path):
    (tmp_path / "hand_landmarker.task").write_bytes(b"another network")
    with pytest.raises(ConfigError, match="sha256"):
        create_hand_network("landmarker", models=tmp_path)


def test_the_networks_of_the_wheel_need_no_folder():
    assert isinstance(create_pose_network("full", models=None), WheelPose)
    assert isinstance(create_hand_network("lite", models=None), WheelHands)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "bundle"])
def test_the_shoulders_of_a_drawn_person_lie_on_their_sides(kind, person, left_hand_up, request):
    bundle = None if kind == "wheel" else request.getfixturevalue("shared") / "models/pose-landmarker-lite.task"
    network = WheelPose() if bundle is None else LandmarkerPose(bundle.read_bytes())
    joints = seen_by(network, person.draw(left_hand_up))
    assert joints.shape == (33, 3)
    for joint, side in ((LEFT_SHOULDER, "left"), (RIGHT_SHOULDER, "right")):
        assert joints[joint, :2] == pytest.approx(person.joints(left_hand_up, side)[0] / HEIGHT_PX, abs=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("complexity", [0, 1])
def test_a_drawn_hand_is_found_at_its_wrist(complexity, person, left_hand_up):
    hands = seen_by(WheelHands(complexity=complexity), person.draw(left_hand_up))
    wrist = person.joints(left_hand_up, "left")[2] / HEIGHT_PX
    assert min(np.linalg.norm(hand.wrist - wrist) for hand in hands) < 0.1


@pytest.mark.slow
def test_a_bundle_finds_a_hand_where_the_wheel_finds_it(shared):
    path = shared / "data/videos2/purple-wall-woman-hands.mp4"
    with open_media(path, root=path.parent) as media:
        picture = next(frame.rgb for frame in media.frames(size=(640, 360)) if frame.index == SPREAD_HANDS_FRAME)
    bundle = (shared / "models/hand-landmarker-lite-rebuilt.task").read_bytes()
    (first, *_) = seen_by(LandmarkerHands(bundle), picture, times=1)
    wheel = seen_by(WheelHands(complexity=1), picture, times=1)
    assert min(np.linalg.norm(first.picture[:, :2] - hand.picture[:, :2], axis=1).mean() for hand in wheel) < 0.06
