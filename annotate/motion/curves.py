"""The course of a clip: its signals as arrays to reckon with, the speed of every track, and where movement begins.

    course = motion_curves(signals)
    speed = speeds(course)["head"]                    # deg/s per frame, NaN where the head is not seen
    spans = moving(speed, track="head")               # stretches of movement, by hysteresis
    grounded = motion_ratio(speed, inside=range(40, 60))

Left, right and all signs are the subject's own, as in xsheet.schemas.clip.Signals. Arrays have one value per frame of
25 fps. Motion of the camera and of what carries a part is taken off: angles know no camera, hands stand beside the
shoulders, and what drifts evenly across the picture stands still.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.series import (
    MAX_GAP_FRAMES,
    Floats,
    fill_gaps,
    finite_median,
    interpolate_hidden,
    speed_of,
    subtract_median,
    true_ranges,
)
from xsheet.curate.body.motion import shoulder_width
from xsheet.schemas import vocab
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import Series

GROUND_TRUTH_EXTRACTOR = "truth"  # the extractor of planted series

_CLOSED_OPENNESS = (
    0.55  # lids below this share of their usual opening hide the iris, and the mesh then pulls gaze and brows along
)
VOICED_THRESHOLD = 0.5  # probability of voice activity from which a frame counts as voiced
# Planted series are 0..1. What the mesh measures at 1, by least squares on the puppet (docs/log/annotate.md#motion).
_GROUND_TRUTH_SCALE = {"mouth_open": 0.16, "brow_raise": 0.033, "gaze_x": 0.5, "gaze_y": 0.5}
_HIP_TO_FACE = 1.9  # shoulder widths: the radius on which a swaying trunk carries the head
_SETTLING_FRAMES = 8  # Pose's filter needs these to find the body
_DELAY_FRAMES = 2  # and it follows by these


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MotionCurves:
    """What each part of a body does over time. (frames,) arrays unless said otherwise; NaN where it is not known."""

    yaw_deg: Floats
    pitch_deg: Floats
    roll_deg: Floats  # beside the trunk's own sway
    gaze_x: Floats  # -1..1
    gaze_y: Floats  # -1..1
    eye_openness: Floats  # opening of both eyes, 1 = as usual in this clip
    brow_raise: Floats  # face heights above the eyes
    smile: Floats  # 0..1
    mouth_opening: Floats  # lip distance, face heights
    log_head_height: Floats  # log of the head's height: grows by 0.1 when the head comes a tenth nearer
    torso_sway: Floats  # trunk to the own left, shoulder widths
    shoulder_rise: Floats  # of both shoulders together, shoulder widths
    wrist_left: Floats  # (frames, 2): outwards and up from the middle of the shoulders, shoulder widths
    wrist_right: Floats  # (frames, 2): the same for the other hand, outwards is away from the trunk too
    voiced: NDArray[np.bool_]
    visibility: Mapping[vocab.Track, Floats]  # share of the track that is visible, 0..1

    def __len__(self) -> int:
        return len(self.yaw_deg)


# Full speed of a small but deliberate movement; below it lies what a living body at rest does.
MOVING_SPEED: dict[vocab.Track, float] = {
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


def motion_curves(signals: Signals) -> MotionCurves:
    """Signals as arrays: gaps filled, blinks bridged, leaks, camera and carrying parts taken off."""
    raw = {name: _series_array(signals, name) for name in _FACE}
    lids = _eye_openness(raw["eye_left_open"], raw["eye_right_open"])
    raw |= {name: interpolate_hidden(raw[name], _near_closed(lids)) for name in ("gaze_x", "gaze_y", "brow_raise")}
    face = raw if signals.extractor == GROUND_TRUTH_EXTRACTOR else remove_crosstalk(raw)
    width, drift = shoulder_width(signals) or np.nan, _drift(signals)
    left, right, wrist_left, wrist_right = (_joint(signals, name, drift) for name in _JOINTS)
    middle = (left + right) / 2
    sway = subtract_median(face["head_x"] - drift[:, 0]) / width
    rise = np.minimum(subtract_median(-left[:, 1]), subtract_median(-right[:, 1])) / width
    return MotionCurves(
        yaw_deg=face["yaw_deg"],
        pitch_deg=face["pitch_deg"],
        roll_deg=_without_sway(face["roll_deg"], sway),
        gaze_x=face["gaze_x"],
        gaze_y=face["gaze_y"],
        eye_openness=lids,
        brow_raise=face["brow_raise"],
        smile=face["smile"],
        mouth_opening=face["mouth_open"],
        log_head_height=np.log(np.where(face["head_height"] > 0, face["head_height"], np.nan)),
        torso_sway=sway,
        shoulder_rise=rise,
        wrist_left=(wrist_left - middle) * (1, -1) / width,
        wrist_right=(wrist_right - middle) * (-1, -1) / width,
        voiced=_voiced(signals),
        visibility=_visibility(signals),
    )


def track_speeds(curves: MotionCurves) -> dict[vocab.Track, Floats]:
    """(frames,) speed of every track in the unit of MOVING; NaN where the track is not seen."""
    c = curves
    found: dict[vocab.Track, Floats] = {
        "head": speed_of(c.yaw_deg, c.pitch_deg, c.roll_deg),
        "gaze": np.fmax(speed_of(c.gaze_x, c.gaze_y), speed_of(c.eye_openness)),
        "brows": speed_of(c.brow_raise),
        "mouth": speed_of(c.mouth_opening),
        "face": speed_of(c.smile),
        "torso": np.fmax(speed_of(c.log_head_height), np.fmax(speed_of(c.torso_sway), speed_of(c.shoulder_rise))),
        "arm_left": speed_of(*c.wrist_left.T),
        "arm_right": speed_of(*c.wrist_right.T),
    }
    found["arms"] = found["hands"] = np.fmax(found["arm_left"], found["arm_right"])
    found["whole_body"] = np.fmax.reduce(
        [speed / MOVING_SPEED[track] for track, speed in found.items() if track != "mouth"]
    )
    return found


def moving_ranges(speed: Floats, *, track: vocab.Track, low_ratio: float = 0.3) -> list[range]:
    """Stretches of frames in which a track moves: it passes MOVING in each, and `off` times that throughout."""
    high = np.nan_to_num(speed) >= MOVING_SPEED[track]
    low = np.nan_to_num(speed) >= low_ratio * MOVING_SPEED[track]
    return [stretch for stretch in true_ranges(low) if high[stretch.start : stretch.stop].any()]


def motion_ratio(speed: Floats, frames: range, *, other_phases: NDArray[np.bool_] | None = None) -> float | None:
    """Mean speed inside a stretch by the median speed outside; None where either is not seen.

    Args:
        speed: (frames,) of the track.
        frames: frames of the phase.
        other_phases: (frames,) frames of other phases of the track, which are no rest; None is none.
    """
    outside = np.isfinite(speed)
    outside[frames.start : frames.stop] = False
    if other_phases is not None:
        outside &= ~other_phases
    moved = speed[frames.start : frames.stop]
    if not np.isfinite(moved).any() or not outside.any():
        return None
    still = finite_median(speed[outside])
    return float(np.nanmean(moved)) / max(still, 1e-6)


def hand_motion_share(curves: MotionCurves, frames: range, *, left: bool) -> float | None:
    """Share of the named hand in the motion of both inside a stretch, 0..1; None where no hand is seen to move."""
    found = track_speeds(curves)
    moved = [float(np.nansum(found[t][frames.start : frames.stop])) for t in ("arm_left", "arm_right")]
    return moved[0 if left else 1] / sum(moved) if sum(moved) > 0 else None


_JOINTS = ("shoulder_left", "shoulder_right", "wrist_left", "wrist_right")
_FACE = (
    "yaw_deg", "pitch_deg", "roll_deg", "gaze_x", "gaze_y", "eye_left_open", "eye_right_open", "brow_raise", "smile",
    "mouth_open", "mouth_wide", "head_x", "head_y", "head_height",
)  # fmt: skip


def _series_array(signals: Signals, name: str) -> Floats:
    """(frames,) a series in the unit that the mesh measures, its short gaps filled; NaN where it was not measured."""
    series: Series = getattr(signals, name)
    if not series:
        return np.full(signals.frames, np.nan)
    values = np.array(series, np.float64)  # None becomes NaN
    return fill_gaps(values) * (
        _GROUND_TRUTH_SCALE.get(name, 1.0) if signals.extractor == GROUND_TRUTH_EXTRACTOR else 1.0
    )


def _voiced(signals: Signals) -> NDArray[np.bool_]:
    """Where there is voice; the short silences inside words belong to it."""
    voiced = np.nan_to_num(_series_array(signals, "voice")) > VOICED_THRESHOLD
    for gap in true_ranges(~voiced):
        if len(gap) <= MAX_GAP_FRAMES and gap.start > 0 and gap.stop < len(voiced):
            voiced[gap.start : gap.stop] = True
    return voiced


def _without_sway(roll_deg: Floats, sway: Floats) -> Floats:
    """Tilt of the head without what the swaying trunk explains of it; a step aside without a tilt adds none."""
    roll = subtract_median(roll_deg)
    carried = np.degrees(np.nan_to_num(sway) / _HIP_TO_FACE)
    return np.asarray(roll - np.clip(carried, np.minimum(roll, 0), np.maximum(roll, 0)))


def _position(signals: Signals, name: str) -> Floats:
    """(frames, 2) picture heights; x to the own left for a subject that faces the camera, y down."""
    return np.stack([_series_array(signals, f"{name}_{axis}") for axis in "xy"], -1)


def _joint(signals: Signals, name: str, drift: Floats) -> Floats:
    """(frames, 2) a joint that Pose follows, without the drift and at the time when it was there."""
    place = _position(signals, name) - drift
    if name.startswith("shoulder"):
        place[:_SETTLING_FRAMES] = place[min(_SETTLING_FRAMES, len(place) - 1)]
    late = min(_DELAY_FRAMES, len(place))
    return np.concatenate((place[late:], np.repeat(place[-1:], late, axis=0)))


def _drift(signals: Signals) -> Floats:
    """(frames, 2) how far head and shoulders have moved evenly: with the camera, or settling slowly."""
    steps = [np.diff(_position(signals, name), axis=0) for name in ("head", "shoulder_left", "shoulder_right")]
    known = [[finite_median(axis) for axis in step.T] for step in steps if np.isfinite(step).any(axis=0).all()]
    pace = np.mean(known, axis=0) if known else np.zeros(2)
    return np.asarray(np.arange(signals.frames)[:, None] * pace)


def _eye_openness(left: Floats, right: Floats) -> Floats:
    opening = (left + right) / 2
    known = opening[np.isfinite(opening)]
    usual = np.percentile(known, 75) if len(known) else np.nan
    return opening / max(float(usual), 1e-6)


def _near_closed(lids: Floats) -> NDArray[np.bool_]:
    shut = np.nan_to_num(lids, nan=1.0) < _CLOSED_OPENNESS
    return np.convolve(shut, np.ones(3), mode="same")[: len(shut)] > 0


def _visibility(signals: Signals) -> dict[vocab.Track, Floats]:
    face, left, right = (
        np.clip(np.nan_to_num(_series_array(signals, f"{part}_visible")), 0, 1)
        for part in ("face", "hand_left", "hand_right")
    )
    shoulders = _position(signals, "shoulder_left") + _position(signals, "shoulder_right")
    trunk = np.where(np.isfinite(shoulders[:, 0] + shoulders[:, 1]), 1.0, 0.0)
    of_face: tuple[vocab.Track, ...] = ("head", "gaze", "brows", "mouth", "face")
    seen: dict[vocab.Track, Floats] = dict.fromkeys(of_face, face)
    # A tight crop hides the shoulders; how near the head is still tells of the trunk.
    seen["torso"] = trunk if trunk.any() else face
    seen["arm_left"], seen["arm_right"] = left, right
    seen["arms"] = seen["hands"] = np.fmax(left, right)
    seen["whole_body"] = np.fmax(face, seen["hands"])
    return seen


_HEIGHT_BY_MOUTH = 0.8  # share by which the box of a face grows per face height of mouth opening
_SHIFT_BY_YAW, _SHIFT_BY_ROLL = 0.24, 0.0053  # face heights, for sin(yaw) = 1 and per degree: the mesh is a mask
_BROWS_BY_MOUTH, _BROWS_BY_YAW, _BROWS_BY_PITCH = -0.046, -0.0002, -0.0006  # face heights, per degree
_SMILE_BY_WIDTH, _SMILE_BY_MOUTH = 3.6, 0.9  # speech spreads the lips, a smile raises their corners
_GAZE_BY_YAW = -0.008  # per degree: an eye seen from the side is narrower
_GAZE_WEIGHT = 400.0  # deg²: as much as a turn by some 20 degrees tells of one face


def remove_crosstalk(raw: Mapping[str, Floats]) -> dict[str, Floats]:
    """Series of a face by their names in Signals, each without what the others add to it."""
    yaw, pitch, roll, mouth = (raw[name] for name in ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open"))
    height = raw["head_height"] / (1 + _HEIGHT_BY_MOUTH * mouth)
    wide = raw["mouth_wide"] if np.isfinite(raw["mouth_wide"]).any() else np.zeros_like(mouth)
    return {
        **raw,
        "head_height": height,
        "head_x": raw["head_x"] - (_SHIFT_BY_YAW * np.sin(np.radians(yaw)) + _SHIFT_BY_ROLL * roll) * height,
        "head_y": raw["head_y"] - _HEIGHT_BY_MOUTH / 2 * mouth * height,
        "gaze_x": raw["gaze_x"] - _gaze_by_yaw(raw["gaze_x"], yaw) * yaw,
        "brow_raise": raw["brow_raise"]
        - (_BROWS_BY_MOUTH * mouth + _BROWS_BY_YAW * np.abs(yaw) + _BROWS_BY_PITCH * pitch),
        "smile": raw["smile"] - _SMILE_BY_WIDTH * wide - _SMILE_BY_MOUTH * mouth,
    }


def _gaze_by_yaw(gaze: Floats, yaw: Floats) -> float:
    """The slope of fast changes of gaze on those of yaw, drawn towards the puppets': faces differ."""
    turned, looked = yaw[2:] - yaw[:-2], gaze[2:] - gaze[:-2]
    both = np.isfinite(turned + looked)
    weight = float((turned[both] ** 2).sum()) + _GAZE_WEIGHT
    slope = (float((turned[both] * looked[both]).sum()) + _GAZE_WEIGHT * _GAZE_BY_YAW) / weight
    return min(max(slope, 3 * _GAZE_BY_YAW), 0.0)
