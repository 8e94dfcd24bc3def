"""Stretches in which the head moves and no movement of it has a name: most of all, heads that move with speech.

They are phases of the class `move_head`, which claims no direction and no count. Without them such a stretch would be
described as still (docs/log/annotate.md#motion).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from xsheet.annotate.motion.curves import MotionCurves, moving_ranges
from xsheet.annotate.motion.detected_actions import DetectedAction
from xsheet.annotate.motion.head_rules import HeadRuleSettings
from xsheet.annotate.motion.segments import MotionSegment
from xsheet.annotate.motion.series import FPS, Floats, frames_between, gaussian_smooth, true_ranges

_MAX_PAUSE_S = 0.3  # between two movements of one stretch
_MIN_WAY = 0.05  # face heights that the face moves along: the mesh alone turns with the mouth too


def unnamed_head_motion(
    curves: MotionCurves, speed: Floats, named: Sequence[DetectedAction], settings: HeadRuleSettings
) -> Iterator[DetectedAction]:
    """Stretches of motion between the named actions of the head.

    Args:
        curves: of the clip.
        speed: (frames,) of the head, in degrees per second.
        named: actions of the head.
        settings: minimum sizes of its movements.
    """
    moving = np.zeros(len(curves), bool)
    for frames in moving_ranges(speed, track="head"):
        moving[frames.start : frames.stop] = True
    for pause in true_ranges(~moving):
        if len(pause) <= _MAX_PAUSE_S * FPS and pause.start > 0 and pause.stop < len(moving):
            moving[pause.start : pause.stop] = True
    for action in named:
        frames = frames_between(action.start, action.end)
        moving[frames.start : frames.stop] = False
    for frames in true_ranges(moving):
        size = _size(curves, frames, settings)
        if len(frames) >= settings.min_unnamed_s * FPS and size >= 1.0 and _moves_along(curves, frames):
            segment = MotionSegment(start=float(frames.start), end=float(frames.stop), value=0.0, delta=size)
            yield DetectedAction(
                action="move_head", track="head", side="none", start=segment.start, end=segment.end, size=size,
                seconds=segment.seconds, salience=size, segments=(segment,),
            )  # fmt: skip


def _size(curves: MotionCurves, frames: range, settings: HeadRuleSettings) -> float:
    """Largest range of an angle as a multiple of its smallest movement."""
    return max(
        _range(values, frames) / least
        for values, least in (
            (curves.pitch_deg, settings.min_pitch_deg),
            (curves.yaw_deg, settings.min_yaw_deg),
            (curves.roll_deg, settings.min_roll_deg),
        )
    )


def _moves_along(curves: MotionCurves, frames: range) -> bool:
    """Whether the face moves across the picture too; True where its place is not measured."""
    places = (curves.head_shift_x, curves.head_shift_y)
    if not any(np.isfinite(place[frames.start : frames.stop]).any() for place in places):
        return True
    return max(_range(place, frames) for place in places) >= _MIN_WAY


def _range(values: Floats, frames: range) -> float:
    inside = gaussian_smooth(values[frames.start : frames.stop])
    known = inside[np.isfinite(inside)]
    return float(np.ptp(known)) if len(known) else 0.0
