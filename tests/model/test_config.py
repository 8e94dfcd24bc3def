import json

import pytest

from xsheet.model.config import config_from, latent_frames, tiny_config, wan2_2_ti2v_5b_config
from xsheet.schemas.errors import ConfigError


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (33, 9), (81, 21), (125, 32)])
def test_frame_0_stands_alone_then_four_by_four(frames, latents):
    assert latent_frames(frames) == latents


@pytest.mark.parametrize("frames", [0, 2, 4, 100])
def test_any_other_number_of_frames_is_refused(frames):
    with pytest.raises(ValueError, match="4k \\+ 1"):
        latent_frames(frames)


@pytest.mark.parametrize("size", [tiny_config, wan2_2_ti2v_5b_config])
def test_a_size_survives_its_config_json(size):
    assert config_from(json.loads(size().model_dump_json()), where="here") == size()


def test_a_token_of_tiny_carries_well_below_its_width():
    size = tiny_config()
    assert size.in_channels * size.patch_size[1] * size.patch_size[2] == 96
    assert size.hidden_dim == 128


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_dim": 1280}, "image_dim: expected input should be null, got 1280"),
        ({"num_layers": 0}, "num_layers: expected input should be greater than or equal to 1, got 0"),
        ({"patch_size": [2, 2, 2]}, "a patch_size of one latent frame, got 2"),
        ({"latent_stride": [8, 8, 8]}, "a latent_stride of 4 frames, got 8"),
        ({"depth": 3}, "depth: expected extra inputs are not permitted, got 3"),
    ],
)
def test_a_wrong_field_is_named(wrong, message):
    with pytest.raises(ConfigError) as refused:
        config_from({**tiny_config().model_dump(), **wrong}, where="here")
    assert message in str(refused.value)
