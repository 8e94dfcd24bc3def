"""Reads faces that are too small for a face mesh: a network fitted on a cache's own clips and their signals.

It sees pictures as the codec gives them back, and is told what was measured on the clips in full size. So it knows
nothing of the model that it judges, and what it reads of held-out clips through the codec is the ceiling for samples.

    reader = load_or_fit_reader(cache, codec, settings)
    series = reader(pictures_THW3)              # {"yaw_deg": (T,), ...}

B clips, T frames, N of them, H x W pixels, S series.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.frames import Frame
from xsheet.model.encoders.video import VideoCodec
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import content_key
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import FrameRate, frame_start_us
from xsheet.train.data.cache.build import Cache
from xsheet.train.data.cache.files import save_tensors
from xsheet.train.evaluate.held_out import MeasuredClip, measured_clips

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Pictures = NDArray[np.uint8]
FACE_SERIES = ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "brow_raise", "smile")


class FaceReader(Protocol):
    """Reads face series from the pictures of one clip."""

    def __call__(self, pictures_THW3: Pictures, /) -> Mapping[str, Floats]:
        """(T,) series by the names of schemas.clip.Signals; NaN where nothing was seen."""
        ...


class FaceReaderSettings(StrictModel):
    """Settings of the fitted network, chosen on the puppet (docs/log/train.md#tiny)."""

    steps: int = Field(default=600, ge=1, le=100_000, description="of Adam")
    batch_size: int = Field(default=16, ge=1, description="stretches of a step")
    frames_per_clip: int = Field(default=8, ge=1, description="of each of them")
    lr: float = Field(default=2e-3, gt=0, lt=1, description="falls to zero along a cosine")
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedFaceReader:
    """The fitted network and the scale of its outputs."""

    net: nn.Module
    mean_S: Tensor
    std_S: Tensor

    @torch.no_grad()
    def __call__(self, pictures_THW3: Pictures, /) -> Mapping[str, Floats]:
        """As FaceReader."""
        shown = torch.from_numpy(pictures_THW3)[None]
        targets_TS = self.net(network_inputs(shown, torch.arange(len(pictures_THW3))[None])) * self.std_S + self.mean_S
        return {name: column.double().numpy() for name, column in zip(FACE_SERIES, targets_TS.T, strict=True)}


def load_or_fit_reader(cache: Cache, codec: VideoCodec, settings: FaceReaderSettings) -> FittedFaceReader:
    """The reader fitted to a cache's pictures: loaded, or fitted now on the train split (minutes on a CPU).

    Raises:
        ConfigError: no clip of the train split has signals, or pictures are of several sizes.
    """
    clips = measured_clips(cache, split="train", names=FACE_SERIES)
    if not clips:
        raise ConfigError(
            where=str(cache.set_folder), expected="train clips with signals of a face", got="none",
            hint="curate the clips, or let a face mesh read larger pictures",
        )  # fmt: skip
    sizes = {tuple(clip.latent_VCFHW.shape[-2:]) for clip in clips}
    if len(sizes) > 1:
        raise ConfigError(
            where="cache.picture.sizes", expected="one size for a fitted reader", got=f"{len(sizes)} sizes",
            hint="let a face mesh read (reader=mesh), or evaluate with a cache of one size",
        )  # fmt: skip
    ((height, width),) = sizes
    key = content_key(cache.spec.clips_key, settings.model_dump(), [clip.clip_id for clip in clips])
    file = cache.set_folder / "cache" / f"reader-{key[:16]}.safetensors"
    target_S = torch.cat([clip.series_VTS.flatten(0, 1) for clip in clips])
    reader = FittedFaceReader(
        net=_reader_network(
            height * codec.stride[1], width * codec.stride[2], rng=Generator().manual_seed(settings.seed)
        ),
        mean_S=target_S.nanmean(0).nan_to_num(),
        std_S=_standard_deviation(target_S),
    )
    if file.is_file():
        reader.net.load_state_dict(load_file(file))
    else:
        _fit(reader, clips, codec, settings)
        save_tensors(file, reader.net.state_dict())
    reader.net.eval()
    return reader


def network_inputs(pictures_BTHW3: Tensor, frames_BN: Tensor) -> Tensor:
    """Inputs of the network: each frame, its neighbours and the clip's first frame; (B N, 12, H, W)."""
    last = pictures_BTHW3.shape[1] - 1
    row = torch.arange(len(pictures_BTHW3))[:, None]
    near = [(frames_BN + step).clamp(0, last) for step in (-1, 0, 1)]
    stacked = torch.cat([pictures_BTHW3[row, frames] for frames in (*near, torch.zeros_like(frames_BN))], dim=-1)
    return stacked.flatten(0, 1).movedim(-1, 1).float() / 127.5 - 1


def _fit(
    reader: FittedFaceReader, clips: Sequence[MeasuredClip], codec: VideoCodec, settings: FaceReaderSettings
) -> None:
    rng = Generator().manual_seed(settings.seed)
    optimizer = torch.optim.Adam(reader.net.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    error = torch.zeros(())
    for _ in range(settings.steps):
        inputs, wanted = zip(
            *(_training_frames(clips, codec, settings, rng) for _ in range(settings.batch_size)), strict=True
        )
        target = (torch.cat(wanted) - reader.mean_S) / reader.std_S
        known = ~target.isnan()  # left out before the square: its gradient would be NaN times zero
        error = (reader.net(torch.cat(inputs))[known] - target[known]).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        schedule.step()
    log.info("fitted a reader of %d clips, mean squared error %.3f of the spread", len(clips), float(error.detach()))


def _training_frames(
    clips: Sequence[MeasuredClip], codec: VideoCodec, settings: FaceReaderSettings, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Some frames of one crop of one clip, (N, 12, H, W), and their measured series, (N, S)."""
    clip = clips[int(torch.randint(len(clips), (), generator=rng))]
    stretch = int(torch.randint(len(clip.latent_VCFHW), (), generator=rng))
    frames_N = torch.randint(clip.series_VTS.shape[1], (settings.frames_per_clip,), generator=rng)
    pictures = codec.decode(clip.latent_VCFHW[stretch][None].float())
    return network_inputs(pictures, frames_N[None]), clip.series_VTS[stretch, frames_N]


def _reader_network(height: int, width: int, *, rng: Generator) -> nn.Module:
    """Four steps down to a sixteenth, then what is where decides."""
    widths = (12, 16, 32, 48, 64)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
    cells = -(-height // 16) * -(-width // 16)
    layers += [nn.Flatten(), nn.Linear(widths[-1] * cells, 96), nn.GELU(), nn.Linear(96, len(FACE_SERIES))]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, generator=rng)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(*layers)


def _standard_deviation(values_NS: Tensor) -> Tensor:
    """Standard deviation of each series; 1 where it is constant or unmeasured."""
    known = values_NS.isnan().logical_not()
    mean = values_NS.nanmean(0).nan_to_num()
    variance = ((values_NS - mean).square().nan_to_num() * known).sum(0) / known.sum(0).clamp(min=1)
    return variance.sqrt().where(variance > 0, torch.ones_like(variance))


class MeshFaceReader:
    """Reads the longest face track of a clip with a face mesh."""

    def __init__(self, rate: FrameRate, *, models: Path | None = None) -> None:
        self._rate, self._models = rate, models

    def __call__(self, pictures_THW3: Pictures, /) -> Mapping[str, Floats]:
        """As FaceReader."""
        with FaceTracker(FaceSettings(), self._models) as faces:
            for k, rgb in enumerate(pictures_THW3):
                us = frame_start_us(k, self._rate)
                faces.add(Frame(index=k, start_us=us, rgb=rgb, source_index=k, source_us=us))
            track = max(faces.tracks("src_sample"), key=lambda one: one.frames, default=None)
        series = {name: np.full(len(pictures_THW3), np.nan) for name in FACE_SERIES}
        if track is not None:
            for name in FACE_SERIES:
                values = [np.nan if v is None else v for v in getattr(track, name)]
                series[name][track.start_frame : track.start_frame + track.frames] = values or np.nan
        return series
