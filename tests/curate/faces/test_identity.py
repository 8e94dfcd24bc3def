"""Identity from proportions and tones: weak, but better than nothing."""

import numpy as np
import pytest

from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.frames import Frame
from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion, Pose


def shape(person, **pose):
    rest = Motion.rest(1).at(0)
    rgb = Puppet(random_identity(person), height_px=300).draw(
        Pose(**{f: getattr(rest, f) for f in rest.__slots__} | pose)
    )
    with FaceTracker(FaceSettings()) as tracker:
        for k in range(10):
            tracker.add(Frame(k, 40_000 * k, rgb, k, 40_000 * k))
        (track,) = tracker.tracks("src_test")
    return track.identity_embedding


def apart(a, b):
    return np.sqrt(np.mean((np.array(a) - b) ** 2))


@pytest.mark.slow
def test_embeddings_of_one_person_are_closer_than_most_others():
    people = range(300, 306)
    facing = {p: shape(p) for p in people}
    turned = {p: shape(p, yaw_deg=8.0, mouth_open=0.15) for p in people}
    ranks = [sum(apart(turned[p], facing[q]) < apart(turned[p], facing[p]) for q in people) for p in people]
    assert np.mean(ranks) < 0.2 * len(people)


@pytest.mark.slow
def test_a_turned_head_gets_no_embedding():
    assert shape(300, yaw_deg=30.0) == ()
