"""Motion curves of a clip: its signals as corrected arrays, the speed of every track, and ranges of motion.

    curves = motion_curves(signals)
    speed = track_speeds(curves)["head"]               # deg/s per frame, NaN where the head is not visible
    ranges = moving_ranges(speed, track="head")        # frames in motion, by hysteresis
    ratio = motion_ratio(speed, range(40, 60))

Left, right and all signs are the subject's own, as in xsheet.schemas.clip.Signals. Arrays have one value per frame of
25 fps. Motion of the camera and of a carrying part is subtracted: angles are independent of the camera, hands are
relative to the shoulders, and a constant drift across the picture is removed. Crosstalk between face measurements is
subtracted too; its coefficients are least squares on the puppet (docs/log/annotate.md#motion).
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
    gaussian_smooth,
    interpolate_hidden,
    speed_of,
    subtract_median,
    true_ranges,
)
from xsheet.curate.body.motion import shoulder_width
from xsheet.schemas import vocab
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import Series

GROUND_TRUTH_EXTRACTOR = "truth"  # extractor name of ground-truth series

_CLOSED_OPENNESS = 0.55  # below this share of their usual opening, lids hide the iris and distort gaze and brows
VOICED_THRESHOLD = 0.5  # probability of voice activity from which a frame counts as voiced
# Ground-truth series are 0..1; this is what the mesh measures at 1 (docs/log/annotate.md#motion).
_GROUND_TRUTH_SCALE = {"mouth_open": 0.16, "brow_raise": 0.033, "gaze_x": 0.5, "gaze_y": 0.5}
_HIP_TO_FACE = 1.9  # shoulder widths: the radius on which a swaying trunk carries the head
_SETTLING_FRAMES = 8  # the pose filter settles within these
_DELAY_FRAMES = 2  # delay of the pose filter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MotionCurves:
    """Curves of all body parts; (frames,) arrays unless noted, NaN where unknown."""

    yaw_deg: Floats
    pitch_deg: Floats
    roll_deg: Floats  # torso sway subtracted
    gaze_x: Floats  # -1..1
    gaze_y: Floats  # -1..1
    eye_openness: Floats  # opening of both eyes, 1 = as usual in this clip
    brow_raise: Floats  # face heights above the eyes
    smile: Floats  # 0..1
    mouth_opening: Floats  # lip distance, face heights
    mouth_width: Floats  # distance of the mouth's corners, face heights
    log_head_height: Floats  # log of the head's height: grows by 0.1 when the head comes a tenth nearer
    head_shift_x: Floats  # place of the face in the picture, face heights to the own left, drift removed
    head_shift_y: Floats  # the same upwards, motion of the jaw removed
    torso_sway: Floats  # trunk to the own left, shoulder widths
    shoulder_rise: Floats  # of both shoulders together, shoulder widths
    wrist_left: Floats  # (frames, 2): outwards and up from the middle of the shoulders, shoulder widths
    wrist_right: Floats  # (frames, 2): the same for the other hand, outwards is away from the trunk too
    voiced: NDArray[np.bool_]
    visibility: Mapping[vocab.Track, Floats]  # share of the track that is visible, 0..1

    log_shoulder_width: Floats  # log of the distance of the shoulders: grows when the trunk comes nearer
    shoulder_sway: Floats  # middle of the shoulders to the own left, shoulder widths
    open_left: Floats  # mean extension of the fingers, 0 = fist, 1 = straight; NaN where no hand is found
    open_right: Floats

    def __len__(self) -> int:
        return len(self.yaw_deg)

    def head_turning_deg(self, frames: range, *, margin: int = 2) -> float:
        """Largest range of a head angle around some frames; 0 where the head is not visible."""
        inside = slice(max(0, frames.start - margin), frames.stop + margin)
        ranges = [
            np.ptp(gaussian_smooth(a[inside][np.isfinite(a[inside])]))
            for a in (self.yaw_deg, self.pitch_deg, self.roll_deg)
            if np.isfinite(a[inside]).any()
        ]
        return float(max(ranges, default=0.0))


# Peak speed of a small deliberate movement, by track; a body at rest stays below it.
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
    """Signals as arrays: short gaps and blinks interpolated; crosstalk, camera and carrying parts subtracted."""
    raw = {name: _series_array(signals, name) for name in _FACE}
    lids = _eye_openness(raw["eye_left_open"], raw["eye_right_open"])
    raw |= {name: interpolate_hidden(raw[name], _near_closed(lids)) for name in ("gaze_x", "gaze_y", "brow_raise")}
    is_planted = signals.extractor == GROUND_TRUTH_EXTRACTOR
    face = raw if is_planted else remove_crosstalk(raw)
    width, drift = shoulder_width(signals) or np.nan, _drift(signals)
    left, right, wrist_left, wrist_right = (_joint(signals, name, drift) for name in _JOINTS)
    middle = (left + right) / 2
    voiced = _voiced(signals)
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
        smile=face["smile"] if voiced.any() else raw["smile"],  # who does not speak spreads the lips to smile
        mouth_opening=face["mouth_open"],
        mouth_width=np.full(signals.frames, np.nan) if is_planted else raw["mouth_wide"],  # planted: speech alone
        log_head_height=np.log(np.where(face["head_height"] > 0, face["head_height"], np.nan)),
        head_shift_x=(raw["head_x"] - drift[:, 0]) / finite_median(raw["head_height"]),
        head_shift_y=(drift[:, 1] - face["head_y"]) / finite_median(raw["head_height"]),
        torso_sway=sway,
        shoulder_rise=rise,
        wrist_left=(wrist_left - middle) * (1, -1) / width,
        wrist_right=(wrist_right - middle) * (-1, -1) / width,
        log_shoulder_width=np.log(np.maximum(np.linalg.norm(left - right, axis=1), 1e-6)),
        shoulder_sway=subtract_median(middle[:, 0]) / width,
        voiced=voiced,
        visibility=_visibility(signals),
        open_left=_series_array(signals, "hand_left_open"),
        open_right=_series_array(signals, "hand_right_open"),
    )


def track_speeds(curves: MotionCurves) -> dict[vocab.Track, Floats]:
    """(frames,) speed of every track in the units of MOVING_SPEED; NaN where it is not visible."""
    c = curves
    speeds: dict[vocab.Track, Floats] = {
        "head": speed_of(c.yaw_deg, c.pitch_deg, c.roll_deg),
        "gaze": np.fmax(speed_of(c.gaze_x, c.gaze_y), speed_of(c.eye_openness)),
        "brows": speed_of(c.brow_raise),
        "mouth": speed_of(c.mouth_opening),
        "face": speed_of(c.smile),
        "torso": np.fmax(speed_of(c.log_head_height), np.fmax(speed_of(c.torso_sway), speed_of(c.shoulder_rise))),
        "arm_left": speed_of(*c.wrist_left.T),
        "arm_right": speed_of(*c.wrist_right.T),
    }
    speeds["arms"] = speeds["hands"] = np.fmax(speeds["arm_left"], speeds["arm_right"])
    speeds["whole_body"] = np.fmax.reduce(
        [speed / MOVING_SPEED[track] for track, speed in speeds.items() if track != "mouth"]
    )
    return speeds


def moving_ranges(speed: Floats, *, track: vocab.Track, low_ratio: float = 0.3) -> list[range]:
    """Ranges of motion by hysteresis: at least `low_ratio` × MOVING_SPEED throughout, MOVING_SPEED once."""
    high = np.nan_to_num(speed) >= MOVING_SPEED[track]
    low = np.nan_to_num(speed) >= low_ratio * MOVING_SPEED[track]
    return [
        frames_in_motion
        for frames_in_motion in true_ranges(low)
        if high[frames_in_motion.start : frames_in_motion.stop].any()
    ]


def motion_ratio(speed: Floats, frames: range, *, other_phases: NDArray[np.bool_] | None = None) -> float | None:
    """Mean speed inside a range divided by the median speed outside; None where either is unknown.

    Args:
        speed: (frames,) of the track.
        frames: frames of the phase.
        other_phases: (frames,) mask of other phases of the track, excluded from the outside.
    """
    outside = np.isfinite(speed)
    outside[frames.start : frames.stop] = False
    if other_phases is not None:
        outside &= ~other_phases
    inside = speed[frames.start : frames.stop]
    if not np.isfinite(inside).any() or not outside.any():
        return None
    baseline = finite_median(speed[outside])
    return float(np.nanmean(inside)) / max(baseline, 1e-6)


def hand_motion_share(curves: MotionCurves, frames: range, *, left: bool) -> float | None:
    """Share of one hand in the motion of both inside a range, 0..1; None if neither moves."""
    speeds = track_speeds(curves)
    inside = [float(np.nansum(speeds[t][frames.start : frames.stop])) for t in ("arm_left", "arm_right")]
    return inside[0 if left else 1] / sum(inside) if sum(inside) > 0 else None


_JOINTS = ("shoulder_left", "shoulder_right", "wrist_left", "wrist_right")
_FACE = (
    "yaw_deg", "pitch_deg", "roll_deg", "gaze_x", "gaze_y", "eye_left_open", "eye_right_open", "brow_raise", "smile",
    "mouth_open", "mouth_wide", "head_x", "head_y", "head_height",
)  # fmt: skip


def _series_array(signals: Signals, name: str) -> Floats:
    """(frames,) a series in the unit of the mesh, short gaps interpolated; NaN where not measured."""
    series: Series = getattr(signals, name)
    if not series:
        return np.full(signals.frames, np.nan)
    values = np.array(series, np.float64)  # None becomes NaN
    return fill_gaps(values) * (
        _GROUND_TRUTH_SCALE.get(name, 1.0) if signals.extractor == GROUND_TRUTH_EXTRACTOR else 1.0
    )


def _voiced(signals: Signals) -> NDArray[np.bool_]:
    """Mask of voiced frames; short pauses inside words count as voiced."""
    voiced = np.nan_to_num(_series_array(signals, "voice")) > VOICED_THRESHOLD
    for gap in true_ranges(~voiced):
        if len(gap) <= MAX_GAP_FRAMES and gap.start > 0 and gap.stop < len(voiced):
            voiced[gap.start : gap.stop] = True
    return voiced


def _without_sway(roll_deg: Floats, sway: Floats) -> Floats:
    """Head tilt minus the part that torso sway explains; never changes its sign."""
    roll = subtract_median(roll_deg)
    carried = np.degrees(np.nan_to_num(sway) / _HIP_TO_FACE)
    return np.asarray(roll - np.clip(carried, np.minimum(roll, 0), np.maximum(roll, 0)))


def _position(signals: Signals, name: str) -> Floats:
    """(frames, 2) picture heights; x to the own left for a subject that faces the camera, y down."""
    return np.stack([_series_array(signals, f"{name}_{axis}") for axis in "xy"], -1)


def _joint(signals: Signals, name: str, drift: Floats) -> Floats:
    """(frames, 2) a joint with drift removed; for shoulders the filter's delay too. Wrists are the hand network's."""
    position = _position(signals, name) - drift
    if not name.startswith("shoulder"):
        return position
    position[:_SETTLING_FRAMES] = position[min(_SETTLING_FRAMES, len(position) - 1)]
    delay = min(_DELAY_FRAMES, len(position))
    return np.concatenate((position[delay:], np.repeat(position[-1:], delay, axis=0)))


def _drift(signals: Signals) -> Floats:
    """(frames, 2) common constant-velocity drift of head and shoulders."""
    steps = [np.diff(_position(signals, name), axis=0) for name in ("head", "shoulder_left", "shoulder_right")]
    known = [[finite_median(axis) for axis in step.T] for step in steps if np.isfinite(step).any(axis=0).all()]
    velocity = np.mean(known, axis=0) if known else np.zeros(2)
    return np.asarray(np.arange(signals.frames)[:, None] * velocity)


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
    face_tracks: tuple[vocab.Track, ...] = ("head", "gaze", "brows", "mouth", "face")
    visible: dict[vocab.Track, Floats] = dict.fromkeys(face_tracks, face)
    # A tight crop hides the shoulders; the size of the head still shows the torso.
    visible["torso"] = trunk if trunk.any() else face
    visible["arm_left"], visible["arm_right"] = left, right
    visible["arms"] = visible["hands"] = np.fmax(left, right)
    visible["whole_body"] = np.fmax(face, visible["hands"])
    return visible


_HEIGHT_BY_MOUTH = 0.8  # share by which the box of a face grows per face height of mouth opening
_SHIFT_BY_YAW, _SHIFT_BY_ROLL = 0.24, 0.0053  # face heights, for sin(yaw) = 1 and per degree: the mesh is a mask
_BROWS_BY_MOUTH, _BROWS_BY_YAW, _BROWS_BY_PITCH = -0.046, -0.0002, -0.0006  # face heights, per degree
_SMILE_BY_WIDTH, _SMILE_BY_MOUTH = 3.6, 0.9  # speech spreads the lips, a smile raises their corners
_GAZE_BY_YAW = -0.008  # per degree: an eye is narrower from the side
_GAZE_WEIGHT = 400.0  # deg²: weight of the prior, equal to a turn by 20 degrees


def remove_crosstalk(raw: Mapping[str, Floats]) -> dict[str, Floats]:
    """Subtract crosstalk between face measurements; `raw` is keyed by field of Signals."""
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
    """Regression slope of gaze on yaw changes, shrunk towards the puppet's slope because faces differ."""
    yaw_step, gaze_step = yaw[2:] - yaw[:-2], gaze[2:] - gaze[:-2]
    both = np.isfinite(yaw_step + gaze_step)
    weight = float((yaw_step[both] ** 2).sum()) + _GAZE_WEIGHT
    slope = (float((yaw_step[both] * gaze_step[both]).sum()) + _GAZE_WEIGHT * _GAZE_BY_YAW) / weight
    return min(max(slope, 3 * _GAZE_BY_YAW), 0.0)
