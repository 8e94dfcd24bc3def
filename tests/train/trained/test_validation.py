"""What a run shows of itself while it learns."""

import json

import cv2
import pytest
import torch

from xsheet.train.data.dataset import CachedClipDataset, select_clips
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.evaluate.evaluate import open_training_cache
from xsheet.train.evaluate.validation import VALIDATION_SIGMAS, validation_loss
from xsheet.train.run import build_trainable_model


@pytest.fixture
def batch(trained, built_set):
    cache, shown = open_training_cache(trained, built_set[0]), trained.settings.stages[-1].dataset
    chosen = select_clips(cache, shown, split=None)
    clips = CachedClipDataset([chosen], shown, seed=0, mirror_probability=0)
    alike = [clip for clip, bucket in clips.buckets.items() if bucket.frames == 33]
    return clips.batch([SampleKey(0, clip) for clip in alike])


@pytest.mark.slow
def test_every_look_leaves_a_picture_and_numbers(trained_run):
    pictures = sorted((trained_run / "stage2/samples").iterdir())
    assert [p.name for p in pictures] == ["step-00000001.png", "step-00000002.png"]
    assert cv2.imread(str(pictures[0])).shape == (
        2 * 128,
        3 * 128,
        3,
    )  # sampled above real, three frames each, enlarged
    lines = [json.loads(line) for line in (trained_run / "stage2/metrics.jsonl").read_text().splitlines()]
    looked = [line for line in lines if "held out/loss" in line]
    assert [line["step"] for line in looked] == [1, 2]
    assert all(f"held out/sigma {sigma}" in looked[0] for sigma in VALIDATION_SIGMAS)


@pytest.mark.slow
def test_held_out_loss_is_the_same_however_clips_are_batched(trained, batch):
    whole = validation_loss(trained.model, [batch], seed=0)
    parts = validation_loss(trained.model, [batch.select(slice(1)), batch.select(slice(1, None))], seed=0)
    assert whole == pytest.approx(parts, rel=1e-5)
    assert whole == validation_loss(trained.model, [batch], seed=0)


@pytest.mark.slow
def test_held_out_loss_of_a_silent_network_is_what_preconditioning_leaves_of_the_target(trained, batch):
    silent = build_trainable_model(trained.settings, null_text=trained.model.null_text)
    before = torch.random.get_rng_state()
    loss = validation_loss(silent, [batch], seed=0)
    moved = float((batch.latent_BCFHW[:, :, 1:] - batch.latent_BCFHW[:, :, :1]).square().mean())
    left = [((1 - s) ** 2 + s**2 * moved) / (s**2 + (1 - s) ** 2) ** 2 for s in VALIDATION_SIGMAS]
    assert loss["held out/loss"] == pytest.approx(sum(left) / len(left), rel=0.05)
    assert torch.equal(torch.random.get_rng_state(), before)
