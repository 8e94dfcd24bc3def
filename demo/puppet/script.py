"""Plan a puppet's actions, one by one or for a whole clip, with the exact ground truth of their phases.

A phase covers whole frames. Its movement leaves rest at the start of the phase and returns to rest at its end; a raised
hand stays up after its phase until it is lowered. Signs and sides are the subject's own, as in `puppet.pose`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator

from xsheet.demo.film.voice import Speech
from xsheet.schemas import vocab
from xsheet.schemas.annotation import KinematicPhase
from xsheet.schemas.time import CLIP_RATE, Span, frames_in, span_of_frames

FPS = 25
GAP_FRAMES = (10, 60)  # between two actions of one track: 0.4 to 2.4 s
TRACK_WEIGHTS: dict[vocab.Track, int] = {
    "head": 4,
    "torso": 2,
    "gaze": 2,
}  # weights in the random choice of tracks; the others have 1
REST_FRAMES = 12  # 0.48 s; a shorter stillness is a gap, not a rest
START_FRAMES, END_FRAMES = 5, 3  # a clip begins and ends at rest
Tracks = tuple[vocab.Track, ...]
Sides = tuple[vocab.Laterality, ...]
Triple = tuple[float, float, float]


class ActionStyle(NamedTuple):
    """Motion profile, amplitude and speed of one class of action.

    nod    out and back, repeated              swing  out, through to the other side, and back, repeated
    hold   out, stay, back                     raise  out and stay                lower  back from there
    wave   the arm goes up, the forearm swings, the arm comes down
    """

    profile: Literal["nod", "swing", "hold", "raise", "lower", "wave"]
    tracks: Tracks
    pose_fields: tuple[str, ...]  # fields of Motion; {side} stands for the side
    peaks: Triple  # small, medium, large, in the unit of the field
    stroke_s: Triple  # slow, normal, fast: a cycle of nod, swing and wave, the way out of the others
    hold_s: tuple[float, float] = (0.0, 0.0)  # shortest, longest
    max_repetitions: int = 1  # repetitions
    sides: Sides = ("none",)  # both: paired parts that move together

    @property
    def has_amplitudes(self) -> bool:
        """Whether the action has several amplitudes; closing the eyes has one."""
        return self.peaks[0] != self.peaks[2]


_HEAD: Tracks = ("head",)
_GAZE: Tracks = ("gaze",)
_TORSO: Tracks = ("torso",)
_ARMS: Tracks = ("arm_left", "arm_right")  # in the order of _SIDES
_SIDES: Sides = ("left", "right")
_BOTH: Sides = ("both",)
ACTION_STYLES: dict[vocab.Action, ActionStyle] = {
    "nod": ActionStyle("nod", _HEAD, ("pitch_deg",), (-6, -11, -18), (0.6, 0.44, 0.32), max_repetitions=4),
    "shake_head": ActionStyle("swing", _HEAD, ("yaw_deg",), (7, 12, 20), (0.84, 0.6, 0.44), max_repetitions=3),
    "tilt_head": ActionStyle("hold", _HEAD, ("roll_deg",), (7, 12, 18), (0.6, 0.4, 0.28), (0.2, 1.0), sides=_SIDES),
    "turn_head": ActionStyle("hold", _HEAD, ("yaw_deg",), (10, 17, 25), (0.7, 0.48, 0.32), (0.2, 0.9), sides=_SIDES),
    "look_away": ActionStyle("hold", _GAZE, ("gaze_x",), (0.4, 0.6, 0.9), (0.16, 0.12, 0.08), (0.4, 1.5), sides=_SIDES),
    "blink_long": ActionStyle(
        "hold", _GAZE, ("eye_left_open", "eye_right_open"), (-1, -1, -1), (0.16, 0.12, 0.08), (0.12, 0.24), sides=_BOTH
    ),
    "raise_brows": ActionStyle(
        "hold", ("brows",), ("brow_raise",), (0.4, 0.65, 0.9), (0.4, 0.24, 0.16), (0.12, 0.8), sides=_BOTH
    ),
    "smile": ActionStyle("hold", ("face",), ("smile",), (0.4, 0.65, 0.9), (0.8, 0.56, 0.36), (0.5, 2.0)),
    "open_mouth": ActionStyle("hold", ("mouth",), ("mouth_open",), (0.35, 0.6, 0.9), (0.36, 0.24, 0.16), (0.12, 0.5)),
    "lean_in": ActionStyle("hold", _TORSO, ("lean",), (0.3, 0.6, 0.9), (1.0, 0.72, 0.48), (0.4, 1.6)),
    "lean_back": ActionStyle("hold", _TORSO, ("lean",), (-0.3, -0.45, -0.6), (1.0, 0.72, 0.48), (0.4, 1.6)),
    "sway": ActionStyle("swing", _TORSO, ("torso_lean_x",), (0.3, 0.6, 0.9), (2.4, 1.7, 1.2), max_repetitions=2),
    "shrug": ActionStyle(
        "hold", _TORSO, ("shoulder_raise",), (0.4, 0.65, 0.9), (0.4, 0.28, 0.2), (0.12, 0.5), sides=_BOTH
    ),
    "raise_hand": ActionStyle(
        "raise", _ARMS, ("arm_{side}_raise",), (0.45, 0.65, 0.9), (1.1, 0.76, 0.52), sides=_SIDES
    ),
    "lower_hand": ActionStyle(
        "lower", _ARMS, ("arm_{side}_raise",), (0.45, 0.65, 0.9), (1.1, 0.76, 0.52), sides=_SIDES
    ),
    "wave": ActionStyle(
        "wave",
        _ARMS,
        ("arm_{side}_raise", "hand_{side}_wave"),
        (12, 20, 30),
        (0.72, 0.52, 0.4),
        max_repetitions=4,
        sides=_SIDES,
    ),
}
ACTIONS: tuple[vocab.Action, ...] = tuple(ACTION_STYLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction:
    """One action of one track and its exact phase. ValueError if a span is off the frame grid at 25 fps."""

    action: vocab.Action
    track: vocab.Track
    laterality: vocab.Laterality
    span: Span
    amplitude: int  # 1 small, 2 medium, 3 large; 0 for rest
    speed: int  # 1 slow, 2 normal, 3 fast; 0 for rest
    repetitions: int
    peak: float  # displacement of the first repetition from rest, signed, in the unit of the last field that moves
    kinematics: tuple[KinematicPhase, ...] = ()

    def __post_init__(self) -> None:
        for span in (self.span, *(Span(k.start_us, k.end_us) for k in self.kinematics)):
            if span != span_of_frames(frames_in(span, CLIP_RATE), CLIP_RATE):
                raise ValueError(f"{self.action} {span}: expected a span on frame starts at {CLIP_RATE} fps")

    @property
    def frames(self) -> range:
        """Frames of the phase."""
        return frames_in(self.span, CLIP_RATE)


def place_action(
    action: vocab.Action,
    start: int,
    *,
    side: vocab.Laterality | None = None,
    amplitude: int = 2,
    speed: int = 2,
    repetitions: int = 1,
    rng: Generator | None = None,
) -> PlannedAction:
    """Place an action whose phase begins with frame `start`; `side` defaults to the first possible side.

    `rng` varies amplitude and speed by a tenth, the hold over its range, and the first direction of a swing.
    """
    style = ACTION_STYLES[action]
    side = style.sides[0] if side is None else side
    if side not in style.sides or not 1 <= repetitions <= style.max_repetitions or not {amplitude, speed} <= {1, 2, 3}:
        raise ValueError(
            f"{action}: expected sides {style.sides}, 1..{style.max_repetitions} repetitions, amplitude and speed "
            f"1..3; "
            f"got {side}, {repetitions}, {amplitude}, {speed}"
        )
    size, pace, stay = 1.0, 1.0, sum(style.hold_s) / 2
    sign = -1.0 if style.profile == "hold" and side == "right" else 1.0
    if rng is not None:
        size = rng.uniform(0.9, 1.1) if style.has_amplitudes else 1.0
        pace, stay = rng.uniform(0.92, 1.08), rng.uniform(*style.hold_s)
        sign = float(rng.choice((-1.0, 1.0))) if style.profile == "swing" else sign
    kinematics = _kinematics(style, start, pace * style.stroke_s[speed - 1], stay, repetitions)
    return PlannedAction(
        action=action,
        track=style.tracks[_SIDES.index(side) if style.tracks == _ARMS else 0],
        laterality=side,
        span=Span(kinematics[0].start_us, kinematics[-1].end_us),
        amplitude=amplitude,
        speed=speed,
        repetitions=repetitions,
        peak=sign * size * style.peaks[amplitude - 1],
        kinematics=kinematics,
    )


def _kinematics(
    style: ActionStyle, start: int, stroke_s: float, hold_s: float, repetitions: int
) -> tuple[KinematicPhase, ...]:
    """Return the kinematic phases in order, from frame `start`; the way back takes a fifth longer than the way out."""
    parts: dict[vocab.Kinematic, float] = {"stroke": stroke_s * repetitions}
    if style.profile == "hold":
        parts["post_stroke_hold"], parts["retraction"] = hold_s, 1.2 * stroke_s
    if style.profile == "wave":
        reach_s = 0.3 + stroke_s / 2  # the arm keeps the pace of the hand
        parts = {"preparation": reach_s, "stroke": parts["stroke"], "retraction": 1.2 * reach_s}
    edges = np.cumsum([start, *(max(2, round(FPS * seconds)) for seconds in parts.values())]).tolist()
    spans = [span_of_frames(range(a, b), CLIP_RATE) for a, b in pairwise(edges)]
    return tuple(
        KinematicPhase(phase=kind, start_us=span.start_us, end_us=span.end_us)
        for kind, span in zip(parts, spans, strict=True)
    )


def plan_actions(
    rng: Generator,
    frames: int,
    *,
    actions: Collection[vocab.Action] = ACTIONS,
    rest_share: float = 0.1,
    speech: Speech | None = None,
) -> tuple[PlannedAction, ...]:
    """Plan random actions on one to four tracks, in temporal order; () for the share of clips that only rest.

    Actions of one track are 0.4 to 2.4 s apart. With `speech` the mouth opens silently in pauses only.
    """
    tracks: dict[vocab.Track, None] = dict.fromkeys(
        track for a in ACTIONS if a in actions for track in ACTION_STYLES[a].tracks
    )
    if not tracks or rng.random() < rest_share:
        return ()
    lots = [track for track in tracks for _ in range(TRACK_WEIGHTS.get(track, 1))]
    shuffled = dict.fromkeys(lots[k] for k in rng.permutation(len(lots)))
    planned: list[PlannedAction] = []
    for track in list(shuffled)[: rng.integers(1, 5)]:
        windows = [range(START_FRAMES, frames - END_FRAMES)]
        if track == "mouth" and speech:
            windows = [frames_in(pause, CLIP_RATE)[1:-1] for pause in speech.pauses]
        possible: list[vocab.Action] = [a for a in ACTIONS if a in actions and track in ACTION_STYLES[a].tracks]
        planned += _fill_track(rng, track, possible, windows)
    return tuple(sorted(planned, key=lambda p: (p.span, p.track)))


def _fill_track(
    rng: Generator, track: vocab.Track, actions: Sequence[vocab.Action], windows: Sequence[range]
) -> list[PlannedAction]:
    """Fill each window of frames with consecutive actions of one track until the next does not fit."""
    done: list[PlannedAction] = []
    for window in windows:
        start = window.start + int(rng.integers(0, 1 + min(GAP_FRAMES[1], len(window) // 4)))
        while True:
            raised = done[-1] if done and done[-1].action == "raise_hand" else None
            fitting: list[vocab.Action] = [a for a in actions if (a == "lower_hand") == (raised is not None)]
            if not fitting:
                break
            action = _random_action(rng, fitting[rng.integers(len(fitting))], track, start)
            if raised:
                action = replace(action, amplitude=raised.amplitude, peak=raised.peak)
            if action.frames.stop > window.stop:
                break
            done.append(action)
            start = action.frames.stop + int(rng.integers(*GAP_FRAMES))
    return done


def _random_action(rng: Generator, action: vocab.Action, track: vocab.Track, start: int) -> PlannedAction:
    """Draw amplitude, speed, repetitions and side of one action; on an arm track the side is the arm's."""
    style = ACTION_STYLES[action]
    side = vocab.SIDED_TRACK.get(track, style.sides[rng.integers(len(style.sides))])
    return place_action(
        action,
        start,
        side=side,
        amplitude=int(rng.integers(1, 4)) if style.has_amplitudes else 2,
        speed=int(rng.integers(1, 4)),
        repetitions=int(rng.integers(1, style.max_repetitions + 1)),
        rng=rng,
    )


def rest_phases(actions: Iterable[PlannedAction], frames: int) -> tuple[PlannedAction, ...]:
    """Return the rests: stretches of at least 12 frames in which no track acts."""
    busy = np.zeros(frames + 2, bool)  # padded by one busy frame on each side, so that every stretch has two edges
    busy[[0, -1]] = True
    for p in actions:
        busy[p.frames.start + 1 : p.frames.stop + 1] = True
    edges = np.flatnonzero(np.diff(busy.astype(np.int8))).tolist()
    spans = (range(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= REST_FRAMES)
    return tuple(
        PlannedAction(action="rest", track="whole_body", laterality="none", span=span_of_frames(span, CLIP_RATE),
                amplitude=0, speed=0, repetitions=1, peak=0.0)
        for span in spans
    )  # fmt: skip
