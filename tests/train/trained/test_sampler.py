"""A sample follows from its request and seed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from xsheet.schemas.errors import ConfigError
from xsheet.train.evaluate.evaluate import open_training_cache, sample_request
from xsheet.train.evaluate.held_out import held_out_clips
from xsheet.train.launch import WorkerSettings
from xsheet.train.run import WeightedSet, train_stages
from xsheet.train.sample.sampler import load_trained, sample_latents, to_batch
from xsheet.train.stages import StrengthRamp

pytestmark = pytest.mark.slow  # a run of both stages takes some seconds; its tests share it


@pytest.fixture(scope="module")
def clip(trained, built_set):
    return next(held_out_clips(open_training_cache(trained, built_set[0]), split="val", limit=1))


@pytest.fixture(scope="module")
def clip_request(trained, clip):
    return sample_request(clip, clip.annotation, trained)


def test_a_sample_has_the_size_of_its_clip_and_begins_with_its_picture(trained, clip, clip_request, quick):
    batch = to_batch([clip_request], encoders=trained.encoders, phases=True)
    latent = sample_latents(trained.model, batch, quick)[0]
    assert latent.shape == clip.latent_CFHW.shape
    assert torch.equal(latent[:, 0], clip.latent_CFHW[:, 0])


def test_sampling_from_a_low_noise_level_keeps_the_clip(trained, clip, clip_request, quick):
    batch = replace(
        to_batch([clip_request], encoders=trained.encoders, phases=True), latent_BCFHW=clip.latent_CFHW[None]
    )
    whole, kept = (sample_latents(trained.model, batch, quick, start_sigma=sigma)[0] for sigma in (1.0, 0.9))

    def distance(latent):
        return float((latent - clip.latent_CFHW).square().mean())

    assert distance(kept) < distance(whole)
    assert torch.equal(whole, sample_latents(trained.model, batch, quick)[0])


def test_the_same_request_gives_the_same_sample_in_any_batch(trained, clip_request, quick):
    other = replace(clip_request, name="other")
    alone, together = trained.sample([clip_request], quick)[0], trained.sample([other, clip_request], quick)[1]
    assert np.abs(alone.astype(int) - together).max() <= 1  # sums of another batch are rounded otherwise


def test_another_name_or_seed_is_another_sample(trained, clip_request, quick):
    first = trained.sample([clip_request], quick)
    renamed = trained.sample([replace(clip_request, name="other")], quick)
    reseeded = trained.sample([clip_request], quick.model_copy(update={"seed": 1}))
    assert not np.array_equal(first, renamed)
    assert not np.array_equal(first, reseeded)


def test_other_texts_make_another_video(trained, clip, clip_request, quick):
    edited = replace(clip.annotation, phases=())
    assert not np.array_equal(
        trained.sample([clip_request], quick), trained.sample([sample_request(clip, edited, trained)], quick)
    )


def test_a_request_has_the_conditions_of_the_clip_in_training(trained, built_set, clip_request):
    from xsheet.train.data.dataset import CachedClipDataset, select_clips
    from xsheet.train.data.seeded_random import SampleKey

    cache = open_training_cache(trained, built_set[0])
    shown = trained.settings.stages[-1].dataset
    chosen = select_clips(cache, shown, split="val")
    cached = CachedClipDataset([chosen], shown, seed=0, mirror_probability=0).batch([SampleKey(0, clip_request.name)])
    asked = to_batch([clip_request], encoders=trained.encoders, phases=True)
    for name in ("text", "phase_BM", "audio_BTLQ", "window_BK2"):
        assert torch.equal(getattr(asked, name), getattr(cached, name)), name


def test_times_are_bound_beside_the_words(trained, clip_request, quick):
    assert not np.array_equal(trained.sample([clip_request], quick), trained.sample([_later(clip_request)], quick))


def test_a_stage_is_sampled_with_the_binding_and_the_strength_that_it_ended_with(
    plan, built_set, clip, quick, tmp_path
):
    ramp = StrengthRamp(start=0, end=0.5, steps=1)
    stage = plan.stages[1].model_copy(update={"steps": 1, "interval_strength": ramp})
    clocked = plan.model_copy(update={"phase_binding": ("interval", "clock"), "stages": (stage,)})
    train_stages([WeightedSet(built_set[0])], clocked, out=tmp_path / "run", workers=WorkerSettings())
    trained = load_trained(tmp_path / "run")
    assert trained.model.transformer.interval_strength == 0.5
    clip_request = sample_request(clip, clip.annotation, trained)
    assert not np.array_equal(trained.sample([clip_request], quick), trained.sample([_later(clip_request)], quick))


def _later(clip_request):
    """The same words, with every window half a second later."""
    return replace(clip_request, text=replace(clip_request.text, window_K2=clip_request.text.window_K2 + 5))


def test_the_averaged_weights_are_taken(trained, trained_run):
    from safetensors.torch import load_file

    average = load_file(trained_run / "stage2/average.safetensors")
    state = trained.model.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in average.items())


def test_a_folder_without_a_run_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="manifest of a finished"):
        load_trained(tmp_path)


def test_a_run_of_another_version_is_refused_by_the_setting_that_differs(trained_run, tmp_path):
    shutil.copytree(trained_run / "manifests", tmp_path / "manifests")
    (file,) = (tmp_path / "manifests").iterdir()
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {"settings": manifest["settings"] | {"of_the_future": 1}}))
    with pytest.raises(ConfigError, match="of_the_future"):
        load_trained(tmp_path)
