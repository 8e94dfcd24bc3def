"""Distance of a face to the portrait's, by the face recognition network."""

import numpy as np
import pytest

from xsheet.curate.faces.identity_network import JOIN_DISTANCE
from xsheet.demo.puppet.draw import draw
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Pose
from xsheet.schemas.errors import ConfigError
from xsheet.train.evaluate.likeness import LikenessMeter, open_likeness

SIZE_PX = 320


def pictures(*people):
    """Of these people, each with another pose."""
    return np.stack(
        [
            draw(random_identity(who), Pose(yaw_deg=3.0 * (k % 4), mouth_open=0.1 * (k % 3)), height_px=SIZE_PX)
            for k, who in enumerate(people)
        ]
    )


@pytest.fixture(scope="module")
def meter():
    pytest.importorskip("dlib", reason="the extra `identity` is not installed")
    meter = LikenessMeter()
    meter.open()
    return meter


@pytest.mark.slow
def test_the_same_person_in_other_poses_stays_near_and_another_person_does_not(meter):
    same, other = meter(pictures(*[1] * 9)), meter(pictures(1, *[4] * 8))
    assert same < JOIN_DISTANCE / 2
    assert other > 2 * same


@pytest.mark.slow
def test_without_a_face_there_is_no_distance(meter):
    assert meter(np.full((9, SIZE_PX, SIZE_PX, 3), 128, np.uint8)) is None


def test_pictures_too_small_for_a_mesh_are_an_error_only_where_likeness_is_required():
    assert open_likeness(None, side_px=64) is None
    with pytest.raises(ConfigError, match="64 px"):
        open_likeness(True, side_px=64)
