"""Analyse a video: phases, mouth motion, colour drift and likeness of the face.

T frames shown, F latent frames, H x W pixels, n frames at 25 fps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.annotator import MotionSettings, annotate_motion
from xsheet.curate.audio.features import audio_features
from xsheet.curate.series import series_to_array, slice_series
from xsheet.curate.sync.audio_to_mouth import predict_mouth
from xsheet.schemas.annotation import Phase
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.time import CLIP_RATE, FrameRate, frame_at, frame_start_us, frames_in
from xsheet.train.data.motion import motion_rest
from xsheet.train.evaluate.held_out import HeldOutClip
from xsheet.train.evaluate.likeness import LikenessMeter
from xsheet.train.evaluate.readers import FaceReader, Floats, MotionReader, Pictures
from xsheet.train.evaluate.scores import MouthScore, score_mouth

_RULES = MotionSettings(min_face_px=0)
"""No size limit: it is for a mesh on the original clip; the ceiling measures what a reader finds in these pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipAnalysis:
    """Phases, mouth score and colour drift of one clip."""

    phases: tuple[Phase, ...]
    mouth: MouthScore
    colour_drift: float | None
    """Mean colour of the face in the last quarter against the first picture, in levels of 255. It says that a look is
    lost, not that a likeness is kept. None for motion, which has no colours."""
    identity_distance: float | None
    """Of the face to the first picture, as LikenessMeter has it. None where likeness is not measured."""


def analyse_clip(
    clip: HeldOutClip,
    pictures_THW3: Pictures,
    *,
    reader: FaceReader,
    rate: FrameRate,
    likeness: LikenessMeter | None = None,
) -> ClipAnalysis:
    """Analyse sampled or real pictures of a held-out clip."""
    frames = frames_in(clip.span, CLIP_RATE)
    rest: Mapping[str, float] = motion_rest(clip.signals) if isinstance(reader, MotionReader) else {}
    series = {
        name: _resample_to_25_fps(values + rest.get(name, 0.0), rate, len(frames))
        for name, values in reader(pictures_THW3).items()
    }
    voice = audio_features(clip.waveform, len(frames))["voice"]
    signals = _signals(clip, series, voice, extractor=reader.extractor or clip.signals.extractor)
    reference = series_to_array(slice_series(clip.signals.mouth_open, frames) or (None,) * len(frames))
    source_frames = _source_frames(len(pictures_THW3), rate)
    reference_at_shown = np.full(
        len(frames), np.nan
    )  # lips turn round between two frames shown, where nothing was drawn
    reference_at_shown[source_frames] = reference[source_frames]
    voiced = np.array(voice, np.float64)
    predicted = predict_mouth(clip.waveform, voiced)
    found = annotate_motion(_as_clip(clip, len(frames)), signals, _RULES).phases
    return ClipAnalysis(
        phases=tuple(phase for phase in found if phase.action != "move_head"),  # it names no action
        mouth=score_mouth(series["mouth_open"], reference_at_shown, predicted[0].astype(np.float64), voiced),
        colour_drift=None if isinstance(reader, MotionReader) else _colour_drift(clip, pictures_THW3),
        identity_distance=None if likeness is None else likeness(pictures_THW3),
    )


def _resample_to_25_fps(values: Floats, rate: FrameRate, frames: int) -> Floats:
    """Resample a series of shown frames to 25 fps."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(frames, np.nan)
    return np.interp(np.arange(frames), _source_frames(len(values), rate)[known], values[known])


def _source_frames(count: int, rate: FrameRate) -> NDArray[np.int64]:
    """Index at 25 fps of each of `count` frames."""
    return np.array([frame_at(frame_start_us(k, rate), CLIP_RATE) for k in range(count)])


def _signals(
    clip: HeldOutClip, series: Mapping[str, Floats], voice: tuple[float | None, ...], *, extractor: str
) -> Signals:
    """Signals of the span. Face height comes from the real clip, which gave the portrait."""
    frames = frames_in(clip.span, CLIP_RATE)
    height = slice_series(clip.signals.head_height, frames)
    read = {name: tuple(values.tolist()) for name, values in series.items() if np.isfinite(values).all()}
    return Signals(
        clip_id=clip.clip.clip_id, frames=len(frames), extractor=extractor, head_height=height,
        voice=voice, **read,
    )  # fmt: skip


def _as_clip(clip: HeldOutClip, frames: int) -> Clip:
    length_us = frame_start_us(frames, CLIP_RATE)
    return replace(clip.clip, frames=frames, samples=0, end_us=clip.clip.start_us + length_us)


def _colour_drift(clip: HeldOutClip, pictures_THW3: Pictures) -> float:
    height, width = pictures_THW3.shape[1:3]
    mask_F = [np.asarray(cv2.resize(mask.numpy(), (width, height)), np.float64) for mask in clip.face_FHW]
    last = range(len(pictures_THW3) - max(1, len(pictures_THW3) // 4), len(pictures_THW3))
    colour = [_mean_colour(pictures_THW3[k], mask_F[(k + 3) // 4]) for k in (0, *last)]
    return float(np.abs(np.mean(colour[1:], axis=0) - colour[0]).mean())


def _mean_colour(rgb: Pictures, mask: Floats) -> Floats:
    weight = mask / max(float(mask.sum()), 1e-6)
    colour: Floats = (rgb * weight[..., None]).sum((0, 1))
    return colour
