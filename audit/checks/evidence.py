"""Measured: the signals of one clip, and what the checks ask of them again and again, reckoned once.

Speeds are kept as running sums, so that the mean of any stretch is two look-ups; the movements of a quantity are found
when a phase first claims one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.annotator import MotionSettings
from xsheet.annotate.motion.arm_rules import distance_from_rest
from xsheet.annotate.motion.curves import FPS, MOVING, Floats, course_of, speeds
from xsheet.annotate.motion.detectors import shows
from xsheet.annotate.motion.segments import Chain, chains, legs, usual_range
from xsheet.annotate.speech.relation import voice_spans
from xsheet.schemas import vocab
from xsheet.schemas.clip import Signals
from xsheet.schemas.time import Span

_STILL_FLOOR = 0.1  # of a small movement's speed; planted series stand perfectly still
_STANDS_OUT = 2.0  # times the usual range, as the motion annotator's
_HELD_TIMES = 1.5  # as the motion annotator's for expressions
_LEAST_FRAMES = 10  # of a correlation
_LIMITS = MotionSettings()


@dataclass(frozen=True, slots=True)
class Quantity:
    """A series in which a class of action shows, and how its movements form one action (as the motion annotator's)."""

    series: str  # of Course, or the wrist whose distance from rest it is
    track: vocab.Track
    least: float  # leg that counts, in the unit of the series
    jitter_frames: float
    gap_s: float = 0.0
    hold_s: float = 1.5
    sign: int = 0  # 1: only upwards is an action, -1: only downwards
    slow_s: float = math.inf  # a way out and back that takes longer is a posture,
    slow_times: float = math.inf  # and counts from so many times the least
    shows: vocab.Action | None = None  # a class that must show as well


_PITCH = Quantity(
    "pitch_deg", "head", _LIMITS.head.least_pitch_deg, 0.7, gap_s=0.2, slow_s=_LIMITS.head.slowest_nod_s,
    slow_times=_LIMITS.head.least_posture,
)  # fmt: skip
_YAW = Quantity("yaw_deg", "head", _LIMITS.head.least_yaw_deg, 0.7, gap_s=0.2)
_ROLL = Quantity("roll_deg", "head", _LIMITS.head.least_roll_deg, 0.7, gap_s=0.2)
_GAZE = Quantity("gaze_x", "gaze", _LIMITS.face.least_gaze, 1.0, hold_s=2.0)
_LIDS = Quantity("lids", "gaze", 1 - _LIMITS.face.shut_lids, 0.5, hold_s=2.0, sign=-1, shows="blink_long")
_BROWS = Quantity("brows", "brows", _LIMITS.face.least_brows, 1.5, hold_s=1.2, sign=1)
_SMILE = Quantity("smile", "face", _LIMITS.face.least_smile, 4.0, hold_s=8.0, sign=1)
_MOUTH = Quantity("mouth", "mouth", _LIMITS.face.least_mouth, 0.7, hold_s=3.0, sign=1)
_SIZE = Quantity("size", "torso", _LIMITS.body.least_size, 2.5, hold_s=2.5)
_SWAY = Quantity("sway", "torso", _LIMITS.body.least_sway, 2.0, gap_s=0.2, hold_s=2.5)
_RISE = Quantity("rise", "torso", _LIMITS.body.least_shrug, 1.0, sign=1, slow_s=_LIMITS.body.longest_shrug_s)
_LEFT = Quantity("wrist_left", "arm_left", _LIMITS.arms.least_reach, 1.0, hold_s=_LIMITS.arms.longest_hold_s)
_RIGHT = Quantity("wrist_right", "arm_right", _LIMITS.arms.least_reach, 1.0, hold_s=_LIMITS.arms.longest_hold_s)
# Speech moves the mouth all the time, so a mouth that moves is no missed action.
_WATCHED = (_PITCH, _YAW, _ROLL, _GAZE, _LIDS, _BROWS, _SMILE, _SIZE, _SWAY, _RISE, _LEFT, _RIGHT)
_QUANTITY: Mapping[vocab.Action, Quantity] = {
    "nod": _PITCH, "lower_head": _PITCH, "raise_head": _PITCH, "shake_head": _YAW, "turn_head": _YAW,
    "tilt_head": _ROLL, "look_away": _GAZE, "blink_long": _LIDS, "close_eyes": _LIDS, "raise_brows": _BROWS,
    "smile": _SMILE, "open_mouth": _MOUTH, "lean_in": _SIZE, "lean_back": _SIZE, "sway": _SWAY, "shrug": _RISE,
}  # fmt: skip
_OF_ARM: Mapping[vocab.Track, Quantity] = {"arm_left": _LEFT, "arm_right": _RIGHT}


def quantity_of(action: vocab.Action, track: vocab.Track) -> Quantity | None:
    """The series in which a class shows on its track; None where none is measured."""
    return _OF_ARM.get(track) or _QUANTITY.get(action)


class Measured:
    """One clip as it was measured. Frames are those of 25 fps."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.course = course_of(signals)
        self.speed = speeds(self.course)
        self._sums: dict[vocab.Track, tuple[Floats, NDArray[np.int64]]] = {}
        self._values: dict[Quantity, Floats] = {}
        self._large: list[tuple[Quantity, range, Chain]] | None = None
        self._usual: dict[Quantity, float] = {}
        self._spans: dict[tuple[Quantity, float], list[tuple[float, float]]] = {}
        self._chains: dict[tuple[Quantity, float], list[Chain]] = {}

    @cached_property
    def voice(self) -> tuple[Span, ...] | None:
        """Stretches of voice; None where the sound was not measured."""
        return voice_spans(self.signals) if self.signals.voice else None

    def seen_share(self, track: vocab.Track, frames: range) -> float | None:
        """Share of the frames in which a track is seen; None where the series do not hold its motion."""
        seen = self.course.seen.get(track)
        if seen is None or (track == "torso" and not self._has_trunk):
            return None
        part = seen[frames.start : frames.stop]
        return float(part.mean()) if len(part) else None

    @cached_property
    def _has_trunk(self) -> bool:
        # A head whose size never changes by anything was not measured but set.
        return bool(np.isfinite(self.course.rise).any() or np.ptp(np.nan_to_num(self.course.size)) > 0)

    def mean_speed(self, track: vocab.Track, frames: range) -> float | None:
        """Mean speed in a stretch; None where the track is not seen in it."""
        total, known = self._sums_of(track)
        start, stop = frames.start, min(frames.stop, len(known) - 1)
        count = known[stop] - known[start] if start < stop else 0
        return float((total[stop] - total[start]) / count) if count else None

    def still_speed(self, track: vocab.Track, busy: NDArray[np.bool_]) -> float | None:
        """Median speed outside the frames that are busy, at least a tenth of a small movement's; None without any."""
        outside = self.speed[track][~busy]
        outside = np.sort(outside[np.isfinite(outside)])  # a third of the time of np.median
        return max(float(outside[len(outside) // 2]), _STILL_FLOOR * MOVING[track]) if len(outside) else None

    def energy_gain(self, track: vocab.Track, frames: range, busy: NDArray[np.bool_]) -> float | None:
        """Share of the motion in a stretch less its share of the time, frames of other phases left out of both."""
        speed = self.speed[track]
        counted = ~busy & np.isfinite(speed)
        counted[frames.start : frames.stop] = np.isfinite(speed[frames.start : frames.stop])
        total, inside = float(speed[counted].sum()), self.mean_speed(track, frames)
        if inside is None or total <= 0:
            return None
        within = int(counted[frames.start : frames.stop].sum())
        return within * inside / total - within / int(counted.sum())

    def strength(self, action: vocab.Action, frames: range, side: vocab.Laterality) -> float | None:
        """How clearly a class shows in a stretch, as a multiple of the least that counts."""
        return shows(self.course, action, frames, side=side, limits=_LIMITS)

    def values(self, quantity: Quantity) -> Floats:
        """(frames,) of a quantity."""
        if quantity not in self._values:
            found: Floats = getattr(self.course, quantity.series)
            self._values[quantity] = distance_from_rest(found) if found.ndim == 2 else found
        return self._values[quantity]

    def movements(self, quantity: Quantity, *, scale: float) -> list[Chain]:
        """Movements of a quantity whose legs have `scale` times the least size, in order."""
        key = (quantity, scale)
        if key not in self._chains:
            values = self.values(quantity)
            found = legs(values, least=scale * quantity.least, jitter_frames=quantity.jitter_frames)
            self._chains[key] = list(
                chains(found, frames=len(values), gap_s=quantity.gap_s, hold_s=quantity.hold_s,
                       outwards=quantity.series.startswith("wrist"))
            )  # fmt: skip
        return self._chains[key]

    def movement_spans(self, quantity: Quantity, *, scale: float) -> list[tuple[float, float]]:
        """(start, end) in frames of all that may be one movement, with and without what leads to it and after it."""
        key = (quantity, scale)
        if key not in self._spans:
            found = self.movements(quantity, scale=scale)
            self._spans[key] = sorted({(one.start, one.end) for chain in found for one in (chain, chain.core)})
        return self._spans[key]

    def large_movements(self, scale: float, least_s: float) -> list[tuple[Quantity, range, Chain]]:
        """Movements that are large enough for their pace, go the right way and come back, of all quantities."""
        if self._large is None:
            self._large = [
                (quantity, frames, chain)
                for quantity in _WATCHED
                if self._ranges_over(self.values(quantity), scale * quantity.least)
                for chain in self.movements(quantity, scale=1.0)
                if len(frames := range(max(0, round(chain.start)), min(len(self.course), round(chain.end))))
                >= least_s * FPS
                and _is_large(chain, len(frames) / FPS, quantity, scale * quantity.least)
            ]
        return self._large

    def stands_out(self, quantity: Quantity, frames: range, chain: Chain) -> bool:
        """Whether a movement is more than what this speaker always does, and shows as the class that it has to be."""
        if quantity not in self._usual:
            self._usual[quantity] = usual_range(self.values(quantity))
        if abs(chain.peak) < _STANDS_OUT * self._usual[quantity]:
            return False
        return quantity.shows is None or (self.strength(quantity.shows, frames, "none") or 0.0) >= 1.0

    def _ranges_over(self, values: Floats, least: float) -> bool:
        """A look at the range spares most quantities the search."""
        known = values[np.isfinite(values)]
        return len(known) > 0 and float(known.max() - known.min()) >= least

    @cached_property
    def mouth_correlation(self) -> float | None:
        """Pearson's r of mouth opening with loudness over the frames that have both; None where either stands still."""
        mouth = self.course.mouth
        loud = np.array(self.signals.energy_db or [None] * len(mouth), np.float64)
        both = np.isfinite(mouth) & np.isfinite(loud)
        if both.sum() < _LEAST_FRAMES or np.ptp(mouth[both]) == 0 or np.ptp(loud[both]) == 0:
            return None
        return float(np.corrcoef(mouth[both], loud[both])[0, 1])

    def _sums_of(self, track: vocab.Track) -> tuple[Floats, NDArray[np.int64]]:
        if track not in self._sums:
            speed = self.speed[track]
            known = np.isfinite(speed)
            total = np.concatenate(([0.0], np.cumsum(np.where(known, speed, 0.0))))
            self._sums[track] = total, np.concatenate(([0], np.cumsum(known)))
        return self._sums[track]


def _is_large(chain: Chain, seconds: float, quantity: Quantity, least: float) -> bool:
    if not chain.returns or (quantity.sign and quantity.sign * chain.peak < 0):
        return False
    cycle_s = seconds / max(1, len(chain.legs) // 2)
    # A pose that is held to the end of the clip may as well be drift.
    times = _HELD_TIMES if chain.until is not None else quantity.slow_times if cycle_s > quantity.slow_s else 1.0
    return abs(chain.peak) >= times * least
