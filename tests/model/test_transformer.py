from dataclasses import replace

import pytest
import torch

from xsheet.model.config import tiny_config
from xsheet.model.phases import NO_PHASE, PAD, PhaseTable
from xsheet.model.transformer import ActAvatarTransformer, WanTransformer3DModel, audio_residual_scale

TIME = torch.tensor([300.0, 900.0])
CELLS_PER_FRAME = 4  # tokens: 4 x 4 cells in patches of 2 x 2


def per_frame(time_B, frames):
    time_BF = time_B[:, None].repeat(1, frames)
    time_BF[:, 0] = 0
    return time_BF


TIMES = {
    "per clip": (TIME, TIME),
    "per token": (per_frame(TIME, 20), per_frame(TIME, 20)),
    "per latent frame": (per_frame(TIME, 5), per_frame(TIME, 5).repeat_interleave(CELLS_PER_FRAME, 1)),
}


def fresh_on(base, config):
    """Ours with the weights of the base and its own parts as a constructor leaves them."""
    model = ActAvatarTransformer(**config.model_dump())
    model.load_state_dict(base.state_dict(), strict=False)
    return model


BINDINGS = [(), ("table",), ("interval",), ("clock",), ("table", "interval", "clock")]


def unbound(config, binding):
    """Every binding as it begins: the rotation at strength 0."""
    return config.model_copy(update={"phase_binding": binding, "interval_strength": 0.0})


@pytest.mark.parametrize("binding", BINDINGS, ids="+".join)
@pytest.mark.parametrize("time", TIMES)
def test_with_fresh_parts_it_equals_wan_bit_by_bit(small, latent, given, time, binding):
    small = unbound(small, binding)
    ours, wans = TIMES[time]
    base = WanTransformer3DModel(**small.backbone_fields())
    with torch.no_grad():
        expected = base(latent, wans, given.text_BME, return_dict=False)[0]
        came = given.velocity(fresh_on(base, small), latent, ours)
    assert torch.equal(came, expected)


@pytest.mark.parametrize("binding", BINDINGS, ids="+".join)
def test_at_its_tiny_size_it_equals_wan_bit_by_bit(rng, binding):
    config = unbound(tiny_config(), binding)
    base = WanTransformer3DModel(**config.backbone_fields())
    latent = torch.randn(1, config.in_channels, 9, 8, 8, generator=rng)
    text = torch.randn(1, config.text_tokens, config.text_dim, generator=rng)
    sound = torch.randn(1, 33, config.audio_layers, config.audio_channels, generator=rng)
    phases = torch.randint(-1, config.max_phases + 1, (1, config.text_tokens), generator=rng)
    windows = torch.tensor([[[5.0 * k, 5.0 * k + 7] for k in range(config.max_phases)]])
    with torch.no_grad():
        expected = base(latent, per_frame(TIME[:1], 9).repeat_interleave(16, 1), text, return_dict=False)[0]
        came = fresh_on(base, config)(
            latent, per_frame(TIME[:1], 9), text, phase_BM=phases, window_BK2=windows, audio_BTLQ=sound
        )
    assert torch.equal(came, expected)


def test_without_phases_and_sound_it_equals_wan_whatever_its_parts_learned(small, latent, given, model):
    base = WanTransformer3DModel(**small.backbone_fields())
    base.load_state_dict({key: model.state_dict()[key] for key in base.state_dict()})
    with torch.no_grad():
        expected = base(latent, TIME, given.text_BME, return_dict=False)[0]
        assert torch.equal(model(latent, TIME, given.text_BME), expected)


def test_phases_and_sound_change_the_output_once_trained(latent, given, model):
    with torch.no_grad():
        full = given.velocity(model, latent, TIME)
        mute = replace(given, audio_BTLQ=torch.zeros_like(given.audio_BTLQ)).velocity(model, latent, TIME)
        swapped = torch.tensor([0, 2, 1, 3])[given.phase_BM.clamp(min=0)]
        exchanged = replace(given, phase_BM=swapped).velocity(model, latent, TIME)
    assert not torch.allclose(full, mute)
    assert not torch.allclose(full, exchanged)


def test_without_depth_no_block_hears(small, latent, given, model):
    deaf = ActAvatarTransformer(**small.model_copy(update={"audio_depth_schedule": "none"}).model_dump())
    deaf.load_state_dict(model.state_dict())
    mute = replace(given, audio_BTLQ=torch.zeros_like(given.audio_BTLQ))
    with torch.no_grad():
        assert torch.equal(given.velocity(deaf, latent, TIME), mute.velocity(deaf, latent, TIME))


def test_a_sound_of_another_length_is_refused(latent, given, model):
    with pytest.raises(ValueError, match="expected audio for 5 latent frames, got 13 video frames"):
        replace(given, audio_BTLQ=given.audio_BTLQ[:, :13]).velocity(model, latent, TIME)


def test_checkpointing_changes_no_gradient(latent, given, model):
    def gradients():
        model.zero_grad()
        given.velocity(model, latent, TIME).square().mean().backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters()}

    plain = gradients()
    model.enable_gradient_checkpointing()
    recomputed = gradients()
    assert [name for name in plain if not torch.equal(plain[name], recomputed[name])] == []


def test_checkpointing_recomputes_every_block(latent, given, model):
    model.enable_gradient_checkpointing()
    calls = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda block, _: calls.append(id(block)))
    given.velocity(model, latent, TIME).mean().backward()
    assert calls == [id(b) for b in model.blocks] + [id(b) for b in reversed(model.blocks)]


def test_the_first_step_reaches_phases_and_the_way_out_of_every_audio_attention(small, latent, given):
    model = fresh_on(WanTransformer3DModel(**small.backbone_fields()), small)
    given.velocity(model, latent, TIME).square().mean().backward()
    assert all(block.audio_attn.to_out.weight.grad.abs().max() > 0 for block in model.blocks)
    assert model.phase_table.weight.grad[1:3].abs().amin(1).min() > 0
    # What stands before a way out of zero starts one step later; that is no fault.
    assert all(block.audio_attn.to_q.weight.grad.abs().max() == 0 for block in model.blocks)


def test_after_one_step_the_whole_audio_path_gets_a_gradient(small, latent, given):
    model = fresh_on(WanTransformer3DModel(**small.backbone_fields()), small)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        given.velocity(model, latent, TIME).square().mean().backward()
        optimizer.step()
    audio_gradients = [(n, p.grad) for n, p in model.named_parameters() if "audio" in n]
    assert [name for name, grad in audio_gradients if grad is None or grad.abs().max() == 0] == []


def test_bfloat16_stays_near_float32(latent, given, model):
    half = replace(given, text_BME=given.text_BME.bfloat16(), audio_BTLQ=given.audio_BTLQ.bfloat16())
    with torch.no_grad():
        full = given.velocity(model, latent, TIME)
        came = half.velocity(model.to(torch.bfloat16), latent.bfloat16(), TIME)
    assert came.dtype == torch.bfloat16
    assert (came.float() - full).norm() < 0.05 * full.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_it_equals_wan_too(rng, dtype):
    config = tiny_config()
    base = WanTransformer3DModel(**config.backbone_fields()).to("cuda", dtype)
    model = fresh_on(base, config).to("cuda", dtype)
    latent = torch.randn(2, config.in_channels, 9, 8, 8, generator=rng).to("cuda", dtype)
    text = torch.randn(2, config.text_tokens, config.text_dim, generator=rng).to("cuda", dtype)
    sound = torch.randn(2, 33, config.audio_layers, config.audio_channels, generator=rng).to("cuda", dtype)
    with torch.no_grad():
        expected = base(latent, TIME.cuda(), text, return_dict=False)[0]
        came = model(latent, TIME.cuda(), text, audio_BTLQ=sound)
    torch.testing.assert_close(came, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_checkpointing_changes_no_gradient(latent, given, model):
    model.cuda()
    there = replace(
        given,
        text_BME=given.text_BME.cuda(),
        phase_BM=given.phase_BM.cuda(),
        audio_BTLQ=given.audio_BTLQ.cuda(),
    )

    def gradients():
        model.zero_grad()
        there.velocity(model, latent.cuda(), TIME.cuda()).square().mean().backward()
        return [weight.grad.clone() for weight in model.parameters()]

    plain = gradients()
    model.enable_gradient_checkpointing()
    for before, after in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(after, before)


def learned(rng):
    table = PhaseTable(3, 8)
    with torch.no_grad():
        table.weight[1:] = torch.randn(3, 8, generator=rng)
    return table


def test_it_has_a_row_per_phase_and_one_of_zero():
    table = PhaseTable(6, 8)
    assert table.weight.shape == (7, 8)
    assert not table.weight.any()


def test_a_token_gets_the_vector_of_its_phase(rng):
    table = learned(rng)
    assert torch.equal(table(torch.tensor([[2, 1, 3]])), table.weight[[2, 1, 3]][None])


def test_base_pads_and_the_null_prompt_get_nothing(rng):
    assert not learned(rng)(torch.tensor([[PAD, NO_PHASE, PAD], [NO_PHASE, NO_PHASE, NO_PHASE]])).any()


def test_row_zero_stays_zero_under_training_with_weight_decay(rng):
    table = learned(rng)
    before = table.weight.detach().clone()
    optimizer = torch.optim.AdamW(table.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        table(torch.tensor([[PAD, NO_PHASE, 1, 2]])).sum().backward()
        optimizer.step()
    assert not table.weight[NO_PHASE].any()
    assert (table.weight[1:3] != before[1:3]).all()


# The table that follows from (l / 30)^1.5 with l = 1..30.
@pytest.mark.parametrize(
    ("block", "factor"),
    [(1, 0.006), (3, 0.032), (5, 0.068), (10, 0.192), (15, 0.354), (20, 0.544), (25, 0.761), (30, 1.0)],
)
def test_sound_grows_with_depth_as_published(block, factor):
    assert audio_residual_scale(block - 1, block_count=30, schedule="power", gamma=1.5) == pytest.approx(
        factor, abs=5e-4
    )


def test_none_and_uniform_know_no_depth():
    assert {audio_residual_scale(i, block_count=4, schedule="none", gamma=1.5) for i in range(4)} == {0.0}
    assert {audio_residual_scale(i, block_count=4, schedule="uniform", gamma=1.5) for i in range(4)} == {1.0}


def test_each_block_holds_its_factor_outside_the_weights(small):
    model = ActAvatarTransformer(**small.model_dump())
    held = torch.stack([block.audio_attn.residual_scale for block in model.blocks])
    torch.testing.assert_close(held, (torch.tensor([1, 2, 3]) / 3) ** 1.5)
    assert not [key for key in model.state_dict() if key.endswith("residual_scale")]
