"""Pictures of the analytic codec as people see them."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.model.encoders.video import DctCodec, to_float


@pytest.fixture(scope="module")
def head():
    """A head that the upscaler was not fitted on, in 128 pixels, (1, 1, 128, 128, 3)."""
    identity = random_identity(987_654)
    picture = Puppet(identity, height_px=256).draw(Motion.rest(1).at(0))
    reach, scene = round(256 * 0.8 * identity.scene.head_share), identity.scene
    x, y = round(256 * (0.5 + scene.centre_x)), round(256 * (scene.eye_line + 0.05 * scene.head_share))
    cut = picture[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
    return torch.from_numpy(np.asarray(cv2.resize(cut, (128, 128), interpolation=cv2.INTER_AREA)))[None, None]


def psnr(found, wanted):
    return float(-10 * torch.log10((to_float(found) - to_float(wanted)).square().mean() / 4))


def test_an_enlarged_head_is_nearer_to_the_drawn_one_than_a_bilinear_one(head):
    codec = DctCodec()
    small = torch.from_numpy(cv2.resize(head[0, 0].numpy(), (64, 64), interpolation=cv2.INTER_AREA))[None, None]
    decoded = codec.decode(codec.encode(small))
    bilinear = functional.interpolate(decoded[0].movedim(-1, 1).float(), scale_factor=2, mode="bilinear")
    plain = bilinear.round().clamp(0, 255).to(torch.uint8).movedim(1, -1)[None]
    assert psnr(codec.enlarge(decoded), head) > psnr(plain, head) + 1


def test_enlarging_keeps_clips_and_frames_apart(head):
    codec = DctCodec()
    one, other = head[:, :, :64, :64], head[:, :, 32:96, 32:96]
    together = codec.enlarge(torch.cat([torch.cat([one, other], dim=1), torch.cat([other, one], dim=1)]))
    assert together.shape == (2, 2, 128, 128, 3)
    assert torch.equal(together[0, 1], together[1, 0])
    assert torch.equal(together[:1, :1], codec.enlarge(one))
