"""Rules for the head: which oscillation, turn or tilt a chain of legs is."""

from collections.abc import Iterator

from pydantic import Field

from xsheet.annotate.motion.curves import FPS, Course, Floats
from xsheet.annotate.motion.detected_actions import Act, act_of
from xsheet.annotate.motion.segments import Chain, episodes
from xsheet.schemas import vocab
from xsheet.schemas.settings import StrictModel

_AGAIN_S = 0.2  # between two cycles of one nod or shake; separate ones lie farther apart
_HOLD_S = 1.5  # a head held aside for longer has found a new place


class HeadSettings(StrictModel):
    """The smallest movements of a head that count. Fitted on the puppet, seeds 0-59 (docs/log/annotate.md#motion)."""

    least_pitch_deg: float = Field(
        default=3.6, gt=0, le=30, description="of a nod; a jaw's leak into pitch is below it"
    )
    least_yaw_deg: float = Field(default=7.0, gt=0, le=45, description="of a turn, and of each way of a shake")
    least_roll_deg: float = Field(default=5.0, gt=0, le=45, description="of a tilt against the shoulders")
    slowest_nod_s: float = Field(default=1.2, gt=0, le=5, description="a cycle that takes longer is a lowered head")
    least_posture: float = Field(
        default=1.6, ge=1, le=5, description="times least_pitch_deg, from which a head counts as lowered or raised"
    )


def head_acts(course: Course, settings: HeadSettings) -> Iterator[Act]:
    """Nods, shakes, turns and tilts; they may overlap."""
    for chain in _found(course.pitch_deg, settings.least_pitch_deg):
        yield from _of_pitch(chain, settings)
    for chain in _found(course.yaw_deg, settings.least_yaw_deg):
        yield _of_yaw(chain, settings.least_yaw_deg)
    for chain in _found(course.roll_deg, settings.least_roll_deg):
        yield act_of(chain, "tilt_head", "head", side=side_of(chain.peak), least=settings.least_roll_deg)


def side_of(value: float) -> vocab.Laterality:
    """The own side of a signed quantity."""
    return "left" if value > 0 else "right"


def _found(values: Floats, least: float) -> list[Chain]:
    return episodes(values, least=least, gap_s=_AGAIN_S, hold_s=_HOLD_S, jitter_frames=0.7)


def _of_pitch(chain: Chain, settings: HeadSettings) -> Iterator[Act]:
    least = settings.least_pitch_deg
    downs = sum(leg.delta < 0 for leg in chain.legs)
    cycle_s = (chain.end - chain.start) / FPS / max(downs, 1)
    if chain.returns and chain.peak < 0 and cycle_s <= settings.slowest_nod_s:
        yield act_of(chain, "nod", "head", side="none", least=least, repetitions=downs)
    elif abs(chain.peak) >= settings.least_posture * least:
        action: vocab.Action = "lower_head" if chain.peak < 0 else "raise_head"
        yield act_of(chain, action, "head", side="none", least=settings.least_posture * least)


def _of_yaw(chain: Chain, least: float) -> Act:
    offsets = chain.offsets
    if offsets.max() > least / 2 and offsets.min() < -least / 2:
        repetitions = max(1, round((len(chain.legs) - 1) / 2))
        return act_of(chain, "shake_head", "head", side="none", least=least, repetitions=repetitions)
    return act_of(chain, "turn_head", "head", side=side_of(chain.peak), least=least)
