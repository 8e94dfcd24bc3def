"""Sample videos from a trained model.

    trained = load_trained(run_folder)                        # the last finished stage
    pictures = trained.sample([request, ...], settings)       # (B, T, H, W, 3)

B requests, C latent channels, F latent frames, H x W latent cells or pixels, T video frames, M text tokens, L x Q sound
features.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from xsheet.model.conditioning import GuidanceSettings, guided
from xsheet.model.flow import History, Velocity, euler_sample, sigma_schedule
from xsheet.model.phases import NO_PHASE, PAD
from xsheet.model.variants.base import NEUTRAL_INTENSITY
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import read_json
from xsheet.schemas.settings import StrictModel
from xsheet.train.data import seeded_random
from xsheet.train.data.batch import Batch
from xsheet.train.data.cache.files import cached_text
from xsheet.train.data.encoders import Encoders, open_encoders
from xsheet.train.data.seeded_random import DroppedConditions, SampleKey
from xsheet.train.data.texts import TokenizedText
from xsheet.train.loop.lora import lora_targets
from xsheet.train.loop.model import TrainableModel
from xsheet.train.loop.stage_weights import EMA_WEIGHTS_FILE, WEIGHTS_FILE, load_previous
from xsheet.train.run import build_trainable_model, pretrained_keys
from xsheet.train.sample.windows import WindowSettings
from xsheet.train.settings import TrainSettings

Pictures = NDArray[np.uint8]
UnitInterval = Annotated[float, Field(ge=0, le=1)]


class SampleSettings(StrictModel):
    """Sampling settings. 40 steps and guidance 5 are ActAvatar's, the shift is Wan's."""

    steps: int = Field(default=40, ge=1, le=1000, description="number of Euler steps")
    shift: float = Field(default=5, ge=1, le=20, description="factor on the odds of σ, as in training")
    guidance: GuidanceSettings = Field(default=GuidanceSettings(), description="guidance scales")
    seed: int = Field(default=0, ge=0, description="seed of the noise, together with the name of the request")
    window: WindowSettings = Field(
        default=WindowSettings(), description="windows of a video that is longer than training clips"
    )
    motion_intensity: tuple[UnitInterval, UnitInterval] = Field(
        default=(NEUTRAL_INTENSITY, NEUTRAL_INTENSITY),
        description="motion intensity of face and body, for variants that read it: .1 subtle, .5 median, 1 intense",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """Inputs of one sample. Its noise follows from the seed and its name."""

    name: str
    first_C1HW: Tensor  # the portrait, clean
    audio_TLQ: Tensor
    text: TokenizedText
    face_FHW: Tensor  # shares of latent cells, of a face that keeps its place
    mouth_FHW: Tensor
    identity_X: Tensor | None = None  # identity, where the model reads one
    motion_TX: Tensor | None = None  # of a driver, where the model reads one; all requests of a batch or none


def to_batch(requests: Sequence[SampleRequest], *, encoders: Encoders, phases: bool) -> Batch:
    """Requests of one size as a batch; `phases`: whether tokens carry their phase."""
    phases_M = [_token_phases(request.text, encoders.text.max_tokens, phases=phases) for request in requests]
    first_BC1HW = torch.stack([request.first_C1HW for request in requests])
    frames = 1 + (requests[0].audio_TLQ.shape[0] - 1) // 4
    faces = [request.identity_X for request in requests if request.identity_X is not None]
    motion = [request.motion_TX for request in requests if request.motion_TX is not None]
    return Batch(
        sample_keys=tuple(SampleKey(0, request.name) for request in requests),
        latent_BCFHW=first_BC1HW.repeat_interleave(frames, dim=2),
        text=torch.stack([cached_text(request.text.ids_M, encoders.text) for request in requests]),
        phase_BM=torch.stack(phases_M),
        audio_BTLQ=torch.stack([request.audio_TLQ for request in requests]),
        window_BK2=torch.stack([torch.from_numpy(request.text.window_K2) for request in requests]),
        face_BFHW=torch.stack([request.face_FHW for request in requests]),
        mouth_BFHW=torch.stack([request.mouth_FHW for request in requests]),
        identity_BX=torch.stack(faces) if faces else None,
        motion_BTX=torch.stack(motion) if motion else None,
    )


@torch.no_grad()
def sample_latents(
    model: TrainableModel,
    batch: Batch,
    settings: SampleSettings,
    *,
    start_sigma: float = 1.0,
    history: History | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Sample clean latents (B, C, F, H, W) that start with the first latent frame of `batch`.

    The transformer is called through TrainableModel, which gathers weights that are sharded over processes. Below a
    `start_sigma` of 1 the clips of the batch are noised to the first step at or below it and sampled from there
    (SDEdit, Meng et al. 2022, arXiv 2108.01073).
    """
    device = next(model.parameters()).device
    noise = seeded_random.noise(batch.sample_keys, seed=settings.seed, shape=batch.latent_BCFHW.shape[1:]).to(device)
    on_device = batch.to(device)
    follow = guided(
        _velocity_with(model, on_device, text=True, audio=True),
        uncond=_velocity_with(model, on_device, text=False, audio=False),
        audio_only=_velocity_with(model, on_device, text=False, audio=True),
        settings=settings.guidance,
    )
    sigmas = [sigma for sigma in sigma_schedule(settings.steps, shift=settings.shift) if sigma <= start_sigma]
    return euler_sample(
        follow, first_BC1HW=on_device.latent_BCFHW[:, :, :1],
        noise_BCFHW=torch.lerp(on_device.latent_BCFHW.float(), noise, sigmas[0]), sigmas=sigmas, history=history,
        on_step=on_step,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The model of a finished stage with its encoders."""

    settings: TrainSettings
    stage: str
    model: TrainableModel
    encoders: Encoders

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    def sample(self, requests: Sequence[SampleRequest], settings: SampleSettings) -> Pictures:
        """Pictures of every request, (B, T, H, W, 3)."""
        pictures: Pictures = self.encoders.video.decode(self.sample_latents(requests, settings)).cpu().numpy()
        return pictures

    def decode(self, latent_CFHW: Tensor) -> Pictures:
        """Pictures of one clip's latent, (T, H, W, 3)."""
        pictures: Pictures = self.encoders.video.decode(latent_CFHW[None])[0].cpu().numpy()
        return pictures

    def enlarge(self, pictures_THW3: Pictures) -> Pictures:
        """Decoded pictures of one clip as people see them."""
        shown: Pictures = self.encoders.video.enlarge(torch.from_numpy(pictures_THW3)[None])[0].cpu().numpy()
        return shown

    def sample_latents(
        self,
        requests: Sequence[SampleRequest],
        settings: SampleSettings,
        *,
        history: History | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Clean latents of every request, (B, C, F, H, W)."""
        batch = to_batch(requests, encoders=self.encoders, phases=self.settings.stage(self.stage).dataset.mark_phases)
        batch = replace(batch, intensity_B2=torch.tensor([settings.motion_intensity]).expand(len(batch), -1))
        with self.settings.compute.autocast(self.device):
            return sample_latents(self.model, batch, settings, history=history, on_step=on_step)


def load_trained(run: Path, *, stage: str | None = None, device: str = "cpu", with_lora: bool = True) -> TrainedModel:
    """Weights of a finished stage, averaged over its steps if it kept the average; other parts are earlier stages'.

    `stage` None takes the last finished stage. `with_lora` False leaves out the low-rank updates of that stage.

    Raises:
        ConfigError: no run is finished there, or its weights are not those of its settings.
    """
    settings = run_settings(run)
    stage = stage or last_finished_stage(run, settings)
    encoders = open_encoders(settings.cache, device=device)
    null_text = cached_text(encoders.text.tokenize("").ids_M, encoders.text)
    model = build_trainable_model(settings, null_text=null_text if encoders.text.trainable else null_text.float())
    earlier = [(before, run / before.name) for before in settings.previous_stages(stage)]
    load_previous(model, pretrained=pretrained_keys(model, settings), previous_stages=earlier)
    last = (settings.stage(stage), run / stage)
    lora = None if with_lora else last[0].lora
    updated = frozenset[str]() if lora is None else lora_targets(model.transformer, lora)
    before = {key: tensor.clone() for key, tensor in model.transformer.state_dict().items() if key in updated}
    load_previous(
        model,
        pretrained={},
        previous_stages=[last],
        use_ema=(run / stage / EMA_WEIGHTS_FILE).is_file(),
    )
    model.transformer.load_state_dict(before, strict=False)
    ramp = settings.stage(stage).interval_strength
    model.transformer.interval_strength = ramp.at(settings.stage(stage).steps)
    return TrainedModel(settings=settings, stage=stage, model=model.to(device).eval(), encoders=encoders)


def last_finished_stage(run: Path, settings: TrainSettings) -> str:
    """The last stage with weights; without any, the last stage, so that loading it raises the helpful error."""
    finished = [name for name in settings.stage_names if (run / name / WEIGHTS_FILE).is_file()]
    return (finished or settings.stage_names)[-1]


def run_settings(run: Path) -> TrainSettings:
    """Settings of the latest training in a folder; ConfigError if this version cannot read them."""
    files = sorted((run / "manifests").glob("*-train-run.json"))
    try:
        saved = read_json(files[-1])["settings"] if files else None
        if saved is not None:
            return TrainSettings.model_validate_json(json.dumps(saved))
        got = "none"
    except (OSError, ValueError, KeyError, TypeError) as error:  # pydantic's error is a ValueError
        got = " ".join(str(error).split())[:200]
    raise ConfigError(
        where=str(run), expected="the manifest of a finished `xsheet train run`", got=got,
        hint="give the folder that the run was given as --out, and let it finish",
    )  # fmt: skip


def _velocity_with(model: TrainableModel, batch: Batch, *, text: bool, audio: bool) -> Velocity:
    """The velocity with or without text and audio."""
    count = len(batch)
    dropped = DroppedConditions(torch.full((count,), not text), torch.full((count,), not audio))
    return partial(_velocity, model, batch, dropped)


def _velocity(
    model: TrainableModel, batch: Batch, dropped_conditions: DroppedConditions, x_BCFHW: Tensor, timestep_BF: Tensor
) -> Tensor:
    velocity: Tensor = model(x_BCFHW, timestep_BF, batch, dropped_conditions)
    return velocity


def _token_phases(text: TokenizedText, max_tokens: int, *, phases: bool) -> Tensor:
    """Phase of each token, (M,); PAD after the text."""
    phase_M = torch.full((max_tokens,), PAD, dtype=torch.int64)
    phase_M[: len(text.phase_N)] = torch.from_numpy(text.phase_N).long() if phases else NO_PHASE
    return phase_M
