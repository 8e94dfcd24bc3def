"""What the puppet does and when: actions, planned one by one or as a whole clip, with the exact truth of their phases.

A phase covers whole frames. Its movement leaves the rest value at the very start and is back at the very end; a raised
hand stays up after its phase, until it is lowered. Signs and sides are the subject's own, as in `demo.pose`.
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
OFTEN: dict[vocab.Track, int] = {"head": 4, "torso": 2, "gaze": 2}  # lots in the draw of tracks; the others have one
REST_FRAMES = 12  # 0.48 s; a shorter stillness is a gap, not a rest
START_FRAMES, END_FRAMES = 5, 3  # a clip begins and ends at rest
Tracks = tuple[vocab.Track, ...]
Sides = tuple[vocab.Laterality, ...]
Three = tuple[float, float, float]


class Manner(NamedTuple):
    """How one class of action moves: in which shape, how far, how fast.

    nod    out and back, repeated              swing  out, through to the other side, and back, repeated
    hold   out, stay, back                     raise  out, and stays there        lower  back from there
    wave   the arm goes up, the forearm swings, the arm comes down
    """

    shape: Literal["nod", "swing", "hold", "raise", "lower", "wave"]
    tracks: Tracks
    moves: tuple[str, ...]  # fields of Motion; {side} stands for the side
    peaks: Three  # small, medium, large, in the unit of the field
    stroke_s: Three  # slow, normal, fast: a cycle of nod, swing and wave, the way out of the others
    hold_s: tuple[float, float] = (0.0, 0.0)  # shortest, longest
    most: int = 1  # repetitions
    sides: Sides = ("none",)  # both: paired parts that move together

    @property
    def graded(self) -> bool:
        """Whether it comes in sizes; eyes that close, close."""
        return self.peaks[0] != self.peaks[2]


_HEAD: Tracks = ("head",)
_GAZE: Tracks = ("gaze",)
_TORSO: Tracks = ("torso",)
_ARMS: Tracks = ("arm_left", "arm_right")  # in the order of _SIDES
_SIDES: Sides = ("left", "right")
_BOTH: Sides = ("both",)
MANNERS: dict[vocab.Action, Manner] = {
    "nod": Manner("nod", _HEAD, ("pitch_deg",), (-6, -11, -18), (0.6, 0.44, 0.32), most=4),
    "shake_head": Manner("swing", _HEAD, ("yaw_deg",), (7, 12, 20), (0.84, 0.6, 0.44), most=3),
    "tilt_head": Manner("hold", _HEAD, ("roll_deg",), (7, 12, 18), (0.6, 0.4, 0.28), (0.2, 1.0), sides=_SIDES),
    "turn_head": Manner("hold", _HEAD, ("yaw_deg",), (10, 17, 25), (0.7, 0.48, 0.32), (0.2, 0.9), sides=_SIDES),
    "look_away": Manner("hold", _GAZE, ("gaze_x",), (0.4, 0.6, 0.9), (0.16, 0.12, 0.08), (0.4, 1.5), sides=_SIDES),
    "blink_long": Manner(
        "hold", _GAZE, ("eye_left_open", "eye_right_open"), (-1, -1, -1), (0.16, 0.12, 0.08), (0.12, 0.24), sides=_BOTH
    ),
    "raise_brows": Manner(
        "hold", ("brows",), ("brow_raise",), (0.4, 0.65, 0.9), (0.4, 0.24, 0.16), (0.12, 0.8), sides=_BOTH
    ),
    "smile": Manner("hold", ("face",), ("smile",), (0.4, 0.65, 0.9), (0.8, 0.56, 0.36), (0.5, 2.0)),
    "open_mouth": Manner("hold", ("mouth",), ("mouth_open",), (0.35, 0.6, 0.9), (0.36, 0.24, 0.16), (0.12, 0.5)),
    "lean_in": Manner("hold", _TORSO, ("lean",), (0.3, 0.6, 0.9), (1.0, 0.72, 0.48), (0.4, 1.6)),
    "lean_back": Manner("hold", _TORSO, ("lean",), (-0.3, -0.45, -0.6), (1.0, 0.72, 0.48), (0.4, 1.6)),
    "sway": Manner("swing", _TORSO, ("torso_lean_x",), (0.3, 0.6, 0.9), (2.4, 1.7, 1.2), most=2),
    "shrug": Manner("hold", _TORSO, ("shoulder_raise",), (0.4, 0.65, 0.9), (0.4, 0.28, 0.2), (0.12, 0.5), sides=_BOTH),
    "raise_hand": Manner("raise", _ARMS, ("arm_{side}_raise",), (0.45, 0.65, 0.9), (1.1, 0.76, 0.52), sides=_SIDES),
    "lower_hand": Manner("lower", _ARMS, ("arm_{side}_raise",), (0.45, 0.65, 0.9), (1.1, 0.76, 0.52), sides=_SIDES),
    "wave": Manner(
        "wave", _ARMS, ("arm_{side}_raise", "hand_{side}_wave"), (12, 20, 30), (0.72, 0.52, 0.4), most=4, sides=_SIDES
    ),
}
ACTIONS: tuple[vocab.Action, ...] = tuple(MANNERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One action of one track, with the truth of its phase. ValueError where a span is off the frame grid at 25 fps."""

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
        """The frames of the phase."""
        return frames_in(self.span, CLIP_RATE)


def schedule(
    action: vocab.Action,
    start: int,
    *,
    side: vocab.Laterality | None = None,
    amplitude: int = 2,
    speed: int = 2,
    repetitions: int = 1,
    rng: Generator | None = None,
) -> Planned:
    """An action whose phase begins with frame `start`; the side is the first one possible where none is given.

    `rng` varies size and pace by a tenth, the hold over its range, and the side to which a swing goes first.
    """
    manner = MANNERS[action]
    side = manner.sides[0] if side is None else side
    if side not in manner.sides or not 1 <= repetitions <= manner.most or not {amplitude, speed} <= {1, 2, 3}:
        raise ValueError(
            f"{action}: expected sides {manner.sides}, 1..{manner.most} repetitions, amplitude and speed 1..3; "
            f"got {side}, {repetitions}, {amplitude}, {speed}"
        )
    size, pace, stay = 1.0, 1.0, sum(manner.hold_s) / 2
    sign = -1.0 if manner.shape == "hold" and side == "right" else 1.0
    if rng is not None:
        size = rng.uniform(0.9, 1.1) if manner.graded else 1.0
        pace, stay = rng.uniform(0.92, 1.08), rng.uniform(*manner.hold_s)
        sign = float(rng.choice((-1.0, 1.0))) if manner.shape == "swing" else sign
    kinematics = _kinematics(manner, start, pace * manner.stroke_s[speed - 1], stay, repetitions)
    return Planned(
        action=action,
        track=manner.tracks[_SIDES.index(side) if manner.tracks == _ARMS else 0],
        laterality=side,
        span=Span(kinematics[0].start_us, kinematics[-1].end_us),
        amplitude=amplitude,
        speed=speed,
        repetitions=repetitions,
        peak=sign * size * manner.peaks[amplitude - 1],
        kinematics=kinematics,
    )


def _kinematics(
    manner: Manner, start: int, stroke_s: float, hold_s: float, repetitions: int
) -> tuple[KinematicPhase, ...]:
    """The parts in order, from frame `start`; the way back takes a fifth longer than the way out."""
    parts: dict[vocab.Kinematic, float] = {"stroke": stroke_s * repetitions}
    if manner.shape == "hold":
        parts["post_stroke_hold"], parts["retraction"] = hold_s, 1.2 * stroke_s
    if manner.shape == "wave":
        reach_s = 0.3 + stroke_s / 2  # the arm keeps the pace of the hand
        parts = {"preparation": reach_s, "stroke": parts["stroke"], "retraction": 1.2 * reach_s}
    edges = np.cumsum([start, *(max(2, round(FPS * seconds)) for seconds in parts.values())]).tolist()
    spans = [span_of_frames(range(a, b), CLIP_RATE) for a, b in pairwise(edges)]
    return tuple(
        KinematicPhase(phase=kind, start_us=span.start_us, end_us=span.end_us)
        for kind, span in zip(parts, spans, strict=True)
    )


def plan(
    rng: Generator,
    frames: int,
    *,
    actions: Collection[vocab.Action] = ACTIONS,
    rest_share: float = 0.1,
    speech: Speech | None = None,
) -> tuple[Planned, ...]:
    """A random plan on one to four tracks, in order of time; () for the share of clips that only rest.

    Actions of one track leave 0.4 to 2.4 s between them. Beside `speech` the mouth opens silently in pauses only.
    """
    tracks: dict[vocab.Track, None] = dict.fromkeys(
        track for a in ACTIONS if a in actions for track in MANNERS[a].tracks
    )
    if not tracks or rng.random() < rest_share:
        return ()
    lots = [track for track in tracks for _ in range(OFTEN.get(track, 1))]
    shuffled = dict.fromkeys(lots[k] for k in rng.permutation(len(lots)))
    planned: list[Planned] = []
    for track in list(shuffled)[: rng.integers(1, 5)]:
        windows = [range(START_FRAMES, frames - END_FRAMES)]
        if track == "mouth" and speech:
            windows = [frames_in(pause, CLIP_RATE)[1:-1] for pause in speech.pauses]
        known: list[vocab.Action] = [a for a in ACTIONS if a in actions and track in MANNERS[a].tracks]
        planned += _fill(rng, track, known, windows)
    return tuple(sorted(planned, key=lambda p: (p.span, p.track)))


def _fill(
    rng: Generator, track: vocab.Track, actions: Sequence[vocab.Action], windows: Sequence[range]
) -> list[Planned]:
    """Actions of one track, one after the other; each window of frames until the next one does not fit."""
    done: list[Planned] = []
    for window in windows:
        start = window.start + int(rng.integers(0, 1 + min(GAP_FRAMES[1], len(window) // 4)))
        while True:
            raised = done[-1] if done and done[-1].action == "raise_hand" else None
            fitting: list[vocab.Action] = [a for a in actions if (a == "lower_hand") == (raised is not None)]
            if not fitting:
                break
            action = _draw(rng, fitting[rng.integers(len(fitting))], track, start)
            if raised:
                action = replace(action, amplitude=raised.amplitude, peak=raised.peak)
            if action.frames.stop > window.stop:
                break
            done.append(action)
            start = action.frames.stop + int(rng.integers(*GAP_FRAMES))
    return done


def _draw(rng: Generator, action: vocab.Action, track: vocab.Track, start: int) -> Planned:
    """One action with a size, pace, number and side at random; on an arm the side is the arm's."""
    manner = MANNERS[action]
    side = vocab.SIDED_TRACK.get(track, manner.sides[rng.integers(len(manner.sides))])
    return schedule(
        action,
        start,
        side=side,
        amplitude=int(rng.integers(1, 4)) if manner.graded else 2,
        speed=int(rng.integers(1, 4)),
        repetitions=int(rng.integers(1, manner.most + 1)),
        rng=rng,
    )


def rests(planned: Iterable[Planned], frames: int) -> tuple[Planned, ...]:
    """What lies between the actions: stretches of 12 frames and more in which no track acts."""
    busy = np.zeros(frames + 2, bool)  # framed by two frames of nothing, so that a stretch has two edges
    busy[[0, -1]] = True
    for p in planned:
        busy[p.frames.start + 1 : p.frames.stop + 1] = True
    edges = np.flatnonzero(np.diff(busy.astype(np.int8))).tolist()
    spans = (range(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= REST_FRAMES)
    return tuple(
        Planned(action="rest", track="whole_body", laterality="none", span=span_of_frames(span, CLIP_RATE),
                amplitude=0, speed=0, repetitions=1, peak=0.0)
        for span in spans
    )  # fmt: skip
