"""Rules for the head: nods, shakes, turns, tilts and postures from episodes of its angles."""

from collections.abc import Iterator

from pydantic import Field

from xsheet.annotate.motion.curves import MotionCurves
from xsheet.annotate.motion.detected_actions import DetectedAction, detected_action
from xsheet.annotate.motion.segments import MotionEpisode, find_episodes
from xsheet.annotate.motion.series import FPS, Floats
from xsheet.schemas import vocab
from xsheet.schemas.settings import StrictModel

_MAX_CYCLE_GAP_S = 0.2  # between two cycles of one nod or shake
_MAX_HOLD_S = 1.5  # a head held aside for longer has a new rest position


class HeadRuleSettings(StrictModel):
    """Minimum movements of a head. Fitted on the puppet, seeds 0-59 (docs/log/annotate.md#motion)."""

    min_pitch_deg: float = Field(default=3.6, gt=0, le=30, description="of a nod; crosstalk of the jaw is below it")
    min_yaw_deg: float = Field(default=7.0, gt=0, le=45, description="of a turn, and of each way of a shake")
    min_roll_deg: float = Field(default=5.0, gt=0, le=45, description="of a tilt against the shoulders")
    max_nod_cycle_s: float = Field(default=1.2, gt=0, le=5, description="a longer cycle is a lowered head")
    posture_pitch_ratio: float = Field(
        default=1.6, ge=1, le=5, description="× min_pitch_deg: minimum of a lowered or raised head"
    )


def detect_head_actions(curves: MotionCurves, settings: HeadRuleSettings) -> Iterator[DetectedAction]:
    """Nods, shakes, turns and tilts; they may overlap."""
    for episode in _head_episodes(curves.pitch_deg, settings.min_pitch_deg):
        yield from _pitch_actions(episode, settings)
    for episode in _head_episodes(curves.yaw_deg, settings.min_yaw_deg):
        yield _yaw_action(episode, settings.min_yaw_deg)
    for episode in _head_episodes(curves.roll_deg, settings.min_roll_deg):
        yield detected_action(episode, "tilt_head", "head", side=side_of(episode.peak), min_size=settings.min_roll_deg)


def side_of(value: float) -> vocab.Laterality:
    """The subject's own side of a signed value."""
    return "left" if value > 0 else "right"


def _head_episodes(values: Floats, min_size: float) -> list[MotionEpisode]:
    return find_episodes(
        values, min_size=min_size, max_gap_s=_MAX_CYCLE_GAP_S, max_hold_s=_MAX_HOLD_S, smoothing_frames=0.7
    )


def _pitch_actions(episode: MotionEpisode, settings: HeadRuleSettings) -> Iterator[DetectedAction]:
    min_size = settings.min_pitch_deg
    down_count = sum(segment.delta < 0 for segment in episode.segments)
    cycle_s = (episode.end - episode.start) / FPS / max(down_count, 1)
    if episode.returns and episode.peak < 0 and cycle_s <= settings.max_nod_cycle_s:
        yield detected_action(episode, "nod", "head", side="none", min_size=min_size, repetitions=down_count)
    elif abs(episode.peak) >= settings.posture_pitch_ratio * min_size:
        action: vocab.Action = "lower_head" if episode.peak < 0 else "raise_head"
        yield detected_action(episode, action, "head", side="none", min_size=settings.posture_pitch_ratio * min_size)


def _yaw_action(episode: MotionEpisode, min_size: float) -> DetectedAction:
    offsets = episode.offsets
    if offsets.max() > min_size / 2 and offsets.min() < -min_size / 2:
        repetitions = max(1, round((len(episode.segments) - 1) / 2))
        return detected_action(episode, "shake_head", "head", side="none", min_size=min_size, repetitions=repetitions)
    return detected_action(episode, "turn_head", "head", side=side_of(episode.peak), min_size=min_size)
