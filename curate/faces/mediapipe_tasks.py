"""Face back-end with MediaPipe Tasks and face-landmarker.task: the same mesh, plus 52 blendshapes.

The detector of the bundle is short-range, so the full-range detector of the wheel finds the regions, and the landmarker
gets an upright square centred on each face.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.mediapipe_bundled import FullRangeDetector
from xsheet.curate.faces.mesh import FaceGeometry, Roi
from xsheet.curate.media.image import Rgb
from xsheet.curate.weights import find_model, read_model

MODEL_FILE = "face-landmarker.task"
_CROP_PX = 256
# The landmarker runs its own detector first, which needs some context around the face.
_CROP_SCALE = 1.4


class TasksFaceBackend:
    """Detector of the wheel; mesh and blendshapes of the Tasks bundle."""

    def __init__(self, models: Path, *, min_score: float) -> None:
        self.detect = FullRangeDetector(min_score=min_score)
        self._models = models
        self._min_score = min_score

    @property
    def name(self) -> str:
        """Back-end and models, with versions."""
        from mediapipe import __version__  # noqa: PLC0415

        return f"mediapipe {__version__} full-range + {MODEL_FILE}@{(find_model(MODEL_FILE).sha256 or '')[:8]}"

    def open(self) -> None:
        """Load both models; ConfigError if the bundle has another hash."""
        import mediapipe  # noqa: PLC0415
        from mediapipe.tasks.python.core.base_options import BaseOptions  # noqa: PLC0415
        from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions  # noqa: PLC0415

        bundle = read_model(self._models, MODEL_FILE)
        self.detect.open()
        self._image: Any = mediapipe.Image
        self._srgb: Any = mediapipe.ImageFormat.SRGB
        self._landmarker: Any = FaceLandmarker.create_from_options(
            FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=bundle),
                min_face_detection_confidence=self._min_score,
                output_face_blendshapes=True,
                num_faces=2,  # a neighbouring face may be in the square too
            )
        )

    def landmarks(self, rgb: Rgb, roi: Roi) -> FaceGeometry | None:
        """Landmarks of the face nearest to the centre of a region, or None."""
        to_crop, scale = _crop_transform(roi)
        crop = cv2.warpAffine(rgb, to_crop, (_CROP_PX, _CROP_PX), flags=cv2.INTER_LINEAR)
        result = self._landmarker.detect(self._image(image_format=self._srgb, data=np.ascontiguousarray(crop)))
        faces = [np.array([(p.x, p.y, p.z) for p in marks], np.float32) for marks in result.face_landmarks]
        if not faces:
            return None
        nearest = min(range(len(faces)), key=lambda k: float(np.abs(faces[k][:, :2].mean(0) - 0.5).sum()))
        in_crop = faces[nearest] * _CROP_PX
        points = np.empty_like(in_crop)
        points[:, :2] = in_crop[:, :2] @ (to_crop[:, :2] / scale**2) - to_crop[:, 2] @ to_crop[:, :2] / scale**2
        points[:, 2] = in_crop[:, 2] / scale
        shapes = np.array([category.score for category in result.face_blendshapes[nearest]], np.float32)
        return FaceGeometry(points=points, blendshapes=shapes)

    def close(self) -> None:
        """Release the models."""
        self.detect.close()
        self._landmarker.close()


def _crop_transform(roi: Roi) -> tuple[NDArray[np.float64], float]:
    """(2, 3) similarity transform from the frame to the upright square, and its scale."""
    scale = _CROP_PX / (_CROP_SCALE * roi.side)
    cos, sin = scale * np.cos(roi.angle_rad), scale * np.sin(roi.angle_rad)
    rotation = np.array(((cos, sin), (-sin, cos)))
    shift = np.full(2, _CROP_PX / 2) - rotation @ (roi.x, roi.y)
    return np.column_stack((rotation, shift)), scale
