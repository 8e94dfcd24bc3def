import math
from itertools import product

import numpy as np
import pytest
import torch

from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.render import render_film
from xsheet.model.config import tiny_config
from xsheet.model.encoders.video import BANDS, Band, DctCodec, LatentScale, to_float, to_uint8

FRAMES, SIZE = 9, 32
ALL = [Band(c, t, y, x, 0.1, 2.0) for c, t, y, x in product(range(3), range(4), range(8), range(8))]


@pytest.fixture
def codec():
    return DctCodec()


@pytest.fixture
def rgb(rng):
    return torch.randint(0, 256, (2, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8, generator=rng)


@pytest.fixture
def latent(rng):
    """What the codec can say: a first latent without change in time, and anything after it; all inside -1..1."""
    latent = torch.randn(2, len(BANDS), 3, 4, 4, generator=rng) * 0.1
    moving = torch.tensor([band.time > 0 for band in BANDS])
    latent[:, moving, 0] = 0
    return latent


@pytest.fixture(scope="module")
def puppet():
    """13 frames of a film at 64 x 64."""
    plan = plan_film(3, seed=9, kind="talk")
    frames = [frame for _, frame in zip(range(13), render_film(plan, height_px=64), strict=False)]
    return torch.from_numpy(np.stack(frames))[None]


def test_it_gives_what_the_tiny_size_expects(codec):
    size = tiny_config()
    assert codec.channels == size.in_channels == size.out_channels
    assert codec.stride == size.latent_stride


def test_a_patch_holds_96_numbers_most_of_them_luma():
    assert 4 * len(BANDS) == 96
    assert sum(band.colour == 0 for band in BANDS) == 20


def test_no_band_stands_twice():
    assert len({band[:4] for band in BANDS}) == len(BANDS)


@pytest.mark.parametrize("frames", [1, 5, 33])
def test_frame_0_is_a_latent_of_its_own_and_four_frames_the_next(codec, frames):
    rgb = torch.zeros(1, frames, 16, 24, 3, dtype=torch.uint8)
    latent = codec.encode(rgb)
    assert latent.shape == (1, 24, 1 + (frames - 1) // 4, 2, 3)
    assert codec.decode(latent).shape == rgb.shape


@pytest.mark.slow
def test_the_bands_are_orthonormal():
    waves = DctCodec(ALL)._basis_CX
    torch.testing.assert_close(waves @ waves.T, torch.eye(len(ALL)), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_with_every_band_each_pixel_comes_back(rgb):
    codec = DctCodec(ALL)
    assert torch.equal(codec.decode(codec.encode(rgb)), rgb)


def test_what_is_kept_comes_back(codec, latent):
    torch.testing.assert_close(codec.analyse(codec.synthesise(latent)), latent, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_what_is_lost_is_the_energy_of_the_bands_left_out(codec, rgb):
    picture = to_float(rgb)
    whole = DctCodec(ALL)
    bands = whole._scale.denormalise(whole.analyse(picture))[:, :, 1:]
    kept = [ALL.index(b._replace(mean=0.1, std=2.0)) for b in BANDS]
    lost = bands.square().sum() - bands[:, kept].square().sum()
    error = (codec.synthesise(codec.analyse(picture)) - picture)[:, 1:].square().sum()
    torch.testing.assert_close(error, lost, rtol=1e-4, atol=0)


def test_the_first_latent_knows_frame_0_alone(codec, rgb):
    other = rgb.clone()
    other[:, 1:] = 255 - other[:, 1:]
    assert torch.equal(codec.encode(rgb)[:, :, 0], codec.encode(other)[:, :, 0])
    assert torch.equal(codec.encode(rgb)[:, :, 0], codec.encode(rgb[:, :1])[:, :, 0])


def test_a_latent_knows_its_own_four_frames_alone(codec, rgb):
    other = rgb.clone()
    other[:, 5:] = 0
    same = (codec.encode(rgb) == codec.encode(other)).flatten(3).all(3).all(1).all(0)
    assert same.tolist() == [True, True, False]


def test_a_mirrored_latent_is_the_latent_of_the_mirrored_pictures(codec, rgb):
    mirrored = rgb.flip(3)
    torch.testing.assert_close(codec.mirror(codec.encode(rgb)), codec.encode(mirrored), atol=1e-5, rtol=0)


def test_the_table_scales_how_a_puppet_moves_to_about_one(codec, puppet):
    latent = codec.encode(puppet)
    assert 0.5 < (latent[:, :, 1:] - latent[:, :, :1]).square().mean().sqrt() < 2


def test_it_keeps_a_puppet_at_23_db(codec, puppet):
    error = (codec.decode(codec.encode(puppet)).float() - puppet.float()).square().mean().item()
    assert 10 * math.log10(255**2 / error) > 23


def test_the_same_pictures_give_the_same_bits(codec, rgb):
    assert torch.equal(codec.encode(rgb), DctCodec().encode(rgb.clone()))


def test_pictures_that_are_not_uint8_are_refused(codec, rgb):
    with pytest.raises(TypeError, match=r"expected uint8 pictures, got torch\.float32"):
        codec.encode(rgb / 255)


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 8, 16, 16, 3), "4k"), ((1, 5, 16, 20, 3), "8 x 8 pixels, got 16 x 20")]
)
def test_pictures_that_do_not_divide_are_refused(codec, shape, message):
    with pytest.raises(ValueError, match=message):
        codec.encode(torch.zeros(shape, dtype=torch.uint8))


def test_what_lies_beyond_white_is_white():
    assert to_uint8(torch.tensor([-1.2, -1.0, 1.0, 3.0])).tolist() == [0, 0, 255, 255]


def test_another_table_has_another_fingerprint(codec):
    louder = [*BANDS[:-1], BANDS[-1]._replace(std=9.0)]
    assert codec.fingerprint() == DctCodec().fingerprint()
    assert codec.fingerprint() != DctCodec(louder).fingerprint()


def test_a_scale_is_taken_off_and_put_back():
    scale = LatentScale(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 4.0]))
    latent = torch.tensor([3.0, 6.0]).reshape(1, 2, 1, 1, 1)
    assert scale.normalise(latent).flatten().tolist() == [1.0, 2.0]
    assert torch.equal(scale.denormalise(scale.normalise(latent)), latent)
