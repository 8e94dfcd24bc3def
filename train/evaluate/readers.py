"""Face readers: series of a face from the pictures of one clip. A mesh reads large pictures.

    series = reader(pictures_THW3)              # {"yaw_deg": (T,), ...}

T frames, H x W pixels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.frames import Frame
from xsheet.schemas import vocab
from xsheet.schemas.time import FrameRate, frame_start_us
from xsheet.train.data.motion import motion_series

Floats = NDArray[np.float64]
Pictures = NDArray[np.uint8]
FACE_SERIES = (
    "yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "mouth_wide", "smile", "brow_raise", "eye_left_open",
    "eye_right_open", "gaze_x", "gaze_y",
)  # fmt: skip
FACE_TRACKS: frozenset[vocab.Track] = frozenset({"head", "gaze", "brows", "mouth", "face"})
"""Tracks whose actions these series show; trunk and arms are outside the pictures of a head."""

MIN_MESH_HEIGHT_PX = 256
"""Minimum picture height in pixels for a face mesh; smaller pictures need a fitted reader (docs/log/train.md#tiny)."""


class FaceReader(Protocol):
    """Reads face series from the pictures of one clip."""

    @property
    def extractor(self) -> str | None:
        """Extractor that determines the units of the series, as in `Signals.extractor`; None = as the set's signals."""
        ...

    def __call__(self, pictures_THW3: Pictures, /) -> Mapping[str, Floats]:
        """(T,) series by the names of schemas.clip.Signals; NaN where nothing was seen."""
        ...


class MotionReader:
    """Series of a model that draws motion; those of train.data.motion.ABSOLUTE aside, they are relative to rest."""

    extractor = None

    def __call__(self, motion_TS: NDArray[Any], /) -> Mapping[str, Floats]:
        """As FaceReader, of motion (T, S) in place of pictures."""
        return motion_series(motion_TS, names=FACE_SERIES)


class MeshFaceReader:
    """Reads the longest face track of a clip with a face mesh."""

    extractor = None

    def __init__(self, rate: FrameRate, *, models: Path | None = None) -> None:
        self._rate, self._models = rate, models

    def __call__(self, pictures_THW3: Pictures, /) -> Mapping[str, Floats]:
        """As FaceReader."""
        with FaceTracker(FaceSettings(), self._models) as faces:
            for k, rgb in enumerate(pictures_THW3):
                us = frame_start_us(k, self._rate)
                faces.add(Frame(index=k, start_us=us, rgb=rgb, source_index=k, source_us=us))
            track = max(faces.tracks("src_sample"), key=lambda one: one.frames, default=None)
        series = {name: np.full(len(pictures_THW3), np.nan) for name in FACE_SERIES}
        if track is not None:
            for name in FACE_SERIES:
                values = [np.nan if v is None else v for v in getattr(track, name)]
                series[name][track.start_frame : track.start_frame + track.frames] = values or np.nan
        return series
