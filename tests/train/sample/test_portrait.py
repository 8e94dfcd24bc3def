"""Where and whose the face of a portrait is."""

import numpy as np
import pytest
import torch

from xsheet.curate.faces.identity import IDENTITY_MODEL
from xsheet.demo.puppet.draw import draw
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Pose
from xsheet.train.data.framing import Bucket, BucketFit
from xsheet.train.data.settings import ExtraConditioningSettings
from xsheet.train.sample.portrait import find_face, portrait_identity, static_masks

FRAMING = BucketFit(bucket=Bucket(9, 64, 64), crop_starts=(0,), scaled_size=(64, 64), left=0, top=0)


def portrait_of(number):
    return draw(random_identity(number), Pose())


@pytest.mark.slow
def test_a_face_is_found_measured_and_distinguished_from_another():
    faces = [find_face(portrait_of(number)) for number in (3, 3, 7)]
    same, again, other = (portrait_identity(face, ExtraConditioningSettings()) for face in faces)
    assert torch.equal(same, again)
    assert (same - other).abs().mean() > 0.3
    assert same.abs().max() < 8  # centred: of the order of one


@pytest.mark.slow
def test_the_mouth_of_a_portrait_is_inside_its_face():
    face = find_face(portrait_of(3))
    whole, mouth = static_masks(face, FRAMING, cell=(8, 8))
    assert whole.shape == mouth.shape == (3, 8, 8)
    assert 0 < mouth.sum() < whole.sum() < whole.numel()
    assert torch.equal(whole[0], whole[2])


@pytest.mark.slow
def test_a_picture_without_a_face_is_nobodys_and_all_of_it_may_move():
    blank = np.full((64, 64, 3), 120, np.uint8)
    assert find_face(blank) is None
    assert not portrait_identity(None, ExtraConditioningSettings()).any()
    assert not portrait_identity(
        find_face(portrait_of(3)), ExtraConditioningSettings(identity_model="arcface@1", identity_dim=512)
    ).any()
    assert all(mask.all() for mask in static_masks(None, FRAMING, cell=(8, 8)))


@pytest.mark.slow
def test_the_shape_that_is_asked_for_by_default_is_the_one_curation_measures():
    assert ExtraConditioningSettings().identity_model == IDENTITY_MODEL
    assert ExtraConditioningSettings().identity_dim == len(find_face(portrait_of(3)).identity_embedding)
