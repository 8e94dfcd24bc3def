"""A trained model at work: wishes in, pictures out.

    trained = open_trained(run_folder, stage="stage2")
    pictures = trained.draw([wish, ...], settings)        # (B, T, H, W, 3)

B wishes, C latent channels, F latent frames, H x W latent cells or pixels, T video frames, M text tokens, L x Q sound
features.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from xsheet.model.block import BASE, PAD
from xsheet.model.conditioning import GuidanceSettings, guided
from xsheet.model.flow import Velocity, euler, sigma_grid
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.cache.files import text_row
from xsheet.train.data.conditioning import NEUTRAL
from xsheet.train.data.encoders import Encoders, open_encoders
from xsheet.train.data.seeded_random import Dropped, Showing
from xsheet.train.data.texts import Told
from xsheet.train.loop.model import Learner
from xsheet.train.loop.stage_weights import AVERAGE, take_over
from xsheet.train.run import make_learner
from xsheet.train.settings import StageName, TrainSettings

Pictures = NDArray[np.uint8]
Unit = Annotated[float, Field(ge=0, le=1)]


class SampleSettings(StrictModel):
    """How a sample is drawn. 40 steps and guidance 5 are ActAvatar's, the shift is Wan's."""

    steps: int = Field(default=40, ge=1, le=1000, description="Euler steps")
    shift: float = Field(default=5, ge=1, le=20, description="odds of the steps' σ times this, as in training")
    guidance: GuidanceSettings = Field(default=GuidanceSettings(), description="away from nothing, towards the wish")
    seed: int = Field(default=0, ge=0, description="of the noise, with the wish's name")
    intensity: tuple[Unit, Unit] = Field(
        default=(NEUTRAL, NEUTRAL), description="how much face and body move, for FantasyTalking: .1 subtle, 1 intense"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one sample is asked for. Its noise follows from the seed and its name."""

    name: str
    first_C1HW: Tensor  # the portrait, clean
    audio_TLQ: Tensor
    told: Told
    face_FHW: Tensor  # shares of latent cells, of a face that keeps its place
    mouth_FHW: Tensor
    identity_X: Tensor | None = None  # whose face, where the model is told


def as_batch(wishes: Sequence[Wish], *, encoders: Encoders, phases: bool) -> Batch:
    """Wishes of one size as the learner takes them; `phases`: whether tokens carry their phase."""
    marks = [_marks(wish.told, encoders.text.tokens, phases=phases) for wish in wishes]
    first_BC1HW = torch.stack([wish.first_C1HW for wish in wishes])
    frames = 1 + (wishes[0].audio_TLQ.shape[0] - 1) // 4
    faces = [wish.identity_X for wish in wishes if wish.identity_X is not None]
    return Batch(
        showings=tuple(Showing(0, wish.name) for wish in wishes),
        x0_BCFHW=first_BC1HW.repeat_interleave(frames, dim=2),
        text=torch.stack([text_row(wish.told.ids_M, encoders.text) for wish in wishes]),
        phase_BM=torch.stack(marks),
        audio_BTLQ=torch.stack([wish.audio_TLQ for wish in wishes]),
        window_BK2=torch.stack([torch.from_numpy(wish.told.window_K2) for wish in wishes]),
        face_BFHW=torch.stack([wish.face_FHW for wish in wishes]),
        mouth_BFHW=torch.stack([wish.mouth_FHW for wish in wishes]),
        identity_BX=torch.stack(faces) if faces else None,
    )


@torch.no_grad()
def draw_latents(learner: Learner, batch: Batch, settings: SampleSettings) -> Tensor:
    """Clean latents (B, C, F, H, W) that begin with the first latent frame of `batch`; the rest of it is not looked at.

    The model is asked through the learner, whose call gathers weights that are spread over processes.
    """
    device = next(learner.parameters()).device
    noise = seeded_random.noise(batch.showings, seed=settings.seed, shape=batch.x0_BCFHW.shape[1:]).to(device)
    asked = batch.to(device)
    follow = guided(
        _said(learner, asked, text=True, audio=True),
        neither=_said(learner, asked, text=False, audio=False),
        heard=_said(learner, asked, text=False, audio=True),
        settings=settings.guidance,
    )
    sigmas = sigma_grid(settings.steps, shift=settings.shift)
    return euler(follow, first_BC1HW=asked.x0_BCFHW[:, :, :1], noise_BCFHW=noise, sigmas=sigmas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model that a stage left behind, with the encoders it was trained beside."""

    settings: TrainSettings
    stage: StageName
    learner: Learner
    encoders: Encoders

    def draw(self, wishes: Sequence[Wish], settings: SampleSettings) -> Pictures:
        """Pictures of every wish, (B, T, H, W, 3)."""
        batch = as_batch(wishes, encoders=self.encoders, phases=self.settings.stage(self.stage).shown.phases)
        batch = replace(batch, intensity_B2=torch.tensor([settings.intensity]).expand(len(batch), -1))
        with self.settings.compute.autocast(next(self.learner.parameters()).device):
            latents = draw_latents(self.learner, batch, settings)
        pictures: Pictures = self.encoders.video.decode(latents).cpu().numpy()
        return pictures


def open_trained(run: Path, *, stage: StageName = "stage2", device: str = "cpu") -> Trained:
    """What a finished stage left, averaged over its steps where it kept that; frozen parts are the earlier stages'.

    Raises:
        ConfigError: no run is finished there, or its weights are not those of its settings.
    """
    settings = settings_of(run)
    encoders = open_encoders(settings.cache, device=device)
    null_text = text_row(encoders.text.tokenize("").ids_M, encoders.text)
    learner = make_learner(settings, null_text=null_text if encoders.text.trained else null_text.float())
    earlier = [(name, one, run / name) for name, one in settings.before(stage).items()]
    take_over(learner, has_base=settings.base is not None, earlier=earlier)
    last = (stage, settings.stage(stage), run / stage)
    take_over(learner, has_base=False, earlier=[last], average=(run / stage / AVERAGE).is_file())
    return Trained(settings=settings, stage=stage, learner=learner.to(device).eval(), encoders=encoders)


def settings_of(run: Path) -> TrainSettings:
    """The settings of the latest training in a folder; ConfigError if there is none that this xsheet can read."""
    files = sorted((run / "manifests").glob("*-train-run.json"))
    try:
        told = json.loads(files[-1].read_text(encoding="utf-8"))["settings"] if files else None
        if told is not None:
            return TrainSettings.model_validate_json(json.dumps(told))
        came = "none"
    except (OSError, ValueError, KeyError, TypeError) as error:  # pydantic's error is a ValueError
        came = " ".join(str(error).split())[:200]
    raise ConfigError(
        where=str(run), expected="the manifest of a finished `xsheet train run`", came=came,
        todo="give the folder that the run was given as --out, and let it finish",
    )  # fmt: skip


def _said(learner: Learner, batch: Batch, *, text: bool, audio: bool) -> Velocity:
    """What the learner says when it is told and hears, or not."""
    count = len(batch)
    dropped = Dropped(torch.full((count,), not text), torch.full((count,), not audio))
    return partial(_velocity, learner, batch, dropped)


def _velocity(learner: Learner, batch: Batch, dropped: Dropped, x_BCFHW: Tensor, timestep_BF: Tensor) -> Tensor:
    velocity: Tensor = learner(x_BCFHW, timestep_BF, batch, dropped)
    return velocity


def _marks(told: Told, tokens: int, *, phases: bool) -> Tensor:
    """(M,) phase of each token, PAD behind the text."""
    phase_M = torch.full((tokens,), PAD, dtype=torch.int64)
    phase_M[: len(told.phase_N)] = torch.from_numpy(told.phase_N).long() if phases else BASE
    return phase_M
