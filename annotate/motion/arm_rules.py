"""Rules for arms and hands: gesture units from the way of a wrist, and what a unit is.

A unit is a chain of movements that leads a hand away from its rest and back (Kendon, 1980). Its first leg is the
preparation, its last one the retraction; what a wrist does in between says the class. Fingers are not measured, so a
point is no more than an arm held out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from xsheet.annotate.motion.curves import FPS, Course, Floats, frames_between, smoothed
from xsheet.annotate.motion.detected_actions import Act, act_of
from xsheet.annotate.motion.segments import Chain, chains, legs, oscillation
from xsheet.schemas import vocab
from xsheet.schemas.settings import StrictModel

_BEAT_S, _BEAT_PAUSE_S = 0.8, 0.12  # the longest beat, and the longest pause between two
_LOWEST, _REST_SIZE = 0.1, 0.1  # the lowest tenth of a clip, and what lies so near in shoulder widths, is rest
_RAISED = -0.3  # shoulder widths against the shoulders: a hand above the chest


class ArmSettings(StrictModel):
    """The smallest movements of a hand that count. Chosen on hand-made labels (docs/log/annotate.md#motion)."""

    least_reach: float = Field(default=0.2, gt=0, le=3, description="away from its rest, shoulder widths")
    least_swing: float = Field(default=0.1, gt=0, le=2, description="of one way of a wave, beat or clap, the same")
    least_seen: float = Field(default=0.5, ge=0, le=1, description="share of a unit's frames in which the hand is seen")
    longest_hold_s: float = Field(default=2.5, gt=0, le=10, description="a hand still for longer was raised to stay")
    together: float = Field(default=0.5, gt=0, le=1, description="tIoU from which units of both hands are one")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """The way of one hand from rest to rest."""

    side: vocab.Laterality
    wrist: Floats
    chain: Chain
    beats: int = 1  # ways out and back, one after the other

    @property
    def inside(self) -> range:
        return frames_between(self.chain.start, self.chain.end)


def arm_acts(course: Course, settings: ArmSettings) -> Iterator[Act]:
    """Gestures of one hand or of both."""
    left, right = (list(_units(course, side, settings)) for side in ("left", "right"))
    for unit in left:
        other = next((o for o in right if _tiou(unit.chain, o.chain) >= settings.together), None)
        if other is not None:
            right.remove(other)
            yield _of_both(unit, other, settings)
        else:
            yield from _of_one(unit, settings)
    for unit in right:
        yield from _of_one(unit, settings)


def _units(course: Course, side: vocab.Laterality, settings: ArmSettings) -> Iterator[_Unit]:
    wrist = course.wrist_left if side == "left" else course.wrist_right
    seen = course.seen["arm_left" if side == "left" else "arm_right"]
    away = legs(distance_from_rest(wrist), least=settings.least_reach, jitter_frames=1.0)
    ways = chains(away, frames=len(course), gap_s=0.0, hold_s=settings.longest_hold_s, outwards=True)
    for chain, beats in _beats(ways):
        unit = _Unit(side=side, wrist=wrist, chain=chain, beats=beats)
        if float(seen[unit.inside.start : unit.inside.stop].mean()) >= settings.least_seen:
            yield unit


def _beats(ways: Iterable[Chain]) -> list[tuple[Chain, int]]:
    """Ways out and back, short ones that follow one another as one; and how many each holds."""
    joined: list[list[Chain]] = []
    for way in ways:
        before = joined[-1][-1] if joined else None
        if before and _short(before) and _short(way) and way.start - before.end <= _BEAT_PAUSE_S * FPS:
            joined[-1].append(way)
        else:
            joined.append([way])
    return [(replace(some[-1], legs=tuple(leg for way in some for leg in way.legs)), len(some)) for some in joined]


def _short(chain: Chain) -> bool:
    return chain.returns and chain.end - chain.start <= _BEAT_S * FPS


def distance_from_rest(wrist: Floats) -> Floats:
    """(frames,) shoulder widths between a wrist (frames, 2) and where it rests: at its lowest."""
    calm = np.stack([smoothed(axis) for axis in wrist.T], -1)
    known = np.isfinite(calm).all(1)
    if not known.any():
        return np.full(len(wrist), np.nan)
    low = known & (calm[:, 1] <= np.quantile(calm[known, 1], _LOWEST) + _REST_SIZE)
    return np.asarray(np.linalg.norm(wrist - np.median(calm[low], axis=0), axis=1))


def _of_one(unit: _Unit, settings: ArmSettings) -> Iterator[Act]:
    track: vocab.Track = "arm_left" if unit.side == "left" else "arm_right"
    least, chain = settings.least_reach, unit.chain
    if len(chain.legs) == 1:
        action: vocab.Action = "raise_hand" if chain.peak > 0 else "lower_hand"
        yield act_of(chain, action, track, side=unit.side, least=least)
        return
    action, repetitions = _class_of(unit, settings)
    yield act_of(chain, action, track, side=unit.side, least=least, repetitions=repetitions)


def _of_both(left: _Unit, right: _Unit, settings: ArmSettings) -> Act:
    longer = max(left, right, key=lambda unit: abs(unit.chain.peak))
    between = left.wrist[:, 0] + right.wrist[:, 0]
    gap = between[longer.inside.start : longer.inside.stop]
    gap = gap[np.isfinite(gap)]
    claps = oscillation(between, longer.inside, least=settings.least_swing)
    action, repetitions = _class_of(longer, settings)
    if len(gap) and claps >= 2 and gap.min() < settings.least_reach:
        action, repetitions = "clap", claps
    elif len(gap) and action == "raise_hand" and gap.max() - gap[0] >= settings.least_reach:
        action = "open_palms"
    return act_of(longer.chain, action, "hands", side="both", least=settings.least_reach, repetitions=repetitions)


def _class_of(unit: _Unit, settings: ArmSettings) -> tuple[vocab.Action, int | None]:
    """What a hand does between preparation and retraction, and how often."""
    if unit.beats > 1:
        return "chop_beat", unit.beats
    inner = frames_between(unit.chain.legs[0].end, unit.chain.legs[-1].start)
    across, up = (oscillation(unit.wrist[:, axis], inner, least=settings.least_swing) for axis in (0, 1))
    height = float(np.nanmax(unit.wrist[unit.inside.start : unit.inside.stop, 1]))
    if across >= 2 and across >= up and height > _RAISED:
        return "wave", across
    if up >= 2:
        return "chop_beat", up
    out = float(np.nanmax(unit.wrist[unit.inside.start : unit.inside.stop, 0]))
    if unit.chain.hold > 10 and out > 1.0:
        return "point", None
    return "raise_hand", None


def _tiou(a: Chain, b: Chain) -> float:
    shared = min(a.end, b.end) - max(a.start, b.start)
    return shared / (max(a.end, b.end) - min(a.start, b.start))
