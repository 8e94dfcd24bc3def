"""Rules for arms and hands: strokes of the wrists, named by their direction; repeated gestures need separate evidence.

A stroke is the neighbourhood of a speed maximum between two velocity minima (Kipp, 2004; Bressem & Ladewig, 2011), so a
hand that never rests is cut into strokes too; vertical strokes take precedence over sideways ones. A stroke and its
return after a hold are one action with a retraction. Two hands that move together are one action of both: up, down,
apart, together, whichever is larger; they are looked for in the mean of both, which needs less of a way. Anything else
is "moves the hand". An open hand is a word about a movement, never a class of its own (hand_shapes).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from xsheet.annotate.motion.curves import MotionCurves
from xsheet.annotate.motion.detected_actions import DetectedAction
from xsheet.annotate.motion.hand_shapes import HandShapeSettings, ends_open
from xsheet.annotate.motion.segments import MIN_STROKE_FRAMES, RETURN_SHARE, MotionSegment, fast_segments, lengthened
from xsheet.annotate.motion.series import FPS, Floats, finite_median, frames_between, gaussian_smooth
from xsheet.schemas import vocab
from xsheet.schemas.settings import StrictModel

_SAME_TIME = 0.3  # of the shorter movement
_SIDEWAYS_FACTOR = 2.5  # a sideways movement so much larger than the vertical one at its time is the movement
_SIDEWAYS_BOTH = 1.5  # the same for the mean of both hands
_MAX_SWING_PAUSE_S = 0.2
_COMMON_SWING = 0.12  # shoulder widths: minimum way of the mean of both hands
_UNSEEN_FRAMES = 3.0  # between the edge of the picture and the first or last frame in which a hand is found
_REST_QUANTILE, _REST_RADIUS = 0.1, 0.1  # rest position: the lowest tenth of the clip, and shoulder widths around it
_COMMON_SHARE = 0.4  # of the mean way of both hands: less of one hand is no movement of both
_HIDDEN_FRAMES, _HIDDEN_SHARE = 8, 0.6  # before or after a movement of a hand that appears or disappears
_TOUCHING = 0.35  # shoulder widths between the wrists of hands that touch
_SIMILAR = 0.4  # least ratio of consecutive swings of one repeated gesture; the first starts from its middle


class ArmRuleSettings(StrictModel):
    """Minimum movements of a hand, chosen on hand-made labels (docs/log/annotate.md#real-people)."""

    min_reach: float = Field(
        default=0.25,
        gt=0,
        le=3,
        description="minimum way of a stroke, shoulder widths",
    )
    min_sure_reach: float = Field(
        default=0.125,
        gt=0,
        le=3,
        description="the same where more shows it: up or down, of both hands or of one that comes into sight or "
        "leaves it",
    )
    min_speed: float = Field(
        default=0.25, ge=0, le=10, description="minimum mean speed of a stroke, shoulder widths per second"
    )
    min_swing: float = Field(
        default=0.15, gt=0, le=2, description="minimum swing of a wave, beat or clap in one direction, shoulder widths"
    )
    min_visible_share: float = Field(
        default=0.5, ge=0, le=1, description="minimum share of the frames of a stroke in which the hand is visible"
    )
    max_hold_s: float = Field(default=1.5, gt=0, le=10, description="longest hold of one action, seconds")
    max_swing_s: float = Field(default=0.5, gt=0, le=5, description="longest swing of a repeated gesture, seconds")
    min_swings: int = Field(
        default=4, ge=3, le=20, description="minimum number of consecutive swings of a repeated gesture"
    )
    shape: HandShapeSettings = HandShapeSettings()
    bimanual_min_tiou: float = Field(
        default=0.15, gt=0, le=1, description="minimum temporal IoU of the strokes of both hands in a two-handed stroke"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stroke:
    """One movement of one hand along an axis. Instants in frames, positions in shoulder widths."""

    side: vocab.Laterality
    axis: int  # 0 sideways, 1 vertical
    start: float
    end: float
    value: float  # of the axis at the start
    delta: float  # outwards or up
    crosses_edge: bool = False  # goes down out of sight or comes up into it


def detect_arm_actions(curves: MotionCurves, settings: ArmRuleSettings) -> Iterator[DetectedAction]:
    """Strokes of both hands as actions."""
    together = _common_strokes(curves, settings)
    left, right = (
        [s for s in _strokes(curves, side, settings) if all(_overlap(s, pair[0]) <= _SAME_TIME for pair in together)]
        for side in ("left", "right")
    )
    for stroke in left:
        other = next((o for o in right if _is_same_move(stroke, o, settings)), None)
        if other is not None:
            right.remove(other)
        together.append((stroke,) if other is None else (stroke, other))
    together += [(stroke,) for stroke in right]
    for side in ("left", "right", "both"):
        yield from _actions(sorted((s for s in together if _side(s) == side), key=_start), curves, settings)


def distance_from_rest(wrist: Floats) -> Floats:
    """(frames,) distance of a wrist (frames, 2) from its rest position, its lowest place, in shoulder widths."""
    smoothed = np.stack([gaussian_smooth(axis) for axis in wrist.T], -1)
    known = np.isfinite(smoothed).all(1)
    if not known.any():
        return np.full(len(wrist), np.nan)
    low = known & (smoothed[:, 1] <= np.quantile(smoothed[known, 1], _REST_QUANTILE) + _REST_RADIUS)
    return np.asarray(np.linalg.norm(wrist - np.median(smoothed[low], axis=0), axis=1))


def _strokes(curves: MotionCurves, side: vocab.Laterality, settings: ArmRuleSettings) -> list[_Stroke]:
    """Vertical movements of a hand, and sideways ones where it does not clearly go up or down."""
    wrist = curves.wrist_left if side == "left" else curves.wrist_right
    visible = curves.visibility["arm_left" if side == "left" else "arm_right"]
    found = [
        _Stroke(
            side=side,
            axis=axis,
            start=segment.start,
            end=segment.end,
            value=segment.value,
            delta=segment.delta,
            crosses_edge=axis == 1 and _crosses_edge(wrist[:, axis], segment),
        )
        for axis in (0, 1)
        for segment in fast_segments(wrist[:, axis], min_size=settings.min_swing)
        if abs(segment.delta) >= settings.min_speed * segment.seconds
        and _visible_share(visible, segment) >= settings.min_visible_share
    ]
    vertical = [stroke for stroke in found if stroke.axis == 1]
    sideways = [
        stroke for stroke in found if stroke.axis == 0 and all(_is_sideways(stroke, other) for other in vertical)
    ]
    vertical = [stroke for stroke in vertical if not any(_overlap(stroke, other) > _SAME_TIME for other in sideways)]
    return sorted(vertical + sideways, key=lambda stroke: stroke.start)


def _common_strokes(curves: MotionCurves, settings: ArmRuleSettings) -> list[tuple[_Stroke, ...]]:
    """Strokes of the mean of both hands in which each hand takes part; the mean trembles less than one hand."""
    found: list[tuple[float, tuple[_Stroke, ...]]] = []
    seen = np.minimum(curves.visibility["arm_left"], curves.visibility["arm_right"])
    for axis in (1, 0):
        left, right = curves.wrist_left[:, axis], curves.wrist_right[:, axis]
        mean = (left + right) / 2
        for segment in fast_segments(mean, min_size=_COMMON_SWING):
            pair = (
                _part_of(segment, gaussian_smooth(left), "left", axis, mean),
                _part_of(segment, gaussian_smooth(right), "right", axis, mean),
            )
            share = min(stroke.delta / segment.delta for stroke in pair)
            is_fast = abs(segment.delta) >= settings.min_speed * segment.seconds
            is_seen = _visible_share(seen, segment) >= settings.min_visible_share
            if share >= _COMMON_SHARE and is_fast and is_seen:
                found.append((abs(segment.delta) * (1.0 if axis else 1 / _SIDEWAYS_BOTH), pair))
    kept: list[tuple[_Stroke, ...]] = []
    for _, move in sorted(found, key=lambda one: -one[0]):
        if all(_overlap(move[0], other[0]) <= _SAME_TIME for other in kept):
            kept.append(move)
    return kept


def _part_of(segment: MotionSegment, path: Floats, side: vocab.Laterality, axis: int, mean: Floats) -> _Stroke:
    """The way of one hand during a stroke of both."""
    frames = frames_between(segment.start, segment.end)
    inside = path[frames.start : frames.stop + 1]  # a hand that leaves the picture has no place after it
    known = inside[np.isfinite(inside)]
    first, last = (float(known[0]), float(known[-1])) if len(known) else (np.nan, np.nan)
    return _Stroke(
        side=side, axis=axis, start=segment.start, end=segment.end, value=first, delta=last - first,
        crosses_edge=axis == 1 and _crosses_edge(mean, segment),
    )  # fmt: skip


def _visible_share(visible: Floats, segment: MotionSegment) -> float:
    frames = frames_between(segment.start, segment.end)
    return float(visible[frames.start : frames.stop].mean()) if len(visible[frames.start : frames.stop]) else 0.0


def _is_sideways(stroke: _Stroke, vertical: _Stroke) -> bool:
    """Whether a sideways movement is more than a part of a vertical one at the same time."""
    return _overlap(stroke, vertical) <= _SAME_TIME or abs(stroke.delta) >= _SIDEWAYS_FACTOR * abs(vertical.delta)


def _actions(
    moves: Sequence[tuple[_Stroke, ...]], curves: MotionCurves, settings: ArmRuleSettings
) -> Iterator[DetectedAction]:
    """Actions of one hand or both, in order: repeated gestures, movements with their way back, movements."""
    k = 0
    while k < len(moves):
        gesture = _gesture(moves[k:], curves, settings)
        if gesture is not None:
            action, count, swings = gesture
            yield _action(moves[k : k + count], action, settings, repetitions=swings // 2)
            k += count
            continue
        if max(abs(stroke.delta) for stroke in moves[k]) < _least_reach(moves[k], settings):
            k += 1
            continue
        pair = moves[k : k + 2]
        count = 2 if len(pair) == 2 and _is_return(pair[0], pair[1], settings) else 1
        movement = _action(moves[k : k + count], _direction(moves[k]), settings)
        yield replace(movement, open_hand=ends_open(curves, movement.side, movement.segments, settings.shape))
        k += count


def _least_reach(move: tuple[_Stroke, ...], settings: ArmRuleSettings) -> float:
    """Minimum way: less up or down where both hands show it, or where the hand also appears or disappears."""
    sure = move[0].axis == 1 and (len(move) == 2 or any(stroke.crosses_edge for stroke in move))
    return settings.min_sure_reach if sure else settings.min_reach


def _crosses_edge(values: Floats, segment: MotionSegment) -> bool:
    """Whether a hand comes up into sight with a movement or goes down out of it."""
    if segment.delta > 0:
        beside = values[max(0, int(segment.start) - _HIDDEN_FRAMES) : int(segment.start)]
    else:
        beside = values[int(np.ceil(segment.end)) :][:_HIDDEN_FRAMES]
    return len(beside) == _HIDDEN_FRAMES and float(np.isnan(beside).mean()) >= _HIDDEN_SHARE


def _gesture(
    moves: Sequence[tuple[_Stroke, ...]], curves: MotionCurves, settings: ArmRuleSettings
) -> tuple[vocab.Action, int, int] | None:
    """A repeated gesture that begins here: class, moves with its preparation and retraction, swings."""
    prepares = len(moves) > 1 and moves[0][0].axis == 1 and moves[0][0].delta > 0 and _is_next(moves[0], moves[1])
    for first in (1, 0) if prepares else (0,):
        repeated = _repeated(moves[first:], curves, settings)
        if repeated is None:
            continue
        action, swings = repeated
        end = first + swings
        retracts = end < len(moves) and moves[end][0].axis == 1 and moves[end][0].delta < 0
        return action, end + (1 if retracts and _is_next(moves[end - 1], moves[end]) else 0), swings
    return None


def _is_next(before: tuple[_Stroke, ...], after: tuple[_Stroke, ...]) -> bool:
    return _start(after) - _end(before) <= _MAX_SWING_PAUSE_S * FPS


def _action(
    moves: Sequence[tuple[_Stroke, ...]],
    action: vocab.Action,
    settings: ArmRuleSettings,
    *,
    repetitions: int | None = None,
) -> DetectedAction:
    side = _side(moves[0])
    size = max(abs(stroke.delta) for move in moves for stroke in move)
    segments = tuple(_segment(move) for move in moves)
    return DetectedAction(
        action=action,
        track="hands" if side == "both" else "arm_left" if side == "left" else "arm_right",
        side=side,
        start=segments[0].start,
        end=segments[-1].end,
        size=size,
        seconds=(segments[-1].end - segments[0].start) / FPS / repetitions if repetitions else segments[0].seconds,
        salience=size / settings.min_reach,
        repetitions=repetitions,
        segments=segments,
    )


def _segment(move: tuple[_Stroke, ...]) -> MotionSegment:
    """A move as a segment; a hand is found a moment after it comes into sight, and lost before it leaves."""
    start, end = _start(move), _end(move)
    if any(stroke.crosses_edge for stroke in move):
        start, end = (start - _UNSEEN_FRAMES, end) if move[0].delta > 0 else (start, end + _UNSEEN_FRAMES)
    segment = MotionSegment(start=start, end=end, value=0.0, delta=max(abs(stroke.delta) for stroke in move))
    return lengthened(segment, MIN_STROKE_FRAMES)


def _direction(move: tuple[_Stroke, ...]) -> vocab.Action:
    """Class of a single movement by its direction."""
    if move[0].axis == 1:
        return "raise_hand" if move[0].delta > 0 else "lower_hand"
    if len(move) == 2:
        return "spread_hands" if move[0].delta > 0 else "join_hands"
    return "move_hand"


def _is_return(first: tuple[_Stroke, ...], second: tuple[_Stroke, ...], settings: ArmRuleSettings) -> bool:
    """Whether the second movement takes each hand back to where the first began."""
    if (_start(second) - _end(first)) / FPS > settings.max_hold_s:
        return False
    return all(
        a.axis == b.axis and a.delta * b.delta < 0 and abs(b.value + b.delta - a.value) <= RETURN_SHARE * abs(a.delta)
        for a, b in zip(first, second, strict=True)
    )


def _repeated(
    moves: Sequence[tuple[_Stroke, ...]], curves: MotionCurves, settings: ArmRuleSettings
) -> tuple[vocab.Action, int] | None:
    """A wave, clap or beat that begins here, with its number of swings; None without strict evidence."""
    candidates: tuple[tuple[vocab.Action, int], ...] = (("clap", 0), ("wave", 0), ("chop_beat", 1))
    for action, axis in candidates:
        count = _swings(moves, axis, settings)
        if count >= settings.min_swings and _confirms(action, moves[:count], curves):
            return action, count
    return None


def _swings(moves: Sequence[tuple[_Stroke, ...]], axis: int, settings: ArmRuleSettings) -> int:
    """Number of leading swings along an axis that alternate, last as long and go as far as each other."""
    count = 0
    for k, move in enumerate(moves):
        if move[0].axis != axis or (_end(move) - _start(move)) / FPS > settings.max_swing_s:
            break
        if k:
            before = moves[k - 1]
            ratio = move[0].delta / before[0].delta
            if not -1 / _SIMILAR <= ratio <= -_SIMILAR or not _is_next(before, move):
                break
        count = k + 1
    return count


def _confirms(action: vocab.Action, moves: Sequence[tuple[_Stroke, ...]], curves: MotionCurves) -> bool:
    frames = slice(int(_start(moves[0])), int(_end(moves[-1])) + 1)
    if action == "chop_beat":
        return True
    if action == "clap":
        if len(moves[0]) != 2:
            return False
        gap = curves.wrist_left[frames, 0] + curves.wrist_right[frames, 0]
        return bool(np.isfinite(gap).any()) and float(np.nanmin(gap)) <= _TOUCHING
    height = [finite_median(_wrist(curves, stroke.side)[frames, 1]) for stroke in moves[0]]
    return len(moves[0]) == 1 and min(height) >= -0.1  # a waved hand is held up beside the head or shoulder


def _wrist(curves: MotionCurves, side: vocab.Laterality) -> Floats:
    return curves.wrist_left if side == "left" else curves.wrist_right


def _side(move: tuple[_Stroke, ...]) -> vocab.Laterality:
    return "both" if len(move) == 2 else move[0].side


def _start(move: tuple[_Stroke, ...]) -> float:
    return min(stroke.start for stroke in move)


def _end(move: tuple[_Stroke, ...]) -> float:
    return max(stroke.end for stroke in move)


def _is_same_move(a: _Stroke, b: _Stroke, settings: ArmRuleSettings) -> bool:
    """Whether two hands go the same way at the same time: both up or down, apart or together."""
    return a.axis == b.axis and a.delta * b.delta > 0 and _tiou(a, b) >= settings.bimanual_min_tiou


def _overlap(a: _Stroke, b: _Stroke) -> float:
    """Shared time by the length of the shorter one."""
    shared = min(a.end, b.end) - max(a.start, b.start)
    return max(0.0, shared) / max(min(a.end - a.start, b.end - b.start), 1e-9)


def _tiou(a: _Stroke, b: _Stroke) -> float:
    shared = min(a.end, b.end) - max(a.start, b.start)
    return shared / (max(a.end, b.end) - min(a.start, b.start))
