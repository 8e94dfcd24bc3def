"""Detected actions: results of the rules before they become phases, with their amplitude and speed levels.

One clip holds too little data about a speaker, so sizes and durations are compared with POPULATION_NORMS. Actions of
the same class in the clip shift the median with the population weighted as `PRIOR_COUNT` actions.
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
    """One action found by a rule. Instants are in frames; size is unsigned, the side carries the sign."""

    action: vocab.Action
    track: vocab.Track
    side: vocab.Laterality
    start: float
    end: float
    size: float  # in the unit of its curve
    seconds: float  # one cycle if repeated, else one way
    salience: float  # size / minimum size
    repetitions: int | None = None
    segments: tuple[MotionSegment, ...] = ()
    open_hand: bool = False  # of a movement of hands: their fingers are seen straight


class PopulationNorm(NamedTuple):
    """Population statistics of one class."""

    size: float  # median, in the unit of the curve
    spread: float  # standard deviation of log size
    seconds: float  # median


# Medians measured on the puppet, seeds 0-59 (docs/log/annotate.md#motion); SPEED_SPREAD is the standard deviation of
# log speed.
SPEED_SPREAD = 0.38
POPULATION_NORMS: dict[vocab.Action, PopulationNorm] = {
    "nod": PopulationNorm(9.5, 0.6, 0.49),
    "lower_head": PopulationNorm(9.5, 0.6, 0.5),
    "raise_head": PopulationNorm(9.5, 0.6, 0.5),
    "shake_head": PopulationNorm(15.0, 0.6, 0.56),
    "tilt_head": PopulationNorm(11.5, 0.5, 0.42),
    "turn_head": PopulationNorm(21.0, 0.5, 0.47),
    "move_head": PopulationNorm(1.7, 0.4, 1.2),  # multiple of the smallest movement; ten real clips
    "look_away": PopulationNorm(0.33, 0.45, 0.19),
    "blink_long": PopulationNorm(0.85, 0.5, 0.1),
    "look_down": PopulationNorm(0.7, 0.5, 0.1),
    "raise_brows": PopulationNorm(0.026, 0.5, 0.26),
    "smile": PopulationNorm(0.6, 0.45, 0.7),
    "open_mouth": PopulationNorm(0.1, 0.5, 0.24),
    "purse_lips": PopulationNorm(0.06, 0.5, 0.6),  # four hand-made labels
    "lean_in": PopulationNorm(0.13, 0.6, 0.75),
    "lean_back": PopulationNorm(0.09, 0.4, 0.75),
    "sway": PopulationNorm(0.08, 0.6, 1.7),
    "shrug": PopulationNorm(0.07, 0.45, 0.3),
}
_ARM_NORM = PopulationNorm(0.6, 0.6, 0.6)  # shoulder widths


class AmplitudeAndSpeed(NamedTuple):
    """Size and speed of an action in levels 1..3 and in standard deviations."""

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
    """An episode as an action of a class; `min_size` is the minimum size of its curve."""
    durations_s = (episode.segments[0].seconds, episode.segments[-1].seconds)
    return DetectedAction(
        action=action,
        track=track,
        side=side,
        start=episode.start,
        end=episode.end,
        size=abs(episode.peak),
        # The quicker of out and back: drift only lengthens segments.
        seconds=(episode.end - episode.start) / FPS / repetitions if repetitions else min(durations_s),
        salience=abs(episode.peak) / min_size,
        repetitions=repetitions,
        segments=episode.segments,
    )


def amplitude_and_speed(actions: Sequence[DetectedAction]) -> list[AmplitudeAndSpeed]:
    """Levels of each action relative to the population and the other actions of its class."""
    return [
        _amplitude_and_speed_of(action, [other for other in actions if other.action == action.action])
        for action in actions
    ]


def resolve_overlaps(actions: Iterable[DetectedAction], *, min_frames: float) -> list[DetectedAction]:
    """Actions of one track without overlaps: the more salient one is kept whole, the others are trimmed or dropped."""
    kept: list[DetectedAction] = []
    for action in sorted(actions, key=lambda a: -a.salience):
        start, end = action.start, action.end
        for other in kept:
            if other.start < end and start < other.end:
                if other.start <= start or (other.end < end and end - other.end > other.start - start):
                    start = max(start, other.end)
                else:
                    end = min(end, other.start)
        if end - start >= max(min_frames, 0.6 * (action.end - action.start)):
            kept.append(replace(action, start=start, end=end))
    return sorted(kept, key=lambda a: a.start)


def _amplitude_and_speed_of(detected: DetectedAction, same_class: Sequence[DetectedAction]) -> AmplitudeAndSpeed:
    norm = POPULATION_NORMS.get(detected.action, _ARM_NORM)
    sizes = np.log([max(a.size, 1e-6) / norm.size for a in same_class])
    speeds = np.log([norm.seconds / max(a.seconds, 0.04) for a in same_class])
    weight = PRIOR_COUNT + len(same_class) - 1
    index = same_class.index(detected)
    size_z = (sizes[index] - (sizes.sum() - sizes[index]) / weight) / norm.spread
    speed_z = (speeds[index] - (speeds.sum() - speeds[index]) / weight) / SPEED_SPREAD
    return AmplitudeAndSpeed(_level(size_z), _level(speed_z), float(size_z), float(speed_z))


def _level(z: float) -> int:
    return 1 if z < -_TERCILE else 3 if z > _TERCILE else 2
