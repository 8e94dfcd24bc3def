"""The variants from cache to sample: what they were told in training they are told in a wish."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from xsheet.model.variants.actalker import ACTalkerSettings, regions
from xsheet.model.variants.fantasy_talking import FantasyTalkingSettings
from xsheet.runtime.executor import Execution
from xsheet.train.data.cache.build import build_cache
from xsheet.train.data.settings import ControlSettings
from xsheet.train.evaluate.evaluate import cache_of, wish_for
from xsheet.train.evaluate.held_out import held_out
from xsheet.train.launch import Workers
from xsheet.train.run import train_stages
from xsheet.train.sample.sampler import as_batch, open_trained
from xsheet.train.variants import control_of

pytestmark = pytest.mark.slow
VARIANTS = {"fantasy_talking": FantasyTalkingSettings(), "actalker": ACTalkerSettings()}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_cached_trained_and_sampled(name, built_copy, plan, settings, quick, tmp_path):
    cached = settings.model_copy(update={"control": ControlSettings()})
    build_cache(built_copy, cached, how=Execution(), shows_progress=False)
    stage1 = plan.stage1.model_copy(update={"steps": 3})
    plan = plan.model_copy(update={"cache": cached, "stage1": stage1, name: VARIANTS[name]})
    train_stages(built_copy, plan, stages=("stage1",), out=tmp_path / "run", how=Workers())
    trained = open_trained(tmp_path / "run", stage="stage1")
    clip = next(held_out(cache_of(trained, built_copy), split="val", limit=1))
    wish = wish_for(clip, clip.said, trained)
    assert wish.identity_X.shape == (18,)
    with_sound, without = (
        trained.draw([one], quick) for one in (wish, replace(wish, audio_TLQ=torch.zeros_like(wish.audio_TLQ)))
    )
    assert not np.array_equal(with_sound, without)
    if name == "fantasy_talking":
        assert not np.array_equal(with_sound, trained.draw([wish], quick.model_copy(update={"intensity": (1.0, 1.0)})))
    else:
        batch = as_batch([wish], encoders=trained.encoders, phases=True)
        told = control_of(trained.learner.transformer, batch, nobody_B=torch.tensor([False]))
        in_sound, in_motion = regions(told, patch=(2, 2))
        assert in_sound.any() and not in_motion.any()  # nothing but sound drives a wish
