import pytest
import torch
from torch.nn import functional

from xsheet.model.transformer import ActAvatarTransformer, masked_text_attention, phase_bias

FRAMES, TOKENS = 5, 4  # latent frames, tokens of each


def bias_of(kind, given):
    return phase_bias(kind, phase_BM=given.phase_BM, window_BK2=given.window_BK2, latent_frames=FRAMES, soft_frames=4.0)


def dense(attention, video, text, bias):
    """The same attention with a mask over all pairs of tokens, through diffusers' own code."""
    return attention(video, text, bias.repeat_interleave(TOKENS, dim=1)[:, None], None)


@pytest.fixture
def attention(model):
    return model.blocks[1].attn2


@pytest.fixture
def video(small, rng):
    return torch.randn(2, FRAMES * TOKENS, small.hidden_dim, generator=rng, requires_grad=True)


@pytest.fixture
def text(small, rng):
    return torch.randn(2, small.text_tokens, small.hidden_dim, generator=rng, requires_grad=True)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_folding_frames_equals_the_dense_mask_forward_and_backward(kind, attention, video, text, given):
    bias = bias_of(kind, given)
    inputs = (video, text, *attention.parameters())
    folded, whole = masked_text_attention(attention, video, text, bias), dense(attention, video, text, bias)
    torch.testing.assert_close(folded, whole)
    ours, theirs = (torch.autograd.grad(out.square().sum(), inputs) for out in (folded, whole))
    for came, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(came, expected, rtol=1e-4, atol=1e-4)


def test_a_hard_mask_shows_a_phase_to_the_latents_that_touch_its_window(given):
    # Latents hold frames 0, 1-4, 5-8, 9-12, 13-16; the phases are [0, 8) and [8, 17).
    seen = (bias_of("hard", given)[0] == 0).T.tolist()
    assert seen[3] == [True, True, True, False, False]
    assert seen[6] == [False, False, True, True, True]


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_base_and_pads_are_always_seen(kind, given):
    bias = bias_of(kind, given)
    assert not bias[:, :, :3].any()
    assert not bias[:, :, 9:].any()


def test_a_phase_of_one_frame_is_seen_by_the_latent_that_holds_it(given):
    for frame, latent in ((0, 0), (1, 1), (4, 1), (5, 2), (16, 4)):
        window = torch.tensor([[[float(frame), frame + 1.0]]]).expand(2, -1, -1)
        bias = phase_bias(
            "hard",
            phase_BM=torch.ones(2, 1, dtype=torch.long),
            window_BK2=window,
            latent_frames=FRAMES,
            soft_frames=4.0,
        )
        assert (bias[0, :, 0] == 0).nonzero().flatten().tolist() == [latent]


def test_a_soft_mask_is_the_log_of_a_window_with_sigmoid_sides(given):
    middle = torch.tensor([0, 2.5, 6.5, 10.5, 14.5])
    expected = torch.sigmoid((middle - 8) / 4) * torch.sigmoid((17 - middle) / 4)
    torch.testing.assert_close(bias_of("soft", given)[0, :, 6], expected.log())


def test_without_a_mask_nothing_is_computed(given):
    assert bias_of("none", given) is None


def test_text_of_an_unseen_phase_moves_no_token(attention, video, text, given):
    other = text.detach().clone()
    other[:, 6:9] += 1  # phase 2, unseen by latents 0 and 1
    bias = bias_of("hard", given)
    with torch.no_grad():
        moved = masked_text_attention(attention, video, text, bias) != masked_text_attention(
            attention, video, other, bias
        )
    assert moved.any(-1).reshape(2, FRAMES, TOKENS).all(2).tolist() == [[False, False, True, True, True]] * 2


def test_a_masked_model_runs_and_wants_windows(small, latent, given):
    masked = ActAvatarTransformer(**small.model_copy(update={"phase_mask": "hard"}).model_dump())
    time = torch.tensor([300.0, 900.0])
    assert given.velocity(masked, latent, time).isfinite().all()
    with pytest.raises(ValueError, match="expected window_BK2"):
        masked(latent, time, given.text_BME, phase_BM=given.phase_BM)


def test_where_all_is_seen_the_masked_path_equals_the_plain_one(attention, video, text, given):
    open_to_all = torch.zeros_like(bias_of("hard", given))
    torch.testing.assert_close(
        masked_text_attention(attention, video, text, open_to_all), attention(video, text, None, None)
    )


def test_torch_gives_zero_not_nan_where_a_row_sees_nothing():
    """The mask always shows base and pads; a prompt of nothing but unseen phases relies on this of torch."""
    q, k = torch.ones(1, 1, 2, 8), torch.ones(1, 1, 3, 8)
    out = functional.scaled_dot_product_attention(q, k, k, attn_mask=torch.full((1, 1, 1, 3), -torch.inf))
    assert not out.isnan().any()
