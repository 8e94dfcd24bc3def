"""Curves of the time axis: voice level, mouth opening and speed per track, as closed areas."""

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.curves import MOVING_SPEED, motion_curves, moving_ranges, track_speeds
from xsheet.annotate.motion.series import Floats, true_ranges
from xsheet.pages.time_axis import CURVE_HEIGHT_PX, SignalCurve
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import Series

_MIN_FRAMES = 5  # a speed is a difference over four frames
_MIN_LEVEL_DB, _MAX_LEVEL_DB = -60.0, -10.0  # of full scale: a silent room, speech close to the microphone
_MIN_MOUTH_SCALE = 0.16  # face heights; the scale reaches at least so far
_MIN_SPEED_SCALE = 2.0  # speeds of a small deliberate movement; the scale reaches at least so far


def build_signal_curves(signals: Signals) -> dict[str, SignalCurve]:
    """Voice level, mouth opening, and speed by track; a small deliberate movement has speed 1."""
    found: dict[str, SignalCurve] = {}
    if signals.energy_db:
        found["voice"] = _curve((_array(signals.energy_db) - _MIN_LEVEL_DB) / (_MAX_LEVEL_DB - _MIN_LEVEL_DB), top=1.0)
    if signals.mouth_open:
        values = _array(signals.mouth_open)
        found["mouth_open"] = _curve(values, top=max(_MIN_MOUTH_SCALE, _maximum(values)))
    if signals.frames >= _MIN_FRAMES:
        for track, speed in track_speeds(motion_curves(signals)).items():
            if np.isfinite(speed).any():
                relative = speed / MOVING_SPEED[track]
                found[track] = _curve(
                    relative,
                    top=max(_MIN_SPEED_SCALE, _maximum(relative)),
                    has_unit=True,
                    moves=bool(moving_ranges(speed, track=track)),
                )
    return found


def _curve(values: Floats, *, top: float, has_unit: bool = False, moves: bool = False) -> SignalCurve:
    known = np.isfinite(values)
    heights = np.clip(np.nan_to_num(values) / top, 0.0, 1.0) * (CURVE_HEIGHT_PX - 1)
    y = np.round(CURVE_HEIGHT_PX - heights).astype(int)
    return SignalCurve(
        path="".join(_area(y, interval) for interval in true_ranges(known)),
        frames=len(values),
        reference_y=round(CURVE_HEIGHT_PX - (CURVE_HEIGHT_PX - 1) / top, 1) if has_unit else None,
        missing_spans=tuple((gap.start, len(gap)) for gap in true_ranges(~known) if len(gap) > 2 * _MIN_FRAMES),
        has_movement=moves,
    )


def _area(y: NDArray[np.int64], interval: range) -> str:
    """A closed SVG path from the bottom along the values; frame k is at x = k + 0.5."""
    along = y[interval.start : interval.stop]
    steps = "".join(f" 1 {step}" for step in np.diff(along).tolist())
    return f"M{interval.start}.5 {CURVE_HEIGHT_PX}V{along[0]}{'l' + steps[1:] if steps else ''}V{CURVE_HEIGHT_PX}z"


def _array(series: Series) -> Floats:
    return np.array([np.nan if value is None else value for value in series], dtype=np.float64)


def _maximum(values: Floats) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
