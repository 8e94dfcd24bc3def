"""Convert planned actions to motion curves.

Frame k shows the instant in its middle, k + 1/2 frames from the start, as in `film.voice`. Every movement follows
minimum jerk (Flash & Hogan, 1985): it is at rest at the edges of its phase, and the frames that differ from rest are
exactly the frames of the phase.

Idle motion is added below the actions: slow drift, blinks, glances, head dips during speech. It is much smaller than
any action and not annotated.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from xsheet.demo.film.voice import Speech
from xsheet.demo.puppet.pose import Motion
from xsheet.demo.puppet.script import ACTION_STYLES, FPS, PlannedAction
from xsheet.schemas.time import CLIP_RATE, Span, frames_in

Floats = NDArray[np.float64]
Keyframe = tuple[float, float]  # instant in frames, displacement from rest; the velocity is zero at every key

REPETITION_DECAY = 0.9  # each repetition is a little smaller than the one before
WAVE_ARM_RAISE = 0.85  # the hand waves below head height
_NOD: tuple[Keyframe, ...] = ((0.45, 1.0), (1.0, 0.0))  # one cycle, as shares of its length and of the peak
_SWING: tuple[Keyframe, ...] = ((0.25, 1.0), (0.75, -1.0))
# Eye closure in each frame of an ordinary blink; 16 per minute (Bentivoglio et al., 1997), 80 to 160 ms each.
_BLINKS = ((1.0, 0.5), (0.7, 1.0, 0.4), (0.6, 1.0, 1.0, 0.4))
_BLINK_GAP_S = 3.75
_DRIFT = {"yaw_deg": 0.6, "pitch_deg": 0.5, "roll_deg": 0.4, "shift_x": 0.003, "shift_y": 0.002, "torso_lean_x": 0.02}


def motion_curves(
    actions: Iterable[PlannedAction], frames: int, *, speech: Speech | None = None, rng: Generator | None = None
) -> Motion:
    """Return the motion of a clip: planned actions, mouth movement of the speech, and idle motion drawn from `rng`.

    Without `rng` there is no idle motion. ValueError if the speech has another length.
    """
    actions = sorted(actions, key=lambda p: p.span)
    motion = Motion.rest(frames)
    if speech and len(speech.mouth_open) != frames:
        raise ValueError(f"expected speech of {frames} frames, got {len(speech.mouth_open)}")
    if speech:
        motion.mouth_open[:] = speech.mouth_open
        motion.mouth_wide[:] = speech.mouth_wide
    if rng:
        _add_idle_motion(rng, motion, actions)
    paths: dict[str, list[Keyframe]] = {}
    for p in actions:
        for field, path in _keyframes(p).items():
            paths.setdefault(field, []).extend(path)
    for field, path in paths.items():
        _add_to_curve(motion, field, _minimum_jerk(path, frames))
    for curve, least in (
        (motion.mouth_open, 0), (motion.eye_left_open, 0), (motion.eye_right_open, 0),
        (motion.gaze_x, -1), (motion.torso_lean_x, -1),
    ):  # fmt: skip
        np.clip(curve, least, 1, out=curve)
    return motion


def _add_to_curve(motion: Motion, field: str, more: Floats) -> None:
    curve: NDArray[np.float32] = getattr(motion, field)
    curve += more.astype(np.float32)


def _keyframes(planned: PlannedAction) -> dict[str, list[Keyframe]]:
    """Return keyframes for each field of Motion that the action moves; rest moves none."""
    if planned.action == "rest":
        return {}
    style = ACTION_STYLES[planned.action]
    first, *others = (field.format(side=planned.laterality) for field in style.pose_fields)
    at = [planned.frames.start, *(frames_in(Span(0, k.end_us), CLIP_RATE).stop for k in planned.kinematics)]
    peak = planned.peak
    match style.profile:
        case "nod":
            paths = {first: _cycle_keyframes(at[0], at[1], planned, _NOD)}
        case "swing":
            paths = {first: _cycle_keyframes(at[0], at[1], planned, _SWING)}
        case "wave":
            hand = _cycle_keyframes(at[1], at[2], planned, _SWING)
            paths = {first: _pair_keyframes(at, (0, WAVE_ARM_RAISE, WAVE_ARM_RAISE, 0)), others[0]: hand}
        case "raise":
            paths = {first: _pair_keyframes(at, (0, peak))}
        case "lower":
            paths = {first: _pair_keyframes(at, (peak, 0))}
        case "hold":
            paths = {field: _pair_keyframes(at, (0, peak, peak, 0)) for field in (first, *others)}
    return paths


def _pair_keyframes(at: Sequence[float], values: Sequence[float]) -> list[Keyframe]:
    return list(zip(at, values, strict=True))


def _cycle_keyframes(start: int, end: int, planned: PlannedAction, cycle: Sequence[Keyframe]) -> list[Keyframe]:
    """Return the keyframes of all repetitions between two instants, each smaller than the one before."""
    length = (end - start) / planned.repetitions
    peaks = [
        (start + length * (n + at), planned.peak * REPETITION_DECAY**n * share)
        for n in range(planned.repetitions)
        for at, share in cycle
    ]
    return [(start, 0.0), *(key for key in peaks if key[0] < end - 0.5), (end, 0.0)]


def _minimum_jerk(path: Sequence[Keyframe], frames: int) -> Floats:
    """Interpolate keyframes by minimum jerk at the middle of each frame, (frames,); end values are held."""
    times, values = np.array(path, dtype=np.float64).T
    now = np.arange(frames) + 0.5
    k = np.clip(np.searchsorted(times, now, side="right"), 1, len(times) - 1)
    x = np.clip((now - times[k - 1]) / (times[k] - times[k - 1]), 0, 1)
    eased: Floats = values[k - 1] + (values[k] - values[k - 1]) * x**3 * (10 - 15 * x + 6 * x**2)
    return eased


def _add_idle_motion(rng: Generator, motion: Motion, planned: Sequence[PlannedAction]) -> None:
    """Add idle motion: head and trunk drift by less than a degree, eyes dart and blink, speech dips the head."""
    seconds = (np.arange(len(motion)) + 0.5) / FPS
    for field, size in _DRIFT.items():
        hz, turn = rng.uniform(0.05, 0.3, 3), rng.uniform(0, 2 * np.pi, 3)
        _add_to_curve(motion, field, size / 3 * np.sin(2 * np.pi * hz * seconds[:, None] + turn).sum(axis=1))
    darts = np.cumsum(rng.uniform(0.4, 1.5, 1 + int(seconds[-1] / 0.4)))
    for field in ("gaze_x", "gaze_y"):
        _add_to_curve(motion, field, rng.uniform(-0.05, 0.05, len(darts) + 1)[np.searchsorted(darts, seconds)])
    _add_to_curve(
        motion, "pitch_deg", -0.6 * np.convolve(motion.mouth_open, np.hanning(11) / 5, mode="same")[: len(motion)]
    )
    shut = _blinks(rng, len(motion), [p.frames for p in planned if p.action == "blink_long"])
    _add_to_curve(motion, "eye_left_open", -shut)
    _add_to_curve(motion, "eye_right_open", -shut)


def _blinks(rng: Generator, frames: int, long_ones: Sequence[range]) -> Floats:
    """Return eye closure of ordinary blinks, (frames,); none within 0.4 s of a long blink or cut off by the end."""
    shut = np.zeros(frames)
    starts = np.cumsum(rng.uniform(1.0, 2 * _BLINK_GAP_S - 1.0, 1 + frames // FPS)) * FPS
    for start, kind in zip(starts.astype(int), rng.integers(0, len(_BLINKS), len(starts)), strict=True):
        end = start + len(_BLINKS[kind])
        if end < frames and not any(start < long.stop + 10 and end > long.start - 10 for long in long_ones):
            shut[start:end] = _BLINKS[kind]
    return shut
