"""Curves of the time axis: measured series as closed areas, in boxes of one unit per frame and CURVE_PX high."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.curves import MOVING, Floats, course_of, moving, speeds, stretches
from xsheet.schemas.clip import Signals
from xsheet.schemas.columns import Series

CURVE_PX = 24
_MIN_FRAMES = 5  # a speed is a difference over four frames
_QUIET_DB, _LOUD_DB = -60.0, -10.0  # of full scale: from a silent room to speech close to the microphone
_WIDE_MOUTH = 0.16  # face heights: a mouth that opens less is not drawn as if it gaped
_FAST = 2.0  # small deliberate movements' speeds: the band shows at least so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A series as a path."""

    path: str
    frames: int
    unit_y: float | None = None  # where 1 lies; none for series whose 1 means nothing
    unseen: tuple[tuple[float, float], ...] = ()  # (x, width) in frames, without a value
    moves: bool = False  # whether a track makes a deliberate movement at all


def measured_curves(signals: Signals) -> dict[str, Curve]:
    """Level of the voice, opening of the mouth, and speed by track, 1 being that of a small deliberate movement."""
    found: dict[str, Curve] = {}
    if signals.energy_db:
        found["voice"] = _curve((_array(signals.energy_db) - _QUIET_DB) / (_LOUD_DB - _QUIET_DB), top=1.0)
    if signals.mouth_open:
        values = _array(signals.mouth_open)
        found["mouth_open"] = _curve(values, top=max(_WIDE_MOUTH, _highest(values)))
    if signals.frames >= _MIN_FRAMES:
        for track, speed in speeds(course_of(signals)).items():
            if np.isfinite(speed).any():
                relative = speed / MOVING[track]
                found[track] = _curve(
                    relative, top=max(_FAST, _highest(relative)), has_unit=True, moves=bool(moving(speed, track=track))
                )
    return found


def _curve(values: Floats, *, top: float, has_unit: bool = False, moves: bool = False) -> Curve:
    known = np.isfinite(values)
    heights = np.clip(np.nan_to_num(values) / top, 0.0, 1.0) * (CURVE_PX - 1)
    y = np.round(CURVE_PX - heights).astype(int)
    return Curve(
        path="".join(_area(y, stretch) for stretch in stretches(known)),
        frames=len(values),
        unit_y=round(CURVE_PX - (CURVE_PX - 1) / top, 1) if has_unit else None,
        unseen=tuple((gap.start, len(gap)) for gap in stretches(~known) if len(gap) > 2 * _MIN_FRAMES),
        moves=moves,
    )


def _area(y: NDArray[np.int64], stretch: range) -> str:
    """From the floor up, along the values, and down again; frame k stands at k + ½."""
    along = y[stretch.start : stretch.stop]
    steps = "".join(f" 1 {step}" for step in np.diff(along).tolist())
    return f"M{stretch.start}.5 {CURVE_PX}V{along[0]}{'l' + steps[1:] if steps else ''}V{CURVE_PX}z"


def _array(series: Series) -> Floats:
    return np.array([np.nan if value is None else value for value in series], dtype=np.float64)


def _highest(values: Floats) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
