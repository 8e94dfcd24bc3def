"""Acts: what the rules find, before it is put into the contract's words; and what is called large, and fast.

One clip is too little to know a speaker by, so sizes and paces are compared with a population first: the middle and the
spread of TYPICAL. The acts of the same class in the clip then shift the middle, as if the population had been seen
`PRIOR_COUNT` times: with one act the population decides, with twenty the speaker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from xsheet.annotate.motion.segments import MotionEpisode, MotionSegment
from xsheet.annotate.motion.series import FPS
from xsheet.schemas import vocab

PRIOR_COUNT = 8.0
_TERCILE = 0.43  # standard deviations from the middle to the terciles of a normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedAction:
    """One action that a rule found. Instants are in frames, signs are gone: the side says them."""

    action: vocab.Action
    track: vocab.Track
    side: vocab.Laterality
    start: float
    end: float
    size: float  # how far, in the unit of the quantity that shows it
    seconds: float  # a cycle of what repeats, else one way
    salience: float  # size by the least size that counts
    repetitions: int | None = None
    segments: tuple[MotionSegment, ...] = ()


class PopulationNorm(NamedTuple):
    """The population of one class."""

    size: float  # middle, in the unit of the quantity
    spread: float  # standard deviation of the size's logarithm
    seconds: float  # middle


# Medians measured on the puppet, seeds 0-59 (docs/log/annotate.md#motion); the pace's logarithm has one spread.
SPEED_SPREAD = 0.38
POPULATION_NORMS: dict[vocab.Action, PopulationNorm] = {
    "nod": PopulationNorm(9.5, 0.6, 0.49),
    "lower_head": PopulationNorm(9.5, 0.6, 0.5),
    "raise_head": PopulationNorm(9.5, 0.6, 0.5),
    "shake_head": PopulationNorm(15.0, 0.6, 0.56),
    "tilt_head": PopulationNorm(11.5, 0.5, 0.42),
    "turn_head": PopulationNorm(21.0, 0.5, 0.47),
    "look_away": PopulationNorm(0.33, 0.45, 0.19),
    "blink_long": PopulationNorm(0.85, 0.5, 0.063),
    "raise_brows": PopulationNorm(0.026, 0.5, 0.26),
    "smile": PopulationNorm(0.6, 0.45, 0.7),
    "open_mouth": PopulationNorm(0.1, 0.5, 0.24),
    "lean_in": PopulationNorm(0.13, 0.6, 0.75),
    "lean_back": PopulationNorm(0.09, 0.4, 0.75),
    "sway": PopulationNorm(0.08, 0.6, 1.7),
    "shrug": PopulationNorm(0.07, 0.45, 0.3),
}
_ARM_NORM = PopulationNorm(0.6, 0.6, 0.6)  # shoulder widths


class AmplitudeAndSpeed(NamedTuple):
    """Size and pace of an act in levels 1..3 and in standard deviations of the speaker."""

    amplitude: int
    speed: int
    amplitude_z: float
    speed_z: float


def detected_action(
    episode: MotionEpisode,
    action: vocab.Action,
    track: vocab.Track,
    *,
    side: vocab.Laterality,
    min_size: float,
    repetitions: int | None = None,
) -> DetectedAction:
    """A chain as an act of a class; `least` is the smallest size of its quantity that counts."""
    ways = (episode.segments[0].seconds, episode.segments[-1].seconds)
    return DetectedAction(
        action=action,
        track=track,
        side=side,
        start=episode.start,
        end=episode.end,
        size=abs(episode.peak),
        # The quicker way of out and back: whatever drifts beside a movement only makes its legs longer.
        seconds=(episode.end - episode.start) / FPS / repetitions if repetitions else min(ways),
        salience=abs(episode.peak) / min_size,
        repetitions=repetitions,
        segments=episode.segments,
    )


def amplitude_and_speed(actions: Sequence[DetectedAction]) -> list[AmplitudeAndSpeed]:
    """Size and pace of each act beside the population and the other acts of its class."""
    return [_amplitude_and_speed_of(act, [other for other in actions if other.action == act.action]) for act in actions]


def resolve_overlaps(actions: Iterable[DetectedAction], *, min_frames: float) -> list[DetectedAction]:
    """The acts of one track without overlap: the more salient one stays whole, the others keep what is left of them."""
    kept: list[DetectedAction] = []
    for act in sorted(actions, key=lambda a: -a.salience):
        start, end = act.start, act.end
        for other in kept:
            if other.start < end and start < other.end:
                if other.start <= start or (other.end < end and end - other.end > other.start - start):
                    start = max(start, other.end)
                else:
                    end = min(end, other.start)
        if end - start >= max(min_frames, 0.6 * (act.end - act.start)):
            kept.append(replace(act, start=start, end=end))
    return sorted(kept, key=lambda a: a.start)


def _amplitude_and_speed_of(detected: DetectedAction, same_class: Sequence[DetectedAction]) -> AmplitudeAndSpeed:
    typical = POPULATION_NORMS.get(detected.action, _ARM_NORM)
    sizes = np.log([max(a.size, 1e-6) / typical.size for a in same_class])
    paces = np.log([typical.seconds / max(a.seconds, 0.04) for a in same_class])
    weight = PRIOR_COUNT + len(same_class) - 1
    own = same_class.index(detected)
    size_z = (sizes[own] - (sizes.sum() - sizes[own]) / weight) / typical.spread
    pace_z = (paces[own] - (paces.sum() - paces[own]) / weight) / SPEED_SPREAD
    return AmplitudeAndSpeed(_level(size_z), _level(pace_z), float(size_z), float(pace_z))


def _level(z: float) -> int:
    return 1 if z < -_TERCILE else 3 if z > _TERCILE else 2
