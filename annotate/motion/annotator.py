"""The motion annotator: phases out of the measured signals, by rules a reader can check. It needs no weights.

    signals → course → acts of head, face, trunk and arms → one per track and time → manner, parts, words → phases

It is the default annotator, and the ruler for every other: what it claims has been measured.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.annotate.base import Ask, Reply, Stated
from xsheet.annotate.motion.arm_rules import ArmSettings, arm_acts
from xsheet.annotate.motion.curves import (
    FPS,
    VOICED,
    Course,
    Floats,
    course_of,
    motion_ratio,
    nearest,
    speeds,
    stretches,
)
from xsheet.annotate.motion.detected_actions import Act, Manner, apart, manners
from xsheet.annotate.motion.face_rules import FaceSettings, face_acts
from xsheet.annotate.motion.head_rules import HeadSettings, head_acts
from xsheet.annotate.motion.kinds import kind_of
from xsheet.annotate.motion.segments import Leg
from xsheet.annotate.motion.torso_rules import BodySettings, body_acts
from xsheet.annotate.text.wording import words_for, words_for_clip
from xsheet.schemas import vocab
from xsheet.schemas.annotation import MIN_PHASE_US, Base, Evidence, KinematicPhase, Phase, sorted_phases
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, US_PER_S, frame_start_us, span_of_frames

MIN_FRAMES = MIN_PHASE_US // frame_start_us(1, CLIP_RATE)
# Of an instant somewhere inside a frame; where a rest begins and ends is known no better.
LEAST_SIGMA_US = round(frame_start_us(1, CLIP_RATE) / 12**0.5)
# What a tracker and the fit of a leg (of its time) miss by: two thirds of the puppet's boundaries lie within one sigma.
TRACKER_SIGMA_US, FIT_SIGMA = 40_000, 0.2
ARMS = ("arm_left", "arm_right", "hands")
# Least median height of a face, in picture heights, by what a picture then shows of a person.
_FRAMINGS: tuple[tuple[float, vocab.Framing], ...] = (
    (0.55, "face"), (0.28, "head_shoulders"), (0.15, "upper_body"), (0.10, "three_quarter"),
    (0.0, "full_body"),
)  # fmt: skip
PARTS: dict[vocab.Track, tuple[vocab.BodyPart, ...]] = {
    "head": ("head",), "gaze": ("eyes",), "brows": ("brows",), "face": ("mouth", "cheeks"), "mouth": ("mouth",),
    "torso": ("torso",), "arm_left": ("arm_left", "hand_left"), "arm_right": ("arm_right", "hand_right"),
    "hands": ("hand_left", "hand_right"),
}  # fmt: skip


class MotionSettings(StrictModel):
    """What counts as an action."""

    head: HeadSettings = HeadSettings()
    face: FaceSettings = FaceSettings()
    body: BodySettings = BodySettings()
    arms: ArmSettings = ArmSettings()
    least_face_px: float = Field(
        default=96, ge=0, le=1000, description="of a face's height, for its expressions; smaller meshes jitter too much"
    )
    least_rest_s: float = Field(default=0.48, ge=0.12, le=10, description="a shorter stillness is a gap, not a rest")


class MotionAnnotator:
    """Annotates from signals alone; never fails, never looks at the file."""

    def __init__(self, settings: MotionSettings | None = None) -> None:
        self._settings = settings or MotionSettings()

    def __call__(self, asks: Sequence[Ask], /) -> Iterator[Reply]:
        """One reply to every ask, in order."""
        for ask in asks:
            stated = annotate_motion(ask.clip, ask.signals, self._settings)
            yield Reply(ask_id=ask.ask_id, status="ok", stated=stated)


def annotate_motion(clip: Clip, signals: Signals, settings: MotionSettings) -> Stated:
    """What the signals of a clip say of it; an empty series says nothing, and a clip without any is one rest."""
    course = course_of(signals)
    found = [
        *head_acts(course, settings.head),
        *(face_acts(course, settings.face) if _face_px(clip, signals) >= settings.least_face_px else ()),
        *body_acts(course, settings.body),
        *arm_acts(course, settings.arms),
    ]
    acts = [act for track in PARTS for act in apart((a for a in found if a.track == track), least_frames=MIN_FRAMES)]
    timed = list(zip(acts, manners(acts), [_frames(act, clip.frames) for act in acts], strict=True))
    speed, busy = speeds(course), _busy(acts, clip.frames)
    phases = [
        _phase(act, manner, frames, course, _evidence(speed[act.track], frames, busy[act.track]))
        for act, manner, frames in timed
    ]
    phases += _rests(busy, settings.least_rest_s)
    in_order = enumerate(sorted_phases(phases))
    return Stated(
        base=base_of(clip, signals),
        phases=tuple(replace(phase, phase_id=f"p{k}") for k, phase in in_order),
    )


def _phase(act: Act, manner: Manner, frames: range, course: Course, evidence: Evidence) -> Phase:
    span = span_of_frames(frames, CLIP_RATE)
    return Phase(
        phase_id="p",
        track=act.track,
        start_us=span.start_us,
        end_us=span.end_us,
        start_sigma_us=_sigma_us(act.legs[0]),
        end_sigma_us=_sigma_us(act.legs[-1]),
        action=act.action,
        text=words_for(
            act.action, act.side, repetitions=act.repetitions, amplitude=manner.amplitude, speed=manner.speed
        ),
        text_short=words_for(act.action, act.side),
        body_parts=PARTS[act.track],
        laterality=act.side,
        kind=kind_of(act.action),
        amplitude=manner.amplitude,
        speed=manner.speed,
        amplitude_z=manner.amplitude_z,
        speed_z=manner.speed_z,
        repetitions=act.repetitions,
        kinematics=kinematics_of(act, frames),
        visibility=float(course.seen[act.track][frames.start : frames.stop].mean()),
        evidence=evidence,
        origin="motion",
    )


def kinematics_of(act: Act, frames: range) -> tuple[KinematicPhase, ...]:
    """The parts of an act inside its frames: a way out, what is held or done there, and the way back."""
    first, last = act.legs[0], act.legs[-1]
    ends: list[tuple[vocab.Kinematic, float]]
    if act.repetitions is not None and act.track in ARMS and len(act.legs) > 1:
        ends = [("preparation", first.end), ("stroke", last.start), ("retraction", act.end)]
    elif act.repetitions is not None or len(act.legs) == 1:
        ends = [("stroke", act.end)]
    else:
        reached = max(leg.end for leg in act.legs[:-1])
        ends = [("stroke", reached), ("post_stroke_hold", last.start), ("retraction", act.end)]
    edges = [frames.start, *(min(max(nearest(end), frames.start), frames.stop) for _, end in ends)]
    edges[-1] = frames.stop
    parts: list[tuple[vocab.Kinematic, range]]
    parts = [(kind, range(a, b)) for (kind, _), (a, b) in zip(ends, pairwise(edges), strict=True) if b > a]
    if all(kind != "stroke" for kind, _ in parts):  # shorter than a frame, or cut off: then all of it is one
        parts = [("stroke", frames)]
    return tuple(_part(kind, inside) for kind, inside in parts)


def _part(kind: vocab.Kinematic, frames: range) -> KinematicPhase:
    span = span_of_frames(frames, CLIP_RATE)
    return KinematicPhase(phase=kind, start_us=span.start_us, end_us=span.end_us)


def base_of(clip: Clip, signals: Signals) -> Base:
    """What signals can say of the whole clip: how near the camera is, whether it stands, and whether there is voice."""
    share = _face_px(clip, signals) / clip.height
    framing: vocab.Framing = next(name for least, name in _FRAMINGS if share >= least)
    voiced = sum(v is not None and v > VOICED for v in signals.voice) / clip.frames
    speaking: vocab.Speaking = "speaking" if voiced >= 0.5 else "mixed" if voiced >= 0.1 else "silent"
    return Base(
        text=words_for_clip(framing, speaking),
        subject="a person",
        framing=framing,
        scene="not described",
        camera="static",
        speaking=speaking,
    )


def _face_px(clip: Clip, signals: Signals) -> float:
    """Median height of the face; 0 where none was found."""
    return clip.height * max(0.0, median([share for share in signals.head_height if share is not None] or [0.0]))


def _frames(act: Act, frames: int) -> range:
    start = min(max(nearest(act.start), 0), frames - MIN_FRAMES)
    return range(start, min(max(nearest(act.end), start + MIN_FRAMES), frames))


def _busy(acts: Sequence[Act], frames: int) -> dict[vocab.Track, NDArray[np.bool_]]:
    """(frames,) where each track acts."""
    busy: dict[vocab.Track, NDArray[np.bool_]] = {track: np.zeros(frames, bool) for track in PARTS}
    for act in acts:
        inside = _frames(act, frames)
        busy[act.track][inside.start : inside.stop] = True
    return busy


def _rests(busy: Mapping[vocab.Track, NDArray[np.bool_]], least_s: float) -> Iterator[Phase]:
    """Stretches in which no track acts."""
    for still in stretches(~np.any(list(busy.values()), axis=0)):
        if len(still) >= max(MIN_FRAMES, least_s * FPS):
            span = span_of_frames(still, CLIP_RATE)
            yield Phase(
                phase_id="r", track="whole_body", start_us=span.start_us, end_us=span.end_us, action="rest",
                start_sigma_us=LEAST_SIGMA_US, end_sigma_us=LEAST_SIGMA_US, text=words_for("rest", "none"),
                laterality="none", kind="rest", amplitude=0, speed=0, origin="motion",
            )  # fmt: skip


def _evidence(speed: Floats, frames: range, busy: NDArray[np.bool_]) -> Evidence:
    return Evidence(motion_ratio=motion_ratio(speed, frames, others=busy))


def _sigma_us(leg: Leg) -> int:
    """What a tracker misses by, and the fit of a leg."""
    return round(math.hypot(TRACKER_SIGMA_US, FIT_SIGMA * leg.seconds * US_PER_S))
