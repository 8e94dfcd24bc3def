"""SyncNet during the decode: compares mouths with the sound frame by frame, without storing pixels.

    net.open()
    analyser = SyncNetAnalyser(net, sound)
    for frame in media.frames(...):
        faces.add(frame)
        analyser.add(frame, [face.box for face in faces.faces])
    analyser.close()
    distances = analyser.distances(faces.tracks(source_id))

For each face and frame it keeps 43 distances. No window spans a gap in a face.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.faces.linker import Box
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.frames import Frame
from xsheet.curate.media.image import Rgb
from xsheet.curate.sync.base import SyncDistances
from xsheet.curate.sync.face_crops import FaceCropStream
from xsheet.curate.sync.syncnet import WINDOW_FRAMES, SyncNet, VoiceFeatures
from xsheet.schemas.source import FaceTrack

Floats = NDArray[np.float32]


class _WindowReader:
    """Embeds the windows of one face in batches and keeps their distances to the sound."""

    def __init__(self, net: SyncNet, voice: VoiceFeatures, start_frame: int) -> None:
        self._net = net
        self._voice = voice
        self._next_window = start_frame
        self._crops: list[Rgb] = []  # of incomplete windows
        self._parts: list[Floats] = [np.zeros((0, 2 * net.settings.max_lag_frames + 1), np.float32)]

    def add(self, crop: Rgb) -> None:
        """Keep the crop; embed when a batch of windows is complete."""
        self._crops.append(crop)
        if len(self._crops) == self._net.settings.batch_size + WINDOW_FRAMES - 1:
            self._embed_windows()

    def close(self) -> None:
        """Embed the complete windows that are left."""
        if len(self._crops) >= WINDOW_FRAMES:
            self._embed_windows()
        self._crops.clear()

    def values(self) -> Floats:
        """(windows, 2 max_lag_frames + 1) distances."""
        return np.concatenate(self._parts)

    def _embed_windows(self) -> None:
        count = min(len(self._crops) - WINDOW_FRAMES + 1, self._voice.windows - self._next_window)
        if count > 0:
            mouths = self._net.embed_mouths(np.stack(self._crops[: count + WINDOW_FRAMES - 1]))
            lags = self._net.settings.max_lag_frames
            self._parts.append(self._voice.distances(mouths, self._next_window, max_lag_frames=lags))
            self._next_window += count
        del self._crops[: 1 - WINDOW_FRAMES]


class SyncNetAnalyser:
    """Compares all faces of one video with its sound."""

    def __init__(self, net: SyncNet, sound: Samples) -> None:
        self._net = net
        voice = VoiceFeatures(net, sound)  # shared by the faces, in the order of time
        self._stream = FaceCropStream(
            lambda start_frame: _WindowReader(net, voice, start_frame), scale=net.settings.crop_scale
        )

    def add(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Process the faces of the next frame; boxes are (x0, y0, x1, y1) in pixels."""
        self._stream.add(frame, faces)

    def close(self) -> None:
        """Process the pending frames; no frame may follow."""
        self._stream.close()

    def distances(self, tracks: Sequence[FaceTrack]) -> list[SyncDistances]:
        """One row per track; call it after `close`."""
        return [
            SyncDistances.of(
                self.track_distances(track), track_id=track.track_id, scorer=self._net.name,
                start_frame=track.start_frame, max_lag_frames=self._net.settings.max_lag_frames,
            )
            for track in tracks
        ]  # fmt: skip

    def track_distances(self, track: FaceTrack) -> Floats:
        """(frames of the track, 2 max_lag_frames + 1) distances of its windows; NaN where it has none."""
        return self._stream.values(track, 2 * self._net.settings.max_lag_frames + 1)
