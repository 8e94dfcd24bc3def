"""The codec of motion: exact both ways, and mirrored without encoding again."""

import pytest
import torch

from xsheet.model.encoders.motion import SPREADS, MotionCodec


def motion(frames=33):
    return torch.randn(2, frames, len(SPREADS), generator=torch.Generator().manual_seed(0)) * torch.tensor(
        list(SPREADS.values())
    )


def test_motion_comes_back_as_it_was():
    codec, moving = MotionCodec(), motion()
    latent = codec.encode(moving)
    assert latent.shape == (2, 4 * len(SPREADS), 9, 1, 1) == (2, codec.channels, 9, 1, 1)
    assert torch.allclose(codec.decode(latent), moving, atol=1e-5)


def test_a_held_value_is_in_the_first_band_alone():
    still = torch.tensor(list(SPREADS.values())).expand(1, 9, -1)
    bands = MotionCodec().encode(still)[0, :, :, 0, 0].unflatten(0, (4, -1))
    assert bands[0].abs().min() > 0
    assert bands[1:].abs().max() < 1e-4


def test_the_mirrored_latent_is_that_of_mirrored_motion():
    codec, moving = MotionCodec(), motion()
    mirrored = codec.decode(codec.mirror(codec.encode(moving)))
    place = list(SPREADS).index
    for name, other, sign in (
        ("yaw_deg", "yaw_deg", -1),
        ("pitch_deg", "pitch_deg", 1),
        ("eye_left_open", "eye_right_open", 1),
        ("wrist_left_x", "wrist_right_x", -1),
        ("wrist_left_y", "wrist_right_y", 1),
    ):
        assert torch.allclose(mirrored[..., place(name)], sign * moving[..., place(other)], atol=1e-5), name


def test_frames_that_are_no_whole_latent_are_refused():
    with pytest.raises(ValueError, match="4k"):
        MotionCodec().encode(motion(frames=32))


def test_other_spreads_are_another_codec():
    assert MotionCodec().fingerprint() != MotionCodec({**SPREADS, "smile": 1.0}).fingerprint()
