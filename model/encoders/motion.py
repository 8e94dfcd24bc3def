"""A codec of motion: the measured series of a clip as a latent of one cell, so that a transformer learns motion itself.

    codec = MotionCodec()
    latent = codec.encode(torch.from_numpy(motion_array(signals))[None])      # xsheet.train.data.motion

B batch, T frames, F = 1 + (T - 1) / 4 latent frames, S series, C = 4 S latent channels.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from xsheet.model.config import FRAMES_PER_LATENT, latent_frames
from xsheet.model.encoders.video import dct_matrix
from xsheet.schemas.ids import content_key

SPREADS: Mapping[str, float] = MappingProxyType({
    "yaw_deg": 5.0, "pitch_deg": 3.0, "roll_deg": 3.5, "mouth_open": 0.065, "mouth_wide": 0.035, "smile": 0.22,
    "brow_raise": 0.01, "eye_left_open": 0.07, "eye_right_open": 0.07, "gaze_x": 0.13, "gaze_y": 0.08, "head_x": 0.015,
    "head_y": 0.018, "head_height": 0.02, "shoulder_left_x": 0.012, "shoulder_left_y": 0.014, "shoulder_right_x": 0.012,
    "shoulder_right_y": 0.014, "wrist_left_x": 0.1, "wrist_left_y": 0.15, "wrist_right_x": 0.1, "wrist_right_y": 0.15,
    "hand_left_visible": 0.3, "hand_right_visible": 0.3,
})  # fmt: skip
"""Series of schemas.clip.Signals, and how far each moves from its first frame (root mean square, curated clips)."""
_BANDS = (1.85, 0.6, 0.3, 0.17)
"""Spread of the four bands of time, per spread of the series."""
_SIDES = {"left": "right", "right": "left"}


class MotionCodec:
    """Orthonormal cosine transform over four frames of each series, scaled to unit variance.

    A VideoCodec whose pictures are rows of numbers. Frame 0 is coded as four equal frames.
    """

    stride = (FRAMES_PER_LATENT, 1, 1)

    def __init__(self, spreads: Mapping[str, float] = SPREADS) -> None:
        self.series = tuple(spreads)
        self._spread_S = torch.tensor(list(spreads.values()))
        self._bands_Q = torch.tensor(_BANDS)
        self._dct_QT = dct_matrix(FRAMES_PER_LATENT)

    @property
    def channels(self) -> int:
        """Four bands of each series."""
        return FRAMES_PER_LATENT * len(self.series)

    def encode(self, motion_BTS: Tensor) -> Tensor:
        """Motion -> float32 latent (B, C, F, 1, 1); ValueError unless frames are 4k + 1."""
        batch, frames, series = motion_BTS.shape
        latent_frames(frames)
        padded = torch.cat([motion_BTS[:, :1]] * (FRAMES_PER_LATENT - 1) + [motion_BTS], dim=1).float()
        groups_BFTS = padded.reshape(batch, -1, FRAMES_PER_LATENT, series) / self._spread_S.to(motion_BTS.device)
        bands_BFQS = torch.einsum("qt,bfts->bfqs", self._dct_QT.to(groups_BFTS.device), groups_BFTS)
        scaled = bands_BFQS / self._bands_Q.to(bands_BFQS.device)[:, None]
        return scaled.flatten(2).transpose(1, 2)[..., None, None]

    def decode(self, latent_BCFHW: Tensor) -> Tensor:
        """Latent -> float32 motion (B, T, S)."""
        batch, _, frames, _, _ = latent_BCFHW.shape
        bands_BFQS = latent_BCFHW[..., 0, 0].transpose(1, 2).reshape(batch, frames, FRAMES_PER_LATENT, -1).float()
        bands_BFQS = bands_BFQS * self._bands_Q.to(bands_BFQS.device)[:, None]
        groups_BFTS = torch.einsum("qt,bfqs->bfts", self._dct_QT.to(bands_BFQS.device), bands_BFQS)
        motion = groups_BFTS * self._spread_S.to(groups_BFTS.device)
        return torch.cat([motion[:, :1].mean(2), motion[:, 1:].flatten(1, 2)], dim=1)

    def enlarge(self, motion_BTS: Tensor) -> Tensor:
        """Return the motion unchanged."""
        return motion_BTS

    def mirror(self, latent_BCFHW: Tensor) -> Tensor:
        """Swap left and right, and the sign of what points sideways: exact, since motion is relative to rest."""
        names = ["_".join(_SIDES.get(part, part) for part in name.split("_")) for name in self.series]
        order = torch.tensor([self.series.index(name) for name in names], device=latent_BCFHW.device)
        sign = torch.tensor(
            [-1.0 if name in ("yaw_deg", "roll_deg") or name.endswith("_x") else 1.0 for name in self.series],
            device=latent_BCFHW.device,
        )
        bands = latent_BCFHW.reshape(len(latent_BCFHW), FRAMES_PER_LATENT, -1, *latent_BCFHW.shape[2:])
        swapped: Tensor = bands[:, :, order] * sign[:, None, None, None]
        return swapped.flatten(1, 2)

    def fingerprint(self) -> str:
        """Over series, spreads and bands."""
        return content_key("xsheet.model.encoders.motion", 1, self.series, self._spread_S.tolist(), _BANDS)
