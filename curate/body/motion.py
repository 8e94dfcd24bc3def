"""How much each part of a body moves: pure, from the signals of a clip."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xsheet.schemas.clip import PartMotion, Signals
from xsheet.schemas.columns import Series
from xsheet.schemas.time import CLIP_RATE

Floats = NDArray[np.float64]
# Where no shoulders are seen (a tight crop), their width by the height of the face: the median of the real test clips
# that show both (1.94 to 2.07 in 12 clips).
SHOULDER_WIDTH_PER_FACE_HEIGHT = 2.0
_HALF_WINDOW_FRAMES = 2  # frames to either side of a central difference: 0.16 s tells a gesture from a tracker's jitter
_PARTS = {
    "head": ("head",), "torso": ("shoulder_left", "shoulder_right"), "arm_left": ("elbow_left",),
    "arm_right": ("elbow_right",), "hand_left": ("wrist_left",), "hand_right": ("wrist_right",),
}  # fmt: skip


def part_motion(
    signals: Signals, *, camera_x: Series = (), camera_y: Series = (), frames: range | None = None
) -> tuple[PartMotion, ...]:
    """Motion of the parts that were seen, in shoulder widths per second.

    Args:
        signals: of the clip.
        camera_x: background motion over the clip's frames as in Timeline, taken off; a still camera where empty.
        camera_y: the same, downwards.
        frames: the stretch of the clip to look at; all of it when None.
    """
    width = shoulder_width(signals)
    return () if width is None else tuple(_part_motions(signals, width, (camera_x, camera_y), frames))


def speeds(signals: Signals, part: str, *, camera: tuple[Series, Series] = ((), ())) -> Floats:
    """(frames,) speed of a part in picture heights per second; NaN where it is not seen."""
    points = [_joint_positions(signals, name) for name in _PARTS[part]]
    place = np.mean(points, axis=0)
    moved = np.full_like(place, np.nan)
    moved[_HALF_WINDOW_FRAMES:-_HALF_WINDOW_FRAMES] = (
        (place[2 * _HALF_WINDOW_FRAMES :] - place[: -2 * _HALF_WINDOW_FRAMES])
        * float(CLIP_RATE)
        / (2 * _HALF_WINDOW_FRAMES)
    )
    for axis, series in enumerate(camera):
        if series:
            moved[:, axis] -= np.nan_to_num(_to_array(series))
    return np.asarray(np.linalg.norm(moved, axis=1))


def shoulder_width(signals: Signals) -> float | None:
    """Median distance of the shoulders in picture heights, or what the face lets expect; None without either."""
    gap = _joint_positions(signals, "shoulder_left") - _joint_positions(signals, "shoulder_right")
    across = np.linalg.norm(gap, axis=1)
    if np.isfinite(across).any():
        return float(np.nanmedian(across))
    face = _to_array(signals.head_height, signals.frames)
    return SHOULDER_WIDTH_PER_FACE_HEIGHT * float(np.nanmedian(face)) if np.isfinite(face).any() else None


def _part_motions(
    signals: Signals, width: float, camera: tuple[Series, Series], frames: range | None
) -> Iterator[PartMotion]:
    where = slice(frames.start, frames.stop) if frames is not None else slice(None)
    for part, names in _PARTS.items():
        speed = speeds(signals, part, camera=camera)[where]
        seen = speed[np.isfinite(speed)] / width
        place = np.mean([_joint_positions(signals, name)[where] for name in names], axis=(0, 2))
        if len(seen):
            yield PartMotion(
                part=part,
                speed_median=float(np.median(seen)),
                speed_p90=float(np.percentile(seen, 90)),
                visible_share=float(np.isfinite(place).mean()),
            )


def _joint_positions(signals: Signals, name: str) -> Floats:
    return np.stack([_to_array(getattr(signals, f"{name}_{axis}"), signals.frames) for axis in "xy"], -1)


def _to_array(series: Series, frames: int = 0) -> Floats:
    """Nulls as NaN; a series that was not measured is NaN throughout."""
    return np.array([np.nan if v is None else v for v in series]) if series else np.full(frames, np.nan)
