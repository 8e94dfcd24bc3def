"""The face of a portrait: position, masks, identity."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xsheet.curate.faces.identity import IDENTITY_MODEL, compute_identity_embedding
from xsheet.curate.faces.mediapipe_bundled import BundledFaceBackend
from xsheet.curate.faces.mesh import fit_rigid
from xsheet.curate.media.image import Rgb
from xsheet.train.data.conditioning import identity_vector
from xsheet.train.data.framing import BucketFit
from xsheet.train.data.masks import FaceSeries, face_masks
from xsheet.train.data.settings import ExtraConditioningSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortraitFace:
    """The most confident face of a picture."""

    position: tuple[float, float, float]  # x, y and height, in picture heights
    identity_embedding: tuple[float, ...]  # by IDENTITY_MODEL; empty where the picture cuts it off


def find_face(portrait: Rgb) -> PortraitFace | None:
    """Find the most confident face; None, with a warning, if there is none."""
    faces, height = BundledFaceBackend(min_score=0.5), portrait.shape[0]
    rgb = np.ascontiguousarray(portrait)
    with _silenced_stderr():
        faces.open()
        try:
            found = [face for roi in faces.detect(rgb) if (face := faces.landmarks(rgb, roi)) is not None]
        finally:
            faces.close()
    if not found:
        log.warning("no face was found in the portrait: the whole picture is shown")
        return None
    x0, y0, x1, y1 = found[0].box
    shape = compute_identity_embedding(rgb, found[0], fit_rigid(found[0].points))
    return PortraitFace(
        position=((x0 + x1) / 2 / height, (y0 + y1) / 2 / height, (y1 - y0) / height),
        identity_embedding=() if np.isnan(shape).any() else tuple(shape.tolist()),
    )


def static_masks(face: PortraitFace | None, bucket_fit: BucketFit, *, cell: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Share of latent cells that a static face and mouth cover, (F, H, W) each; all cells without a face.

    Args:
        face: of the portrait.
        bucket_fit: of the portrait.
        cell: height and width of a latent cell in pixels.
    """
    frames, height, width = bucket_fit.bucket
    if face is None:
        whole = torch.ones(1 + (frames - 1) // 4, height // cell[0], width // cell[1])
        return whole, whole
    x_T, y_T, height_T, roll_T = (np.full(frames, value, np.float32) for value in (*face.position, 0))
    there = FaceSeries(x_T=x_T, y_T=y_T, height_T=height_T, roll_deg_T=roll_T)
    whole, mouth = (torch.from_numpy(share) for share in face_masks(there, bucket_fit, cell=cell))
    return whole, mouth


def portrait_identity(face: PortraitFace | None, settings: ExtraConditioningSettings) -> Tensor:
    """Identity vector of the face, (X,), as in training; zeros if it cannot be measured."""
    shape = () if face is None else face.identity_embedding
    return torch.tensor(
        identity_vector(shape, IDENTITY_MODEL, wanted_model=settings.identity_model, dim=settings.identity_dim),
        dtype=torch.float32,
    )


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Silence mediapipe's C++ output, which bypasses Python and writes to the descriptor."""
    stderr = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
