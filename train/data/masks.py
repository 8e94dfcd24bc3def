"""Face and mouth masks on the latent grid.

T frames shown, F latent frames, H x W latent cells.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from xsheet.model.config import FRAMES_PER_LATENT
from xsheet.train.data.framing import BucketFit

Floats = NDArray[np.float32]

# In face heights, of MediaPipe's mesh box: medians over three puppets and four real clips, the mouth's half sizes wide
# enough for 95 % of their frames, turned heads included (docs/log/train.md#training-data).
FACE_WIDTH = 0.8
MOUTH_BELOW = 0.26
MOUTH_HALF = (0.27, 0.15)
_POINTS = 4  # per side of a cell, in which coverage is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSeries:
    """The face of a clip per frame at 25 fps, in picture heights; NaN where no face was found."""

    x_T: Floats
    y_T: Floats
    height_T: Floats
    roll_deg_T: Floats

    @property
    def median_box(self) -> tuple[float, float, float] | None:
        """Median x, y and height; None without any face."""
        if np.isnan(self.x_T).all():
            return None
        x, y, height = (float(np.nanmedian(series)) for series in (self.x_T, self.y_T, self.height_T))
        return x, y, height

    def at_frames(self, frames: NDArray[np.int64]) -> "FaceSeries":
        """The face at some frames."""
        return FaceSeries(**{field.name: getattr(self, field.name)[frames] for field in fields(self)})


def face_masks(face: FaceSeries, bucket_fit: BucketFit, *, cell: tuple[int, int]) -> tuple[Floats, Floats]:
    """Share of each latent cell that face and mouth cover, (F, H, W) each.

    Args:
        face: in the frames shown, (T,).
        bucket_fit: of the clip.
        cell: height and width of a latent cell in pixels.
    """
    scale = bucket_fit.scaled_size[1]
    x, y, size = face.x_T * scale - bucket_fit.left, face.y_T * scale - bucket_fit.top, face.height_T * scale
    roll = np.deg2rad(face.roll_deg_T)
    # Roll is positive to the subject's left shoulder, which is on the right of the picture: the chin goes left.
    down = np.stack((-np.sin(roll), np.cos(roll)))
    mouth_x, mouth_y = x + MOUTH_BELOW * size * down[0], y + MOUTH_BELOW * size * down[1]
    whole = _ellipse_coverage(x, y, down, half=(0.5 * FACE_WIDTH * size, 0.5 * size), bucket_fit=bucket_fit, cell=cell)
    lips = _ellipse_coverage(
        mouth_x, mouth_y, down, half=tuple(h * size for h in MOUTH_HALF), bucket_fit=bucket_fit, cell=cell
    )
    return _mean_per_latent(whole), _mean_per_latent(lips)


def _ellipse_coverage(
    x_T: Floats, y_T: Floats, down: Floats, *, half: tuple[Floats, ...], bucket_fit: BucketFit, cell: tuple[int, int]
) -> Floats:
    """Coverage of every cell in every frame, (T, H, W); NaN in frames without a face."""
    _, height, width = bucket_fit.bucket
    rows, columns = height // cell[0] * _POINTS, width // cell[1] * _POINTS
    dy = ((np.arange(rows) + 0.5) * height / rows)[None, :, None] - y_T[:, None, None]
    dx = ((np.arange(columns) + 0.5) * width / columns)[None, None, :] - x_T[:, None, None]
    sine, cosine = (part[:, None, None] for part in down)
    across, along = (
        (dx * cosine - dy * sine) / half[0][:, None, None],
        (dx * sine + dy * cosine) / half[1][:, None, None],
    )
    inside = np.where(np.isnan(across), np.nan, across**2 + along**2 <= 1)
    share: Floats = inside.reshape(len(x_T), rows // _POINTS, _POINTS, columns // _POINTS, _POINTS).mean((2, 4))
    return share


def _mean_per_latent(share_THW: Floats) -> Floats:
    """Mean over the frames of each latent that have a face, (F, H, W); 0 where none has."""
    groups = [share_THW[:1], *share_THW[1:].reshape(-1, FRAMES_PER_LATENT, *share_THW.shape[1:])]
    found = [group[~np.isnan(group).any((1, 2))] for group in groups]
    return np.stack([g.mean(0) if len(g) else np.zeros(g.shape[1:]) for g in found]).astype(np.float32)
