"""The variants from cache to sample: what conditions them in training conditions them in a sample."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from xsheet.model.variants import ACTalker, FantasyTalking
from xsheet.model.variants.actalker_network import driven_regions
from xsheet.runtime.executor import Execution
from xsheet.train.data.cache.build import build_cache
from xsheet.train.data.settings import ExtraConditioningSettings
from xsheet.train.evaluate.evaluate import open_training_cache, sample_request
from xsheet.train.evaluate.held_out import held_out_clips
from xsheet.train.launch import WorkerSettings
from xsheet.train.run import WeightedSet, train_stages
from xsheet.train.sample.sampler import load_trained, to_batch

pytestmark = pytest.mark.slow
VARIANTS = {"fantasy_talking": FantasyTalking(mouth_only_probability=0), "actalker": ACTalker()}


@pytest.mark.nightly
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_cached_trained_and_sampled(name, built_copy, plan, settings, quick, tmp_path):
    cached = settings.model_copy(update={"extra_conditioning": ExtraConditioningSettings()})
    build_cache(built_copy, cached, execution=Execution(), shows_progress=False)
    stage = plan.stages[0].model_copy(update={"steps": 3})
    plan = plan.model_copy(update={"cache": cached, "stages": (stage,), "variant": VARIANTS[name]})
    train_stages([WeightedSet(built_copy)], plan, out=tmp_path / "run", workers=WorkerSettings())
    trained = load_trained(tmp_path / "run")
    clip = next(held_out_clips(open_training_cache(trained, built_copy), split="val", limit=1))
    clip_request = sample_request(clip, clip.annotation, trained)
    assert clip_request.identity_X.shape == (18,)
    with_sound, without = (
        trained.sample([one], quick)
        for one in (clip_request, replace(clip_request, audio_TLQ=torch.zeros_like(clip_request.audio_TLQ)))
    )
    assert not np.array_equal(with_sound, without)
    if name == "fantasy_talking":
        assert not np.array_equal(
            with_sound, trained.sample([clip_request], quick.model_copy(update={"motion_intensity": (1.0, 1.0)}))
        )
    else:
        batch = to_batch([clip_request], encoders=trained.encoders, phases=True)
        conditioning = trained.model.variant.conditioning(batch, without_identity_B=torch.tensor([False]), draws={})
        in_sound, in_motion = driven_regions(conditioning, patch=(2, 2))
        assert in_sound.any() and not in_motion.any()  # nothing but audio drives it
        motion_TX = torch.ones(clip_request.audio_TLQ.shape[0], 8)
        driven = [replace(clip_request, motion_TX=scale * motion_TX) for scale in (0, 1)]
        still, moving = (trained.sample([one], quick) for one in driven)
        assert not np.array_equal(with_sound, still) and not np.array_equal(still, moving)
