"""Validation during training: held-out loss, and sample grids beside the real clips.

train_stages(..., validation=ValidationCallback(ValidationSettings()))

OUT/STAGE/samples/step-00000500.png    a row of frames for every clip as drawn, below it the row of the real one
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from xsheet.model.conditioning import GuidanceSettings
from xsheet.model.encoders.video import VideoCodec
from xsheet.model.flow import add_noise, squared_error
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import atomic_path
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import SplitName
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.cache.build import Cache
from xsheet.train.data.dataset import CachedClipDataset, SelectedClips, select_clips, select_from_sets
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.framing import Bucket
from xsheet.train.data.seeded_random import DroppedConditions, SampleKey
from xsheet.train.loop.loss import error_inside_phases
from xsheet.train.loop.model import TrainableModel
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.state import TrainState
from xsheet.train.loop.step import explain_out_of_memory
from xsheet.train.run import StageRun
from xsheet.train.sample.sampler import Pictures, SampleSettings, sample_latents

log = logging.getLogger(__name__)

ValidationMetrics = Mapping[str, float]


class ValidationSettings(StrictModel):
    """Validation samples; LoopSettings sets the interval."""

    split: SplitName = Field(default="val", description="split of the clips, which training does not use")
    max_clips: int = Field(default=16, ge=1, le=1000, description="maximum number of clips for the held-out loss")
    samples: int = Field(default=4, ge=0, le=16, description="number of these clips that are also sampled; 0 = none")
    grid_columns: int = Field(default=9, ge=2, le=32, description="frames of a clip in the sample image")
    sample: SampleSettings = Field(
        default=SampleSettings(steps=20, guidance=GuidanceSettings(scale=3)),
        description="sampling settings; fewer steps than in evaluation",
    )
    seed: int = Field(default=0, ge=0, description="seed of the noise")


@dataclass(frozen=True, slots=True)
class ValidationCallback:
    """Creates the validation function on each worker; it is pickled to them."""

    settings: ValidationSettings

    def __call__(self, run: StageRun, process_group: ProcessGroup) -> Callable[[int, TrainState], ValidationMetrics]:
        """The validation function of a stage; it returns nothing if the split has no usable clips."""
        settings, stage = self.settings, run.settings.stage(run.stage)
        try:
            selections = _held_out(run, settings)
        except ConfigError as error:  # a small set may have no held-out clips
            log.warning("%s is not validated: %s", run.stage, error)
            return lambda step, learning: {}
        clips = CachedClipDataset(selections, stage.dataset, seed=settings.seed, mirror_probability=0)
        codec = (
            open_encoders(run.settings.cache, device=str(process_group.device)).video if process_group.is_main else None
        )
        batches = _batches(clips, batch_size=run.settings.compute.micro_batch_size)
        folder = run.out / run.stage / "samples"

        def observe(step: int, learning: TrainState) -> ValidationMetrics:
            average = learning.ema.average_parameters() if learning.ema is not None else nullcontext()
            out_of_memory = explain_out_of_memory(
                where=f"validation at step {step}", contents="samples beside weights and moments",
                hint="train with --no-validation; the run resumes from its last checkpoint",
            )  # fmt: skip
            with out_of_memory, average, run.settings.compute.autocast(process_group.device):
                numbers = validation_loss(learning.model, batches, seed=settings.seed)
                if settings.samples and run.settings.cache.encoders.video != "motion":  # it has no pictures
                    batch = batches[0].select(slice(settings.samples))
                    latents = sample_latents(learning.model, batch, settings.sample)
                    if codec is not None:
                        sampled, real = (_decode(codec, latent) for latent in (latents, batch.latent_BCFHW))
                        folder.mkdir(parents=True, exist_ok=True)
                        write_sample_grid(folder / f"step-{step:08d}.png", sampled, real, columns=settings.grid_columns)
            if process_group.is_main:
                log.info("step %d  held-out loss %.4f", step, numbers["held out/loss"])
            return numbers

        return observe


def _held_out(run: StageRun, settings: ValidationSettings) -> list[SelectedClips]:
    """The first clips by id of all sets; a set without held-out clips has none.

    Raises:
        ConfigError: no set has any.
    """
    dataset = run.settings.stage(run.stage).dataset
    usable: list[Cache] = []
    last: ConfigError | None = None
    for cache in run.open_caches():
        try:
            select_clips(cache, dataset, split=settings.split)
            usable.append(cache)
        except ConfigError as error:
            last = error
    if not usable:
        assert last is not None
        raise last
    selections = select_from_sets(usable, dataset, split=settings.split)
    shown = sorted(row.clip_id for one in selections for row in one.features)[: settings.max_clips]
    return [
        replace(one, features=tuple(row for row in one.features if row.clip_id in set(shown))) for one in selections
    ]


def write_sample_grid(file: Path, sample_BTHW3: Pictures, real_BTHW3: Pictures, *, columns: int) -> None:
    """Write frames of each clip, the sampled row above the real one."""
    frames = np.linspace(0, sample_BTHW3.shape[1] - 1, columns).round().astype(int)
    rows = [
        np.concatenate(clip[frames], axis=1) for pair in zip(sample_BTHW3, real_BTHW3, strict=True) for clip in pair
    ]
    is_written, png = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    assert is_written
    with atomic_path(file) as temporary:
        temporary.write_bytes(png.tobytes())


def _batches(dataset: CachedClipDataset, *, batch_size: int) -> list[Batch]:
    """All clips once, by bucket and id."""
    by_bucket: dict[Bucket, list[SampleKey]] = {}
    for clip_id, bucket in sorted(dataset.buckets.items()):
        by_bucket.setdefault(bucket, []).append(SampleKey(0, clip_id))
    return [
        dataset.batch(alike[k : k + batch_size])
        for alike in by_bucket.values()
        for k in range(0, len(alike), batch_size)
    ]


def _decode(codec: VideoCodec, latents: Tensor) -> Pictures:
    pictures: Pictures = codec.enlarge(codec.decode(latents)).cpu().numpy()
    return pictures


VALIDATION_SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Nine levels of σ, as in diffusion-pipe; each is a separate curve, because a mean would hide fine detail."""


@torch.no_grad()
def validation_loss(model: TrainableModel, batches: Sequence[Batch], *, seed: int) -> dict[str, float]:
    """Mean squared error of the velocity by σ, their mean, and the mean inside phase windows, without dropout.

    Every process computes all batches, so that all call the model equally often. Noise is a function of a separate
    seed, so validation does not affect the noise of training.
    """
    device = next(model.parameters()).device
    by_sigma: dict[float, list[torch.Tensor]] = {sigma: [] for sigma in VALIDATION_SIGMAS}
    inside: list[torch.Tensor] = []
    for batch in (batch.to(device) for batch in batches):
        noise = seeded_random.noise(batch.sample_keys, seed=seed, shape=batch.latent_BCFHW.shape[1:]).to(device)
        everything = DroppedConditions(*(torch.zeros(len(batch), dtype=torch.bool) for _ in range(2)))
        for sigma in VALIDATION_SIGMAS:
            sigma_B = torch.full((len(batch),), sigma, device=device)
            noised = add_noise(batch.latent_BCFHW, noise_BCFHW=noise, sigma_B=sigma_B)
            error_BFHW = squared_error(
                model(noised.x_BCFHW, noised.timestep_BF, batch, everything), noised.target_BCFHW
            )
            by_sigma[sigma].append(error_BFHW.mean((1, 2, 3)))
            inside.append(error_inside_phases(error_BFHW, batch.window_BK2))
    means = {f"held out/sigma {sigma}": float(torch.cat(losses).mean()) for sigma, losses in by_sigma.items()}
    mean = sum(means.values()) / len(means)
    return means | {"held out/loss": mean, "held out/inside phases": float(torch.cat(inside).nanmean())}
