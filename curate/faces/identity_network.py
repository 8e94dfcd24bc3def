"""Identity embedding by dlib's face recognition network (extra `identity`): 128 numbers of an aligned face.

The weights come with the package face-recognition-models (CC0). The face is aligned with MediaPipe's mesh; dlib's
landmark predictors are never loaded, because one was trained on data for non-commercial use. Embeddings are scaled so
that the root mean square difference at which the split joins two tracks (SplitSettings.max_identity_distance) equals a
Euclidean distance of JOIN_DISTANCE between dlib's descriptors. Measurements: docs/log/curate.md#identity
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.mesh import FaceGeometry, RigidFit
from xsheet.curate.media.image import Rgb
from xsheet.schemas.errors import ConfigError, install_extra

IDENTITY_MODEL = "dlib-resnet-v1+mesh@1"
MAX_HEAD_ANGLE_DEG = 30.0
"""Heads turned further than this get no embedding."""
JOIN_DISTANCE = 0.43

WEIGHTS_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
_WEIGHTS = "models/dlib_face_recognition_resnet_model_v1.dat"
_SCALE = 0.8 * 128**0.5 / JOIN_DISTANCE
_CHIP_PX, _PADDING = 150, 0.25  # what the network was trained on
# Outer and inner corner of the left eye, of the right eye, and the base of the nose, as landmarks of the mesh and where
# dlib's get_face_chip puts them in a chip without padding, 0..1.
_LANDMARKS = (263, 362, 33, 133, 2)
_PLACES = np.array(
    [(0.8595675, 0.2134982), (0.6460605, 0.2289674), (0.1205751, 0.2137274), (0.3340851, 0.2290643),
     (0.4901123, 0.6277975)]
)  # fmt: skip


def is_network_installed() -> bool:
    """Whether the extra `identity` is installed."""
    return find_spec("dlib") is not None and find_spec("face_recognition_models") is not None


def descriptor_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Euclidean distance between dlib's descriptors of two embeddings, (128,) each."""
    return float(np.linalg.norm(a - b) / _SCALE)


class NetworkEmbedder:
    """IdentityEmbedder by dlib's network. `open` loads it."""

    model = IDENTITY_MODEL

    def __init__(self, *, interval_frames: int) -> None:
        self.interval_frames = interval_frames

    def open(self) -> None:
        """Load the network.

        Raises:
            ConfigError: the extra `identity` is not installed, or its weights are another file.
        """
        try:
            import dlib  # noqa: PLC0415 - a native library of an extra
        except ImportError as error:
            raise _not_installed_error(str(error)) from error
        # The package needs pkg_resources at import, and only the folder is needed.
        found = find_spec("face_recognition_models")
        if found is None or not found.submodule_search_locations:
            raise _not_installed_error("no package face-recognition-models")
        path = Path(found.submodule_search_locations[0]) / _WEIGHTS
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != WEIGHTS_SHA256:
            raise ConfigError(
                where=str(path), expected=f"sha256 {WEIGHTS_SHA256}", got=f"sha256 {digest}",
                hint="reinstall face-recognition-models==0.3.0",
            )  # fmt: skip
        self._network: Any = dlib.face_recognition_model_v1(str(path))

    def __call__(
        self, rgb: Rgb, face: FaceGeometry, rigid_fit: RigidFit, /, *, angle_deg: float
    ) -> NDArray[np.float32] | None:
        """(128,) embedding; None where the head is turned too far."""
        del rigid_fit  # the network aligns the picture itself
        if angle_deg > MAX_HEAD_ANGLE_DEG:
            return None
        chip = cv2.warpAffine(rgb, _to_chip(face), (_CHIP_PX, _CHIP_PX), flags=cv2.INTER_LINEAR)
        return np.asarray(
            _SCALE * np.array(self._network.compute_face_descriptor(np.ascontiguousarray(chip))), np.float32
        )


def _to_chip(face: FaceGeometry) -> NDArray[np.float64]:
    """(2, 3) similarity transform from the picture to the aligned face, by least squares."""
    here = face.points[list(_LANDMARKS), :2].astype(np.float64)
    there = _CHIP_PX * (_PADDING + _PLACES) / (2 * _PADDING + 1)
    from_centre, to_centre = here - here.mean(axis=0), there - there.mean(axis=0)
    along = (from_centre * to_centre).sum()
    across = (from_centre[:, 0] * to_centre[:, 1] - from_centre[:, 1] * to_centre[:, 0]).sum()
    turn = np.array([[along, -across], [across, along]]) / np.square(from_centre).sum()
    return np.column_stack([turn, there.mean(axis=0) - turn @ here.mean(axis=0)])


def _not_installed_error(got: str) -> ConfigError:
    return ConfigError(
        where="analysis.faces.identity=dlib", expected="the packages dlib-bin and face-recognition-models", got=got,
        hint=f"{install_extra('identity')}, or set analysis.faces.identity=proportions",
    )  # fmt: skip
