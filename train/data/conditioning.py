"""Extra conditioning of model variants: identity, motion intensity and driving motion of a clip.

It is computed from the measurements of curation, so nothing is decoded. T video frames, R crops, V variants of them
(each crop and, with mirrored pictures, its mirror image), X numbers of a face, S series.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xsheet.annotate.text.mirror import mirror_signals
from xsheet.curate.faces.identity import IDENTITY_MODEL
from xsheet.model.variants.base import NEUTRAL_INTENSITY
from xsheet.schemas.clip import Signals
from xsheet.schemas.ids import content_key

Floats = NDArray[np.float32]
Frames = NDArray[np.int64]

EXTRA_CONDITIONING_VERSION = 1  # of the numbers below
DRIVING_SERIES = {
    "yaw_deg": 6.0, "pitch_deg": 6.0, "roll_deg": 6.0, "gaze_x": 0.15, "gaze_y": 0.15, "brow_raise": 0.012,
    "eye_left_open": 0.09, "eye_right_open": 0.09,
}  # fmt: skip
"""Series that drive the face above the mouth, with their scale: the 90th percentile of the spread over real clips.

As in ACTalker's code, the head's position in the picture is left out.
"""
_RELATIVE_TO_MEDIAN = (
    "brow_raise",
    "eye_left_open",
    "eye_right_open",
)  # rest differs between people: the clip's median
MEDIAN_MOTION = (0.06, 0.03)
"""Motion of face (face heights) and body (shoulder widths) in the median clip, where ω = .5."""
_FACE_SCALES = {"mouth_open": 1.0, "mouth_wide": 1.0, "brow_raise": 1.0} | dict.fromkeys(
    ("yaw_deg", "pitch_deg", "roll_deg"), math.radians(0.5)
)  # in face heights: a head that turns by an angle moves its outline by half a face height times the angle
_JOINTS = [f"{joint}_{side}" for joint in ("shoulder", "elbow", "wrist") for side in ("left", "right")]
# Medians over real and drawn faces of the shape that curation measures, and about the spread between people.
_MEDIAN_IDENTITY = (93, 56, 79, 15, 84, 45, 44, 32, 41, 126, 20, 14, 21, 48, 57, 80, 73, -3)
_IDENTITY_SCALE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditioningSource:
    """Measurements from which the extra conditioning of a clip is computed."""

    signals: Signals
    identity_X: tuple[float, ...]  # zeros = no identity
    aspect: float  # picture width by height

    @property
    def digest(self) -> str:
        """Content hash."""
        return content_key(asdict(self.signals), self.identity_X, self.aspect)

    def tensors(self, crops: Sequence[Frames], *, mirror: bool) -> dict[str, Tensor]:
        """Tensors by name: identity (X,), intensity (R, 2), motion (V, T, S); `crops` index the clip at 25 fps."""
        views = [self.signals, mirror_signals(self.signals, aspect=self.aspect)] if mirror else [self.signals]
        motion = [driving_motion(view)[frames] for frames in crops for view in views]
        return {
            "identity": torch.tensor(self.identity_X),
            "intensity": torch.from_numpy(np.stack([motion_intensity(self.signals, frames) for frames in crops])),
            "motion": torch.from_numpy(np.stack(motion)),
        }


def motion_intensity(signals: Signals, frames: Frames) -> Floats:
    """Motion intensity ω of face and body over some frames, (2,) in 0..1: .5 median, 0 still, 1 twice the median.

    FantasyTalking's variances of landmarks and of joints, as deviations. The paper scales them to its data; here the
    scale is fixed, so that a clip has the same ω in every set.
    """
    face = [scale * to_series(getattr(signals, name), signals.frames)[frames] for name, scale in _FACE_SCALES.items()]
    joints = [_joint_xy(signals, name)[:, frames] for name in _JOINTS]
    width = np.hypot(*(_joint_xy(signals, "shoulder_left") - _joint_xy(signals, "shoulder_right"))[:, frames])
    of_body = _mean([_variance(x) + _variance(y) for x, y in joints])
    moved = np.sqrt([np.sum([_variance(one) for one in face]), of_body]) / (1, _median(width))
    return np.where(
        np.isnan(moved), NEUTRAL_INTENSITY, np.clip(NEUTRAL_INTENSITY * moved / MEDIAN_MOTION, 0, 1)
    ).astype(np.float32)


def driving_motion(signals: Signals) -> Floats:
    """Series that drive the face, (T, S) over the whole clip, about -1..1; zero where nothing was measured."""
    columns = []
    for name, unit in DRIVING_SERIES.items():
        values = to_series(getattr(signals, name), signals.frames)
        columns.append((values - (_median(values) if name in _RELATIVE_TO_MEDIAN else 0)) / unit)
    return np.nan_to_num(np.stack(columns, axis=1)).astype(np.float32)


def identity_vector(embedding: Sequence[float], model: str | None, *, wanted_model: str, dim: int) -> tuple[float, ...]:
    """Identity of a face track, (X,); zeros unless the wanted model measured it at this width.

    The proportions of `faces.identity` are centred; the embedding of a network is used unchanged.
    """
    if model != wanted_model or len(embedding) != dim:
        return (0.0,) * dim
    if model != IDENTITY_MODEL:
        return tuple(embedding)
    return tuple((v - common) / _IDENTITY_SCALE for v, common in zip(embedding, _MEDIAN_IDENTITY, strict=True))


def to_series(values: Sequence[float | None], frames: int) -> Floats:
    """A series as floats, (T,); NaN where it was not measured."""
    return np.array([np.nan if v is None else v for v in values] or [np.nan] * frames, np.float32)


def _joint_xy(signals: Signals, joint: str) -> Floats:
    return np.stack([to_series(getattr(signals, f"{joint}_{axis}"), signals.frames) for axis in "xy"])


def _measured_only(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _variance(values: Floats) -> float:
    measured = _measured_only(values)
    return float(measured.var()) if len(measured) else np.nan


def _median(values: Floats) -> float:
    measured = _measured_only(values)
    return float(np.median(measured)) if len(measured) else np.nan


def _mean(values: Sequence[float]) -> float:
    measured = _measured_only(np.array(values, np.float32))
    return float(measured.mean()) if len(measured) else np.nan
