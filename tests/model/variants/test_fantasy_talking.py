from dataclasses import replace

import pytest
import torch

from xsheet.model.config import wan2_2_ti2v_5b_config
from xsheet.model.init import init_transformer
from xsheet.model.transformer import WanTransformer3DModel
from xsheet.model.variants.fantasy_talking import (
    FantasyTalkingConditioning,
    FantasyTalkingConfig,
    FantasyTalkingSettings,
    mouth_loss,
)
from xsheet.model.variants.fantasy_talking_network import (
    FantasyTalkingBlockInputs,
    FantasyTalkingTransformer,
    frame_windows,
)
from xsheet.model.weights import conditioning_keys, load, load_pretrained_backbone, save

TIME = torch.tensor([300.0, 900.0])
FRAMES, LATENTS, CELLS = 17, 5, 4
FACE = 6


def sized(small, **settings):
    fields = {"identity_width": FACE, "identity_tokens": 3, "identity_layers": 2, "motion_width": 8} | settings
    section = FantasyTalkingSettings(**fields)
    return FantasyTalkingConfig(
        **{**small.model_dump(), "audio_depth_schedule": "uniform", "fantasy_talking": section.model_dump()}
    )


def random_weights(model, rng):
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=rng)
        model.phase_table.weight[0] = 0
    return model


@pytest.fixture
def config(small):
    return sized(small)


@pytest.fixture
def conditioning(rng):
    return FantasyTalkingConditioning(
        identity_BX=torch.randn(2, FACE, generator=rng), motion_B2=torch.tensor([[0.1, 0.5], [0.9, 0.2]])
    )


@pytest.fixture
def model(config, rng):
    """A model in which everything speaks."""
    return random_weights(FantasyTalkingTransformer(**config.model_dump()), rng)


@pytest.fixture
def condition(given, conditioning):
    return replace(given, extra_conditioning=conditioning)


def velocity(model, condition, latent):
    with torch.no_grad():
        return condition.velocity(model, latent, TIME)


def test_with_fresh_parts_it_equals_wan_bit_by_bit(config, latent, condition, rng, tmp_path):
    base = WanTransformer3DModel(**config.backbone_fields())
    base.save_pretrained(tmp_path / "wan")
    model = load_pretrained_backbone(tmp_path / "wan", config=config, rng=rng, model_class=FantasyTalkingTransformer)
    with torch.no_grad():
        expected = base(latent, TIME, condition.text_BME, return_dict=False)[0]
    assert torch.equal(velocity(model, condition, latent), expected)


def test_with_a_time_per_latent_frame_it_equals_wan_too(config, latent, condition):
    base = WanTransformer3DModel(**config.backbone_fields())
    model = FantasyTalkingTransformer(**config.model_dump())
    model.load_state_dict(base.state_dict(), strict=False)
    time = TIME[:, None].repeat(1, LATENTS)
    time[:, 0] = 0
    with torch.no_grad():
        expected = base(latent, time.repeat_interleave(CELLS, 1), condition.text_BME, return_dict=False)[0]
        assert torch.equal(condition.velocity(model, latent, time), expected)


def test_the_first_step_reaches_sound_face_and_intensity(config, latent, condition, rng):
    model = init_transformer(config, rng=rng, kind=FantasyTalkingTransformer)
    with torch.no_grad():
        model.proj_out.weight.normal_(generator=rng)  # Wan's first answer is zero, through which nothing is learned
    condition.velocity(model, latent, TIME).square().mean().backward()
    for block in model.blocks:
        assert block.audio_attn.audio_kv.weight.grad.any()
        assert block.audio_attn.identity_kv.weight.grad.any()
    assert model.motion_intensity.output.weight.grad.any()


def test_its_new_keys_are_sound_face_and_intensity(model):
    new = conditioning_keys(model)
    firsts = {key.split(".")[0] if not key.startswith("blocks.") else ".".join(key.split(".")[2:]) for key in new}
    assert firsts == {
        "audio_projector", "identity_tokens", "motion_intensity",
        "audio_attn.audio_kv.weight", "audio_attn.identity_kv.weight",
    }  # fmt: skip


@pytest.mark.slow
def test_at_the_real_width_sound_adds_380_million_weights():
    config = FantasyTalkingConfig(
        **wan2_2_ti2v_5b_config().model_dump(exclude={"audio_depth_schedule"}), audio_depth_schedule="uniform"
    )
    with torch.device("meta"):
        model = FantasyTalkingTransformer(**config.model_copy(update={"audio_dim": 2048}).model_dump())
    sound = sum(p.numel() for name, p in model.named_parameters() if "audio_kv" in name or "audio_projector" in name)
    assert sound / 1e6 == pytest.approx(380 + 19, abs=5)  # the references' 379 of keys and values; 12 layers, not one


WINDOWS = {0: [0, 0, 0, 0, 0, 0, 1, 2], 1: [0, 0, 1, 2, 3, 4, 5, 6], 4: [11, 12, 13, 14, 15, 16, 16, 16]}


@pytest.mark.parametrize("latent", WINDOWS)
def test_a_latent_frame_hears_eight_video_frames_round_its_own_four(latent):
    assert frame_windows(FRAMES)[latent].tolist() == WINDOWS[latent]


@pytest.mark.parametrize("frame", [0, 6, 16])
def test_at_frame_level_a_sound_reaches_only_latents_whose_window_holds_it(model, given, rng, frame):
    attention, x = (
        model.blocks[0].audio_attn,
        torch.randn(2, LATENTS * CELLS, model.model_config.hidden_dim, generator=rng),
    )
    other = given.audio_BTLQ.clone()
    other[:, frame] += 1
    with torch.no_grad():
        first, second = (
            attention(x, FantasyTalkingBlockInputs(model.audio_projector(sound), None))
            for sound in (given.audio_BTLQ, other)
        )
    moved = (first != second).any(-1).reshape(2, LATENTS, CELLS).any(2).any(0)
    assert moved.tolist() == [frame in window for window in frame_windows(FRAMES).tolist()]


def test_at_clip_level_every_token_hears_every_sound(small, given, rng):
    model = random_weights(FantasyTalkingTransformer(**sized(small, audio_scope="clip").model_dump()), rng)
    attention, x = (
        model.blocks[0].audio_attn,
        torch.randn(2, LATENTS * CELLS, model.model_config.hidden_dim, generator=rng),
    )
    other = given.audio_BTLQ.clone()
    other[:, 6] += 1
    with torch.no_grad():
        first, second = (
            attention(x, FantasyTalkingBlockInputs(model.audio_projector(sound), None))
            for sound in (given.audio_BTLQ, other)
        )
    assert (first != second).any(-1).all()


def test_both_levels_share_their_weights(small, config):
    clip = FantasyTalkingTransformer(**sized(small, audio_scope="clip").model_dump())
    frame = FantasyTalkingTransformer(**config.model_dump())
    assert frame.load_state_dict(clip.state_dict()) == ([], [])


def test_another_face_is_another_picture(model, condition, latent):
    other = replace(
        condition,
        extra_conditioning=replace(condition.extra_conditioning, identity_BX=-condition.extra_conditioning.identity_BX),
    )
    assert not torch.allclose(velocity(model, condition, latent), velocity(model, other, latent))


def test_a_face_of_no_weight_is_not_looked_at(small, condition, latent, rng):
    model = random_weights(FantasyTalkingTransformer(**sized(small, identity_weight=0.0).model_dump()), rng)
    other = replace(
        condition,
        extra_conditioning=replace(condition.extra_conditioning, identity_BX=-condition.extra_conditioning.identity_BX),
    )
    assert torch.equal(velocity(model, condition, latent), velocity(model, other, latent))


def test_a_face_alone_is_looked_at_without_sound(model, condition, latent):
    text = {"phase_BM": condition.phase_BM}
    with torch.no_grad():
        seen = model(latent, TIME, condition.text_BME, extra_conditioning=condition.extra_conditioning, **text)
        unseen = model(latent, TIME, condition.text_BME, **text)
    assert not torch.allclose(seen, unseen)


@pytest.mark.slow
def test_it_learns_to_move_with_the_given_intensity(config, given, rng):
    model = init_transformer(config, rng=rng, kind=FantasyTalkingTransformer)
    motion = torch.randn(1, config.in_channels, LATENTS, 4, 4, generator=rng)
    x = torch.randn(2, config.in_channels, LATENTS, 4, 4, generator=rng)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def moved(intensity_B):
        conditioning = FantasyTalkingConditioning(motion_B2=torch.stack([intensity_B, torch.full((2,), 0.5)], dim=1))
        return replace(given, extra_conditioning=conditioning).velocity(model, x, TIME[:1].expand(2))

    for _ in range(60):
        intensity = torch.rand(2, generator=rng)
        loss = (moved(intensity) - intensity[:, None, None, None, None] * motion).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        sizes = [
            ((moved(torch.full((2,), w)) * motion).sum() / (2 * motion.square().sum())).item() for w in (0.1, 0.5, 0.9)
        ]
    assert sizes[0] + 0.2 < sizes[1] < sizes[2] - 0.2


def test_checkpointing_changes_no_gradient(model, condition, latent):
    def gradients():
        model.zero_grad()
        condition.velocity(model, latent, TIME).square().mean().backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}

    plain = gradients()
    model.enable_gradient_checkpointing()
    recomputed = gradients()
    assert [name for name in plain if not torch.equal(plain[name], recomputed[name])] == []


def test_a_saved_model_is_the_same_when_loaded(model, condition, latent, tmp_path):
    save(model, tmp_path / "model")
    again = load(tmp_path / "model", model_class=FantasyTalkingTransformer)
    assert again.model_config == model.model_config
    assert torch.equal(velocity(again, condition, latent), velocity(model, condition, latent))


@pytest.fixture
def mouth():
    """The mouth is one cell, in every latent frame."""
    mouth = torch.zeros(2, LATENTS, 4, 4)
    mouth[:, :, 2, 1] = 0.5
    return mouth


def test_a_loss_of_lips_alone_moves_nothing_else(mouth, rng):
    error = torch.rand(2, LATENTS - 1, 4, 4, generator=rng).requires_grad_()
    loss = mouth_loss(error, mouth_BFHW=mouth, mouth_only_B=torch.tensor([True, False]))
    torch.testing.assert_close(loss[0], error[0, :, 2, 1].mean())
    torch.testing.assert_close(loss[1], error[1].mean())
    loss.sum().backward()
    assert torch.equal(error.grad[0] != 0, mouth[0, 1:] > 0)
    assert error.grad[1].all()


def test_a_mouth_that_was_never_seen_leaves_the_whole_picture(mouth, rng):
    error = torch.rand(2, LATENTS - 1, 4, 4, generator=rng)
    loss = mouth_loss(error, mouth_BFHW=torch.zeros_like(mouth), mouth_only_B=torch.tensor([True, True]))
    torch.testing.assert_close(loss, error.mean((1, 2, 3)))


def test_the_base_model_takes_no_extra_conditioning(small, given, latent, conditioning):
    from xsheet.model.transformer import ActAvatarTransformer

    with pytest.raises(TypeError, match="expected no extra_conditioning, got FantasyTalkingConditioning"):
        replace(given, extra_conditioning=conditioning).velocity(
            ActAvatarTransformer(**small.model_dump()), latent, TIME
        )
