"""Reads faces that are too small for a face mesh: a network fitted on clips and their signals.

Its inputs are pictures decoded by the codec, its targets the signals that were measured on the clips at full size. So
it is independent of the evaluated model, and its result on decoded held-out clips is the ceiling for samples. The
package has one that was fitted on drawn people (benchmarks/fit_face_reader.py). It is used if it reads the clips of the
set well enough; otherwise a reader is fitted once per set.

    reader = load_or_fit_reader(cache, codec, settings)
    series = reader(pictures_THW3)              # {"yaw_deg": (T,), ...}

B clips, T frames, N of them, H x W pixels, S series.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import pairwise
from statistics import median

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from xsheet.annotate.motion.curves import GROUND_TRUTH_EXTRACTOR
from xsheet.model.encoders.video import VideoCodec
from xsheet.model.weights import load_part
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import content_key
from xsheet.schemas.settings import StrictModel
from xsheet.train.data.cache.build import Cache
from xsheet.train.data.cache.files import save_tensors
from xsheet.train.evaluate.held_out import MeasuredClip, measured_clips
from xsheet.train.evaluate.readers import FACE_SERIES, FaceReader, Floats, Pictures

log = logging.getLogger(__name__)

SHIPPED_FILE, SHIPPED_SIZE = "face_reader.safetensors", (64, 64)
_CHECKED_CLIPS = 16
MAX_UNEXPLAINED_SHARE = 0.4
"""Maximum share of unexplained variance of the set's signals at which the shipped reader is used
(docs/log/train.md#reader)."""


class FaceReaderSettings(StrictModel):
    """Settings of the fitted network, chosen on the puppet (docs/log/train.md#tiny)."""

    steps: int = Field(default=600, ge=1, le=100_000, description="steps of Adam")
    batch_size: int = Field(default=16, ge=1, description="sequences per step")
    frames_per_clip: int = Field(default=8, ge=1, description="frames per sequence")
    lr: float = Field(default=2e-3, gt=0, lt=1, description="initial learning rate; it falls to zero along a cosine")
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedFaceReader:
    """The fitted network, the size of its pictures and the scale of its outputs."""

    extractor: str | None  # as FaceReader
    net: nn.Module
    size: tuple[int, int]  # height and width; pictures of other sizes are scaled
    mean_S: Tensor
    std_S: Tensor

    @torch.no_grad()
    def __call__(self, pictures_THW3: Pictures, /) -> Mapping[str, Floats]:
        """As FaceReader."""
        height, width = self.size
        if pictures_THW3.shape[1:3] != self.size:
            scaled = [cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA) for rgb in pictures_THW3]
            pictures_THW3 = np.stack(scaled).astype(np.uint8)
        shown = torch.from_numpy(pictures_THW3)[None]
        targets_TS = self.net(network_inputs(shown, torch.arange(len(pictures_THW3))[None])) * self.std_S + self.mean_S
        return {name: column.double().numpy() for name, column in zip(FACE_SERIES, targets_TS.T, strict=True)}


def load_or_fit_reader(cache: Cache, codec: VideoCodec, settings: FaceReaderSettings) -> FittedFaceReader:
    """The shipped reader where it reads the set's train clips; else one of the set, loaded or fitted now (minutes).

    Raises:
        ConfigError: no clip of the train split has signals, or pictures are of several sizes.
    """
    clips = measured_clips(cache, split="train", names=FACE_SERIES)
    if not clips:
        raise ConfigError(
            where=str(cache.set_folder), expected="train clips with signals of a face", got="none",
            hint="curate the clips, or let a face mesh read larger pictures",
        )  # fmt: skip
    shipped = load_shipped_reader()
    shares = unexplained_shares(shipped, clips[:: max(1, len(clips) // _CHECKED_CLIPS)][:_CHECKED_CLIPS], codec)
    # The median, because in small faces a mesh measures only noise of lids and gaze, which no reader can explain.
    error = median(shares.values()) if shares else 1.0
    if error <= MAX_UNEXPLAINED_SHARE:
        log.info("the built-in face reader reads this set; it does not explain %.2f of the variance", error)
        return shipped
    log.info("the built-in face reader does not explain %.2f of the variance in this set: fitting a new one", error)
    return _load_or_fit_own(cache, clips, codec, settings)


def load_shipped_reader() -> FittedFaceReader:
    """The reader of the package, fitted on drawn people."""
    with as_file(files("xsheet.train.evaluate") / "weights" / SHIPPED_FILE) as file:
        tensors = load_file(file)
    mean_S, std_S = tensors.pop("mean"), tensors.pop("std")
    net = _reader_network(*SHIPPED_SIZE, rng=Generator().manual_seed(0))
    net.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    return FittedFaceReader(
        extractor=GROUND_TRUTH_EXTRACTOR, net=net.eval(), size=SHIPPED_SIZE, mean_S=mean_S, std_S=std_S
    )


def unexplained_shares(reader: FaceReader, clips: Sequence[MeasuredClip], codec: VideoCodec) -> dict[str, float]:
    """Share of the variance within clips that a reader misses in any unit (1 - r²), of every series that varies."""
    products_3S = np.zeros((3, len(FACE_SERIES)))  # of read and measured, of each with itself
    for clip in clips:
        series = reader(codec.decode(clip.latent_VCFHW[:1].float())[0].cpu().numpy())
        measured_TS = clip.series_VTS[0].double().numpy()
        known = np.isfinite(measured_TS)
        read_TS = _centred(np.stack([series[name] for name in FACE_SERIES], axis=1), known)
        measured_TS = _centred(measured_TS, known)
        pairs = ((read_TS, measured_TS), (read_TS, read_TS), (measured_TS, measured_TS))
        products_3S += [(a * b).sum(axis=0) for a, b in pairs]
    return {
        name: float(1 - both**2 / (read * measured))
        for name, both, read, measured in zip(FACE_SERIES, *products_3S, strict=True)
        if read > 0 and measured > 0
    }


def _centred(values_TS: Floats, known_TS: NDArray[np.bool_]) -> Floats:
    """Series minus their means over the known frames; 0 elsewhere."""
    means = np.where(known_TS, values_TS, 0).sum(axis=0) / np.maximum(known_TS.sum(axis=0), 1)
    return np.where(known_TS, values_TS - means, 0.0)


def _load_or_fit_own(
    cache: Cache, clips: Sequence[MeasuredClip], codec: VideoCodec, settings: FaceReaderSettings
) -> FittedFaceReader:
    key = content_key(cache.spec.clips_key, settings.model_dump(), [clip.clip_id for clip in clips])
    file = cache.set_folder / "cache" / f"reader-{key[:16]}.safetensors"
    if not file.is_file():
        reader = fit_reader(clips, codec, settings)
        save_tensors(file, reader.net.state_dict())
        return reader
    reader = _new_reader(clips, codec, settings)
    load_part(reader.net, file, keys=reader.net.state_dict())
    reader.net.eval()
    return reader


def fit_reader(clips: Sequence[MeasuredClip], codec: VideoCodec, settings: FaceReaderSettings) -> FittedFaceReader:
    """Fit a reader to clips of one size; ConfigError if they have several."""
    reader = _new_reader(clips, codec, settings)
    _fit(reader, clips, codec, settings)
    reader.net.eval()
    return reader


def _new_reader(clips: Sequence[MeasuredClip], codec: VideoCodec, settings: FaceReaderSettings) -> FittedFaceReader:
    sizes = {tuple(clip.latent_VCFHW.shape[-2:]) for clip in clips}
    if len(sizes) > 1:
        raise ConfigError(
            where="cache.picture.resolutions", expected="one size for a fitted reader", got=f"{len(sizes)} sizes",
            hint="let a face mesh read (reader=mesh), or evaluate with a cache of one size",
        )  # fmt: skip
    ((height, width),) = sizes
    size = height * codec.stride[1], width * codec.stride[2]
    target_S = torch.cat([clip.series_VTS.flatten(0, 1) for clip in clips])
    return FittedFaceReader(
        extractor=None,
        net=_reader_network(*size, rng=Generator().manual_seed(settings.seed)),
        size=size,
        mean_S=target_S.nanmean(0).nan_to_num(),
        std_S=_standard_deviation(target_S),
    )


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
    """Four strided convolutions to 1/16 of the size, then a linear layer over all positions."""
    widths = (12, 24, 32, 48, 64)
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
