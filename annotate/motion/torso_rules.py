"""Rules for the torso: leans, sways, shrugs."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from xsheet.annotate.motion.curves import MotionCurves
from xsheet.annotate.motion.detected_actions import DetectedAction, detected_action
from xsheet.annotate.motion.segments import (
    MotionEpisode,
    excursion,
    find_episodes,
)
from xsheet.annotate.motion.series import FPS, finite_median, frames_between
from xsheet.schemas.settings import StrictModel

_MAX_HOLD_S = 2.5
_MIN_SHRUG_S = 0.24  # shoulders do not rise and fall faster; jitter does
_BEFORE_FRAMES = 8  # before a lean, whose shoulders it is compared with


class TorsoRuleSettings(StrictModel):
    """Minimum movements of the torso. Fitted on the puppet, seeds 0-59 (docs/log/annotate.md#motion)."""

    min_lean: float = Field(default=0.06, gt=0, le=1, description="minimum change of log head height in a lean")
    min_sway: float = Field(default=0.06, gt=0, le=1, description="minimum sway, shoulder widths")
    min_shrug: float = Field(default=0.028, gt=0, le=1, description="minimum rise of the shoulders, shoulder widths")
    naming_ratio: float = Field(
        default=1.6,
        ge=1,
        le=5,
        description="minimum lean, sway or shrug that is annotated, as a multiple of the minima above; smaller ones "
        "were not true of real people",
    )
    max_turning_deg: float = Field(
        default=7.0,
        gt=0,
        le=90,
        description="largest range of a head angle during a lean or a sway: a turning head changes size and place",
    )
    max_lean_s: float = Field(
        default=2.0, gt=0, le=20, description="longest movement of a lean, seconds; slower ones are drift"
    )
    max_sway_cycle_s: float = Field(
        default=3.0, gt=0, le=20, description="longest cycle of a sway, seconds; slower ones are a change of posture"
    )
    min_shoulder_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="minimum shoulder motion in a sway, as a share of the head motion",
    )
    min_trunk_share: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="minimum growth of the shoulders in a lean, as a share of the head's: they come nearer too",
    )
    max_shrug_s: float = Field(
        default=1.8, gt=0, le=10, description="longest shrug, seconds; shoulders raised longer follow an arm"
    )


def detect_torso_actions(curves: MotionCurves, settings: TorsoRuleSettings) -> Iterator[DetectedAction]:
    """Leans, sways and shrugs; they may overlap."""
    for episode in find_episodes(
        curves.log_head_height, min_size=settings.min_lean, max_gap_s=0.0, max_hold_s=_MAX_HOLD_S, smoothing_frames=2.5
    ):
        turns = curves.head_turning_deg(frames_between(episode.start, episode.end)) > settings.max_turning_deg
        slow = episode.segments[0].seconds > settings.max_lean_s
        small = abs(episode.peak) < settings.naming_ratio * settings.min_lean
        if small or turns or slow or not _trunk_leans(curves, episode, settings):
            continue
        yield detected_action(
            episode, "lean_in" if episode.peak > 0 else "lean_back", "torso", side="none", min_size=settings.min_lean
        )
    for episode in find_episodes(
        curves.torso_sway, min_size=settings.min_sway, max_gap_s=0.2, max_hold_s=_MAX_HOLD_S, smoothing_frames=2.0
    ):
        offsets = episode.offsets
        large = abs(episode.peak) >= settings.naming_ratio * settings.min_sway
        if large and len(episode.segments) > 2 and offsets.max() > 0 > offsets.min():
            repetitions = max(1, round((len(episode.segments) - 1) / 2))
            if not _trunk_sways(curves, episode, repetitions, settings):
                continue
            yield detected_action(
                episode, "sway", "torso", side="none", min_size=settings.min_sway, repetitions=repetitions
            )
    for episode in find_episodes(curves.shoulder_rise, min_size=settings.min_shrug, max_gap_s=0.0, max_hold_s=1.5):
        is_brief = _MIN_SHRUG_S * FPS <= episode.end - episode.start <= settings.max_shrug_s * FPS
        large = episode.peak >= settings.naming_ratio * settings.min_shrug
        if large and episode.returns and is_brief and not _leans(curves, episode, settings):
            yield detected_action(episode, "shrug", "torso", side="both", min_size=settings.min_shrug)


def _trunk_leans(curves: MotionCurves, episode: MotionEpisode, settings: TorsoRuleSettings) -> bool:
    """Whether the shoulders come nearer with the head; a head that only stretches forward or is raised is no lean."""
    first, width = episode.segments[0], curves.log_shoulder_width
    before = frames_between(max(0.0, first.start - _BEFORE_FRAMES), first.start)
    there = frames_between(first.end, episode.segments[-1].start if len(episode.segments) > 1 else episode.end)
    way = finite_median(width[there.start : there.stop]) - finite_median(width[before.start : before.stop])
    return bool(np.nan_to_num(way) * np.sign(first.delta) >= settings.min_trunk_share * abs(first.delta))


def _trunk_sways(curves: MotionCurves, episode: MotionEpisode, repetitions: int, settings: TorsoRuleSettings) -> bool:
    """Whether the shoulders go with the head, or, where they are hidden, the head does not turn meanwhile."""
    frames = frames_between(episode.start, episode.end)
    if len(frames) / FPS / repetitions > settings.max_sway_cycle_s:
        return False
    shoulders = curves.shoulder_sway[frames.start : frames.stop]
    shoulders = shoulders[np.isfinite(shoulders)]
    if len(shoulders):
        return float(np.ptp(shoulders)) >= settings.min_shoulder_share * abs(episode.peak)
    return curves.head_turning_deg(frames) <= settings.max_turning_deg


def _leans(curves: MotionCurves, episode: MotionEpisode, settings: TorsoRuleSettings) -> bool:
    """Whether the head size changes too: then the shoulders move because the torso leans."""
    deviation = excursion(curves.log_head_height, range(int(episode.start), int(episode.end) + 1))
    return deviation is not None and abs(deviation) >= settings.min_lean
