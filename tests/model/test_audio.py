import pytest
import torch
from torch.nn import functional

from xsheet.model.audio import AudioAttention, AudioProjector, audio_windows
from xsheet.model.config import wan2_2_ti2v_5b_config

LATENTS, FRAMES = 5, 17


def slots(latent, frames):
    """The video frames a latent hears, as MultiTalk puts it: five round each frame, ends repeated, then a choice."""

    def window(frame):
        return [min(max(frame + k, 0), frames - 1) for k in range(-2, 3)]

    if latent == 0:
        return window(0)
    first, second, third, last = (window(4 * latent - 3 + k) for k in range(4))
    return [*first[:3], second[2], third[2], *last[2:]]


def attended_steps(sound, latent):
    first, later = audio_windows(sound)
    return first[0, 0].tolist() if latent == 0 else later[0, latent - 1].tolist()


@pytest.mark.parametrize("latent", range(LATENTS))
def test_each_latent_frame_hears_the_slots_of_multitalk_also_at_both_ends(latent):
    numbered = torch.arange(FRAMES, dtype=torch.float32)[None, :, None]
    assert attended_steps(numbered, latent) == slots(latent, FRAMES)


def test_the_ends_of_a_clip_are_repeated():
    numbered = torch.arange(FRAMES, dtype=torch.float32)[None, :, None]
    assert attended_steps(numbered, 0) == [0, 0, 0, 1, 2]
    assert attended_steps(numbered, 1) == [0, 0, 1, 2, 3, 4, 5, 6]
    assert attended_steps(numbered, LATENTS - 1) == [11, 12, 13, 14, 15, 16, 16, 16]


def test_a_single_picture_has_one_window():
    first, later = audio_windows(torch.ones(2, 1, 3))
    assert first.shape == (2, 1, 15)
    assert later.shape == (2, 0, 24)


@pytest.mark.parametrize("frame", [0, 1, 6, 7, 12, 16])
def test_a_frame_of_sound_reaches_only_latents_whose_window_holds_it(small, rng, frame):
    projector = AudioProjector(small)
    sound = torch.randn(1, FRAMES, small.audio_layers, small.audio_channels, generator=rng)
    other = sound.clone()
    other[:, frame] += 1
    with torch.no_grad():
        moved = (projector(sound) != projector(other)).flatten(2).any(2)[0]
    assert moved.tolist() == [frame in slots(latent, FRAMES) for latent in range(LATENTS)]


def test_the_real_size_has_32_tokens_of_768_for_each_latent_frame():
    with torch.device("meta"):
        projector = AudioProjector(wan2_2_ti2v_5b_config())
        assert projector(torch.empty(1, 125, 12, 768)).shape == (1, 32, 32, 768)
        assert projector.first.in_features == 46_080
        assert projector.later.in_features == 73_728


@pytest.fixture
def attention(small, rng):
    attention = AudioAttention(small, residual_scale=0.5)
    with torch.no_grad():
        for weight in attention.parameters():
            weight.normal_(std=0.3, generator=rng)
    return attention


@pytest.fixture
def video(small, rng):
    return torch.randn(2, LATENTS * 4, small.hidden_dim, generator=rng)


@pytest.fixture
def tokens(small, rng):
    return torch.randn(2, LATENTS, small.audio_tokens, small.audio_dim, generator=rng)


@pytest.mark.parametrize("latent", range(LATENTS))
def test_sound_of_one_latent_frame_moves_only_the_tokens_of_that_frame(attention, video, tokens, latent):
    other = tokens.clone()
    other[:, latent] += 1
    with torch.no_grad():
        moved = (attention(video, tokens) != attention(video, other)).any(-1)
    assert moved.reshape(2, LATENTS, 4).all(2).tolist() == [[k == latent for k in range(LATENTS)]] * 2


def test_folding_frames_into_the_batch_equals_a_dense_mask(attention, video, tokens):
    frame = torch.arange(LATENTS)
    same = frame.repeat_interleave(4)[:, None] == frame.repeat_interleave(tokens.shape[2])
    q = attention.to_q(attention.norm(video))
    k, v = attention.to_kv(tokens.flatten(1, 2)).chunk(2, dim=-1)
    q, k, v = (t.unflatten(2, (attention.heads, -1)).transpose(1, 2) for t in (q, k, v))
    seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=same)
    dense = 0.5 * attention.to_out(seen.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(video, tokens), dense)


def test_a_fresh_attention_says_nothing(small, video, tokens):
    assert not AudioAttention(small, residual_scale=1.0)(video, tokens).any()


def test_one_block_and_the_projector_have_as_many_weights_as_reckoned():
    with torch.device("meta"):
        config = wan2_2_ti2v_5b_config()
        block = sum(p.numel() for p in AudioAttention(config, residual_scale=1.0).parameters())
        projector = sum(p.numel() for p in AudioProjector(config).parameters())
    assert block / 1e6 == pytest.approx(23.6, abs=0.05)
    assert projector / 1e6 == pytest.approx(74, abs=0.5)
