"""Faces of a video as it is decoded: found, followed, reduced to numbers, linked into tracks.

    with FaceTracker(settings, models=None) as watcher:
        for frame in media.frames(size=...):
            watcher.add(frame)
        tracks = watcher.tracks(source_id)

Detection is the dear part, so it runs where a face may have appeared: every few frames, when one was lost, and when the
whole picture changed. In between the mesh follows each face from where it was. One watcher serves one video.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.faces.identity import IDENTITY_MODEL, MAX_HEAD_ANGLE_DEG, compute_identity_embedding
from xsheet.curate.faces.linker import Box, FaceObservation, TrackLinker, TrackLinkSettings
from xsheet.curate.faces.mediapipe_bundled import BundledFaceBackend
from xsheet.curate.faces.mediapipe_tasks import MODEL_FILE, TasksFaceBackend
from xsheet.curate.faces.mesh import FACE_SIGNALS, FaceGeometry, Roi, face_signals, fit_rigid
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import FaceTrack

SHARPNESS_PX = 128
_THUMBNAIL_PX = (32, 18)
_APPEARANCE_PX = (12, 12)


class FaceSettings(StrictModel):
    """How faces are looked for."""

    min_detection_confidence: float = Field(
        default=0.5, gt=0, lt=1, description="of the detector; MediaPipe's own default"
    )
    detection_interval_frames: int = Field(
        default=5, ge=1, description="while faces are followed; a new one waits 0.2 s"
    )
    search_interval_frames: int = Field(default=2, ge=1, description="while there is none")
    max_faces: int = Field(default=6, ge=1, description="followed at once; each costs one mesh a frame")
    scene_change_threshold: float = Field(
        default=16.0, gt=0, le=255, description="mean change of a 32x18 thumbnail; docs/log/curate.md#faces"
    )
    link: TrackLinkSettings = TrackLinkSettings()


class FaceBackend(Protocol):
    """Models that find faces. An instance belongs to one video and one thread."""

    @property
    def name(self) -> str:
        """Back-end and models, with versions."""
        ...

    def open(self) -> None:
        """Load the models."""
        ...

    def detect(self, rgb: Rgb, /) -> list[Roi]:
        """Where faces may be, the surest first."""
        ...

    def landmarks(self, rgb: Rgb, roi: Roi, /) -> FaceGeometry | None:
        """The face in a region, or None when there is none."""
        ...

    def close(self) -> None:
        """Release the models."""
        ...


def create_backend(settings: FaceSettings, *, models: Path | None) -> FaceBackend:
    """The Tasks models where their bundle is in the folder, else those of the wheel."""
    if models is not None and (models / MODEL_FILE).is_file():
        return TasksFaceBackend(models, min_score=settings.min_detection_confidence)
    return BundledFaceBackend(min_score=settings.min_detection_confidence)


class FaceTracker:
    """Follows all faces of one video. `faces` are those of the latest frame."""

    def __init__(self, settings: FaceSettings, models: Path | None = None) -> None:
        self.faces: tuple[FaceGeometry, ...] = ()
        self._settings = settings
        self._backend = create_backend(settings, models=models)
        self._linker = TrackLinker(settings.link)
        self._thumbnail: NDArray[np.uint8] | None = None
        self._next_detection = 0

    def open(self) -> None:
        """Load the models."""
        self._backend.open()

    def add(self, frame: Frame) -> None:
        """Look at the next frame."""
        jump = self._scene_changed(frame.rgb)
        known = [] if jump else [face.roi for face in self.faces]
        faces = self._fit_meshes(frame.rgb, known, ())
        if jump or len(faces) < len(known) or frame.index >= self._next_detection:
            faces = self._fit_meshes(frame.rgb, self._backend.detect(frame.rgb), faces)
            every = self._settings.detection_interval_frames if faces else self._settings.search_interval_frames
            self._next_detection = frame.index + every
        self.faces = tuple(faces)
        self._linker.add(frame.index, [_observe(frame.rgb, face) for face in faces], is_cut=jump)

    def tracks(self, source_id: str) -> list[FaceTrack]:
        """All faces of the video so far, by first frame."""
        return self._linker.tracks(source_id, detector=self._backend.name, identity_model=IDENTITY_MODEL)

    def close(self) -> None:
        """Release the models."""
        self._backend.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _scene_changed(self, rgb: Rgb) -> bool:
        # Every eighth pixel is enough for a thumbnail, and a tenth of the cost of averaging all of them.
        thumb = cv2.resize(np.ascontiguousarray(rgb[::8, ::8]), _THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
        before, self._thumbnail = self._thumbnail, np.asarray(thumb, np.uint8)
        return (
            before is not None
            and float(cv2.absdiff(before, self._thumbnail).mean()) > self._settings.scene_change_threshold
        )

    def _fit_meshes(self, rgb: Rgb, regions: list[Roi], known: Sequence[FaceGeometry]) -> list[FaceGeometry]:
        """The faces known, and those in the regions that are not the same again."""
        faces = list(known)
        for roi in regions:
            if len(faces) == self._settings.max_faces:
                break
            if any(_contains(face.box, roi.x, roi.y) for face in faces):
                continue
            face = self._backend.landmarks(rgb, roi)
            if face is not None and not any(_contains(other.box, face.roi.x, face.roi.y) for other in faces):
                faces.append(face)
        return faces


def _contains(box: Box, x: float, y: float) -> bool:
    return box[0] < x < box[2] and box[1] < y < box[3]


def _observe(rgb: Rgb, face: FaceGeometry) -> FaceObservation:
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = face.box
    fitted = fit_rigid(face.points)
    numbers = face_signals(fitted)
    inside = _clip_box((x0, y0, x1, y1), width, height)
    seen = (inside[2] - inside[0]) * (inside[3] - inside[1]) / max((x1 - x0) * (y1 - y0), 1e-6)
    turned = max(abs(numbers["yaw_deg"]), abs(numbers["pitch_deg"])) > MAX_HEAD_ANGLE_DEG
    return FaceObservation(
        box=(x0 / height, y0 / height, x1 / height, y1 / height),
        values=np.array((*(numbers[n] for n in FACE_SIGNALS), _sharpness(rgb, inside), min(seen, 1.0)), np.float32),
        appearance=_appearance(rgb, face.roi),
        identity_embedding=None if turned else compute_identity_embedding(rgb, face, fitted),
        blendshapes=face.blendshapes,
    )


def _clip_box(box: Box, width: int, height: int) -> Box:
    x0, y0, x1, y1 = box
    return min(max(x0, 0), width), min(max(y0, 0), height), max(min(x1, width), 0), max(min(y1, height), 0)


def _crop(rgb: Rgb, box: Box) -> Rgb | None:
    x0, y0, x1, y1 = (round(v) for v in box)
    return rgb[y0:y1, x0:x1] if x1 - x0 > 1 and y1 - y0 > 1 else None


def _sharpness(rgb: Rgb, inside: Box) -> float:
    """Variance of the Laplacian of the face brought to one height; NaN where it is outside the picture."""
    crop = _crop(rgb, inside)
    if crop is None:
        return float("nan")
    size = max(1, round(crop.shape[1] * SHARPNESS_PX / crop.shape[0])), SHARPNESS_PX
    luma = cv2.cvtColor(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(luma, cv2.CV_32F).var())


def _appearance(rgb: Rgb, roi: Roi) -> NDArray[np.float32]:
    """A 12x12 colour picture of the head and what is around it, zero mean and unit length."""
    half = roi.side / 2
    square = (roi.x - half, roi.y - half, roi.x + half, roi.y + half)
    crop = _crop(rgb, _clip_box(square, rgb.shape[1], rgb.shape[0]))
    if crop is None:
        return np.zeros(_APPEARANCE_PX[0] * _APPEARANCE_PX[1] * 3, np.float32)
    small = np.asarray(cv2.resize(crop, _APPEARANCE_PX, interpolation=cv2.INTER_AREA), np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)
