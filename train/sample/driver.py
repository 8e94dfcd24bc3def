"""Driving motion of the upper face, for a variant that reads motion (ACTalker): from a video, or a motion prior.

T frames shown, S series.
"""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsheet.curate.body.signals import FACE_FIELDS
from xsheet.curate.faces.tracker import FaceSettings, FaceTracker
from xsheet.curate.media.audio import Samples
from xsheet.curate.media.reader import open_media
from xsheet.curate.series import slice_series
from xsheet.schemas.clip import Signals
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import load_settings
from xsheet.schemas.time import CLIP_RATE, US_PER_S, FrameRate, Span, frame_at, frame_start_us
from xsheet.train.data.conditioning import driving_motion
from xsheet.train.prior.motion import PRIOR_SAMPLING, sample_motion
from xsheet.train.sample.sampler import SampleSettings, TrainedModel
from xsheet.train.sample.script import ActionScript

log = logging.getLogger(__name__)


def motion_of_prior(
    prior: TrainedModel, script: ActionScript, audio: Samples, frames: int, *, rate: FrameRate
) -> Tensor:
    """Motion that a prior makes of the script over the audio, (T, S); zeros after the end of the audio."""
    signals = sample_motion(prior, script, audio, load_settings(SampleSettings, overrides=list(PRIOR_SAMPLING)))
    return _at_frames(driving_motion(signals), frames=frames, rate=rate)


def read_driver(file: Path, frames: int, *, rate: FrameRate) -> Tensor:
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
            where=str(file), expected="a video with a face", got="no face", hint="choose another driver",
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
    return _at_frames(motion_FS, frames=frames, rate=rate)


def _at_frames(motion_FS: NDArray[np.float32], *, frames: int, rate: FrameRate) -> Tensor:
    """Rows at 25 fps as rows at another rate; zeros beyond them."""
    places = [frame_at(frame_start_us(k, rate), CLIP_RATE) for k in range(frames)]
    padded = np.pad(motion_FS, ((0, max(0, places[-1] + 1 - len(motion_FS))), (0, 0)))
    return torch.from_numpy(padded[places])
