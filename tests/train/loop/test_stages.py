import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy import EVERYTHING, SEED, make_clip, make_learner, make_loop, small_size

from xsheet.model.config import tiny_config
from xsheet.schemas.errors import ConfigError
from xsheet.train.data.seeded_random import DroppedConditions, SampleKey
from xsheet.train.loop.lora import LoraSettings
from xsheet.train.loop.loss import LossSettings, VelocityLoss
from xsheet.train.loop.model import part_keys
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.stage_weights import (
    EMA_WEIGHTS_FILE,
    WEIGHTS_FILE,
    check_initial_weights,
    load_previous,
    save_stage,
)
from xsheet.train.stages import StageSettings, StrengthRamp, set_trainable, stage_weight_keys, trainable_parameters

SOUND = EVERYTHING.model_copy(update={"name": "stage1", "trainable_parts": ("audio",)})
LORA = EVERYTHING.model_copy(
    update={"name": "stage1", "trainable_parts": ("audio", "phases"), "lora": LoraSettings(rank=2, alpha=4)}
)


@pytest.fixture
def learner():
    return make_learner()


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(9)


def velocity(learner):
    batch = make_clip(SampleKey(0, "clip1"), learner.transformer.model_config)
    nothing = DroppedConditions(torch.tensor([False]), torch.tensor([False]))
    with torch.no_grad():
        return learner(batch.latent_BCFHW, torch.full((1, 3), 500.0), batch, nothing)


def trained(folder, stage):
    """A stage run for two steps, and what it handed on."""
    keys = stage_weight_keys(make_learner(), stage)
    loop = make_loop(folder, steps=2, stage=stage)
    loop.run()
    save_stage(loop.state, folder, stage=stage, keys=keys, process_group=ProcessGroup())
    return loop


def test_every_key_is_of_one_part(learner):
    parts = part_keys(learner)
    assert sum(map(len, parts.values())) == len(learner.state_dict())
    assert min(map(len, parts.values())) > 0


def test_a_key_of_no_part_is_noticed(learner):
    learner.transformer.blocks[0].extra = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"blocks\.0\.extra"):
        part_keys(learner)


def test_blocks_above_nine_are_not_taken_for_block_one(rng):
    learner = make_learner(small_size(num_layers=12))
    assert len([key for key in part_keys(learner)["audio"] if ".blocks.1." in key]) == 8


@pytest.mark.slow
@pytest.mark.parametrize("part", ["backbone", "audio", "phases", "text"])
def test_a_stage_moves_its_part_and_nothing_else(tmp_path, part):
    before = make_learner().state_dict()
    stage = EVERYTHING.model_copy(update={"trainable_parts": (part,)})
    loop = make_loop(tmp_path, steps=2, stage=stage)
    loop.run()
    moved = {key for key, weight in loop.state.model.state_dict().items() if not torch.equal(weight, before[key])}
    # Biases of keys have no influence on attention, so not all weights of a part need to move.
    assert moved
    assert moved <= part_keys(make_learner())[part]


@pytest.mark.slow
def test_row_zero_of_the_phases_stays_zero(tmp_path):
    loop = make_loop(tmp_path, steps=3)
    loop.run()
    table = loop.state.model.transformer.phase_table.weight
    assert not table[0].any()
    assert table[1:].any()


def test_the_strength_of_the_binding_follows_from_the_step():
    ramp = StrengthRamp(start=0.2, end=1.0, steps=4)
    assert [ramp.at(step) for step in (0, 2, 4, 9)] == pytest.approx([0.2, 0.6, 1.0, 1.0])


@pytest.mark.slow
def test_a_stage_that_ramps_the_binding_resumes_to_the_same_bits(tmp_path):
    stage = EVERYTHING.model_copy(update={"interval_strength": StrengthRamp(start=0, end=1, steps=4)})
    make_loop(tmp_path / "parts", steps=2, save_every=1, stage=stage).run()
    whole, parts = (make_loop(tmp_path / name, steps=4, stage=stage) for name in ("whole", "parts"))
    for loop in (whole, parts):
        loop.run()
        assert loop.state.model.transformer.interval_strength == 0.75
    mine, theirs = (loop.state.model.state_dict() for loop in (whole, parts))
    assert not [key for key in mine if not torch.equal(mine[key], theirs[key])]


def test_a_part_twice_is_refused():
    with pytest.raises(ValueError, match="each part once"):
        StageSettings(name="x", dataset=EVERYTHING.dataset, trainable_parts=("audio", "audio"), steps=1)


def test_updates_and_the_base_together_are_refused():
    with pytest.raises(ValueError, match="lora or the backbone in trainable_parts, got both"):
        StageSettings(name="x", dataset=EVERYTHING.dataset, trainable_parts=("backbone",), steps=1, lora=LoraSettings())


def test_fresh_updates_say_nothing(learner, rng):
    before = velocity(learner)
    set_trainable(learner, LORA, rng=rng)
    assert torch.equal(velocity(learner), before)


def test_updates_train_beside_the_named_parts(learner, rng):
    wanted = part_keys(learner)["audio"] | part_keys(learner)["phases"]
    set_trainable(learner, LORA, rng=rng)
    keys = trainable_parameters(learner).keys()
    assert {key for key in keys if "lora_" not in key} == wanted
    # Two matrices for query, key and value of two attentions of two blocks.
    assert len([key for key in keys if "lora_" in key]) == 2 * 3 * 2 * 2


def test_first_updates_follow_from_the_seed_alone(learner):
    other = make_learner()
    torch.manual_seed(1)
    set_trainable(learner, LORA, rng=torch.Generator().manual_seed(4))
    torch.manual_seed(2)
    set_trainable(other, LORA, rng=torch.Generator().manual_seed(4))
    mine, theirs = learner.state_dict(), other.state_dict()
    assert not [key for key in mine if not torch.equal(mine[key], theirs[key])]


def test_putting_updates_in_leaves_the_global_stream_alone(learner, rng):
    before = torch.random.get_rng_state()
    set_trainable(learner, LORA, rng=rng)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
def test_updates_resume_to_the_same_bits(tmp_path):
    whole = make_loop(tmp_path / "whole", steps=4, stage=LORA)
    whole.run()
    make_loop(tmp_path / "two", steps=2, stage=LORA).run()
    again = make_loop(tmp_path / "two", steps=4, stage=LORA)
    again.run()
    mine, theirs = again.state.model.state_dict(), whole.state.model.state_dict()
    assert not [key for key in mine if not torch.equal(mine[key], theirs[key])]


@pytest.mark.slow
def test_what_a_run_killed_while_it_handed_on_left_behind_is_removed(tmp_path):
    (tmp_path / f".{WEIGHTS_FILE}.0000.tmp.safetensors").write_bytes(b"half")
    trained(tmp_path, SOUND)
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {WEIGHTS_FILE, EMA_WEIGHTS_FILE}


@pytest.mark.slow
def test_a_stage_hands_on_exactly_what_it_trained(tmp_path):
    trained(tmp_path, SOUND)
    for name in (WEIGHTS_FILE, EMA_WEIGHTS_FILE):
        assert load_file(tmp_path / name).keys() == part_keys(make_learner())["audio"]


@pytest.mark.slow
def test_what_was_handed_on_speaks_as_it_did(tmp_path):
    loop = trained(tmp_path, SOUND)
    learner = make_learner()
    load_previous(learner, pretrained={}, previous_stages=[(SOUND, tmp_path)])
    assert torch.equal(velocity(learner), velocity(loop.state.model))


@pytest.mark.slow
def test_averages_are_handed_on_too(tmp_path):
    loop = trained(tmp_path, SOUND)
    learner = make_learner()
    load_previous(learner, pretrained={}, previous_stages=[(SOUND, tmp_path)], use_ema=True)
    with loop.state.ema.average_parameters():
        average = velocity(loop.state.model)
    assert torch.equal(velocity(learner), average)
    assert not torch.equal(velocity(loop.state.model), average)


@pytest.mark.slow
def test_updates_are_merged_into_plain_weights(tmp_path):
    loop = trained(tmp_path, LORA)
    learner = make_learner()
    load_previous(learner, pretrained={}, previous_stages=[(LORA, tmp_path)])
    torch.testing.assert_close(velocity(learner), velocity(loop.state.model), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_hand_over_says_where_every_key_comes_from(tmp_path, caplog):
    trained(tmp_path, SOUND)
    learner = make_learner()
    handover = load_previous(
        learner, pretrained={"backbone": part_keys(learner)["backbone"]}, previous_stages=[(SOUND, tmp_path)]
    )
    parts = part_keys(learner)
    assert handover.keys_by_origin["backbone"] == parts["backbone"]
    assert handover.keys_by_origin["stage1"] == parts["audio"]
    assert handover.keys_by_origin["new"] == parts["phases"] | parts["text"]
    with caplog.at_level(logging.INFO):
        check_initial_weights(learner, handover, EVERYTHING)
    assert f"audio: {len(parts['audio'])} keys from stage1" in caplog.text
    assert "phases: 3 keys new" in caplog.text


def test_a_frozen_base_that_never_learned_is_refused(learner):
    handover = load_previous(learner, pretrained={}, previous_stages=[])
    with pytest.raises(ConfigError, match=r"stage1\.trainable_parts.*pretrained_backbone to the folder"):
        check_initial_weights(learner, handover, SOUND)


def test_a_stage_that_has_not_run_is_missed_by_name(learner, tmp_path):
    with pytest.raises(ConfigError, match=r"the weights of stage1.*run stage1 first"):
        load_previous(
            learner, pretrained={"backbone": part_keys(learner)["backbone"]}, previous_stages=[(SOUND, tmp_path)]
        )


@pytest.mark.slow
@pytest.mark.parametrize("change", ["fewer", "more"])
def test_other_keys_than_the_settings_say_are_refused(learner, tmp_path, change):
    trained(tmp_path, SOUND)
    weights = load_file(tmp_path / WEIGHTS_FILE)
    key = sorted(weights)[0]
    changed = (
        {k: v for k, v in weights.items() if k != key} if change == "fewer" else weights | {"other": torch.zeros(1)}
    )
    save_file(changed, tmp_path / WEIGHTS_FILE)
    with pytest.raises(ConfigError, match=key if change == "fewer" else "other"):
        load_previous(
            learner, pretrained={"backbone": part_keys(learner)["backbone"]}, previous_stages=[(SOUND, tmp_path)]
        )


@pytest.mark.slow
def test_sound_without_a_base_learns_through_frozen_blocks(tmp_path):
    """Gradients must pass every frozen block to reach the sound of the first one."""
    loop = make_loop(tmp_path, stage=SOUND, steps=2)
    before = loop.state.model.transformer.blocks[0].audio_attn.to_q.weight.detach().clone()
    loop.run()
    assert not torch.equal(loop.state.model.transformer.blocks[0].audio_attn.to_q.weight, before)


def test_one_batch_of_the_toy_is_of_the_tiny_models_kind(rng):
    """The real size goes through the same loss."""
    size = tiny_config()
    learner = make_learner(size.model_copy(update={"num_layers": 1}))
    clip = make_clip(SampleKey(0, "clip1"), size)
    text = torch.randint(1, 16, (1, size.text_tokens), generator=rng)
    batch = replace(clip, text=text, phase_BM=torch.zeros_like(text))
    assert torch.isfinite(VelocityLoss(LossSettings())(learner, batch, seed=SEED).total_B).all()
