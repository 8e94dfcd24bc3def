"""Pictures of the analytic codec as people see them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from xsheet.demo.puppet.draw import Puppet
from xsheet.demo.puppet.identity import random_identity
from xsheet.demo.puppet.pose import Motion
from xsheet.model.encoders.upscaler import Upscaler, moved, with_context
from xsheet.model.encoders.video import DctCodec, to_float


@pytest.fixture(scope="module")
def head():
    """A head that the upscaler was not fitted on, in 128 pixels, (1, 1, 128, 128, 3)."""
    return _head(Motion.rest(1), 0)


def _head(motion, frame):
    identity = random_identity(987_654)
    picture = Puppet(identity, height_px=256).draw(motion.at(frame))
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


@pytest.mark.slow
def test_errors_of_a_sample_are_removed_in_part(head):
    """A clip that stands still, whose bands are off by half a deviation in every frame but the first."""
    codec, rng = DctCodec(), torch.Generator().manual_seed(0)
    small = torch.from_numpy(cv2.resize(head[0, 0].numpy(), (64, 64), interpolation=cv2.INTER_AREA))
    latent = codec.encode(small.expand(1, 17, -1, -1, -1))
    latent[:, :, 1:] += 0.5 * torch.randn(latent[:, :, 1:].shape, generator=rng)
    decoded = codec.decode(latent)
    bilinear = functional.interpolate(decoded[0].movedim(-1, 1).float(), scale_factor=2, mode="bilinear")
    plain = bilinear.round().clamp(0, 255).to(torch.uint8).movedim(1, -1)[None]
    drawn = head.expand(1, 17, -1, -1, -1)
    assert psnr(codec.enlarge(decoded), drawn) > psnr(plain, drawn) + 1


def test_a_picture_is_read_where_the_flow_points():
    """A flow of +2 pixels in x and +1 in y reads each pixel from two to the right and one below."""
    rng = torch.Generator().manual_seed(0)
    picture = torch.rand((1, 3, 8, 16), generator=rng)
    flow = torch.tensor([2 * 2 / 16, 1 * 2 / 8])[None, :, None, None].expand(1, 2, 8, 16)
    torch.testing.assert_close(moved(picture, flow)[:, :, :-1, :-2], picture[:, :, 1:, 2:])


@pytest.mark.slow
def test_errors_of_a_head_that_tilts_are_removed_in_part():
    """Bands that are off by half a deviation; the head tilts by 15 degrees and back, the wall keeps still."""
    tilt = (15 * np.sin(np.linspace(0, np.pi, 17))).astype(np.float32)
    motion = replace(Motion.rest(17), roll_deg=tilt)
    drawn = torch.cat([_head(motion, frame) for frame in range(17)], dim=1)
    small = np.stack([cv2.resize(one.numpy(), (64, 64), interpolation=cv2.INTER_AREA) for one in drawn[0]])
    codec, rng = DctCodec(), torch.Generator().manual_seed(0)
    latent = codec.encode(torch.from_numpy(small)[None])
    latent[:, :, 1:] += 0.5 * torch.randn(latent[:, :, 1:].shape, generator=rng)
    decoded = codec.decode(latent)
    bilinear = functional.interpolate(decoded[0].movedim(-1, 1).float(), scale_factor=2, mode="bilinear")
    plain = bilinear.round().clamp(0, 255).to(torch.uint8).movedim(1, -1)[None]
    assert psnr(codec.enlarge(decoded), drawn) > psnr(plain, drawn) + 1.5


def test_the_flow_of_a_still_clip_is_nearly_nothing(head):
    codec = DctCodec()
    small = torch.from_numpy(cv2.resize(head[0, 0].numpy(), (64, 64), interpolation=cv2.INTER_AREA))
    still = codec.decode(codec.encode(small.expand(1, 9, -1, -1, -1)))[0]
    seen = with_context(to_float(still).movedim(-1, 1))
    pixels = Upscaler.load().motion(seen).detach().abs() * 64 / 2
    assert float(pixels.quantile(0.95)) < 0.5


@pytest.mark.slow
def test_clips_do_not_affect_each_other(head):
    codec = DctCodec()
    one, other = head[:, :, :64, :64].expand(1, 3, -1, -1, -1), head[:, :, 32:96, 32:96].expand(1, 3, -1, -1, -1)
    together = codec.enlarge(torch.cat([one, other]))
    assert together.shape == (2, 3, 128, 128, 3)
    assert torch.equal(together[:1], codec.enlarge(one))
    assert torch.equal(together[1:], codec.enlarge(other))


def test_each_frame_is_seen_with_its_neighbours_and_the_first():
    clip = torch.arange(4.0).reshape(4, 1, 1, 1).expand(-1, 3, 2, 2)
    seen = with_context(clip)[:, ::3, 0, 0]
    assert seen.tolist() == [[0, 0, 1, 0], [1, 0, 2, 0], [2, 1, 3, 0], [3, 2, 3, 0]]
