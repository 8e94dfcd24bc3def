"""Detect, follow and measure all faces of a video during its decode.

    with FaceTracker(settings, models=None) as tracker:
        for frame in media.frames(size=...):
            tracker.add(frame)
        tracks = tracker.tracks(source_id)

Detection is expensive, so it runs every few frames, when a face is lost, and when the whole picture changes. In between
the mesh follows each face from its last region. One tracker serves one video.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.faces.identity import IdentityEmbedder, ProportionsEmbedder
from xsheet.curate.faces.identity_network import NetworkEmbedder
from xsheet.curate.faces.linker import Box, FaceObservation, TrackLinker, TrackLinkSettings
from xsheet.curate.faces.mediapipe_bundled import BundledFaceBackend
from xsheet.curate.faces.mediapipe_tasks import MODEL_FILE, TasksFaceBackend
from xsheet.curate.faces.mesh import FACE_SIGNALS, FaceGeometry, Roi, face_signals, fit_rigid
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.shots.scores import shrink
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.source import FaceTrack

SHARPNESS_PX = 128
_THUMBNAIL_PX = (32, 18)
_APPEARANCE_PX = (12, 12)
_HALVED_PX = 96  # heads from this size on are halved first, at a third of the cost
_TURNED_INTERVAL_FRAMES = 100  # frames between tries with the turned picture
# The detector finds an upside-down face in most frames, but a turned picture scores higher; docs/log/curate.md
_TURNED_LEAD = 0.05


class FaceSettings(StrictModel):
    """How faces are detected and linked."""

    min_detection_confidence: float = Field(
        default=0.6, gt=0, lt=1, description="of the detector; the default of the full-range model's own graph"
    )
    detection_interval_frames: int = Field(
        default=12,
        ge=1,
        description="frames between detections while faces are tracked; a new face waits at most half a second, a "
        "detection costs twice as much as the mesh of a face",
    )
    search_interval_frames: int = Field(default=2, ge=1, description="the same while no face is visible")
    max_faces: int = Field(default=6, ge=1, description="faces tracked at once; each costs one mesh per frame")
    scene_change_threshold: float = Field(
        default=16.0, gt=0, le=255, description="mean change of a 32x18 thumbnail; docs/log/curate.md#faces"
    )
    identity: Literal["proportions", "dlib"] = Field(
        default="proportions",
        description="how people are distinguished. proportions: of the face, and tones; no download, weak. dlib: a "
        "face recognition network, the extra `identity`. Compared in docs/log/curate.md#identity",
    )
    identity_interval_frames: int = Field(
        default=50, ge=1, description="frames between embeddings by the network, besides those of a new face"
    )
    link: TrackLinkSettings = TrackLinkSettings()


class FaceBackend(Protocol):
    """Face detector and mesh. An instance serves one video and one thread."""

    @property
    def name(self) -> str:
        """Back-end and models, with versions."""
        ...

    def open(self) -> None:
        """Load the models."""
        ...

    def detect(self, rgb: Rgb, /) -> list[Roi]:
        """Regions with a face, most confident first."""
        ...

    def landmarks(self, rgb: Rgb, roi: Roi, /) -> FaceGeometry | None:
        """Landmarks of the face in a region, or None."""
        ...

    def close(self) -> None:
        """Release the models."""
        ...


def create_backend(settings: FaceSettings, *, models: Path | None) -> FaceBackend:
    """Use the Tasks back-end if its bundle is in the models folder, else the bundled one."""
    if models is not None and (models / MODEL_FILE).is_file():
        return TasksFaceBackend(models, min_score=settings.min_detection_confidence)
    return BundledFaceBackend(min_score=settings.min_detection_confidence)


def create_embedder(settings: FaceSettings) -> IdentityEmbedder:
    """The embedding that the settings choose."""
    if settings.identity == "dlib":
        return NetworkEmbedder(interval_frames=settings.identity_interval_frames)
    return ProportionsEmbedder()


class FaceTracker:
    """Tracks all faces of one video. `faces` holds those of the latest frame."""

    def __init__(self, settings: FaceSettings, models: Path | None = None) -> None:
        self.faces: tuple[FaceGeometry, ...] = ()
        self._settings = settings
        self._backend = create_backend(settings, models=models)
        self._linker = TrackLinker(settings.link)
        self._rgb: Rgb | None = None
        self._observations: list[FaceObservation] = []
        self._thumbnail: NDArray[np.uint8] | None = None
        self._next_detection = 0
        self._upside_down: list[float] = []
        self._embedder = create_embedder(settings)

    def open(self) -> None:
        """Load the models."""
        self._backend.open()
        self._embedder.open()

    def add(self, frame: Frame) -> None:
        """Process the next frame; one that repeats the picture before it costs nothing."""
        if frame.rgb is self._rgb:
            self._upside_down.append(self._upside_down[-1])
            self._linker.add(frame.index, [replace(one, identity_embedding=None) for one in self._observations])
            return
        self._rgb = frame.rgb
        is_cut = self._scene_changed(frame.rgb)
        known = [] if is_cut else [face.roi for face in self.faces]
        faces = self._fit_meshes(frame.rgb, known, ())
        tries_turned = is_cut or not self._upside_down or frame.index % _TURNED_INTERVAL_FRAMES == 0
        regions: list[Roi] = []
        if tries_turned or len(faces) < len(known) or frame.index >= self._next_detection:
            regions = self._backend.detect(frame.rgb)
            faces = self._fit_meshes(frame.rgb, regions, faces)
            interval = self._settings.detection_interval_frames if faces else self._settings.search_interval_frames
            self._next_detection = frame.index + interval
        is_new = is_cut or len(faces) != len(self.faces)
        self.faces = tuple(faces)
        is_turned = self._is_upside_down(frame.rgb, regions) if tries_turned else self._upside_down[-1]
        self._upside_down.append(float(is_turned))
        is_due = is_new or frame.index % self._embedder.interval_frames == 0
        embedder = self._embedder if is_due else None
        self._observations = [_observe(frame.rgb, face, embedder) for face in faces]
        self._linker.add(frame.index, self._observations, is_cut=is_cut)

    def tracks(self, source_id: str) -> list[FaceTrack]:
        """All tracks so far, ordered by first frame."""
        return self._linker.tracks(source_id, detector=self._backend.name, identity_model=self._embedder.model)

    def series(self) -> dict[str, tuple[float | None, ...]]:
        """Series of all frames so far, by field of Timeline."""
        return {"upside_down": tuple(self._upside_down)}

    def close(self) -> None:
        """Release the models."""
        self._backend.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_upside_down(self, rgb: Rgb, upright: Sequence[Roi]) -> bool:
        """Whether the picture turned by 180 degrees shows a face more clearly than the picture itself."""
        turned = self._backend.detect(np.ascontiguousarray(rgb[::-1, ::-1]))
        return _best_score(turned) > _best_score(upright) + _TURNED_LEAD

    def _scene_changed(self, rgb: Rgb) -> bool:
        # Every eighth pixel suffices for a thumbnail, at a tenth of the cost.
        thumbnail = cv2.resize(np.ascontiguousarray(rgb[::8, ::8]), _THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
        previous, self._thumbnail = self._thumbnail, np.asarray(thumbnail, np.uint8)
        return (
            previous is not None
            and float(cv2.absdiff(previous, self._thumbnail).mean()) > self._settings.scene_change_threshold
        )

    def _fit_meshes(self, rgb: Rgb, regions: list[Roi], known: Sequence[FaceGeometry]) -> list[FaceGeometry]:
        """Known faces, plus new faces from the regions."""
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


def _best_score(regions: Sequence[Roi]) -> float:
    return max((roi.score for roi in regions), default=0.0)


def _contains(box: Box, x: float, y: float) -> bool:
    return box[0] < x < box[2] and box[1] < y < box[3]


def _observe(rgb: Rgb, face: FaceGeometry, embedder: IdentityEmbedder | None) -> FaceObservation:
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = face.box
    fitted = fit_rigid(face.points)
    signals = face_signals(fitted)
    inside = _clip_box((x0, y0, x1, y1), width, height)
    sharpness, luma = _sharpness_and_luma(rgb, inside)
    visible_share = (inside[2] - inside[0]) * (inside[3] - inside[1]) / max((x1 - x0) * (y1 - y0), 1e-6)
    return FaceObservation(
        box=(x0 / height, y0 / height, x1 / height, y1 / height),
        values=np.array(
            (*(signals[n] for n in FACE_SIGNALS), sharpness, min(visible_share, 1.0), luma),
            np.float32,
        ),
        appearance=_appearance(rgb, face.roi),
        identity_embedding=None if embedder is None else embedder(rgb, face, fitted, angle_deg=fitted.turned_deg),
        blendshapes=face.blendshapes,
    )


def _clip_box(box: Box, width: int, height: int) -> Box:
    x0, y0, x1, y1 = box
    return min(max(x0, 0), width), min(max(y0, 0), height), max(min(x1, width), 0), max(min(y1, height), 0)


def _crop(rgb: Rgb, box: Box) -> Rgb | None:
    x0, y0, x1, y1 = (round(v) for v in box)
    return rgb[y0:y1, x0:x1] if x1 - x0 > 1 and y1 - y0 > 1 else None


def _sharpness_and_luma(rgb: Rgb, inside: Box) -> tuple[float, float]:
    """Variance of the Laplacian of the face scaled to 128 px height, and its mean luma; NaN outside the picture."""
    crop = _crop(rgb, inside)
    if crop is None:
        return float("nan"), float("nan")
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    size = max(1, round(crop.shape[1] * SHARPNESS_PX / crop.shape[0])), SHARPNESS_PX
    scaled = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(scaled, cv2.CV_32F).var()), float(cv2.mean(luma)[0])


def _appearance(rgb: Rgb, roi: Roi) -> NDArray[np.float32]:
    """A 12×12 colour picture of the head and its surroundings, zero mean and unit length."""
    half = roi.side / 2
    square = (roi.x - half, roi.y - half, roi.x + half, roi.y + half)
    crop = _crop(rgb, _clip_box(square, rgb.shape[1], rgb.shape[0]))
    if crop is None:
        return np.zeros(_APPEARANCE_PX[0] * _APPEARANCE_PX[1] * 3, np.float32)
    if min(crop.shape[:2]) >= _HALVED_PX:
        crop = shrink(crop, 2)
    small = np.asarray(cv2.resize(crop, _APPEARANCE_PX, interpolation=cv2.INTER_AREA), np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)
