"""Rules for the face: gaze, lids, brows, smile, and a mouth that opens without voice."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from xsheet.annotate.motion.curves import FPS, Course, Floats
from xsheet.annotate.motion.detected_actions import Act, act_of
from xsheet.annotate.motion.head_rules import side_of
from xsheet.annotate.motion.segments import Chain, chains, episodes, legs
from xsheet.schemas.settings import StrictModel

_CLEAR = 1.5  # times the least size, from which an expression counts without its way back


class FaceSettings(StrictModel):
    """The smallest movements of a face that count. Fitted on the puppet, seeds 0-59 (docs/log/annotate.md#motion)."""

    least_gaze: float = Field(default=0.17, gt=0, le=1, description="half eye widths; glances go half as far")
    least_gaze_s: float = Field(default=0.3, ge=0, le=3, description="a shorter look aside is a glance")
    shut_lids: float = Field(default=0.5, gt=0, lt=1, description="share of the usual opening")
    least_shut_s: float = Field(default=0.18, ge=0, le=3, description="an ordinary blink is over sooner")
    least_brows: float = Field(default=0.0125, gt=0, le=0.2, description="face heights")
    least_smile: float = Field(default=0.2, gt=0, le=1, description="of the series' 0..1")
    least_mouth: float = Field(default=0.045, gt=0, le=0.5, description="face heights")
    most_voiced: float = Field(default=0.4, ge=0, le=1, description="share of an open mouth's frames with voice")


def face_acts(course: Course, settings: FaceSettings) -> Iterator[Act]:
    """Looks aside, long blinks, raised brows, smiles and silently opened mouths; they may overlap."""
    for chain in _away(course.gaze_x, settings.least_gaze, hold_s=2.0):
        if (chain.end - chain.start) / FPS >= settings.least_gaze_s:
            yield act_of(chain, "look_away", "gaze", side=side_of(chain.peak), least=settings.least_gaze)
    for chain in _away(-course.lids, 1 - settings.shut_lids, hold_s=2.0, jitter_frames=0.5):
        if chain.peak > 0 and _shut_s(course, chain, settings) >= settings.least_shut_s:
            yield act_of(chain, "blink_long", "gaze", side="both", least=1 - settings.shut_lids)
    for chain in _away(course.brows, settings.least_brows, hold_s=1.2, jitter_frames=1.5):
        if chain.peak > 0:
            yield act_of(chain, "raise_brows", "brows", side="both", least=settings.least_brows)
    for chain in _away(course.smile, settings.least_smile, hold_s=8.0, jitter_frames=4.0):
        if chain.peak > 0:
            yield act_of(chain, "smile", "face", side="none", least=settings.least_smile)
    # Speech moves the mouth all the time, so nothing has to stand out from that; the voice tells the two apart.
    openings = legs(course.mouth, least=settings.least_mouth, jitter_frames=0.7)
    for chain in chains(openings, frames=len(course), gap_s=0.0, hold_s=3.0):
        if chain.peak > 0 and chain.returns and _voiced(course, chain) <= settings.most_voiced:
            yield act_of(chain, "open_mouth", "mouth", side="none", least=settings.least_mouth)


def _away(values: Floats, least: float, *, hold_s: float, jitter_frames: float = 1.0) -> Iterator[Chain]:
    """Episodes that end where they began."""
    found = episodes(values, least=least, gap_s=0.0, hold_s=hold_s, jitter_frames=jitter_frames)
    # Drift ends nowhere, so what is still held when the clip ends has to be clearer.
    return (c for c in found if c.returns and (c.until is None or abs(c.peak) >= _CLEAR * least))


def _shut_s(course: Course, chain: Chain, settings: FaceSettings) -> float:
    lids = course.lids[int(chain.start) : int(np.ceil(chain.end))]
    return float((lids < settings.shut_lids).sum()) / FPS


def _voiced(course: Course, chain: Chain) -> float:
    return float(course.voiced[int(chain.start) : int(np.ceil(chain.end))].mean())
