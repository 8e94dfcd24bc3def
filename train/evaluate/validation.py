"""What looks at a model while it learns: the loss on held-out clips, and a picture of samples beside the real ones.

train_stages(..., watch=Watching(WatchSettings()))

OUT/stage2/samples/step-00000500.png    a row of frames for every clip as drawn, below it the row of the real one
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from xsheet.model.conditioning import GuidanceSettings
from xsheet.model.encoders.video import VideoCodec
from xsheet.model.flow import noised, squared_error
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import SplitName
from xsheet.schemas.tables import replacing
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.cache.build import open_cache
from xsheet.train.data.dataset import Clips, choose
from xsheet.train.data.encoders import open_encoders
from xsheet.train.data.framing import Bucket
from xsheet.train.data.seeded_random import Dropped, Showing
from xsheet.train.loop.loss import inside_phases
from xsheet.train.loop.model import Learner
from xsheet.train.loop.process_group import World
from xsheet.train.loop.state import Learning
from xsheet.train.loop.step import needing_memory
from xsheet.train.run import StageRun
from xsheet.train.sample.sampler import Pictures, SampleSettings, draw_latents

log = logging.getLogger(__name__)

Observation = Mapping[str, float]


class WatchSettings(StrictModel):
    """What is looked at; when, the loop's settings say."""

    split: SplitName = Field(default="val", description="clips that training does not see")
    clips: int = Field(default=16, ge=1, le=1000, description="for the loss, at most")
    drawn: int = Field(default=4, ge=0, le=16, description="of these, with samples; 0 = none")
    columns: int = Field(default=9, ge=2, le=32, description="frames of a clip in the picture")
    sample: SampleSettings = Field(
        default=SampleSettings(steps=20, guidance=GuidanceSettings(scale=3)), description="quicker than in the end"
    )
    seed: int = Field(default=0, ge=0, description="of the noise")


@dataclass(frozen=True, slots=True)
class Watching:
    """Makes an observer on each worker; it is pickled to them."""

    settings: WatchSettings

    def __call__(self, run: StageRun, world: World) -> Callable[[int, Learning], Observation]:
        """An observer for the stage; it sees nothing if the split has no clips that the stage could be shown."""
        settings, stage = self.settings, run.settings.stage(run.name)
        cache = open_cache(run.set_folder, run.recipe)
        try:
            chosen = choose(cache, stage.shown, split=settings.split).features[: settings.clips]
        except ConfigError as error:  # a small set may have nothing to hold out, and learns without it
            log.warning("%s is not watched: %s", run.name, error)
            return lambda step, learning: {}
        clips = Clips(cache, chosen, stage.shown, seed=settings.seed, mirrored=0)
        codec = open_encoders(run.settings.cache, device=str(world.device)).video if world.first else None
        batches = _batches(clips, size=run.settings.compute.micro_batch)
        folder = run.out / run.name / "samples"

        def observe(step: int, learning: Learning) -> Observation:
            average = learning.ema.shown() if learning.ema is not None else nullcontext()
            memory = needing_memory(
                where=f"look at step {step}", holds="samples beside weights and moments",
                todo="train with --no-watch; the run then goes on from its last checkpoint",
            )  # fmt: skip
            with memory, average, run.settings.compute.autocast(world.device):
                numbers = validation_loss(learning.learner, batches, seed=settings.seed)
                if settings.drawn:
                    batch = batches[0].rows(slice(settings.drawn))
                    latents = draw_latents(learning.learner, batch, settings.sample)
                    if codec is not None:
                        drawn, real = (_decoded(codec, latent) for latent in (latents, batch.x0_BCFHW))
                        folder.mkdir(parents=True, exist_ok=True)
                        write_grid(folder / f"step-{step:08d}.png", drawn, real, columns=settings.columns)
            if world.first:
                log.info("step %d  held-out loss %.4f", step, numbers["held out/loss"])
            return numbers

        return observe


def write_grid(file: Path, drawn_BTHW3: Pictures, real_BTHW3: Pictures, *, columns: int) -> None:
    """Frames evenly over each clip, the drawn row above the real one."""
    frames = np.linspace(0, drawn_BTHW3.shape[1] - 1, columns).round().astype(int)
    rows = [np.concatenate(clip[frames], axis=1) for pair in zip(drawn_BTHW3, real_BTHW3, strict=True) for clip in pair]
    is_written, png = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    assert is_written
    with replacing(file) as temporary:
        temporary.write_bytes(png.tobytes())


def _batches(clips: Clips, *, size: int) -> list[Batch]:
    """All clips once, those of one bucket together, by id."""
    by_bucket: dict[Bucket, list[Showing]] = {}
    for clip_id, bucket in sorted(clips.buckets.items()):
        by_bucket.setdefault(bucket, []).append(Showing(0, clip_id))
    return [clips.batch(alike[k : k + size]) for alike in by_bucket.values() for k in range(0, len(alike), size)]


def _decoded(codec: VideoCodec, latents: Tensor) -> Pictures:
    pictures: Pictures = codec.decode(latents).cpu().numpy()
    return pictures


SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Nine of them, as diffusion-pipe has; each is a curve of its own, for a mean would hide the fine detail."""


@torch.no_grad()
def validation_loss(learner: Learner, batches: Sequence[Batch], *, seed: int) -> dict[str, float]:
    """Mean squared error of the velocity by σ, their mean, and the mean inside phase windows; nothing is dropped.

    Every process computes all batches, so that all call the learner equally often. Training's noise does not move:
    both are functions of the seed, here another one.
    """
    device = next(learner.parameters()).device
    by_sigma: dict[float, list[torch.Tensor]] = {sigma: [] for sigma in SIGMAS}
    inside: list[torch.Tensor] = []
    for batch in (batch.to(device) for batch in batches):
        noise = seeded_random.noise(batch.showings, seed=seed, shape=batch.x0_BCFHW.shape[1:]).to(device)
        everything = Dropped(*(torch.zeros(len(batch), dtype=torch.bool) for _ in range(2)))
        for sigma in SIGMAS:
            sigma_B = torch.full((len(batch),), sigma, device=device)
            given = noised(batch.x0_BCFHW, noise_BCFHW=noise, sigma_B=sigma_B)
            error_BFHW = squared_error(learner(given.x_BCFHW, given.timestep_BF, batch, everything), given.target_BCFHW)
            by_sigma[sigma].append(error_BFHW.mean((1, 2, 3)))
            inside.append(inside_phases(error_BFHW, batch.window_BK2))
    means = {f"held out/sigma {sigma}": float(torch.cat(said).mean()) for sigma, said in by_sigma.items()}
    mean = sum(means.values()) / len(means)
    return means | {"held out/loss": mean, "held out/inside phases": float(torch.cat(inside).nanmean())}
