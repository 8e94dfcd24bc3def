"""FantasyTalking and ACTalker through the same stages and the same loop."""

import re
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from toy import EVERYTHING, SEED, VARIANTS, final_state, make_clip, make_learner, make_loop, small_size

from xsheet.model.transformer import ActAvatarTransformer
from xsheet.model.variants import ACTalker, FantasyTalking
from xsheet.schemas.settings import load_settings
from xsheet.train.data import seeded_random
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.data.settings import CacheSettings, ExtraConditioningSettings
from xsheet.train.loop.loss import LossSettings, VelocityLoss
from xsheet.train.loop.model import part_keys
from xsheet.train.settings import TrainSettings

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
    assert parts["backbone"] == part_keys(make_learner())["backbone"]


def test_settings_choose_the_model(variant):
    plain = TrainSettings(stages=(EVERYTHING,))
    chosen = plain.model_copy(update={"variant": variant})
    assert plain.config_and_class[1] is ActAvatarTransformer
    assert chosen.config_and_class[1].__name__ == f"{type(variant).__name__}Transformer"


def test_a_variant_is_chosen_by_its_name_in_the_settings():
    overrides = ["cache.extra_conditioning={}", "variant.name=actalker", "variant.scan_scope=frame"]
    preset = files("xsheet.train") / "presets" / "tiny.yaml"
    assert load_settings(TrainSettings, preset=preset, overrides=overrides).variant == ACTalker(scan_scope="frame")


def test_a_variant_needs_a_cache_with_its_conditioning(variant):
    with pytest.raises(ValueError, match=r"cache\.extra_conditioning for the variant \w+, got null"):
        TrainSettings(stages=(EVERYTHING,), variant=variant)
    with pytest.raises(ValueError, match=r"identity_width 18, the identity_dim of cache\.extra_conditioning, got 4"):
        TrainSettings(
            cache=CacheSettings(extra_conditioning=ExtraConditioningSettings()), stages=(EVERYTHING,), variant=variant
        )


def test_the_identity_is_zero_where_text_and_audio_are_dropped(variant):
    batch = replace(make_clip(SampleKey(0, "clip1"), small_size()), identity_BX=torch.ones(1, 4))
    kept, dropped = (
        variant.conditioning(batch, without_identity_B=torch.tensor([is_dropped]), draws={})
        for is_dropped in (False, True)
    )
    assert torch.equal(kept.identity_BX, torch.ones(1, 4))
    assert torch.equal(dropped.identity_BX, torch.zeros(1, 4))


def generators(sample_keys):
    return partial(seeded_random.generators, sample_keys, seed=SEED)


def test_the_mouth_alone_counts_with_the_set_probability():
    drawn = FantasyTalking(mouth_only_probability=0.8).draw(generators(SHOWINGS))["mouth_only_B"]
    assert drawn.float().mean() == pytest.approx(0.8, abs=0.04)


def test_the_loss_counts_the_mouth_alone_where_that_is_drawn():
    mouth = torch.zeros(1, 3, 4, 4)
    mouth[:, :, 2:] = 1
    batch = replace(make_clip(SampleKey(0, "clip1"), small_size()), mouth_BFHW=mouth)
    everywhere, lips = (
        VelocityLoss(LossSettings())(
            make_learner(variant=VARIANTS["fantasy_talking"].model_copy(update={"mouth_only_probability": share})),
            batch, seed=SEED,
        )
        for share in (0.0, 1.0)
    )  # fmt: skip
    torch.testing.assert_close(everywhere.total_B, everywhere.terms["velocity"])
    torch.testing.assert_close(lips.total_B, lips.terms["mouth"])
    assert not torch.allclose(lips.total_B, everywhere.total_B)


def test_a_clip_without_a_mouth_has_no_loss_of_it():
    terms = VelocityLoss(LossSettings())(make_learner(), make_clip(SampleKey(0, "clip1"), small_size()), seed=SEED)
    assert terms.terms["mouth"].isnan().all()


def test_gates_follow_from_the_sample_key_in_all_their_states():
    drawn = ACTalker().draw(generators(SHOWINGS))["gates_B2"]
    assert torch.equal(drawn[5:6], ACTalker().draw(generators(SHOWINGS[5:6]))["gates_B2"])
    states, counts = drawn.int().unique(dim=0, return_counts=True)
    assert len(states) == 3
    assert counts.min() > 0.8 * len(SHOWINGS) / 3


def test_the_training_loop_names_no_variant():
    """A new variant is a module in model/variants and a line in its package, nothing in the loop."""
    root = Path(__file__).parents[3]
    named = [
        str(file)
        for file in (root / "train").rglob("*.py")
        if file.parent.name != "exported"  # diffusers looks a class up by name in a file of the folder
        and re.search(
            r"import.*(ACTalker|FantasyTalking)|variants\.(actalker|fantasy)", file.read_text(encoding="utf-8")
        )
    ]
    named += [
        str(file)
        for file in (root / "train" / "loop").rglob("*.py")
        if re.search("actalker|fantasy", file.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert named == []
