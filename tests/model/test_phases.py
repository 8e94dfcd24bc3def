from dataclasses import replace

import pytest
import torch

from xsheet.model.conditioning import drop_conditions
from xsheet.model.phases import (
    Rotation,
    TextTiming,
    clock_numbers,
    interval_rotations,
    rotate,
    text_timing,
    timed_text_attention,
)
from xsheet.model.transformer import ActAvatarTransformer

FRAMES, TOKENS = 5, 4  # latent frames, tokens of each
TIME = torch.tensor([300.0, 900.0])


def bound(small, *binding, **fields):
    return small.model_copy(update={"phase_binding": binding, "interval_strength": 1.0, **fields})


@pytest.fixture
def model_of(small, rng):
    """A model in which every weight speaks, with the given bindings."""

    def build(*binding, **fields):
        model = ActAvatarTransformer(**bound(small, *binding, **fields).model_dump())
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(std=0.2, generator=rng)
        return model

    return build


@pytest.fixture
def video(small, rng):
    return torch.randn(2, FRAMES * TOKENS, small.hidden_dim, generator=rng)


@pytest.fixture
def text(small, rng):
    return torch.randn(2, small.text_tokens, small.hidden_dim, generator=rng)


def timing_of(config, given, strength=1.0):
    return text_timing(config, phase_BM=given.phase_BM, window_BK2=given.window_BK2, frames=FRAMES, strength=strength)


def later(given, frames):
    return replace(given, window_BK2=given.window_BK2 + frames)


def test_a_query_and_a_key_agree_by_the_mean_rotation_over_the_interval(small):
    """Truth by numerical integration of the rotation over the phase, scaled so that its mean amplitude is one."""
    config, start, end = bound(small, "interval"), 3.0, 11.0
    phase = torch.ones(1, 1, dtype=torch.long)
    query, key = interval_rotations(config, phase, torch.tensor([[[start, end]]]), frames=FRAMES, strength=1.0)
    omega = 1e4 ** (-torch.arange(0, 24, 2) / 24) * 4 / config.frame_rate
    instants = torch.linspace(start, end, 2001)[:, None] * omega
    mean = torch.complex(instants.cos().mean(0), instants.sin().mean(0))
    amplitude = mean.abs().copysign(torch.sinc((end - start) / 2 * omega / torch.pi))
    expected = mean / amplitude.mean()
    torch.testing.assert_close(torch.complex(key.cos, key.sin)[0, 0], expected, rtol=1e-3, atol=1e-3)
    # Latents hold frames 0, 1-4, ..., 13-16: their middles are .5, 3, ..., 15 frames from the start.
    angle = torch.tensor([0.5, 3, 7, 11, 15])[:, None] * omega
    torch.testing.assert_close(torch.complex(query.cos, query.sin)[0], torch.polar(torch.ones_like(angle), angle))


def test_pairs_are_the_halves_of_a_head():
    """As in TIE's released weights; Wan's own rotary positions pair neighbours."""
    x = torch.tensor([1.0, 2.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    quarter = torch.tensor([[[torch.pi / 2, 0.0]]])
    torch.testing.assert_close(
        rotate(x, Rotation(quarter.cos(), quarter.sin())).flatten(), torch.tensor([0.0, 2.0, 1.0, 0.0])
    )


@pytest.mark.parametrize("fps", [10.0, 25.0])
def test_only_seconds_count(small, fps):
    """The same instants at another frame rate give the same rotation of a key."""
    config = bound(small, "interval", frame_rate=fps)
    window = torch.tensor([[[0.4 * fps, 1.2 * fps]]])
    _, key = interval_rotations(config, torch.ones(1, 1, dtype=torch.long), window, frames=FRAMES, strength=1.0)
    _, expected = interval_rotations(
        bound(small, "interval", frame_rate=5.0), torch.ones(1, 1, dtype=torch.long), torch.tensor([[[2.0, 6.0]]]),
        frames=FRAMES, strength=1.0,
    )  # fmt: skip
    torch.testing.assert_close(key.cos, expected.cos)


def test_pads_are_not_rotated_and_the_null_prompt_is_wans(small, given, latent, model_of):
    config = bound(small, "interval")
    timing = timing_of(config, given)
    assert (timing.key.cos[:, 9:] == 1).all()
    assert not timing.key.sin[:, 9:].any()
    nothing = drop_conditions(
        given, text_B=torch.tensor([True, False]), audio_B=torch.tensor([False, False]),
        null_text_ME=torch.zeros(small.text_tokens, small.text_dim),
    )  # fmt: skip
    model = model_of("interval")
    plain = ActAvatarTransformer(**bound(small).model_dump())
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        came, expected = (nothing.velocity(one, latent, TIME) for one in (model, plain))
    torch.testing.assert_close(came[0], expected[0])
    assert not torch.allclose(came[1], expected[1])


@pytest.mark.parametrize("binding", ["interval", "clock"])
def test_times_alone_change_the_velocity(binding, given, latent, model_of):
    model = model_of(binding)
    with torch.no_grad():
        assert not torch.allclose(
            given.velocity(model, latent, TIME), later(given, 3).velocity(model, latent, TIME), atol=1e-4
        )


@pytest.mark.parametrize("binding", [(), ("table",)])
def test_without_a_binding_to_times_they_are_only_in_the_words(binding, given, latent, model_of):
    model = model_of(*binding)
    with torch.no_grad():
        assert torch.equal(given.velocity(model, latent, TIME), later(given, 3).velocity(model, latent, TIME))


def test_strength_zero_is_the_attention_of_wan_though_the_rotation_is_computed(small, given, video, text, model_of):
    attention = model_of("interval").blocks[1].attn2
    window = given.window_BK2
    query, key = interval_rotations(bound(small, "interval"), given.phase_BM, window, frames=FRAMES, strength=0.0)
    with torch.no_grad():
        came = timed_text_attention(attention, video, text, TextTiming(query=query, key=key), clock=None)
        assert torch.equal(came, attention(video, text, None, None))


def test_a_clock_reads_where_in_the_window_a_latent_is(small):
    config = bound(small, "clock", frame_rate=10.0)
    numbers = clock_numbers(config, torch.tensor([[[2.0, 7.0]]]), frames=3)[0]
    assert not numbers[:, 0].any()  # the base
    inside, share, since, until = numbers[:, 1, :4], numbers[:, 1, 4], numbers[:, 1, 5], numbers[:, 1, 6]
    assert inside.tolist() == [[0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 0, 0]]  # frames 0 | 1-4 | 5-8
    assert share.tolist() == [0, 0.75, 0.5]
    torch.testing.assert_close(since, (torch.tensor([0.5, 3, 7]) - 2) / 8)
    torch.testing.assert_close(until, (7 - torch.tensor([0.5, 3, 7])) / 8)


def test_a_clock_moves_only_the_tokens_of_its_phase(small, given, video, text, model_of):
    """Values of the base and of pads stay: with a text of these alone the attention is as without a clock."""
    block = model_of("clock").blocks[0]
    base = replace(given, phase_BM=given.phase_BM.clamp(max=0))
    config = bound(small, "clock")
    with torch.no_grad():
        idle = timed_text_attention(block.attn2, video, text, timing_of(config, base), clock=block.phase_clock)
        torch.testing.assert_close(idle, block.attn2(video, text, None, None))
        busy = timed_text_attention(block.attn2, video, text, timing_of(config, given), clock=block.phase_clock)
    assert not torch.allclose(busy, idle)


def test_overlapping_phases_are_bound_each_to_its_own_time(given, latent, model_of):
    overlapping = replace(given, window_BK2=torch.tensor([[[0.0, 12.0], [4.0, 17.0], [0.0, 0.0]]]).expand(2, -1, -1))
    exchanged = replace(overlapping, window_BK2=overlapping.window_BK2[:, [1, 0, 2]])
    model = model_of("interval", "clock")
    with torch.no_grad():
        assert not torch.allclose(
            overlapping.velocity(model, latent, TIME), exchanged.velocity(model, latent, TIME), atol=1e-4
        )


@pytest.mark.parametrize("binding", ["interval", "clock"])
def test_a_binding_to_times_wants_windows(binding, given, latent, model_of):
    with pytest.raises(ValueError, match=f"expected window_BK2 with phase_binding={binding}"):
        replace(given, window_BK2=None).velocity(model_of(binding), latent, TIME)


def test_the_first_step_reaches_every_clock(given, latent, small, rng):
    model = ActAvatarTransformer(**bound(small, "interval", "clock").model_dump())
    given.velocity(model, latent, TIME).square().mean().backward()
    assert all(block.phase_clock.weight.grad.abs().max() > 0 for block in model.blocks)


def test_the_timing_of_a_clip_does_not_depend_on_its_batch(given, latent, model_of):
    model = model_of("table", "interval", "clock")
    alone = replace(
        given, text_BME=given.text_BME[:1], phase_BM=given.phase_BM[:1], audio_BTLQ=given.audio_BTLQ[:1],
        window_BK2=given.window_BK2[:1],
    )  # fmt: skip
    with torch.no_grad():
        both = given.velocity(model, latent, TIME)
        torch.testing.assert_close(both[:1], alone.velocity(model, latent[:1], TIME[:1]))
