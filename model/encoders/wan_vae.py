"""Video to latent and back through the VAE of Wan: 16 channels at stride 8 (2.1) or 48 at stride 16 (2.2, TI2V-5B)."""

from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from xsheet.model.config import FRAMES_PER_LATENT
from xsheet.model.encoders.pretrained import check_model_folder, freeze, weights_sha256
from xsheet.model.encoders.video import LatentScale, check_frame_shape, to_float, to_uint8
from xsheet.model.wan import AutoencoderKLWan
from xsheet.schemas.ids import content_key


class WanCodec:
    """A VideoCodec from an AutoencoderKLWan. It works on the device and in the type that the VAE has.

    diffusers' class gives latents as they are and leaves the normalisation to whoever calls it. Here that is Scale,
    and nothing else: forgetting it or doing it twice is the most frequent bug of this field.
    """

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.vae = freeze(vae)
        self._scale = LatentScale(torch.tensor(vae.config["latents_mean"]), torch.tensor(vae.config["latents_std"]))

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype = torch.float32) -> Self:
        """From a `vae` folder of diffusers on the disk; ConfigError if there is none."""
        here = check_model_folder(folder, contents="config.json and *.safetensors of an AutoencoderKLWan")
        return cls(
            AutoencoderKLWan.from_pretrained(here, torch_dtype=dtype, local_files_only=True, use_safetensors=True)
        )

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
        """As VideoCodec: the most likely latent, not a drawn one."""
        check_frame_shape(rgb_BTHW3, self.stride)
        picture_B3THW = to_float(rgb_BTHW3).movedim(-1, 1).to(self.vae.device, self.vae.dtype)
        return self._scale.normalise(self.vae.encode(picture_B3THW, return_dict=False)[0].mode())

    @torch.no_grad()
    def decode(self, latent_BCFHW: Tensor) -> Tensor:
        """As VideoCodec."""
        latent = self._scale.denormalise(latent_BCFHW).to(self.vae.device, self.vae.dtype)
        picture_B3THW: Tensor = self.vae.decode(latent, return_dict=False)[0]
        return to_uint8(picture_B3THW.movedim(1, -1))

    def mirror(self, latent_BCFHW: Tensor) -> None:
        """None: a learned codec is not symmetric."""

    def fingerprint(self) -> str:
        """As VideoCodec."""
        scale = [list(self.vae.config["latents_mean"]), list(self.vae.config["latents_std"])]
        return content_key("xsheet.model.encoders.wan_vae", 1, weights_sha256(self.vae), scale)
