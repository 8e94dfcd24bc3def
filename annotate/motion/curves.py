"""The course of a clip: its signals as arrays to reckon with, the speed of every track, and where movement begins.

    course = course_of(signals)
    speed = speeds(course)["head"]                    # deg/s per frame, NaN where the head is not seen
    spans = moving(speed, track="head")               # stretches of movement, by hysteresis
    grounded = motion_ratio(speed, inside=range(40, 60))

Left, right and all signs are the subject's own, as in xsheet.schemas.clip.Signals. Arrays have one value per frame of
25 fps. Motion of the camera and of what carries a part is taken off: angles know no camera, hands stand beside the
shoulders, and what drifts evenly across the picture stands still.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.crosstalk import without_leaks
from xsheet.curate.body.motion import shoulder_width
from xsheet.schemas import vocab
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import Series
from xsheet.schemas.time import CLIP_RATE, Span, frames_in

Floats = NDArray[np.float64]
FPS = float(CLIP_RATE)
TRUTH = "truth"  # the extractor of planted series

_GAP_FRAMES = 5  # 0.2 s, filled by a line; what is hidden for longer is unknown
_REACH = 2  # frames to either side of a central difference, as in xsheet.curate.body.motion
_SHUT = 0.55  # lids below this share of their usual opening hide the iris, and the mesh then pulls gaze and brows along
VOICED = 0.5  # probability of voice activity from which a frame counts as voiced
# Planted series are 0..1. What the mesh measures at 1, by least squares on the puppet (docs/log/annotate.md#motion).
_PLANTED = {"mouth_open": 0.16, "brow_raise": 0.033, "gaze_x": 0.5, "gaze_y": 0.5}
_HIP_TO_FACE = 1.9  # shoulder widths: the radius on which a swaying trunk carries the head
_SETTLING_FRAMES = 8  # Pose's filter needs these to find the body
_TRAILING_FRAMES = 2  # and it follows by these


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """What each part of a body does over time. (frames,) arrays unless said otherwise; NaN where it is not known."""

    yaw_deg: Floats
    pitch_deg: Floats
    roll_deg: Floats  # beside the trunk's own sway
    gaze_x: Floats  # -1..1
    gaze_y: Floats  # -1..1
    lids: Floats  # opening of both eyes, 1 = as usual in this clip
    brows: Floats  # face heights above the eyes
    smile: Floats  # 0..1
    mouth: Floats  # lip distance, face heights
    size: Floats  # log of the head's height: grows by 0.1 when the head comes a tenth nearer
    sway: Floats  # trunk to the own left, shoulder widths
    rise: Floats  # of both shoulders together, shoulder widths
    wrist_left: Floats  # (frames, 2): outwards and up from the middle of the shoulders, shoulder widths
    wrist_right: Floats  # (frames, 2): the same for the other hand, outwards is away from the trunk too
    voiced: NDArray[np.bool_]
    seen: Mapping[vocab.Track, Floats]  # share of the track that is visible, 0..1

    def __len__(self) -> int:
        return len(self.yaw_deg)


# Full speed of a small but deliberate movement; below it lies what a living body at rest does.
MOVING: dict[vocab.Track, float] = {
    "head": 12.0,  # deg/s
    "gaze": 2.0,  # half eye widths/s, or lid openings/s
    "brows": 0.05,  # face heights/s
    "mouth": 0.15,  # face heights/s
    "face": 0.8,  # smiles/s
    "torso": 0.14,  # shoulder widths/s
    "arm_left": 0.5,  # shoulder widths/s
    "arm_right": 0.5,
    "arms": 0.5,
    "hands": 0.5,
    "whole_body": 1.0,  # the fastest of all tracks, each by its own number above
}


def course_of(signals: Signals) -> Course:
    """Signals as arrays: gaps filled, blinks bridged, leaks, camera and carrying parts taken off."""
    raw = {name: _array(signals, name) for name in _FACE}
    lids = _lids(raw["eye_left_open"], raw["eye_right_open"])
    raw |= {name: _bridged(raw[name], _near_shut(lids)) for name in ("gaze_x", "gaze_y", "brow_raise")}
    face = raw if signals.extractor == TRUTH else without_leaks(raw)
    width, drift = shoulder_width(signals) or np.nan, _drift(signals)
    left, right, wrist_left, wrist_right = (_joint(signals, name, drift) for name in _JOINTS)
    middle = (left + right) / 2
    sway = _centred(face["head_x"] - drift[:, 0]) / width
    rise = np.minimum(_centred(-left[:, 1]), _centred(-right[:, 1])) / width
    return Course(
        yaw_deg=face["yaw_deg"],
        pitch_deg=face["pitch_deg"],
        roll_deg=_beside_sway(face["roll_deg"], sway),
        gaze_x=face["gaze_x"],
        gaze_y=face["gaze_y"],
        lids=lids,
        brows=face["brow_raise"],
        smile=face["smile"],
        mouth=face["mouth_open"],
        size=np.log(np.where(face["head_height"] > 0, face["head_height"], np.nan)),
        sway=sway,
        rise=rise,
        wrist_left=(wrist_left - middle) * (1, -1) / width,
        wrist_right=(wrist_right - middle) * (-1, -1) / width,
        voiced=_voiced(signals),
        seen=_seen(signals),
    )


def speeds(course: Course) -> dict[vocab.Track, Floats]:
    """(frames,) speed of every track in the unit of MOVING; NaN where the track is not seen."""
    c = course
    found: dict[vocab.Track, Floats] = {
        "head": _speed(c.yaw_deg, c.pitch_deg, c.roll_deg),
        "gaze": np.fmax(_speed(c.gaze_x, c.gaze_y), _speed(c.lids)),
        "brows": _speed(c.brows),
        "mouth": _speed(c.mouth),
        "face": _speed(c.smile),
        "torso": np.fmax(_speed(c.size), np.fmax(_speed(c.sway), _speed(c.rise))),
        "arm_left": _speed(*c.wrist_left.T),
        "arm_right": _speed(*c.wrist_right.T),
    }
    found["arms"] = found["hands"] = np.fmax(found["arm_left"], found["arm_right"])
    found["whole_body"] = np.fmax.reduce([speed / MOVING[track] for track, speed in found.items() if track != "mouth"])
    return found


def moving(speed: Floats, *, track: vocab.Track, off: float = 0.3) -> list[range]:
    """Stretches of frames in which a track moves: it passes MOVING in each, and `off` times that throughout."""
    high = np.nan_to_num(speed) >= MOVING[track]
    low = np.nan_to_num(speed) >= off * MOVING[track]
    return [stretch for stretch in stretches(low) if high[stretch.start : stretch.stop].any()]


def stretches(mask: NDArray[np.bool_]) -> list[range]:
    """Runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8))).tolist()
    return [range(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def motion_ratio(speed: Floats, inside: range, *, others: NDArray[np.bool_] | None = None) -> float | None:
    """Mean speed inside a stretch by the median speed outside; None where either is not seen.

    Args:
        speed: (frames,) of the track.
        inside: frames of the phase.
        others: (frames,) frames of other phases of the track, which are no rest; None is none.
    """
    outside = np.isfinite(speed)
    outside[inside.start : inside.stop] = False
    if others is not None:
        outside &= ~others
    moved = speed[inside.start : inside.stop]
    if not np.isfinite(moved).any() or not outside.any():
        return None
    still = median(speed[outside])
    return float(np.nanmean(moved)) / max(still, 1e-6)


def side_share(course: Course, inside: range, *, left: bool) -> float | None:
    """Share of the named hand in the motion of both inside a stretch, 0..1; None where no hand is seen to move."""
    found = speeds(course)
    moved = [float(np.nansum(found[t][inside.start : inside.stop])) for t in ("arm_left", "arm_right")]
    return moved[0 if left else 1] / sum(moved) if sum(moved) > 0 else None


def frames_of(span: Span) -> range:
    """The frames of a span at 25 fps."""
    return frames_in(span, CLIP_RATE)


def frames_between(start: float, end: float) -> range:
    """The frames whose middle lies between two instants in frames; at least one."""
    first = max(0, nearest(start))
    return range(first, max(first + 1, nearest(end)))


def nearest(instant: float) -> int:
    """The frame whose start is nearest to an instant in frames; the later one at a tie, so that lengths survive."""
    return math.floor(instant + 0.5)


def smoothed(values: Floats, *, frames: float = 1.0) -> Floats:
    """The series without its jitter: a Gaussian over the known values, `frames` of standard deviation."""
    if not len(values):
        return values
    known = np.isfinite(values)
    kernel, whole = _gaussian(len(values), frames)
    if known.all():
        return np.asarray(np.convolve(values, kernel, mode="same") / whole)
    weight = np.convolve(known, kernel, mode="same")
    total = np.convolve(np.where(known, values, 0.0), kernel, mode="same")
    return np.where(known, total / np.maximum(weight, 1e-9), np.nan)


@functools.lru_cache(maxsize=1_000)  # a third of the time of a clip's course without it
def _gaussian(length: int, frames: float) -> tuple[Floats, Floats]:
    """The kernel, and what of it lies inside a series of this length, frame by frame."""
    reach = min(int(4 * frames), max(length - 1, 0) // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / frames) ** 2)
    return kernel, np.convolve(np.ones(length), kernel, mode="same")


def median(values: Floats) -> float:
    """The median of the known values, NaN where there are none; a tenth of the time of np.nanmedian."""
    known = np.sort(values[np.isfinite(values)])
    half = len(known) // 2
    if not len(known):
        return np.nan
    return float(known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2)


_JOINTS = ("shoulder_left", "shoulder_right", "wrist_left", "wrist_right")
_FACE = (
    "yaw_deg", "pitch_deg", "roll_deg", "gaze_x", "gaze_y", "eye_left_open", "eye_right_open", "brow_raise", "smile",
    "mouth_open", "mouth_wide", "head_x", "head_y", "head_height",
)  # fmt: skip


def _array(signals: Signals, name: str) -> Floats:
    """(frames,) a series in the unit that the mesh measures, its short gaps filled; NaN where it was not measured."""
    series: Series = getattr(signals, name)
    if not series:
        return np.full(signals.frames, np.nan)
    values = np.array(series, np.float64)  # None becomes NaN
    return _filled(values) * (_PLANTED.get(name, 1.0) if signals.extractor == TRUTH else 1.0)


def _voiced(signals: Signals) -> NDArray[np.bool_]:
    """Where there is voice; the short silences inside words belong to it."""
    voiced = np.nan_to_num(_array(signals, "voice")) > VOICED
    for gap in stretches(~voiced):
        if len(gap) <= _GAP_FRAMES and gap.start > 0 and gap.stop < len(voiced):
            voiced[gap.start : gap.stop] = True
    return voiced


def _beside_sway(roll_deg: Floats, sway: Floats) -> Floats:
    """Tilt of the head without what the swaying trunk explains of it; a step aside without a tilt adds none."""
    roll = _centred(roll_deg)
    carried = np.degrees(np.nan_to_num(sway) / _HIP_TO_FACE)
    return np.asarray(roll - np.clip(carried, np.minimum(roll, 0), np.maximum(roll, 0)))


def _place(signals: Signals, name: str) -> Floats:
    """(frames, 2) picture heights; x to the own left for a subject that faces the camera, y down."""
    return np.stack([_array(signals, f"{name}_{axis}") for axis in "xy"], -1)


def _joint(signals: Signals, name: str, drift: Floats) -> Floats:
    """(frames, 2) a joint that Pose follows, without the drift and at the time when it was there."""
    place = _place(signals, name) - drift
    if name.startswith("shoulder"):
        place[:_SETTLING_FRAMES] = place[min(_SETTLING_FRAMES, len(place) - 1)]
    late = min(_TRAILING_FRAMES, len(place))
    return np.concatenate((place[late:], np.repeat(place[-1:], late, axis=0)))


def _drift(signals: Signals) -> Floats:
    """(frames, 2) how far head and shoulders have moved evenly: with the camera, or settling slowly."""
    steps = [np.diff(_place(signals, name), axis=0) for name in ("head", "shoulder_left", "shoulder_right")]
    known = [[median(axis) for axis in step.T] for step in steps if np.isfinite(step).any(axis=0).all()]
    pace = np.mean(known, axis=0) if known else np.zeros(2)
    return np.asarray(np.arange(signals.frames)[:, None] * pace)


def _filled(values: Floats) -> Floats:
    """Gaps of at most five frames between known values become a line."""
    known = np.isfinite(values)
    if known.all() or not known.any():
        return values
    at = np.arange(len(values))
    line = np.interp(at, at[known], values[known], left=np.nan, right=np.nan)
    for gap in stretches(~known):
        if len(gap) > _GAP_FRAMES:
            line[gap.start : gap.stop] = np.nan
    return line


def _lids(left: Floats, right: Floats) -> Floats:
    opening = (left + right) / 2
    known = opening[np.isfinite(opening)]
    usual = np.percentile(known, 75) if len(known) else np.nan
    return opening / max(float(usual), 1e-6)


def _near_shut(lids: Floats) -> NDArray[np.bool_]:
    shut = np.nan_to_num(lids, nan=1.0) < _SHUT
    return np.convolve(shut, np.ones(3), mode="same")[: len(shut)] > 0


def _bridged(values: Floats, hidden: NDArray[np.bool_]) -> Floats:
    """The values before and after what is hidden, joined by a line."""
    seen = ~hidden & np.isfinite(values)
    if not seen.any():
        return values
    at = np.arange(len(values))
    return np.where(hidden, np.interp(at, at[seen], values[seen]), values)


def _centred(values: Floats) -> Floats:
    return values - median(values)


def _seen(signals: Signals) -> dict[vocab.Track, Floats]:
    face, left, right = (
        np.clip(np.nan_to_num(_array(signals, f"{part}_visible")), 0, 1) for part in ("face", "hand_left", "hand_right")
    )
    shoulders = _place(signals, "shoulder_left") + _place(signals, "shoulder_right")
    trunk = np.where(np.isfinite(shoulders[:, 0] + shoulders[:, 1]), 1.0, 0.0)
    of_face: tuple[vocab.Track, ...] = ("head", "gaze", "brows", "mouth", "face")
    seen: dict[vocab.Track, Floats] = dict.fromkeys(of_face, face)
    # A tight crop hides the shoulders; how near the head is still tells of the trunk.
    seen["torso"] = trunk if trunk.any() else face
    seen["arm_left"], seen["arm_right"] = left, right
    seen["arms"] = seen["hands"] = np.fmax(left, right)
    seen["whole_body"] = np.fmax(face, seen["hands"])
    return seen


def _speed(*axes: Floats) -> Floats:
    """(frames,) length of the velocity per second, by central differences of the smoothed series."""
    rates = []
    for axis in axes:
        rate = np.full(len(axis), np.nan)
        calm = smoothed(axis)
        rate[_REACH:-_REACH] = (calm[2 * _REACH :] - calm[: -2 * _REACH]) * FPS / (2 * _REACH)
        rates.append(rate)
    speed: Floats = np.linalg.norm(rates, axis=0)
    return speed
