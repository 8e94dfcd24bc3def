"""Motion quantities: the curve that shows each action class, and the rules that find its movements in it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from xsheet.annotate.motion.annotator import MotionSettings
from xsheet.schemas import vocab

_POSTURE_FACTOR = 1.8  # on the smallest nod: a head that is lowered or raised for longer


@dataclass(frozen=True, slots=True)
class MotionQuantity:
    """A motion curve that shows an action class, and the rules that join its movements, as in the motion annotator."""

    curve: str  # field of MotionCurves; for wrists their distance from rest
    track: vocab.Track
    min_amplitude: float  # smallest movement that counts, in the unit of the curve
    jitter_frames: float
    max_gap_s: float = 0.0
    max_hold_s: float = 1.5
    required_sign: int = 0  # 1: only upward movements count, -1: only downward
    posture_after_s: float = math.inf  # a longer movement out and back is a posture
    posture_amplitude_factor: float = math.inf  # factor on min_amplitude for a posture
    required_action: vocab.Action | None = None  # class whose detector must also respond
    max_segments: int | None = None  # of a missed movement: eyes that look away go and come back; more is drift


@dataclass(frozen=True, slots=True)
class MotionQuantities:
    """The quantities of one set of rules."""

    by_action: Mapping[vocab.Action, MotionQuantity]
    by_arm: Mapping[vocab.Track, MotionQuantity]
    # Without the mouth: speech moves it all the time. Movements of the torso from the size at which the
    # annotator names them: smaller ones were not true of real people (docs/log/annotate.md#real-people).
    missable: tuple[MotionQuantity, ...]

    def find(self, action: vocab.Action, track: vocab.Track) -> MotionQuantity | None:
        """The quantity that shows a class on its track; None if none is measured."""
        return self.by_arm.get(track) or self.by_action.get(action)


@lru_cache(maxsize=8)
def motion_quantities(limits: MotionSettings) -> MotionQuantities:
    """The quantities with the limits of the motion annotator."""
    head, face, torso, arms = limits.head, limits.face, limits.torso, limits.arms
    pitch = MotionQuantity(
        "pitch_deg", "head", head.min_pitch_deg, 0.7, max_gap_s=0.2, posture_after_s=head.max_nod_cycle_s,
        posture_amplitude_factor=_POSTURE_FACTOR,
    )  # fmt: skip
    yaw = MotionQuantity("yaw_deg", "head", head.min_yaw_deg, 0.7, max_gap_s=0.2)
    roll = MotionQuantity("roll_deg", "head", head.min_roll_deg, 0.7, max_gap_s=0.2)
    gaze = MotionQuantity("gaze_x", "gaze", face.min_gaze, 1.0, max_hold_s=2.0, max_segments=2)
    lids = MotionQuantity(
        "eye_openness", "gaze", 1 - face.closed_eye_openness, 0.5, max_hold_s=2.0, required_sign=-1,
        required_action="blink_long",
    )  # fmt: skip
    brows = MotionQuantity("brow_raise", "brows", face.min_brow_raise, 1.5, max_hold_s=1.2, required_sign=1)
    smile = MotionQuantity("smile", "face", face.min_smile, 4.0, max_hold_s=8.0, required_sign=1)
    mouth = MotionQuantity("mouth_opening", "mouth", face.min_mouth_opening, 0.7, max_hold_s=3.0, required_sign=1)
    lips = MotionQuantity("mouth_width", "mouth", face.min_pursing, 2.0, max_hold_s=8.0, required_sign=-1)
    size = MotionQuantity("log_head_height", "torso", torso.min_lean, 2.5, max_hold_s=2.5)
    sway = MotionQuantity("torso_sway", "torso", torso.min_sway, 2.0, max_gap_s=0.2, max_hold_s=2.5)
    rise = MotionQuantity(
        "shoulder_rise", "torso", torso.min_shrug, 1.0, required_sign=1, posture_after_s=torso.max_shrug_s
    )
    left, right = (
        MotionQuantity(f"wrist_{side}", track, arms.min_reach, 1.0, max_hold_s=arms.max_hold_s)
        for track, side in vocab.SIDED_TRACK.items()
    )
    return MotionQuantities(
        by_action={
            "nod": pitch, "lower_head": pitch, "raise_head": pitch, "shake_head": yaw, "turn_head": yaw,
            "tilt_head": roll, "look_away": gaze, "blink_long": lids, "close_eyes": lids, "look_down": lids,
            "raise_brows": brows, "purse_lips": lips,
            "smile": smile, "open_mouth": mouth, "lean_in": size, "lean_back": size, "sway": sway, "shrug": rise,
        },
        by_arm={"arm_left": left, "arm_right": right},
        missable=(
            pitch, yaw, roll, gaze, lids, brows, smile,
            *(_named(one, torso.naming_ratio) for one in (size, sway, rise)), left, right,
        ),
    )  # fmt: skip


def _named(quantity: MotionQuantity, ratio: float) -> MotionQuantity:
    return replace(quantity, min_amplitude=ratio * quantity.min_amplitude)
