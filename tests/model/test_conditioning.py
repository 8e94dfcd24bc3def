from functools import partial

import pytest
import torch

from xsheet.model.conditioning import GuidanceSettings, drop_conditions, guided
from xsheet.model.phases import PAD

TIME = torch.full((2, 5), 500.0)
NO, YES = torch.tensor([False, False]), torch.tensor([True, True])


@pytest.fixture
def null_text(small):
    return torch.zeros(small.text_tokens, small.text_dim)


def follow(model, given, latent, null_text, **settings):
    nothing = drop_conditions(given, text_B=YES, audio_B=YES, null_text_ME=null_text)
    sound = drop_conditions(given, text_B=YES, audio_B=NO, null_text_ME=null_text)
    both, neither, audio_only = (partial(condition.velocity, model) for condition in (given, nothing, sound))
    with torch.no_grad():
        return guided(both, uncond=neither, audio_only=audio_only, settings=GuidanceSettings(**settings))(latent, TIME)


def test_one_scale_takes_two_passes_two_scales_three(model, given, latent, null_text):
    for settings, passes in (({}, 2), ({"audio_scale": 4.0}, 3)):
        calls = []
        with model.register_forward_hook(lambda *of_pass, calls=calls: calls.append(of_pass)):
            follow(model, given, latent, null_text, **settings)
        assert len(calls) == passes


def test_two_equal_scales_are_one_scale(model, given, latent, null_text):
    one = follow(model, given, latent, null_text, scale=5.0)
    torch.testing.assert_close(follow(model, given, latent, null_text, scale=5.0, audio_scale=5.0), one)


def test_scale_one_follows_the_condition_and_scale_zero_nothing(model, given, latent, null_text):
    nothing = drop_conditions(given, text_B=YES, audio_B=YES, null_text_ME=null_text)
    with torch.no_grad():
        full, none = given.velocity(model, latent, TIME), nothing.velocity(model, latent, TIME)
    torch.testing.assert_close(follow(model, given, latent, null_text, scale=1.0), full)
    torch.testing.assert_close(follow(model, given, latent, null_text, scale=0.0), none)


def test_separate_scales_push_sound_and_text_apart(model, given, latent, null_text):
    audio_only = drop_conditions(given, text_B=YES, audio_B=NO, null_text_ME=null_text)
    nothing = drop_conditions(given, text_B=YES, audio_B=YES, null_text_ME=null_text)
    with torch.no_grad():
        v_0, v_a, v_ca = (c.velocity(model, latent, TIME) for c in (nothing, audio_only, given))
    came = follow(model, given, latent, null_text, scale=3.0, audio_scale=6.0)
    torch.testing.assert_close(came, v_0 + 6 * (v_a - v_0) + 3 * (v_ca - v_a))


def test_dropped_text_is_the_null_prompt_without_any_phase(given, null_text):
    came = drop_conditions(given, text_B=torch.tensor([True, False]), audio_B=NO, null_text_ME=null_text + 1)
    assert (came.text_BME[0] == 1).all()
    assert (came.phase_BM[0] == PAD).all()
    assert torch.equal(came.text_BME[1], given.text_BME[1])
    assert torch.equal(came.phase_BM[1], given.phase_BM[1])
    assert torch.equal(came.audio_BTLQ, given.audio_BTLQ)


def test_dropped_sound_is_features_of_zero(given, null_text):
    came = drop_conditions(given, text_B=NO, audio_B=torch.tensor([False, True]), null_text_ME=null_text)
    assert not came.audio_BTLQ[1].any()
    assert torch.equal(came.audio_BTLQ[0], given.audio_BTLQ[0])
    assert torch.equal(came.text_BME, given.text_BME)
