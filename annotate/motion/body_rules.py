"""Rules for the torso (leans, sways, shrugs) and for arms and hands (gesture units of the wrists).

A gesture unit moves a hand away from its rest position and back (Kendon, 1980). Its first segment is the preparation,
its last one the retraction; the motion in between decides the class. Fingers are not measured, so a point is an arm
held out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from xsheet.annotate.motion.curves import MotionCurves
from xsheet.annotate.motion.detected_actions import DetectedAction, detected_action
from xsheet.annotate.motion.segments import (
    MotionEpisode,
    count_cycles,
    excursion,
    find_episodes,
    find_segments,
    group_segments,
)
from xsheet.annotate.motion.series import FPS, Floats, frames_between, gaussian_smooth
from xsheet.schemas import vocab
from xsheet.schemas.settings import StrictModel

_MAX_HOLD_S = 2.5


class TorsoRuleSettings(StrictModel):
    """Minimum movements of the torso. Fitted on the puppet, seeds 0-59 (docs/log/annotate.md#motion)."""

    min_lean: float = Field(default=0.06, gt=0, le=1, description="logarithm of the head's growth")
    min_sway: float = Field(default=0.06, gt=0, le=1, description="shoulder widths")
    min_shrug: float = Field(default=0.028, gt=0, le=1, description="shoulder widths")
    max_shrug_s: float = Field(default=1.8, gt=0, le=10, description="longer raised shoulders belong to an arm")


def detect_torso_actions(curves: MotionCurves, settings: TorsoRuleSettings) -> Iterator[DetectedAction]:
    """Leans, sways and shrugs; they may overlap."""
    for episode in find_episodes(
        curves.log_head_height, min_size=settings.min_lean, max_gap_s=0.0, max_hold_s=_MAX_HOLD_S, smoothing_frames=2.5
    ):
        yield detected_action(
            episode, "lean_in" if episode.peak > 0 else "lean_back", "torso", side="none", min_size=settings.min_lean
        )
    for episode in find_episodes(
        curves.torso_sway, min_size=settings.min_sway, max_gap_s=0.2, max_hold_s=_MAX_HOLD_S, smoothing_frames=2.0
    ):
        offsets = episode.offsets
        if len(episode.segments) > 2 and offsets.max() > 0 > offsets.min():
            repetitions = max(1, round((len(episode.segments) - 1) / 2))
            yield detected_action(
                episode, "sway", "torso", side="none", min_size=settings.min_sway, repetitions=repetitions
            )
    for episode in find_episodes(curves.shoulder_rise, min_size=settings.min_shrug, max_gap_s=0.0, max_hold_s=1.5):
        is_brief = episode.end - episode.start <= settings.max_shrug_s * FPS
        if episode.peak > 0 and episode.returns and is_brief and not _leans(curves, episode, settings):
            yield detected_action(episode, "shrug", "torso", side="both", min_size=settings.min_shrug)


def _leans(curves: MotionCurves, episode: MotionEpisode, settings: TorsoRuleSettings) -> bool:
    """Whether the head size changes too: then the shoulders move because the torso leans."""
    deviation = excursion(curves.log_head_height, range(int(episode.start), int(episode.end) + 1))
    return deviation is not None and abs(deviation) >= settings.min_lean


_MAX_BEAT_S, _MAX_BEAT_PAUSE_S = 0.8, 0.12  # longest beat, longest pause between two
_REST_QUANTILE, _REST_RADIUS = 0.1, 0.1  # rest position: the lowest tenth of the clip, and shoulder widths around it
_RAISED_HEIGHT = -0.3  # shoulder widths against the shoulders: a hand above the chest


class ArmRuleSettings(StrictModel):
    """Minimum movements of a hand. Chosen on hand-made labels (docs/log/annotate.md#motion)."""

    min_reach: float = Field(default=0.2, gt=0, le=3, description="away from its rest, shoulder widths")
    min_swing: float = Field(
        default=0.1, gt=0, le=2, description="of one direction of a wave, beat or clap, shoulder widths"
    )
    min_visible_share: float = Field(
        default=0.5, ge=0, le=1, description="share of a unit's frames with a visible hand"
    )
    max_hold_s: float = Field(default=2.5, gt=0, le=10, description="longest hold of a gesture")
    bimanual_min_tiou: float = Field(default=0.5, gt=0, le=1, description="minimum tIoU of a two-handed gesture")


@dataclass(frozen=True, slots=True, kw_only=True)
class _GestureUnit:
    """Movement of one hand from rest to rest."""

    side: vocab.Laterality
    wrist: Floats
    episode: MotionEpisode
    beats: int = 1  # consecutive strokes

    @property
    def frames(self) -> range:
        return frames_between(self.episode.start, self.episode.end)


def detect_arm_actions(curves: MotionCurves, settings: ArmRuleSettings) -> Iterator[DetectedAction]:
    """Gestures of one hand or both."""
    left, right = (list(_gesture_units(curves, side, settings)) for side in ("left", "right"))
    for unit in left:
        other = next((o for o in right if _tiou(unit.episode, o.episode) >= settings.bimanual_min_tiou), None)
        if other is not None:
            right.remove(other)
            yield _two_handed_action(unit, other, settings)
        else:
            yield from _one_handed_actions(unit, settings)
    for unit in right:
        yield from _one_handed_actions(unit, settings)


def _gesture_units(curves: MotionCurves, side: vocab.Laterality, settings: ArmRuleSettings) -> Iterator[_GestureUnit]:
    wrist = curves.wrist_left if side == "left" else curves.wrist_right
    visibility = curves.visibility["arm_left" if side == "left" else "arm_right"]
    segments = find_segments(distance_from_rest(wrist), min_size=settings.min_reach, smoothing_frames=1.0)
    episodes = group_segments(
        segments, frames=len(curves), max_gap_s=0.0, max_hold_s=settings.max_hold_s, is_distance=True
    )
    for episode, beats in _join_beats(episodes):
        unit = _GestureUnit(side=side, wrist=wrist, episode=episode, beats=beats)
        if float(visibility[unit.frames.start : unit.frames.stop].mean()) >= settings.min_visible_share:
            yield unit


def _join_beats(episodes: Iterable[MotionEpisode]) -> list[tuple[MotionEpisode, int]]:
    """Join consecutive short episodes; each result has its number of beats."""
    joined: list[list[MotionEpisode]] = []
    for episode in episodes:
        previous = joined[-1][-1] if joined else None
        if (
            previous
            and _is_beat(previous)
            and _is_beat(episode)
            and episode.start - previous.end <= _MAX_BEAT_PAUSE_S * FPS
        ):
            joined[-1].append(episode)
        else:
            joined.append([episode])
    return [
        (replace(group[-1], segments=tuple(segment for episode in group for segment in episode.segments)), len(group))
        for group in joined
    ]


def _is_beat(episode: MotionEpisode) -> bool:
    return episode.returns and episode.end - episode.start <= _MAX_BEAT_S * FPS


def distance_from_rest(wrist: Floats) -> Floats:
    """(frames,) distance of a wrist (frames, 2) from its rest position, its lowest place, in shoulder widths."""
    smoothed = np.stack([gaussian_smooth(axis) for axis in wrist.T], -1)
    known = np.isfinite(smoothed).all(1)
    if not known.any():
        return np.full(len(wrist), np.nan)
    low = known & (smoothed[:, 1] <= np.quantile(smoothed[known, 1], _REST_QUANTILE) + _REST_RADIUS)
    return np.asarray(np.linalg.norm(wrist - np.median(smoothed[low], axis=0), axis=1))


def _one_handed_actions(unit: _GestureUnit, settings: ArmRuleSettings) -> Iterator[DetectedAction]:
    track: vocab.Track = "arm_left" if unit.side == "left" else "arm_right"
    min_size, episode = settings.min_reach, unit.episode
    if len(episode.segments) == 1:
        action: vocab.Action = "raise_hand" if episode.peak > 0 else "lower_hand"
        yield detected_action(episode, action, track, side=unit.side, min_size=min_size)
        return
    action, repetitions = _classify_unit(unit, settings)
    yield detected_action(episode, action, track, side=unit.side, min_size=min_size, repetitions=repetitions)


def _two_handed_action(left: _GestureUnit, right: _GestureUnit, settings: ArmRuleSettings) -> DetectedAction:
    longer = max(left, right, key=lambda unit: abs(unit.episode.peak))
    between = left.wrist[:, 0] + right.wrist[:, 0]
    gap = between[longer.frames.start : longer.frames.stop]
    gap = gap[np.isfinite(gap)]
    claps = count_cycles(between, longer.frames, min_size=settings.min_swing)
    action, repetitions = _classify_unit(longer, settings)
    if len(gap) and claps >= 2 and gap.min() < settings.min_reach:
        action, repetitions = "clap", claps
    elif len(gap) and action == "raise_hand" and gap.max() - gap[0] >= settings.min_reach:
        action = "open_palms"
    return detected_action(
        longer.episode, action, "hands", side="both", min_size=settings.min_reach, repetitions=repetitions
    )


def _classify_unit(unit: _GestureUnit, settings: ArmRuleSettings) -> tuple[vocab.Action, int | None]:
    """Class and repetitions from the motion between preparation and retraction."""
    if unit.beats > 1:
        return "chop_beat", unit.beats
    inner = frames_between(unit.episode.segments[0].end, unit.episode.segments[-1].start)
    across, up = (count_cycles(unit.wrist[:, axis], inner, min_size=settings.min_swing) for axis in (0, 1))
    height = float(np.nanmax(unit.wrist[unit.frames.start : unit.frames.stop, 1]))
    if across >= 2 and across >= up and height > _RAISED_HEIGHT:
        return "wave", across
    if up >= 2:
        return "chop_beat", up
    outward = float(np.nanmax(unit.wrist[unit.frames.start : unit.frames.stop, 0]))
    if unit.episode.hold_frames > 10 and outward > 1.0:
        return "point", None
    return "raise_hand", None


def _tiou(a: MotionEpisode, b: MotionEpisode) -> float:
    shared = min(a.end, b.end) - max(a.start, b.start)
    return shared / (max(a.end, b.end) - min(a.start, b.start))
