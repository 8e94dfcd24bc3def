"""Video codecs between pictures and latents: the protocol, an analytic codec, and the VAE of Wan.

Wan's VAE has 16 channels at stride 8 (2.1) or 48 at stride 16 (2.2, TI2V-5B).

B batch, T video frames, F = 1 + (T - 1) / 4 latent frames, C latent channels, H x W pixels or latent cells, 3 colours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from xsheet.model.config import FRAMES_PER_LATENT, latent_frames
from xsheet.model.encoders.pretrained import check_model_folder, freeze, import_diffusers, weights_sha256
from xsheet.model.encoders.upscaler import Upscaler
from xsheet.schemas.ids import content_key


class VideoCodec(Protocol):
    """Encode pictures to a latent and back. Frame 0 becomes latent 0 alone, then four frames to one.

    Channels have unit variance: of the values in Wan's codec, of the change from the first picture in the analytic one.
    Pictures are uint8 RGB on both sides, so that value ranges cannot be confused.
    """

    @property
    def channels(self) -> int:
        """Latent channels: `in_channels` of the transformer."""
        ...

    @property
    def stride(self) -> tuple[int, int, int]:
        """Frames and pixels (height, width) per latent cell: `latent_stride` of the transformer."""
        ...

    def encode(self, rgb_BTHW3: Tensor) -> Tensor:
        """uint8 pictures -> float32 latent (B, C, F, h, w), normalised; the same every time.

        Raises:
            ValueError: frames are not 4k + 1, or the height or width is no multiple of the stride.
        """
        ...

    def decode(self, latent_BCFHW: Tensor) -> Tensor:
        """Normalised latent -> uint8 pictures (B, T, H, W, 3)."""
        ...

    def enlarge(self, rgb_BTHW3: Tensor) -> Tensor:
        """Decoded pictures as people see them: enlarged where the codec is coarse, else unchanged; uint8."""
        ...

    def mirror(self, latent_BCFHW: Tensor) -> Tensor | None:
        """Return the latent of the mirrored pictures; None if that needs encoding them."""
        ...

    def fingerprint(self) -> str:
        """Hex SHA-256 over weights and preprocessing; latents of different fingerprints are incompatible."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LatentScale:
    """Mean and standard deviation of each latent channel; the only place that normalises latents."""

    mean_C: Tensor
    std_C: Tensor

    def normalise(self, latent_BCFHW: Tensor) -> Tensor:
        """Raw codec latent -> mean 0, variance 1, float32."""
        mean, std = self._broadcast_to(latent_BCFHW)
        return (latent_BCFHW.float() - mean) / std

    def denormalise(self, latent_BCFHW: Tensor) -> Tensor:
        """Invert `normalise`."""
        mean, std = self._broadcast_to(latent_BCFHW)
        return latent_BCFHW.float() * std + mean

    def _broadcast_to(self, latent_BCFHW: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (t.to(latent_BCFHW.device).reshape(-1, 1, 1, 1) for t in (self.mean_C, self.std_C))
        return mean, std


def to_float(rgb: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1; TypeError for anything but uint8."""
    if rgb.dtype != torch.uint8:
        raise TypeError(f"expected uint8 pictures, got {rgb.dtype}")
    return rgb.float() / 127.5 - 1


def to_uint8(picture: Tensor) -> Tensor:
    """Float -1..1 -> uint8, rounded and clipped."""
    return ((picture.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def check_frame_shape(rgb_BTHW3: Tensor, stride: tuple[int, int, int]) -> None:
    """ValueError unless the frame count and size fit a codec of this stride."""
    _, frames, height, width, _ = rgb_BTHW3.shape
    latent_frames(frames)
    if height % stride[1] or width % stride[2]:
        raise ValueError(f"expected multiples of {stride[1]} x {stride[2]} pixels, got {height} x {width}")


class Band(NamedTuple):
    """One DCT coefficient of a cell: colour axis and frequencies, mean and spread over puppet clips."""

    colour: int  # 0 luma, 1 red against blue, 2 green against magenta
    time: int  # 0..3, half periods in four frames
    row: int  # 0..7, half periods in eight pixels
    column: int
    mean: float
    std: float


# 24 bands, so that a patch of 2 x 2 cells holds 96 numbers. Chosen by `benchmarks/codec.py`: by variance alone hardly a
# band of time would be kept, and the mouth would stand still within four frames (docs/log/train.md#codec). Scaled over
# clips of `benchmarks/puppet_set.py` as the preset `tiny` shows them, by how far they move from their first picture.
BANDS = (
    Band(0, 0, 0, 0, 2.4, 2.304), Band(0, 0, 0, 1, 0.0, 1.76),
    Band(0, 0, 1, 0, 0.0, 1.291), Band(0, 0, 0, 2, 0.0, 1.165),
    Band(0, 0, 1, 1, 0.0, 1.114), Band(0, 0, 2, 0, 0.0, 0.756),
    Band(0, 0, 0, 3, 0.0, 0.72), Band(0, 0, 1, 2, 0.0, 0.765),
    Band(0, 0, 2, 1, 0.0, 0.644), Band(0, 0, 3, 0, 0.0, 0.567),
    Band(1, 0, 0, 0, 1.653, 0.51), Band(1, 0, 0, 1, 0.0, 0.352),
    Band(1, 0, 1, 0, 0.0, 0.265), Band(2, 0, 0, 0, -0.275, 0.163),
    Band(0, 1, 0, 0, 0.0, 0.647), Band(0, 2, 0, 0, 0.0, 0.366),
    Band(0, 3, 0, 0, 0.0, 0.227), Band(0, 1, 1, 0, 0.0, 0.472),
    Band(0, 2, 1, 0, 0.0, 0.306), Band(0, 3, 1, 0, 0.0, 0.199),
    Band(0, 1, 2, 0, 0.0, 0.257), Band(0, 2, 2, 0, 0.0, 0.193),
    Band(0, 3, 2, 0, 0.0, 0.162), Band(0, 1, 0, 1, 0.0, 0.529),
)  # fmt: skip

_CELL = 8  # pixels
_COLOUR_AXES = torch.tensor([[2**0.5] * 3, [3**0.5, 0, -(3**0.5)], [-1.0, 2, -1]]) / 6**0.5


class DctCodec:
    """Discrete cosine transform over cells of 4 frames x 8 x 8 pixels that keeps some bands.

    The bands are orthonormal: kept bands are reconstructed exactly. Frame 0 is coded as four equal frames, so that its
    bands have the same meaning as later ones; its temporal bands are zero.
    """

    stride = (FRAMES_PER_LATENT, _CELL, _CELL)

    def __init__(self, bands: Sequence[Band] = BANDS) -> None:
        self.bands = tuple(bands)
        self._upscaler: Upscaler | None = None  # loaded when first needed: training never is
        self._scale = LatentScale(torch.tensor([b.mean for b in bands]), torch.tensor([b.std for b in bands]))
        time, space = dct_matrix(FRAMES_PER_LATENT), dct_matrix(_CELL)
        waves = [torch.einsum("t,h,w,c->thwc", time[b.time], space[b.row], space[b.column], _COLOUR_AXES[b.colour])
                 for b in bands]  # fmt: skip
        self._basis_CX = torch.stack(waves).flatten(1)

    @property
    def channels(self) -> int:
        """Number of kept bands."""
        return len(self.bands)

    def encode(self, rgb_BTHW3: Tensor) -> Tensor:
        """As VideoCodec."""
        check_frame_shape(rgb_BTHW3, self.stride)
        return self.analyse(to_float(rgb_BTHW3))

    def decode(self, latent_BCFHW: Tensor) -> Tensor:
        """As VideoCodec."""
        return to_uint8(self.synthesise(latent_BCFHW))

    def analyse(self, picture_BTHW3: Tensor) -> Tensor:
        """Float pictures in -1..1 -> normalised bands."""
        padded = torch.cat([picture_BTHW3[:, :1]] * (FRAMES_PER_LATENT - 1) + [picture_BTHW3], dim=1)
        batch, _, height, width, _ = picture_BTHW3.shape
        cells = padded.reshape(batch, -1, FRAMES_PER_LATENT, height // _CELL, _CELL, width // _CELL, _CELL, 3)
        cells_BFHWX = cells.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)
        bands_BFHWC = cells_BFHWX @ self._basis_CX.to(cells_BFHWX.device).T
        return self._scale.normalise(bands_BFHWC.movedim(-1, 1))

    def synthesise(self, latent_BCFHW: Tensor) -> Tensor:
        """Normalised bands -> float pictures. Latent 0 gives one frame: the mean of its four."""
        bands_BFHWC = self._scale.denormalise(latent_BCFHW).movedim(1, -1)
        cells_BFHWX = bands_BFHWC @ self._basis_CX.to(bands_BFHWC.device)
        cells = cells_BFHWX.reshape(*cells_BFHWX.shape[:4], FRAMES_PER_LATENT, _CELL, _CELL, 3)
        frames = cells.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(5, 6).flatten(3, 4)  # (B, F, 4, H, W, 3)
        return torch.cat([frames[:, :1].mean(2), frames[:, 1:].flatten(1, 2)], dim=1)

    def enlarge(self, rgb_BTHW3: Tensor) -> Tensor:
        """Twice the size, without block edges."""
        if self._upscaler is None:
            self._upscaler = Upscaler.load()
        return to_uint8(self._upscaler.to(rgb_BTHW3.device).enlarge(to_float(rgb_BTHW3)))

    def mirror(self, latent_BCFHW: Tensor) -> Tensor:
        """Reverse the columns of cells and flip the sign of horizontally odd bands."""
        sign = torch.tensor([(-1.0) ** b.column for b in self.bands], device=latent_BCFHW.device)
        return latent_BCFHW.flip(-1) * sign.reshape(-1, 1, 1, 1)

    def fingerprint(self) -> str:
        """As VideoCodec, over the band table."""
        return content_key("xsheet.model.encoders.video", 1, [list(band) for band in self.bands])


class WanCodec:
    """VideoCodec from an AutoencoderKLWan, on the device and in the dtype of the VAE.

    diffusers' class returns unnormalised latents; here LatentScale normalises them, in one place only. Omitting or
    repeating the normalisation is a frequent bug.
    """

    def __init__(self, vae: Any) -> None:
        self.vae = freeze(vae)
        self._scale = LatentScale(torch.tensor(vae.config["latents_mean"]), torch.tensor(vae.config["latents_std"]))

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype = torch.float32) -> Self:
        """Load a local `vae` folder of diffusers; ConfigError if it does not exist."""
        here = check_model_folder(folder, contents="config.json and *.safetensors of an AutoencoderKLWan")
        autoencoder = import_diffusers().AutoencoderKLWan
        return cls(autoencoder.from_pretrained(here, torch_dtype=dtype, local_files_only=True, use_safetensors=True))

    @property
    def channels(self) -> int:
        """As VideoCodec."""
        return int(self.vae.config["z_dim"])

    @property
    def stride(self) -> tuple[int, int, int]:
        """As VideoCodec."""
        side = int(self.vae.config["scale_factor_spatial"])
        return FRAMES_PER_LATENT, side, side

    @torch.no_grad()
    def encode(self, rgb_BTHW3: Tensor) -> Tensor:
        """As VideoCodec: the mode of the posterior, not a sample."""
        check_frame_shape(rgb_BTHW3, self.stride)
        picture_B3THW = to_float(rgb_BTHW3).movedim(-1, 1).to(self.vae.device, self.vae.dtype)
        return self._scale.normalise(self.vae.encode(picture_B3THW, return_dict=False)[0].mode())

    @torch.no_grad()
    def decode(self, latent_BCFHW: Tensor) -> Tensor:
        """As VideoCodec."""
        latent = self._scale.denormalise(latent_BCFHW).to(self.vae.device, self.vae.dtype)
        picture_B3THW: Tensor = self.vae.decode(latent, return_dict=False)[0]
        return to_uint8(picture_B3THW.movedim(1, -1))

    def enlarge(self, rgb_BTHW3: Tensor) -> Tensor:
        """Return the pictures unchanged."""
        return rgb_BTHW3

    def mirror(self, latent_BCFHW: Tensor) -> None:
        """Return None: a learned codec is not symmetric."""

    def fingerprint(self) -> str:
        """As VideoCodec."""
        scale = [list(self.vae.config["latents_mean"]), list(self.vae.config["latents_std"])]
        return content_key("xsheet.model.encoders.video.WanCodec", 1, weights_sha256(self.vae), scale)


def dct_matrix(size: int) -> Tensor:
    """Return the orthonormal DCT matrix, (frequency, position)."""
    place, frequency = torch.arange(size) + 0.5, torch.arange(size)[:, None]
    waves: Tensor = torch.cos(math.pi / size * frequency * place) * (2 / size) ** 0.5
    waves[0] /= 2**0.5
    return waves
