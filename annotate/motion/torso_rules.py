"""Rules for the trunk: leaning, swaying, shrugging."""

from collections.abc import Iterator

from pydantic import Field

from xsheet.annotate.motion.curves import FPS, Course
from xsheet.annotate.motion.detected_actions import Act, act_of
from xsheet.annotate.motion.segments import Chain, episodes, excursion
from xsheet.schemas.settings import StrictModel

_HOLD_S = 2.5


class BodySettings(StrictModel):
    """The smallest movements of a trunk that count. Fitted on the puppet, seeds 0-59 (docs/log/annotate.md#motion)."""

    least_size: float = Field(default=0.06, gt=0, le=1, description="logarithm of the head's growth")
    least_sway: float = Field(default=0.06, gt=0, le=1, description="shoulder widths")
    least_shrug: float = Field(default=0.028, gt=0, le=1, description="shoulder widths")
    longest_shrug_s: float = Field(default=1.8, gt=0, le=10, description="shoulders up for longer go with an arm")


def body_acts(course: Course, settings: BodySettings) -> Iterator[Act]:
    """Leans, sways and shrugs; they may overlap."""
    for chain in episodes(course.size, least=settings.least_size, gap_s=0.0, hold_s=_HOLD_S, jitter_frames=2.5):
        yield act_of(
            chain, "lean_in" if chain.peak > 0 else "lean_back", "torso", side="none", least=settings.least_size
        )
    for chain in episodes(course.sway, least=settings.least_sway, gap_s=0.2, hold_s=_HOLD_S, jitter_frames=2.0):
        offsets = chain.offsets
        if len(chain.legs) > 2 and offsets.max() > 0 > offsets.min():
            repetitions = max(1, round((len(chain.legs) - 1) / 2))
            yield act_of(chain, "sway", "torso", side="none", least=settings.least_sway, repetitions=repetitions)
    for chain in episodes(course.rise, least=settings.least_shrug, gap_s=0.0, hold_s=1.5):
        brief = chain.end - chain.start <= settings.longest_shrug_s * FPS
        if chain.peak > 0 and chain.returns and brief and not _nearer(course, chain, settings):
            yield act_of(chain, "shrug", "torso", side="both", least=settings.least_shrug)


def _nearer(course: Course, chain: Chain, settings: BodySettings) -> bool:
    """Whether the head comes nearer or goes back meanwhile: then the shoulders move because the trunk leans."""
    away = excursion(course.size, range(int(chain.start), int(chain.end) + 1))
    return away is not None and abs(away) >= settings.least_size
