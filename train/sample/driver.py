"""A driver video: its face above the mouth drives the sample of a variant that reads motion (ACTalker).

T frames shown, S series.
"""

import logging
from pathlib import Path

import torch
from torch import Tensor

from xsheet.curate.body.signals import FACE_FIELDS
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.reader import open_media
from xsheet.curate.series import slice_series
from xsheet.schemas.clip import Signals
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import CLIP_RATE, US_PER_S, FrameRate, Span, frame_at, frame_start_us
from xsheet.train.data.conditioning import driving_motion

log = logging.getLogger(__name__)


def read_driver(file: Path, *, frames: int, rate: FrameRate) -> Tensor:
    """Motion of the longest face of a video, (T, S) as the cache keeps it; zeros (no motion) after its end.

    Args:
        file: any video with a face.
        frames: T, of the sample.
        rate: of the sample.

    Raises:
        ConfigError: no face in the video.
        MediaError: a broken video.
    """
    last = frame_at(frame_start_us(frames - 1, rate), CLIP_RATE)
    with open_media(file, root=file.absolute().parent) as media, FaceTracker(FaceSettings(), None) as faces:
        for frame in media.frames(span=Span(0, frame_start_us(last + 1, CLIP_RATE))):
            faces.add(frame)
        track = max(faces.tracks("driver"), key=lambda one: one.frames, default=None)
    if track is None:
        raise ConfigError(
            where=str(file), expected="a video with a face", got="none was found", hint="give another driver",
        )  # fmt: skip
    shown = range(-track.start_frame, last + 1 - track.start_frame)
    series = {name: slice_series(getattr(track, name), shown) for name in FACE_FIELDS}
    motion_FS = driving_motion(Signals(clip_id="driver", frames=len(shown), extractor=track.detector, **series))
    if (end := track.start_frame + track.frames) <= last:
        log.warning(
            "the face of %s is seen for %.1f s; after that nothing moves the face above the mouth",
            file,
            frame_start_us(end, CLIP_RATE) / US_PER_S,
        )
    return torch.from_numpy(motion_FS[[frame_at(frame_start_us(k, rate), CLIP_RATE) for k in range(frames)]])
