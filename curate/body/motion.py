"""Motion per body part, from the signals of a clip. Pure."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.series import series_to_array
from xsheet.schemas.clip import PartMotion, Signals
from xsheet.schemas.columns import Series
from xsheet.schemas.time import CLIP_RATE

Floats = NDArray[np.float64]
# Shoulder width by face height, for tight crops without visible shoulders: the median over 12 real clips that show both
# (1.94 to 2.07).
SHOULDER_WIDTH_PER_FACE_HEIGHT = 2.0
_HALF_WINDOW_FRAMES = 2  # frames to each side of a central difference; 0.16 s separates gestures from tracker jitter
_PARTS = {
    "head": ("head",), "torso": ("shoulder_left", "shoulder_right"), "arm_left": ("elbow_left",),
    "arm_right": ("elbow_right",), "hand_left": ("wrist_left",), "hand_right": ("wrist_right",),
}  # fmt: skip


def part_motion(
    signals: Signals, *, camera_x: Series = (), camera_y: Series = (), frames: range | None = None
) -> tuple[PartMotion, ...]:
    """Motion of the visible body parts, in shoulder widths per second.

    Args:
        signals: of the clip.
        camera_x: background motion over the frames of the clip as in Timeline, subtracted; empty = static camera.
        camera_y: the same, downwards.
        frames: frames of the clip to measure; None is all.
    """
    width = shoulder_width(signals)
    return () if width is None else tuple(_part_motions(signals, width, (camera_x, camera_y), frames))


def speeds(signals: Signals, part: str, *, camera: tuple[Series, Series] = ((), ())) -> Floats:
    """(frames,) speed of a part in picture heights per second; NaN where it is not visible."""
    points = [_joint_positions(signals, name) for name in _PARTS[part]]
    positions = np.mean(points, axis=0)
    velocity = np.full_like(positions, np.nan)
    velocity[_HALF_WINDOW_FRAMES:-_HALF_WINDOW_FRAMES] = (
        (positions[2 * _HALF_WINDOW_FRAMES :] - positions[: -2 * _HALF_WINDOW_FRAMES])
        * float(CLIP_RATE)
        / (2 * _HALF_WINDOW_FRAMES)
    )
    for axis, series in enumerate(camera):
        if series:
            velocity[:, axis] -= np.nan_to_num(series_to_array(series))
    return np.asarray(np.linalg.norm(velocity, axis=1))


def shoulder_width(signals: Signals) -> float | None:
    """Median shoulder width in picture heights, else estimated from the face height; None without either."""
    difference = _joint_positions(signals, "shoulder_left") - _joint_positions(signals, "shoulder_right")
    widths = np.linalg.norm(difference, axis=1)
    if np.isfinite(widths).any():
        return float(np.nanmedian(widths))
    face = series_to_array(signals.head_height, frames=signals.frames)
    return SHOULDER_WIDTH_PER_FACE_HEIGHT * float(np.nanmedian(face)) if np.isfinite(face).any() else None


def _part_motions(
    signals: Signals, width: float, camera: tuple[Series, Series], frames: range | None
) -> Iterator[PartMotion]:
    selection = slice(frames.start, frames.stop) if frames is not None else slice(None)
    for part, names in _PARTS.items():
        speed = speeds(signals, part, camera=camera)[selection]
        visible = speed[np.isfinite(speed)] / width
        positions = np.mean([_joint_positions(signals, name)[selection] for name in names], axis=(0, 2))
        if len(visible):
            yield PartMotion(
                part=part,
                speed_median=float(np.median(visible)),
                speed_p90=float(np.percentile(visible, 90)),
                visible_share=float(np.isfinite(positions).mean()),
            )


def _joint_positions(signals: Signals, name: str) -> Floats:
    return np.stack([series_to_array(getattr(signals, f"{name}_{axis}"), frames=signals.frames) for axis in "xy"], -1)
