"""Reads faces that a face mesh can follow: the tracker of curation, on the pictures of one clip."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xsheet.curate.faces import FaceSettings, FaceWatcher
from xsheet.curate.frames import Frame
from xsheet.schemas.time import FrameRate, frame_start_us
from xsheet.train.reader import READ, Floats, Pictures


class MeshReader:
    """The longest face track of a clip."""

    def __init__(self, rate: FrameRate, *, models: Path | None = None) -> None:
        self._rate, self._models = rate, models

    def __call__(self, pictures_THW3: Pictures, /) -> Mapping[str, Floats]:
        """As Reads."""
        with FaceWatcher(FaceSettings(), self._models) as faces:
            for k, rgb in enumerate(pictures_THW3):
                us = frame_start_us(k, self._rate)
                faces.add(Frame(index=k, start_us=us, rgb=rgb, source_index=k, source_us=us))
            track = max(faces.tracks("src_sample"), key=lambda one: one.frames, default=None)
        series = {name: np.full(len(pictures_THW3), np.nan) for name in READ}
        if track is not None:
            for name in READ:
                values = [np.nan if v is None else v for v in getattr(track, name)]
                series[name][track.start_frame : track.start_frame + track.frames] = values or np.nan
        return series
