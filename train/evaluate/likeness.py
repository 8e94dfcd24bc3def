"""Likeness: whether the face of a video stays the person of its first picture, by a face recognition network.

The network is that of the extra `identity`; pictures must be large enough for a face mesh, which aligns the face.
"""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.identity_network import NetworkEmbedder, descriptor_distance, is_network_installed
from xsheet.curate.faces.mesh import fit_rigid
from xsheet.curate.faces.tracker import FaceSettings, create_backend
from xsheet.curate.media.image import Rgb
from xsheet.schemas.errors import ConfigError, install_extra
from xsheet.train.evaluate.readers import MIN_MESH_HEIGHT_PX, Pictures

log = logging.getLogger(__name__)

_COMPARED = 8
"""Pictures of a video that are compared with the first: the network takes 25 ms of a core for each."""


class LikenessMeter:
    """Distance between the faces of a video and the face of its first picture, the portrait."""

    def __init__(self, *, models: Path | None = None) -> None:
        self._backend = create_backend(FaceSettings(), models=models)
        self._embedder = NetworkEmbedder(interval_frames=1)

    def open(self) -> None:
        """Load the models; ConfigError if the extra `identity` is not installed."""
        self._backend.open()
        self._embedder.open()

    def __call__(self, pictures_THW3: Pictures, /) -> float | None:
        """Median Euclidean distance of descriptors, of eight pictures to the first.

        Below `identity_network.JOIN_DISTANCE` two faces count as one person. None where the first picture, or half of
        the others, show no face that looks ahead.
        """
        later = np.unique(np.linspace(1, len(pictures_THW3) - 1, _COMPARED).round().astype(int))
        portrait = self._embedding(pictures_THW3[0])
        others = [self._embedding(pictures_THW3[k]) for k in later]
        distances = [descriptor_distance(portrait, one) for one in others if portrait is not None and one is not None]
        return float(np.median(distances)) if 2 * len(distances) > len(others) else None

    def _embedding(self, rgb: Rgb) -> NDArray[np.float32] | None:
        """Of the clearest face."""
        regions = self._backend.detect(rgb)
        face = self._backend.landmarks(rgb, regions[0]) if regions else None
        if face is None:
            return None
        fitted = fit_rigid(face.points)
        return self._embedder(rgb, face, fitted, angle_deg=fitted.turned_deg)


def open_likeness(required: bool | None, *, side_px: int) -> LikenessMeter | None:
    """An opened meter, or None where likeness is not measured, whose reason is logged.

    Args:
        required: False measures nothing; None measures where it can.
        side_px: smallest side of the pictures; 0 where there are none.

    Raises:
        ConfigError: likeness is required and cannot be measured.
    """
    if required is False:
        return None
    is_installed = is_network_installed()
    if side_px >= MIN_MESH_HEIGHT_PX and is_installed:
        meter = LikenessMeter()
        meter.open()
        return meter
    got = f"pictures of {side_px} px, and the extra is {'' if is_installed else 'not '}installed"
    if required:
        raise ConfigError(
            where="likeness", expected=f"pictures of at least {MIN_MESH_HEIGHT_PX} px and the extra `identity`",
            got=got, hint=f"{install_extra('identity')}, train with larger pictures, or leave likeness out",
        )  # fmt: skip
    log.info("likeness is not measured: %s", got)
    return None
