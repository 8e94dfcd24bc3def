"""Does a class of action show inside a given stretch? One detector per class, for whoever checks what another claims.

    shows(course, "turn_head", range(40, 60), side="left")   # 2.1: twice the least turn that counts; 1 and more fires

The detectors measure the same quantities as the motion annotator and by the same limits, but ask about a stretch that
somebody else names, so they need neither a start nor an end in the signal.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xsheet.annotate.motion.annotator import MotionSettings
from xsheet.annotate.motion.curves import FPS, MOVING, Course, Floats, median, smoothed, speeds
from xsheet.annotate.motion.segments import oscillation
from xsheet.schemas import vocab

_MARGIN_FRAMES = 8  # before and after a stretch, where its part is taken to rest
_CYCLES = 2  # of a wave, a beat or a clap: fewer are one movement


class _Question(NamedTuple):
    course: Course
    inside: range
    side: vocab.Laterality
    limits: MotionSettings


def shows(
    course: Course,
    action: vocab.Action,
    inside: range,
    *,
    side: vocab.Laterality = "none",
    limits: MotionSettings | None = None,
) -> float | None:
    """How clearly a class shows, as a multiple of the least that counts; negative for a movement to the other side.

    Args:
        course: of the clip.
        action: the class that is claimed.
        inside: frames of the claim.
        side: the own side that is claimed; 'none' and 'both' ask for either.
        limits: of the motion annotator; its defaults where None.

    Returns:
        None for a class without a detector, and where the part is not seen.
    """
    detector = _DETECTORS.get(action)
    if detector is None or not len(inside):
        return None
    strength = detector(_Question(course, inside, side, limits or MotionSettings()))
    return float(strength) if np.isfinite(strength) else None


def reach(values: Floats, inside: range, *, sign: int = 0) -> float:
    """How far a series goes inside a stretch from where it is just before and after; NaN where it is not seen.

    Args:
        values: (frames,).
        inside: the stretch.
        sign: 1 upwards, -1 downwards, 0 whichever is farther; what goes the other way counts negative.
    """
    start, stop = inside.start, inside.stop
    around = np.concatenate((values[max(0, start - _MARGIN_FRAMES) : start], values[stop : stop + _MARGIN_FRAMES]))
    within = smoothed(values[start:stop])
    if not np.isfinite(around).any() or not np.isfinite(within).any():
        return np.nan
    away = within - median(around)
    up, down = float(np.nanmax(away)), -float(np.nanmin(away))
    if sign == 0:
        return max(up, down)
    toward, against = (up, down) if sign > 0 else (down, up)
    return toward if toward >= against else -against


def _sided(q: _Question, values: Floats, least: float) -> float:
    sign = {"left": 1, "right": -1}.get(q.side, 0)
    return reach(values, q.inside, sign=sign) / least


def _shake(q: _Question) -> float:
    """The lesser of both ways: a turn goes to one side only."""
    ways = [max(reach(q.course.yaw_deg, q.inside, sign=sign), 0.0) for sign in (1, -1)]
    within = smoothed(q.course.yaw_deg[q.inside.start : q.inside.stop])
    return max(min(ways), (float(np.nanmax(within)) - float(np.nanmin(within))) / 4) / (q.limits.head.least_yaw_deg / 2)


def _shut(q: _Question) -> float:
    lids = q.course.lids[q.inside.start : q.inside.stop]
    return float((lids < q.limits.face.shut_lids).sum()) / FPS / q.limits.face.least_shut_s


def _mouth(q: _Question) -> float:
    """A mouth that opens, and 0 while there is voice."""
    voiced = float(q.course.voiced[q.inside.start : q.inside.stop].mean()) > q.limits.face.most_voiced
    return 0.0 if voiced else reach(q.course.mouth, q.inside, sign=1) / q.limits.face.least_mouth


def _hand(q: _Question, axis: int, *, sign: int) -> float:
    """How far the claimed hand, or the farther one, goes along an axis from where the stretch begins."""
    ways = []
    for side in _hands(q):
        path = smoothed(side[q.inside.start : q.inside.stop, axis])
        known = path[np.isfinite(path)]
        ways += [float(np.max(sign * (known - known[0])))] if len(known) else []
    return max(ways, default=np.nan) / q.limits.arms.least_reach


def _swing(q: _Question, axis: int) -> float:
    least = q.limits.arms.least_swing
    seen = [side[:, axis] for side in _hands(q) if np.isfinite(side[q.inside.start : q.inside.stop, axis]).any()]
    return max((oscillation(path, q.inside, least=least) / _CYCLES for path in seen), default=np.nan)


def _hands(q: _Question) -> list[Floats]:
    return [
        wrist
        for side, wrist in (("left", q.course.wrist_left), ("right", q.course.wrist_right))
        if q.side in (side, "both", "none")
    ]


def _apart(q: _Question) -> Floats:
    return q.course.wrist_left[:, 0] + q.course.wrist_right[:, 0]


def _still(q: _Question) -> float:
    """2 where nothing moves, 1 where the fastest part goes as fast as a small movement all the time."""
    speed = speeds(q.course)["whole_body"][q.inside.start : q.inside.stop]
    return 2 - float(np.nanmean(speed)) / MOVING["whole_body"] if np.isfinite(speed).any() else np.nan


def _along(field: str, section: str, least: str, *, sign: int) -> Callable[[_Question], float]:
    """A detector of one quantity in one direction."""

    def detect(q: _Question) -> float:
        values: Floats = getattr(q.course, field)
        return reach(values, q.inside, sign=sign) / float(getattr(getattr(q.limits, section), least))

    return detect


_DETECTORS: dict[vocab.Action, Callable[[_Question], float]] = {
    "nod": _along("pitch_deg", "head", "least_pitch_deg", sign=-1),
    "lower_head": _along("pitch_deg", "head", "least_pitch_deg", sign=-1),
    "raise_head": _along("pitch_deg", "head", "least_pitch_deg", sign=1),
    "shake_head": _shake,
    "turn_head": lambda q: _sided(q, q.course.yaw_deg, q.limits.head.least_yaw_deg),
    "tilt_head": lambda q: _sided(q, q.course.roll_deg, q.limits.head.least_roll_deg),
    "look_away": lambda q: _sided(q, q.course.gaze_x, q.limits.face.least_gaze),
    "blink_long": _shut,
    "close_eyes": _shut,
    "raise_brows": _along("brows", "face", "least_brows", sign=1),
    "smile": _along("smile", "face", "least_smile", sign=1),
    "open_mouth": _mouth,
    "lean_in": _along("size", "body", "least_size", sign=1),
    "lean_back": _along("size", "body", "least_size", sign=-1),
    "sway": _along("sway", "body", "least_sway", sign=0),
    "shrug": _along("rise", "body", "least_shrug", sign=1),
    "raise_hand": lambda q: _hand(q, 1, sign=1),
    "lower_hand": lambda q: _hand(q, 1, sign=-1),
    "point": lambda q: _hand(q, 0, sign=1),
    "wave": lambda q: _swing(q, 0),
    "chop_beat": lambda q: _swing(q, 1),
    "clap": lambda q: oscillation(_apart(q), q.inside, least=q.limits.arms.least_swing) / _CYCLES,
    "open_palms": lambda q: reach(_apart(q), q.inside, sign=1) / q.limits.arms.least_reach,
    "rest": _still,
}
