"""Phases of arms and shoulders that a crop does not show: its text must not name them.

    shown = only_shown(annotation, joints_of(signals_columns, frames), bucket_fit)

Limits are ours. T frames at 25 fps, J joints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xsheet.schemas.annotation import Annotation, Phase, UnknownSpan
from xsheet.schemas.time import CLIP_RATE, Span, frames_in
from xsheet.train.data.conditioning import to_series
from xsheet.train.data.framing import BucketFit

JOINTS = ("wrist_left", "wrist_right", "shoulder_left", "shoulder_right")
JOINT_COLUMNS = tuple(f"{joint}_{axis}" for joint in JOINTS for axis in "xy")
"""Columns of the signals that `joints_of` reads."""
MIN_SHOWN_SHARE = 0.5  # of the frames of a phase
HIDING_VERSION = 1  # raise it when the rule changes: texts are then encoded again
_WRISTS = JOINTS[:2]
_JOINTS_OF_TRACK: dict[str, Sequence[str]] = {
    "arm_left": JOINTS[:1], "arm_right": JOINTS[1:2], "arms": _WRISTS, "hands": _WRISTS,
}  # fmt: skip


def joints_of(columns: Mapping[str, Sequence[float | None]], frames: int) -> NDArray[np.float32]:
    """Places of the joints in picture heights, (J, T, 2); NaN where they were not found."""
    series = [to_series(columns[name], frames) for name in JOINT_COLUMNS]
    return np.stack(series).reshape(len(JOINTS), 2, frames).transpose(0, 2, 1)


def only_shown(annotation: Annotation, joints_JT2: NDArray[np.float32], bucket_fit: BucketFit) -> Annotation:
    """The annotation without the phases that lie outside the crop; what happens there becomes unknown.

    A phase is outside if all of its wrists (arms and hands) or shoulders (a shrug) are, for more than half of its
    frames. It stays where the clip has no place of any of them: then nobody measured the body. A bucket of one pixel
    holds motion, which is not cropped.
    """
    if bucket_fit.bucket[1:] == (1, 1):
        return annotation
    inside_JT = _in_crop(joints_JT2, bucket_fit)
    measured_J = np.asarray(np.isfinite(joints_JT2).any(axis=(1, 2)), np.bool_)
    hidden = [phase for phase in annotation.phases if _is_hidden(phase, inside_JT, measured_J)]
    if not hidden:
        return annotation
    unknown = [UnknownSpan(track=phase.track, start_us=phase.start_us, end_us=phase.end_us) for phase in hidden]
    return replace(
        annotation,
        phases=tuple(phase for phase in annotation.phases if phase not in hidden),
        unknown=(*annotation.unknown, *unknown),
    )


def _in_crop(joints_JT2: NDArray[np.float32], bucket_fit: BucketFit) -> NDArray[np.bool_]:
    _, height, width = bucket_fit.bucket
    places = joints_JT2 * bucket_fit.scaled_size[1] - (bucket_fit.left, bucket_fit.top)
    return np.asarray(((places >= 0) & (places < (width, height))).all(axis=2), np.bool_)


def _is_hidden(phase: Phase, inside_JT: NDArray[np.bool_], measured_J: NDArray[np.bool_]) -> bool:
    joints = JOINTS[2:] if phase.action == "shrug" else _JOINTS_OF_TRACK.get(phase.track, ())
    known = [index for index in map(JOINTS.index, joints) if measured_J[index]]
    frames = frames_in(Span(phase.start_us, phase.end_us), CLIP_RATE)
    if not known or not frames:
        return False
    return all(inside_JT[index, frames.start : frames.stop].mean() < MIN_SHOWN_SHARE for index in known)
