"""The motion of a clip, relative to its rest, from measured signals and back to series.

T frames, S series.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xsheet.model.encoders.motion import SPREADS
from xsheet.schemas.clip import Signals

Floats = NDArray[np.float32]
ABSOLUTE = frozenset({
    "yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "smile", "gaze_x", "gaze_y", "hand_left_visible",
    "hand_right_visible",
})  # fmt: skip
"""Series whose zero means the same for everybody; all others are relative to their median over the clip."""


def motion_array(signals: Signals) -> Floats:
    """Motion of a whole clip, (T, S); gaps are filled in a straight line, and what was never seen keeps still."""
    rest = motion_rest(signals)
    return np.stack([_filled(signals, name) - rest[name] for name in SPREADS], axis=1).astype(np.float32)


def motion_rest(signals: Signals) -> dict[str, float]:
    """Rest of every series: its median over the clip, or 0 for those in ABSOLUTE."""
    return {name: 0.0 if name in ABSOLUTE else float(np.median(_filled(signals, name))) for name in SPREADS}


def motion_series(
    motion_TS: NDArray[np.floating], *, names: Sequence[str] = tuple(SPREADS)
) -> dict[str, NDArray[np.float64]]:
    """Series (T,) by name, without their rest."""
    places = {name: place for place, name in enumerate(SPREADS)}
    return {name: motion_TS[:, places[name]].astype(np.float64) for name in names}


def _filled(signals: Signals, name: str) -> NDArray[np.float64]:
    values = getattr(signals, name) or (None,) * signals.frames
    series = np.array([np.nan if value is None else value for value in values], np.float64)
    known = np.flatnonzero(np.isfinite(series))
    if not len(known):
        return np.zeros(signals.frames)
    return np.interp(np.arange(signals.frames), known, series[known])
