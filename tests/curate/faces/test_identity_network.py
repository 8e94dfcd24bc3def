"""The face recognition network on drawn heads."""

from importlib.util import find_spec

import numpy as np
import pytest

from xsheet.curate.dedup.split import SplitSettings
from xsheet.curate.faces import identity_network
from xsheet.curate.faces.mesh import FaceGeometry
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.frames import Frame
from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.schemas.errors import ConfigError

needs_network = pytest.mark.skipif(
    find_spec("dlib") is None or find_spec("face_recognition_models") is None,
    reason="the extra `identity` is not installed",
)


def embedding(person: int, *, height_px: int) -> np.ndarray:
    rgb = Puppet(random_identity(person), height_px=height_px).draw(Motion.rest(1).at(0))
    with FaceTracker(FaceSettings(identity="dlib")) as tracker:
        for k in range(10):
            tracker.add(Frame(k, 40_000 * k, rgb, k, 40_000 * k))
        (track,) = tracker.tracks("src_test")
    assert track.identity_model == identity_network.IDENTITY_MODEL
    return np.array(track.identity_embedding)


@needs_network
@pytest.mark.slow
def test_a_head_is_joined_with_itself_at_another_size():
    large, small = embedding(5, height_px=360), embedding(5, height_px=240)
    assert large.shape == (128,)
    assert np.sqrt(np.mean((large - small) ** 2)) < SplitSettings().max_identity_distance


def test_a_turned_and_scaled_face_is_aligned_upright():
    angle, scale, shift = 0.4, 0.3, np.array((50.0, 80.0))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    chip = 150 * (0.25 + identity_network._PLACES) / 1.5
    points = np.zeros((478, 3), np.float32)
    points[list(identity_network._LANDMARKS), :2] = chip @ turn.T + shift
    found = identity_network._to_chip(FaceGeometry(points=points))
    back = points[list(identity_network._LANDMARKS), :2] @ found[:, :2].T + found[:, 2]
    assert np.abs(back - chip).max() < 1e-2


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dlib", None)
    with pytest.raises(ConfigError, match="identity"):
        FaceTracker(FaceSettings(identity="dlib")).open()
