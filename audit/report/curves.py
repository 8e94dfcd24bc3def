"""Curves of the time axis: measured series as closed areas, in boxes of one unit per frame and CURVE_HEIGHT_PX high."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.curves import MOVING_SPEED, motion_curves, moving_ranges, track_speeds
from xsheet.annotate.motion.series import Floats, true_ranges
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import Series

CURVE_HEIGHT_PX = 24
_MIN_FRAMES = 5  # a speed is a difference over four frames
_MIN_LEVEL_DB, _MAX_LEVEL_DB = -60.0, -10.0  # of full scale: from a silent room to speech close to the microphone
_MIN_MOUTH_SCALE = 0.16  # face heights: a mouth that opens less is not drawn as if it gaped
_MIN_SPEED_SCALE = 2.0  # small deliberate movements' speeds: the band shows at least so many


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalCurve:
    """A series as a path."""

    path: str
    frames: int
    reference_y: float | None = None  # where 1 lies; none for series whose 1 means nothing
    missing_spans: tuple[tuple[float, float], ...] = ()  # (x, width) in frames, without a value
    has_movement: bool = False  # whether a track makes a deliberate movement at all


def build_signal_curves(signals: Signals) -> dict[str, SignalCurve]:
    """Level of the voice, opening of the mouth, and speed by track, 1 being that of a small deliberate movement."""
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
        path="".join(_area(y, stretch) for stretch in true_ranges(known)),
        frames=len(values),
        reference_y=round(CURVE_HEIGHT_PX - (CURVE_HEIGHT_PX - 1) / top, 1) if has_unit else None,
        missing_spans=tuple((gap.start, len(gap)) for gap in true_ranges(~known) if len(gap) > 2 * _MIN_FRAMES),
        has_movement=moves,
    )


def _area(y: NDArray[np.int64], stretch: range) -> str:
    """From the floor up, along the values, and down again; frame k stands at k + ½."""
    along = y[stretch.start : stretch.stop]
    steps = "".join(f" 1 {step}" for step in np.diff(along).tolist())
    return f"M{stretch.start}.5 {CURVE_HEIGHT_PX}V{along[0]}{'l' + steps[1:] if steps else ''}V{CURVE_HEIGHT_PX}z"


def _array(series: Series) -> Floats:
    return np.array([np.nan if value is None else value for value in series], dtype=np.float64)


def _maximum(values: Floats) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
