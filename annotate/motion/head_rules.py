"""Rules for the head: nods, shakes, turns, tilts, lowered and raised heads from the movements of its angles.

Movements of one angle are read in order. Quick alternating ones are a nod or a shake; a movement that returns after a
hold is one action with a stroke, a hold and a retraction; any other movement is a separate action, named by its
direction. A slow drift is no action.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from xsheet.annotate.motion.curves import MotionCurves
from xsheet.annotate.motion.detected_actions import DetectedAction, detected_action
from xsheet.annotate.motion.segments import (
    MIN_STROKE_FRAMES,
    RETURN_SHARE,
    MotionEpisode,
    MotionSegment,
    background_range,
    find_segments,
    lengthened,
)
from xsheet.annotate.motion.series import FPS, Floats, finite_median, frames_between, gaussian_smooth, round_to_frame
from xsheet.schemas import vocab
from xsheet.schemas.settings import StrictModel

_MAX_SHARED = 0.3  # of the shorter movement: more is one movement of several angles
_UNPLACED_PITCH_DEG = 9.0  # of a lowered or raised head whose place in the picture is not measured
_SIMILAR = 0.45  # smallest by largest swing of one nod
_PROFILE_DEG = 45.0  # yaw from which the mesh shows pitch and roll poorly
_MAX_CARRIED, _CARRY_FRAMES = 0.25, 5  # face heights sideways during and about a nod: more is the body's movement
_MAX_CYCLE_GAP_S = 0.2  # between two movements of one nod or shake


class HeadRuleSettings(StrictModel):
    """Minimum movements of a head, chosen on the puppet and on hand-made labels (docs/log/annotate.md#real-people)."""

    min_pitch_deg: float = Field(
        default=5.0,
        gt=0,
        le=30,
        description="minimum pitch change of a nod, degrees; crosstalk of the jaw stays below it",
    )
    min_yaw_deg: float = Field(
        default=8.0, gt=0, le=45, description="minimum yaw change of a turn, and of each direction of a shake, degrees"
    )
    min_roll_deg: float = Field(
        default=7.0, gt=0, le=45, description="minimum roll change of a tilt relative to the shoulders, degrees"
    )
    tilt_ratio: float = Field(
        default=1.3,
        ge=1,
        le=5,
        description="minimum roll change of a tilt that is annotated, as a multiple of min_roll_deg",
    )
    min_speed_deg_s: float = Field(
        default=10.0,
        ge=0,
        le=200,
        description="minimum mean speed of a movement, degrees per second; slower ones are drift",
    )
    salience_factor: float = Field(
        default=2.0,
        ge=0,
        le=10,
        description="minimum size of a movement, as a multiple of the range in the quietest parts of the clip",
    )
    max_salience: float = Field(
        default=2.0,
        ge=1,
        le=10,
        description="upper bound of that minimum, as a multiple of the minima above; for a head that never rests",
    )
    max_shake_cycle_s: float = Field(
        default=0.9, gt=0, le=5, description="longest cycle of a shake, seconds; slower ones are turns to and fro"
    )
    max_nod_cycle_s: float = Field(
        default=1.2, gt=0, le=5, description="longest cycle of a nod, seconds; slower ones are a lowered head"
    )
    max_hold_s: float = Field(
        default=1.5, gt=0, le=10, description="longest hold, seconds; a pose held longer is a new rest position"
    )
    min_unnamed_s: float = Field(
        default=0.6,
        gt=0,
        le=10,
        description="shortest stretch of head motion without a name that is annotated, seconds",
    )
    sure_yaw_deg: float = Field(
        default=28.0,
        gt=0,
        le=180,
        description="yaw change that shows a turn on its own, degrees; smaller ones need the face to move along",
    )
    sure_pitch_deg: float = Field(
        default=14.0,
        gt=0,
        le=180,
        description="pitch change that shows a lowered or raised head on its own, degrees; smaller ones need the face "
        "to move along",
    )
    sure_shift: float = Field(
        default=0.25,
        gt=0,
        le=10,
        description="way of the face that shows a turn, a lowered or a raised head on its own, face heights; its share "
        "and that of the angle add",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """One angle of the head."""

    values: Floats
    min_size: float
    shift: Floats | None = None  # place of the face along the movement, face heights
    sure: tuple[float, float] = (np.inf, np.inf)  # angle and way of the face that show the movement on their own
    positive: vocab.Action  # movement of the angle upwards or to the own left
    negative: vocab.Action
    repeated: vocab.Action | None  # quick alternating movements


def detect_head_actions(curves: MotionCurves, settings: HeadRuleSettings) -> Iterator[DetectedAction]:
    """Nods, shakes, turns and tilts; they may overlap."""
    axes = (
        _Axis(
            values=curves.pitch_deg,
            shift=curves.head_shift_y,
            sure=(settings.sure_pitch_deg, settings.sure_shift),
            min_size=settings.min_pitch_deg,
            positive="raise_head",
            negative="lower_head",
            repeated="nod",
        ),
        _Axis(
            values=curves.yaw_deg,
            shift=curves.head_shift_x,
            sure=(settings.sure_yaw_deg, settings.sure_shift),
            min_size=settings.min_yaw_deg,
            positive="turn_head",
            negative="turn_head",
            repeated="shake_head",
        ),
        _Axis(
            values=curves.roll_deg,
            min_size=settings.tilt_ratio * settings.min_roll_deg,
            positive="tilt_head",
            negative="tilt_head",
            repeated=None,
        ),
    )
    units = [(axis, episode) for axis in axes for episode in _episodes(axis, settings)]
    units = [(axis, episode) for axis, episode in units if _is_measurable(axis, episode, curves)]
    for axis, episode in _pairs(_strongest(units), settings, frames=len(curves)):
        if _is_sure(axis, episode, settings):
            yield _action(axis, episode, settings)


def side_of(value: float) -> vocab.Laterality:
    """The subject's own side of a signed value."""
    return "left" if value > 0 else "right"


def _episodes(axis: _Axis, settings: HeadRuleSettings) -> Iterator[MotionEpisode]:
    """Repeated movements and single ones of an angle, in order."""
    background = settings.salience_factor * background_range(axis.values)
    min_size = max(axis.min_size, min(background, settings.max_salience * axis.min_size))
    segments = [
        segment if axis.shift is None else lengthened(segment, MIN_STROKE_FRAMES)
        for segment in find_segments(axis.values, min_size=min_size, smoothing_frames=0.7)
        if abs(segment.delta) >= settings.min_speed_deg_s * segment.seconds
    ]
    k = 0
    while k < len(segments):
        count = _repeated_count(segments[k:], axis, settings) or 1
        yield MotionEpisode(segments=tuple(segments[k : k + count]))
        k += count


def _is_measurable(axis: _Axis, episode: MotionEpisode, curves: MotionCurves) -> bool:
    """Whether pitch and roll are the head's: not in profile, and pitch not while the body carries the head sideways."""
    if axis.repeated == "shake_head":
        return True
    frames = frames_between(episode.start, episode.end)
    inside = slice(frames.start, frames.stop)
    if np.nan_to_num(finite_median(np.abs(curves.yaw_deg[inside]))) > _PROFILE_DEG:
        return False
    around = curves.head_shift_x[max(0, frames.start - _CARRY_FRAMES) : frames.stop + _CARRY_FRAMES]
    place = around[np.isfinite(around)]
    return axis.repeated is None or not len(place) or float(np.ptp(place)) <= _MAX_CARRIED


def _is_sure(axis: _Axis, episode: MotionEpisode, settings: HeadRuleSettings) -> bool:
    """Whether a movement is the head's: repeated nods are by their repetition, others by their evidence."""
    if axis.repeated == "nod" and len(episode.segments) > 2:
        return True
    evidence = [_evidence(axis, segment) for segment in episode.segments]
    if not np.isfinite(evidence).all():  # the place is not measured: the angle decides
        is_nod = episode.returns and _nods(episode, settings)
        return axis.repeated != "nod" or is_nod or abs(episode.peak) >= _UNPLACED_PITCH_DEG
    return (max(evidence) if len(evidence) > 2 else sum(evidence) / len(evidence)) >= 1


def _evidence(axis: _Axis, segment: MotionSegment) -> float:
    """How far the angle and the way of the face in the picture together show a movement; 1 is enough, NaN unknown.

    A head turns and nods about the neck, so the face moves too; the mesh alone also turns with a mouth that is pulled
    sideways and with small movements of speech.
    """
    if axis.shift is None:
        return 1.0
    place = gaussian_smooth(axis.shift)
    start, end = (min(max(round_to_frame(edge), 0), len(place) - 1) for edge in (segment.start, segment.end))
    way = float((place[end] - place[start]) * np.sign(segment.delta))
    return abs(segment.delta) / axis.sure[0] + (max(0.0, way) if np.isfinite(way) else np.nan) / axis.sure[1]


def _strongest(units: Sequence[tuple[_Axis, MotionEpisode]]) -> list[tuple[_Axis, MotionEpisode]]:
    """Units in order of time; where angles move together, only the largest against its minimum."""
    kept: list[tuple[_Axis, MotionEpisode]] = []
    for axis, episode in sorted(units, key=lambda unit: -_salience(*unit)):
        if all(_overlap(episode, other) <= _MAX_SHARED for _, other in kept):
            kept.append((axis, episode))
    return sorted(kept, key=lambda unit: unit[1].start)


def _salience(axis: _Axis, episode: MotionEpisode) -> float:
    return max(abs(segment.delta) for segment in episode.segments) / axis.min_size


def _overlap(a: MotionEpisode, b: MotionEpisode) -> float:
    """Shared time by the length of the shorter one."""
    return (min(a.end, b.end) - max(a.start, b.start)) / max(min(a.end - a.start, b.end - b.start), 1e-9)


def _pairs(
    units: Sequence[tuple[_Axis, MotionEpisode]], settings: HeadRuleSettings, *, frames: int
) -> Iterator[tuple[_Axis, MotionEpisode]]:
    """Join a movement and the next one if that takes it back; a last one may be held to the end of the clip."""
    k = 0
    while k < len(units):
        axis, episode = units[k]
        following = units[k + 1] if k + 1 < len(units) else None
        both = (*episode.segments, *(following[1].segments if following else ()))
        if following and following[0] is axis and len(both) == 2 and _comes_back(both, settings):
            yield axis, MotionEpisode(segments=both)
            k += 2
            continue
        if following is None and len(both) == 1 and (frames - episode.end) / FPS <= settings.max_hold_s:
            episode = replace(episode, held_until=float(frames))
        yield axis, episode
        k += 1


def _repeated_count(segments: Sequence[MotionSegment], axis: _Axis, settings: HeadRuleSettings) -> int:
    """Number of leading segments that form one nod or shake; 0 if they form none."""
    if axis.repeated is None:
        return 0
    max_cycle_s = settings.max_nod_cycle_s if axis.repeated == "nod" else settings.max_shake_cycle_s
    count = 1
    sizes = [abs(segment.delta) for segment in segments]
    while (
        count < len(segments)
        and _continues(segments[count - 1], segments[count], max_cycle_s)
        and (axis.repeated != "nod" or min(sizes[: count + 1]) >= _SIMILAR * max(sizes[: count + 1]))
    ):
        count += 1
    if axis.repeated == "nod":
        first = segments[0].delta < 0
        count -= count % 2 if first else (count + 1) % 2
        episode = MotionEpisode(segments=tuple(segments[:count])) if count >= (2 if first else 3) else None
        return count if episode is not None and episode.returns else 0
    if count < 3:
        return 0
    seconds = (segments[count - 1].end - segments[0].start) / FPS
    return count if seconds <= max_cycle_s * max(1, round((count - 1) / 2)) else 0


def _continues(before: MotionSegment, after: MotionSegment, max_cycle_s: float) -> bool:
    """Whether a movement turns back at once, quickly and by a similar size."""
    quick = max(before.seconds, after.seconds) <= max_cycle_s / 2
    similar = 0.4 <= abs(after.delta / before.delta) <= 2.5
    return before.delta * after.delta < 0 and after.start - before.end <= _MAX_CYCLE_GAP_S * FPS and quick and similar


def _comes_back(pair: Sequence[MotionSegment], settings: HeadRuleSettings) -> bool:
    """Whether the second movement takes the first one back after a hold."""
    if len(pair) < 2 or pair[0].delta * pair[1].delta > 0:
        return False
    away = abs(pair[1].value + pair[1].delta - pair[0].value)
    return away <= RETURN_SHARE * abs(pair[0].delta) and pair[1].start - pair[0].end <= settings.max_hold_s * FPS


def _action(axis: _Axis, episode: MotionEpisode, settings: HeadRuleSettings) -> DetectedAction:
    count, first = len(episode.segments), episode.segments[0].delta
    if axis.repeated == "nod" and episode.returns and _nods(episode, settings):
        downs = sum(segment.delta < 0 for segment in episode.segments)
        return detected_action(episode, "nod", "head", side="none", min_size=axis.min_size, repetitions=downs)
    if axis.repeated == "shake_head" and count >= 3:
        repetitions = max(1, round((count - 1) / 2))
        return detected_action(
            episode, "shake_head", "head", side="none", min_size=axis.min_size, repetitions=repetitions
        )
    action = axis.positive if first > 0 else axis.negative
    side = "none" if axis.repeated == "nod" else side_of(first)
    return detected_action(episode, action, "head", side=side, min_size=axis.min_size)


def _nods(episode: MotionEpisode, settings: HeadRuleSettings) -> bool:
    downs = sum(segment.delta < 0 for segment in episode.segments)
    is_quick = (episode.end - episode.start) / FPS / max(downs, 1) <= settings.max_nod_cycle_s
    return downs > 0 and len(episode.segments) > 1 and is_quick and (episode.peak < 0 or len(episode.segments) > 2)
