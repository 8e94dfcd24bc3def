"""FantasyTalking and ACTalker through the same stages and the same loop."""

from dataclasses import replace

import pytest
import torch
from toy import EVERYTHING, SEED, VARIANTS, final_state, make_clip, make_learner, make_loop, small_size

from xsheet.train.data import seeded_random
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.data.settings import CacheSettings, ExtraConditioningSettings
from xsheet.train.loop.loss import LossSettings, VelocityLoss
from xsheet.train.loop.model import part_keys
from xsheet.train.settings import TrainSettings
from xsheet.train.variants import gate_states, variant_conditioning

SHOWINGS = [SampleKey(epoch, f"clip{k}") for epoch in range(3) for k in range(400)]


@pytest.fixture(params=sorted(VARIANTS))
def variant(request):
    return VARIANTS[request.param]


@pytest.mark.slow
def test_a_variant_learns_its_control_and_resumes_to_the_same_bits(variant, tmp_path):
    before = make_learner(variant=variant).state_dict()
    whole = make_loop(tmp_path / "whole", steps=4, variant=variant)
    whole.run()
    make_loop(tmp_path / "two", steps=2, variant=variant).run()
    again = make_loop(tmp_path / "two", steps=4, variant=variant)
    again.run()
    mine, theirs = final_state(again), final_state(whole)
    assert not [key for key in mine if not torch.equal(mine[key], theirs[key])]
    control = part_keys(make_learner(variant=variant))["audio"]
    assert [key for key in control if not torch.equal(theirs[f"model.{key}"], before[key])]


def test_the_parts_of_a_variant_are_all_its_keys(variant):
    learner = make_learner(variant=variant)
    parts = part_keys(learner)
    assert sum(map(len, parts.values())) == len(learner.state_dict())
    assert parts["base"] == part_keys(make_learner())["base"]


def test_settings_say_which_model():
    stage = EVERYTHING
    plain = TrainSettings(stage1=stage, stage2=stage)
    kinds = [plain.config_and_class[1].__name__]
    kinds += [
        plain.model_copy(update={name: variant}).config_and_class[1].__name__ for name, variant in VARIANTS.items()
    ]
    assert kinds == ["ActAvatarTransformer", "FantasyTalkingTransformer", "ACTalkerTransformer"]


def test_both_variants_at_once_are_refused():
    with pytest.raises(ValueError, match="remove one of the two"):
        TrainSettings(stage1=EVERYTHING, stage2=EVERYTHING, **VARIANTS)


def test_a_variant_wants_a_cache_that_keeps_what_it_is_told(variant):
    name = next(name for name, one in VARIANTS.items() if one is variant)
    with pytest.raises(ValueError, match=r"set cache\.control=\{\}"):
        TrainSettings(stage1=EVERYTHING, stage2=EVERYTHING, **{name: variant})
    with pytest.raises(ValueError, match=r"identity_width is 4, cache\.control\.face_numbers 18"):
        TrainSettings(
            cache=CacheSettings(extra_conditioning=ExtraConditioningSettings()),
            stage1=EVERYTHING,
            stage2=EVERYTHING,
            **{name: variant},
        )


def test_nothing_is_told_of_a_face_where_text_and_sound_are_dropped(variant):
    learner, clip = make_learner(variant=variant), make_clip(SampleKey(0, "clip1"), small_size())
    batch = replace(clip, identity_BX=torch.ones(1, 4))
    told = [
        variant_conditioning(learner.transformer, batch, without_identity_B=torch.tensor([nobody]))
        for nobody in (False, True)
    ]
    assert torch.equal(told[0].identity_BX, torch.ones(1, 4))
    assert torch.equal(told[1].identity_BX, torch.zeros(1, 4))


def test_the_mouth_alone_counts_as_often_as_told():
    drawn = seeded_random.mouth_only(SHOWINGS, seed=SEED, probability=0.8)
    assert drawn.float().mean() == pytest.approx(0.8, abs=0.04)


def test_only_the_mouth_is_counted_where_it_alone_counts():
    batch = make_clip(SampleKey(0, "clip1"), small_size())
    mouth = torch.zeros_like(batch.mouth_BFHW)
    mouth[:, :, 2:] = 1
    batch, learner = replace(batch, mouth_BFHW=mouth), make_learner()
    everywhere, lips = (
        VelocityLoss(LossSettings(mouth_only_probability=share))(learner, batch, seed=SEED) for share in (0.0, 1.0)
    )
    assert torch.equal(everywhere.total_B, everywhere.terms["velocity"])
    assert torch.equal(lips.total_B, lips.terms["mouth"])
    assert not torch.equal(lips.total_B, everywhere.total_B)


def test_a_clip_without_a_mouth_has_no_loss_of_it():
    said = VelocityLoss(LossSettings())(make_learner(), make_clip(SampleKey(0, "clip1"), small_size()), seed=SEED)
    assert said.terms["mouth"].isnan().all()


def test_gates_follow_from_the_showing_in_all_their_states():
    drawn = gate_states(SHOWINGS, seed=SEED)
    assert torch.equal(drawn[5:6], gate_states(SHOWINGS[5:6], seed=SEED))
    states, counts = drawn.int().unique(dim=0, return_counts=True)
    assert len(states) == 3
    assert counts.min() > 0.8 * len(SHOWINGS) / 3
