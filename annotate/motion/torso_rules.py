"""Rules for the trunk: leaning, swaying, shrugging."""

from collections.abc import Iterator

from pydantic import Field

from xsheet.annotate.motion.curves import FPS, MotionCurves
from xsheet.annotate.motion.detected_actions import DetectedAction, detected_action
from xsheet.annotate.motion.segments import MotionEpisode, excursion, find_episodes
from xsheet.schemas.settings import StrictModel

_MAX_HOLD_S = 2.5


class TorsoRuleSettings(StrictModel):
    """The smallest movements of a trunk that count. Fitted on the puppet, seeds 0-59 (docs/log/annotate.md#motion)."""

    min_lean: float = Field(default=0.06, gt=0, le=1, description="logarithm of the head's growth")
    min_sway: float = Field(default=0.06, gt=0, le=1, description="shoulder widths")
    min_shrug: float = Field(default=0.028, gt=0, le=1, description="shoulder widths")
    max_shrug_s: float = Field(default=1.8, gt=0, le=10, description="shoulders up for longer go with an arm")


def detect_torso_actions(curves: MotionCurves, settings: TorsoRuleSettings) -> Iterator[DetectedAction]:
    """Leans, sways and shrugs; they may overlap."""
    for chain in find_episodes(
        curves.log_head_height, min_size=settings.min_lean, max_gap_s=0.0, max_hold_s=_MAX_HOLD_S, smoothing_frames=2.5
    ):
        yield detected_action(
            chain, "lean_in" if chain.peak > 0 else "lean_back", "torso", side="none", min_size=settings.min_lean
        )
    for chain in find_episodes(
        curves.torso_sway, min_size=settings.min_sway, max_gap_s=0.2, max_hold_s=_MAX_HOLD_S, smoothing_frames=2.0
    ):
        offsets = chain.offsets
        if len(chain.segments) > 2 and offsets.max() > 0 > offsets.min():
            repetitions = max(1, round((len(chain.segments) - 1) / 2))
            yield detected_action(
                chain, "sway", "torso", side="none", min_size=settings.min_sway, repetitions=repetitions
            )
    for chain in find_episodes(curves.shoulder_rise, min_size=settings.min_shrug, max_gap_s=0.0, max_hold_s=1.5):
        brief = chain.end - chain.start <= settings.max_shrug_s * FPS
        if chain.peak > 0 and chain.returns and brief and not _leans(curves, chain, settings):
            yield detected_action(chain, "shrug", "torso", side="both", min_size=settings.min_shrug)


def _leans(curves: MotionCurves, episode: MotionEpisode, settings: TorsoRuleSettings) -> bool:
    """Whether the head comes nearer or goes back meanwhile: then the shoulders move because the trunk leans."""
    away = excursion(curves.log_head_height, range(int(episode.start), int(episode.end) + 1))
    return away is not None and abs(away) >= settings.min_lean
