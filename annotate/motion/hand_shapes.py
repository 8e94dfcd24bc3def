"""Open hands: a word for the movement of a hand whose fingers are seen straight where it arrives and stays.

Fists, pinches, pointing fingers, held objects and the direction of palms are measured too, but of these words too few
were true of real people, or too few could be checked (docs/log/annotate.md#hands).
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from xsheet.annotate.motion.curves import MotionCurves
from xsheet.annotate.motion.segments import MotionSegment
from xsheet.annotate.motion.series import FPS, Floats
from xsheet.schemas import vocab
from xsheet.schemas.settings import StrictModel


class HandShapeSettings(StrictModel):
    """Minimum evidence for an open hand, chosen on hand-made labels (docs/log/annotate.md#hands)."""

    min_open: float = Field(default=0.86, ge=0, le=1, description="minimum median extension of the fingers")
    min_seen_share: float = Field(
        default=0.6, gt=0, le=1, description="minimum share of the frames in which the shape is measured"
    )
    max_hold_s: float = Field(default=0.5, gt=0, le=5, description="seconds after the movement that count")


def ends_open(
    curves: MotionCurves, side: vocab.Laterality, segments: Sequence[MotionSegment], settings: HandShapeSettings
) -> bool:
    """Whether the hand of an action, or both, is open from the last third of the stroke until it goes back.

    Args:
        curves: of the clip.
        side: "left", "right" or "both".
        segments: of the action; the first is the stroke, the way back follows.
        settings: limits.
    """
    stroke = segments[0]
    until = min(segments[1].start if len(segments) > 1 else len(curves), stroke.end + settings.max_hold_s * FPS)
    inside = slice(int(stroke.end - (stroke.end - stroke.start) / 3), max(int(stroke.end) + 1, int(until)))
    hands = (curves.open_left, curves.open_right)
    chosen = hands if side == "both" else hands[:1] if side == "left" else hands[1:]
    return all(_is_open(hand[inside], settings) for hand in chosen)


def _is_open(extension: Floats, settings: HandShapeSettings) -> bool:
    seen = np.isfinite(extension)
    if not seen.any() or seen.mean() < settings.min_seen_share:
        return False
    return float(np.median(extension[seen])) >= settings.min_open
