from dataclasses import replace

import pytest
import torch

from xsheet.model.init import init_transformer
from xsheet.model.transformer import WanTransformer3DModel
from xsheet.model.variants.actalker import ACTalkerConditioning, ACTalkerConfig, ACTalkerSettings, sample_gates
from xsheet.model.variants.actalker_network import ACTalkerTransformer, driven_regions
from xsheet.model.weights import conditioning_keys, load, load_pretrained_backbone, save

TIME = torch.tensor([300.0, 900.0])
FRAMES, LATENTS, CELLS, TOKENS = 17, 5, 4, 4
FACE, MOTION = 6, 3
BOTH, SOUND, MOVES = (True, True), (True, False), (False, True)


def sized(small, **settings):
    section = ACTalkerSettings(**({"identity_width": FACE, "motion_width": MOTION, "state_dim": 4} | settings))
    return ACTalkerConfig(**{**small.model_dump(), "audio_depth_schedule": "uniform", "actalker": section.model_dump()})


@pytest.fixture
def config(small):
    return sized(small)


@pytest.fixture(params=["clip", "frame"])
def model(request, small, rng):
    """A model in which everything speaks."""
    model = ACTalkerTransformer(**sized(small, scan_scope=request.param).model_dump())
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2, generator=rng)
        model.phase_table.weight[0] = 0
    return model


@pytest.fixture
def conditioning(rng):
    """A face of the two left columns and a mouth in its lower half: tokens 0 and 2, and token 2."""
    face, mouth = torch.zeros(2, LATENTS, CELLS, CELLS), torch.zeros(2, LATENTS, CELLS, CELLS)
    face[..., :2] = 1
    mouth[:, :, 2:, 0] = 0.3
    return ACTalkerConditioning(
        mouth_BFHW=mouth,
        face_BFHW=face,
        gates_B2=torch.tensor([BOTH, BOTH]),
        identity_BX=torch.randn(2, FACE, generator=rng),
        motion_BTX=torch.randn(2, FRAMES, MOTION, generator=rng),
    )


@pytest.fixture
def condition(given, conditioning):
    return replace(given, extra_conditioning=conditioning)


def gated(condition, gates):
    return replace(
        condition, extra_conditioning=replace(condition.extra_conditioning, gates_B2=torch.tensor([gates, gates]))
    )


def louder(condition):
    return replace(condition, audio_BTLQ=condition.audio_BTLQ + 1)


def moved_more(condition):
    return replace(
        condition,
        extra_conditioning=replace(
            condition.extra_conditioning, motion_BTX=condition.extra_conditioning.motion_BTX + 1
        ),
    )


def velocity(model, condition, latent):
    with torch.no_grad():
        return condition.velocity(model, latent, TIME)


@pytest.fixture
def tokens(small, rng):
    return torch.randn(2, LATENTS * TOKENS, small.hidden_dim, generator=rng)


def moved(model, tokens, first, second):
    """Which of the four tokens of a latent frame the first block moves otherwise, in any frame."""
    with torch.no_grad():
        condition = [
            model.blocks[0].audio_attn(tokens, model._encode_audio(s.audio_BTLQ, s.extra_conditioning))
            for s in (first, second)
        ]
    return (condition[0] != condition[1]).any(-1).reshape(2, LATENTS, TOKENS).any(1).any(0).tolist()


def test_with_fresh_parts_it_equals_wan_bit_by_bit(config, latent, condition, rng, tmp_path):
    base = WanTransformer3DModel(**config.backbone_fields())
    base.save_pretrained(tmp_path / "wan")
    model = load_pretrained_backbone(tmp_path / "wan", config=config, rng=rng, model_class=ACTalkerTransformer)
    with torch.no_grad():
        expected = base(latent, TIME, condition.text_BME, return_dict=False)[0]
    assert torch.equal(velocity(model, condition, latent), expected)


@pytest.mark.slow
def test_after_one_step_every_part_of_the_variant_gets_a_gradient(config, latent, condition, rng):
    model = init_transformer(config, rng=rng, kind=ACTalkerTransformer)
    with torch.no_grad():
        model.proj_out.weight.normal_(generator=rng)  # Wan's first answer is zero, through which nothing is learned
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        condition.velocity(model, latent, TIME).square().mean().backward()
        optimizer.step()
    new = conditioning_keys(model)
    gradients = {name: weight.grad for name, weight in model.named_parameters() if name in new}
    assert [name for name, grad in gradients.items() if grad is None or not grad.any()] == []


def test_sound_drives_the_mouth_and_motion_the_rest_of_the_face(model, tokens, condition):
    assert moved(model, tokens, condition, louder(condition)) == [False, False, True, False]
    assert moved(model, tokens, condition, moved_more(condition)) == [True, False, False, False]


def test_what_drives_alone_drives_the_whole_face(model, tokens, condition):
    sound, motion = gated(condition, SOUND), gated(condition, MOVES)
    assert moved(model, tokens, sound, louder(sound)) == [True, False, True, False]
    assert moved(model, tokens, motion, moved_more(motion)) == [True, False, True, False]


def test_a_shut_gate_blocks_audio_or_motion(model, condition, latent):
    motion, sound = gated(condition, MOVES), gated(condition, SOUND)
    assert torch.equal(velocity(model, motion, latent), velocity(model, louder(motion), latent))
    assert torch.equal(velocity(model, sound, latent), velocity(model, moved_more(sound), latent))
    assert not torch.allclose(velocity(model, sound, latent), velocity(model, louder(sound), latent))


def test_each_clip_of_a_batch_has_its_own_gates(model, condition, latent):
    mixed = replace(
        condition, extra_conditioning=replace(condition.extra_conditioning, gates_B2=torch.tensor([SOUND, MOVES]))
    )
    came = velocity(model, mixed, latent)
    torch.testing.assert_close(came[0], velocity(model, gated(condition, SOUND), latent)[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(came[1], velocity(model, gated(condition, MOVES), latent)[1], atol=1e-4, rtol=1e-4)


def test_a_token_outside_the_region_is_dropped_before_the_scan(model, tokens, condition):
    other = tokens.reshape(2, LATENTS, TOKENS, -1).clone()
    other[:, :, 1] += 1  # neither mouth nor face
    audio_tokens = model._encode_audio(condition.audio_BTLQ, condition.extra_conditioning)
    with torch.no_grad():
        first, second = (model.blocks[0].audio_attn(x, audio_tokens) for x in (tokens, other.flatten(1, 2)))
    changed = (first != second).any(-1).reshape(2, LATENTS, TOKENS).any(1).any(0)
    assert changed.tolist() == [False, True, False, False]


def test_a_mouth_that_moves_leaves_ragged_frames_that_do_not_mix(model, tokens, condition):
    control = replace(condition.extra_conditioning, gates_B2=torch.tensor([SOUND, SOUND]))
    one = replace(condition, extra_conditioning=control)
    larger = control.face_BFHW.clone()
    larger[1] = 1  # the second clip keeps twice as many tokens, which pads the first
    two = replace(condition, extra_conditioning=replace(control, face_BFHW=larger))
    with torch.no_grad():
        first, second = (
            model.blocks[0].audio_attn(tokens, model._encode_audio(s.audio_BTLQ, s.extra_conditioning))
            for s in (one, two)
        )
    torch.testing.assert_close(first[0], second[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(first[1], second[1])


def test_a_scan_over_frames_hears_a_sound_in_its_own_latent_only(small, tokens, condition, rng):
    other = replace(condition, audio_BTLQ=condition.audio_BTLQ.clone())
    other.audio_BTLQ[:, 16] += 1
    reached = {}
    for kind in ("frame", "clip"):
        model = ACTalkerTransformer(**sized(small, scan_scope=kind).model_dump())
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(std=0.2, generator=rng)
            both = [
                model.blocks[0].audio_attn(tokens, model._encode_audio(s.audio_BTLQ, s.extra_conditioning))
                for s in (condition, other)
            ]
        reached[kind] = (both[0] != both[1]).any(-1).reshape(2, LATENTS, TOKENS).any(2).any(0).tolist()
    assert reached["frame"] == [False, False, False, False, True]
    assert reached["clip"][3:] == [True, True]


def test_a_face_is_the_rectangle_round_it_over_the_clip():
    face, mouth = torch.zeros(1, 2, 6, 6), torch.zeros(1, 2, 6, 6)
    face[0, 0, 1, 1] = face[0, 1, 4, 3] = 0.2
    mouth[0, 0, 4, 2] = 0.2
    control = ACTalkerConditioning(
        mouth_BFHW=mouth, face_BFHW=face, gates_B2=torch.tensor([BOTH]), identity_BX=torch.zeros(1, FACE),
        motion_BTX=torch.zeros(1, 5, MOTION),
    )  # fmt: skip
    sound, motion = driven_regions(control, patch=(1, 1))
    assert sound.sum((2, 3)).tolist() == [[1, 1]]
    assert (sound | motion)[0, 0].nonzero().amin(0).tolist() == [1, 1]
    assert (sound | motion)[0, 1].nonzero().amax(0).tolist() == [4, 3]
    assert (sound | motion)[0, 0].sum() == 4 * 3
    assert not (sound & motion).any()


def test_gates_are_one_of_three_states_each_as_often(rng):
    gates = sample_gates(3000, rng=rng)
    assert gates.any(1).all()
    shares = [(gates == torch.tensor(state)).all(1).float().mean().item() for state in (BOTH, SOUND, MOVES)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)


@pytest.mark.slow
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
    again = load(tmp_path / "model", model_class=ACTalkerTransformer)
    assert again.model_config == model.model_config
    assert torch.equal(velocity(again, condition, latent), velocity(model, condition, latent))


def test_sound_without_masks_is_refused(model, given, latent):
    with pytest.raises(ValueError, match="expected audio together with control"):
        given.velocity(model, latent, TIME)
