import pytest
import torch
from diffusers import AutoencoderKLWan

from xsheet.model.encoders.video import WanCodec
from xsheet.schemas.errors import ConfigError

# As published beside the weights (vae/config.json of Wan-AI/Wan2.1-T2V-1.3B-Diffusers and Wan2.2-TI2V-5B-Diffusers).
WAN21 = {
    "z_dim": 16,
    "latents_mean": [
        -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632,
        -0.1922, -0.9497, 0.2503, -0.2921,
    ],
    "latents_std": [
        2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382,
        1.1253, 2.8251, 1.9160,
    ],
}  # fmt: skip
WAN22 = {
    "z_dim": 48,
    "latents_mean": [
        -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891, 0.1570,
        -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502, -0.2055,
        -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839,
        -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
    ],
    "latents_std": [
        0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901, 0.6885,
        0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659, 0.7069, 0.5338,
        0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458,
        1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
    ],
    "is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16,
}  # fmt: skip
SIZES = {"2.1": (WAN21, (4, 8, 8)), "2.2": (WAN22, (4, 16, 16))}
SMALL = {"base_dim": 4, "num_res_blocks": 1, "temperal_downsample": [False, True, True]}


@pytest.fixture(scope="module", params=SIZES)
def size(request):
    return SIZES[request.param]


@pytest.fixture(scope="module")
def codec(size):
    torch.manual_seed(3)
    return WanCodec(AutoencoderKLWan(**(SMALL | size[0])))


@pytest.fixture(scope="module")
def rgb():
    return torch.randint(0, 256, (1, 5, 32, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_its_channels_and_stride_are_those_of_the_vae(codec, size):
    assert codec.channels == size[0]["z_dim"]
    assert codec.stride == size[1]


def test_a_latent_has_the_shape_that_channels_and_stride_say(codec, rgb):
    _, height, width = codec.stride
    latent = codec.encode(rgb)
    assert latent.shape == (1, codec.channels, 2, 32 // height, 48 // width)
    assert codec.decode(latent).shape == rgb.shape


def test_the_mean_is_taken_off_once_and_the_deviation_divided_out_once(codec, size, rgb):
    mean, std = (torch.tensor(size[0][key]).reshape(1, -1, 1, 1, 1) for key in ("latents_mean", "latents_std"))
    with torch.no_grad():
        plain = codec.vae.encode(rgb.permute(0, 4, 1, 2, 3) / 127.5 - 1).latent_dist.mode()
    torch.testing.assert_close(codec.encode(rgb), (plain - mean) / std)


def test_a_latent_of_zeros_is_decoded_from_the_published_mean(codec, size):
    _, height, width = codec.stride
    mean = torch.tensor(size[0]["latents_mean"]).reshape(1, -1, 1, 1, 1).repeat(1, 1, 2, 2, 2)
    with torch.no_grad():
        expected = codec.vae.decode(mean).sample
    came = codec.decode(torch.zeros(1, codec.channels, 2, 2, 2))
    assert came.shape == (1, 5, 2 * height, 2 * width, 3)
    assert (came.permute(0, 4, 1, 2, 3) - (expected + 1) * 127.5).abs().max() <= 0.5 + 1e-3


def test_the_first_latent_knows_frame_0_alone(codec, rgb):
    torch.testing.assert_close(codec.encode(rgb)[:, :, :1], codec.encode(rgb[:, :1]))


def test_the_same_pictures_give_the_same_latent(codec, rgb):
    assert torch.equal(codec.encode(rgb), codec.encode(rgb))


def test_a_mirrored_latent_cannot_be_made(codec):
    assert codec.mirror(torch.zeros(1, codec.channels, 1, 2, 2)) is None


def test_pictures_that_do_not_divide_are_refused(codec):
    with pytest.raises(ValueError, match=f"{codec.stride[1]} x {codec.stride[2]} pixels, got 40 x 36"):
        codec.encode(torch.zeros(1, 5, 40, 36, 3, dtype=torch.uint8))


def test_other_weights_or_another_scale_have_another_fingerprint(codec, size):
    torch.manual_seed(3)
    same = WanCodec(AutoencoderKLWan(**(SMALL | size[0])))
    assert same.fingerprint() == codec.fingerprint()
    torch.manual_seed(3)
    scaled = WanCodec(AutoencoderKLWan(**(SMALL | size[0] | {"latents_std": [1.0] * codec.channels})))
    assert scaled.fingerprint() != codec.fingerprint()
    with torch.no_grad():
        same.vae.quant_conv.bias[0] += 1
    assert same.fingerprint() != codec.fingerprint()


def test_a_saved_vae_is_the_same_when_loaded(codec, rgb, tmp_path):
    codec.vae.save_pretrained(tmp_path / "vae")
    loaded = WanCodec.load(tmp_path / "vae")
    assert torch.equal(loaded.encode(rgb), codec.encode(rgb))
    assert loaded.fingerprint() == codec.fingerprint()
    assert not any(weight.requires_grad for weight in loaded.vae.parameters())


def test_a_name_that_is_no_folder_is_not_looked_up_elsewhere(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a folder with config\.json .* got nothing"):
        WanCodec.load(tmp_path / "Wan-AI" / "vae")
