"""Detectors: test whether an action class occurs inside a stated range of frames. One per class; the audit uses them.

    detection_strength(curves, "turn_head", range(40, 60), side="left")   # 2.1: 2.1 × the minimum turn; >= 1 fires

They use the curves and limits of the motion annotator, but need no start and end in the signal.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xsheet.annotate.motion.annotator import MotionSettings
from xsheet.annotate.motion.curves import MOVING_SPEED, MotionCurves, track_speeds
from xsheet.annotate.motion.segments import count_cycles
from xsheet.annotate.motion.series import FPS, Floats, finite_median, gaussian_smooth
from xsheet.schemas import vocab

_MARGIN_FRAMES = 8  # before and after the range, where the part is assumed at rest
_MIN_CYCLES = 2  # of a wave, beat or clap


class _DetectionQuery(NamedTuple):
    curves: MotionCurves
    frames: range
    side: vocab.Laterality
    limits: MotionSettings


def detection_strength(
    curves: MotionCurves,
    action: vocab.Action,
    frames: range,
    *,
    side: vocab.Laterality = "none",
    limits: MotionSettings | None = None,
) -> float | None:
    """Strength of a class as a multiple of its minimum; negative for a movement to the other side.

    Args:
        curves: of the clip.
        action: the stated class.
        frames: the stated range.
        side: the stated side of the subject; 'none' and 'both' accept either.
        limits: of the motion annotator; None = its defaults.

    Returns:
        None for a class without a detector, or if the part is not visible.
    """
    detector = _DETECTORS.get(action)
    if detector is None or not len(frames):
        return None
    strength = detector(_DetectionQuery(curves, frames, side, limits or MotionSettings()))
    return float(strength) if np.isfinite(strength) else None


def displacement(values: Floats, frames: range, *, sign: int = 0) -> float:
    """Deviation of a series inside a range from its level just before and after; NaN where unknown.

    Args:
        values: (frames,).
        frames: the range.
        sign: 1 upwards, -1 downwards, 0 the larger of both; the opposite direction counts negative.
    """
    start, stop = frames.start, frames.stop
    outside = np.concatenate((values[max(0, start - _MARGIN_FRAMES) : start], values[stop : stop + _MARGIN_FRAMES]))
    inside = gaussian_smooth(values[start:stop])
    if not np.isfinite(outside).any() or not np.isfinite(inside).any():
        return np.nan
    deviation = inside - finite_median(outside)
    up, down = float(np.nanmax(deviation)), -float(np.nanmin(deviation))
    if sign == 0:
        return max(up, down)
    toward, against = (up, down) if sign > 0 else (down, up)
    return toward if toward >= against else -against


def _side_displacement(query: _DetectionQuery, values: Floats, min_size: float) -> float:
    sign = {"left": 1, "right": -1}.get(query.side, 0)
    return displacement(values, query.frames, sign=sign) / min_size


def _shake(query: _DetectionQuery) -> float:
    """The smaller of both directions: a turn goes to one side only."""
    displacements = [max(displacement(query.curves.yaw_deg, query.frames, sign=sign), 0.0) for sign in (1, -1)]
    inside = gaussian_smooth(query.curves.yaw_deg[query.frames.start : query.frames.stop])
    return max(min(displacements), (float(np.nanmax(inside)) - float(np.nanmin(inside))) / 4) / (
        query.limits.head.min_yaw_deg / 2
    )


def _eyes_closed(query: _DetectionQuery) -> float:
    lids = query.curves.eye_openness[query.frames.start : query.frames.stop]
    return float((lids < query.limits.face.closed_eye_openness).sum()) / FPS / query.limits.face.min_closed_s


def _mouth(query: _DetectionQuery) -> float:
    """Mouth opening; 0 while there is voice."""
    voiced = (
        float(query.curves.voiced[query.frames.start : query.frames.stop].mean()) > query.limits.face.max_voiced_share
    )
    return (
        0.0
        if voiced
        else displacement(query.curves.mouth_opening, query.frames, sign=1) / query.limits.face.min_mouth_opening
    )


def _hand_reach(query: _DetectionQuery, axis: int, *, sign: int) -> float:
    """Largest displacement of a stated hand along an axis from the start of the range."""
    displacements = []
    for side in _hands(query):
        path = gaussian_smooth(side[query.frames.start : query.frames.stop, axis])
        known = path[np.isfinite(path)]
        displacements += [float(np.max(sign * (known - known[0])))] if len(known) else []
    limits = query.limits.arms
    least = limits.min_sure_reach if query.side == "both" and axis == 1 else limits.min_reach
    return max(displacements, default=np.nan) / least


def _hand_cycles(query: _DetectionQuery, axis: int) -> float:
    min_size = query.limits.arms.min_swing
    visible_paths = [
        side[:, axis] for side in _hands(query) if np.isfinite(side[query.frames.start : query.frames.stop, axis]).any()
    ]
    return max(
        (count_cycles(path, query.frames, min_size=min_size) / _MIN_CYCLES for path in visible_paths), default=np.nan
    )


def _hands(query: _DetectionQuery) -> list[Floats]:
    return [
        wrist
        for side, wrist in (("left", query.curves.wrist_left), ("right", query.curves.wrist_right))
        if query.side in (side, "both", "none")
    ]


def _wrist_distance(query: _DetectionQuery) -> Floats:
    return query.curves.wrist_left[:, 0] + query.curves.wrist_right[:, 0]


def _stillness(query: _DetectionQuery) -> float:
    """2 minus the mean whole-body speed in units of a small movement: 2 = still, 1 = moving all the time."""
    speed = track_speeds(query.curves)["whole_body"][query.frames.start : query.frames.stop]
    return 2 - float(np.nanmean(speed)) / MOVING_SPEED["whole_body"] if np.isfinite(speed).any() else np.nan


def _directional_detector(field: str, section: str, min_size: str, *, sign: int) -> Callable[[_DetectionQuery], float]:
    """A detector of one curve in one direction."""

    def detect(q: _DetectionQuery) -> float:
        values: Floats = getattr(q.curves, field)
        return displacement(values, q.frames, sign=sign) / float(getattr(getattr(q.limits, section), min_size))

    return detect


_DETECTORS: dict[vocab.Action, Callable[[_DetectionQuery], float]] = {
    "nod": _directional_detector("pitch_deg", "head", "min_pitch_deg", sign=-1),
    "lower_head": _directional_detector("pitch_deg", "head", "min_pitch_deg", sign=-1),
    "raise_head": _directional_detector("pitch_deg", "head", "min_pitch_deg", sign=1),
    "shake_head": _shake,
    "turn_head": lambda q: _side_displacement(q, q.curves.yaw_deg, q.limits.head.min_yaw_deg),
    "tilt_head": lambda q: _side_displacement(q, q.curves.roll_deg, q.limits.head.min_roll_deg),
    "look_away": lambda q: _side_displacement(q, q.curves.gaze_x, q.limits.face.min_gaze),
    "blink_long": _eyes_closed,
    "close_eyes": _eyes_closed,
    "look_down": _eyes_closed,  # the lids follow the eyes
    "raise_brows": _directional_detector("brow_raise", "face", "min_brow_raise", sign=1),
    "smile": _directional_detector("smile", "face", "min_smile", sign=1),
    "open_mouth": _mouth,
    "purse_lips": _directional_detector("mouth_width", "face", "min_pursing", sign=-1),
    "lean_in": _directional_detector("log_head_height", "torso", "min_lean", sign=1),
    "lean_back": _directional_detector("log_head_height", "torso", "min_lean", sign=-1),
    "sway": _directional_detector("torso_sway", "torso", "min_sway", sign=0),
    "shrug": _directional_detector("shoulder_rise", "torso", "min_shrug", sign=1),
    "raise_hand": lambda q: _hand_reach(q, 1, sign=1),
    "lower_hand": lambda q: _hand_reach(q, 1, sign=-1),
    "point": lambda q: _hand_reach(q, 0, sign=1),
    "wave": lambda q: _hand_cycles(q, 0),
    "chop_beat": lambda q: _hand_cycles(q, 1),
    "clap": lambda q: count_cycles(_wrist_distance(q), q.frames, min_size=q.limits.arms.min_swing) / _MIN_CYCLES,
    "open_palms": lambda q: displacement(_wrist_distance(q), q.frames, sign=1) / q.limits.arms.min_reach,
    "rest": _stillness,
}
