"""The motion annotator: phases from measured signals by explicit rules. It needs no weights.

    signals → curves → detected actions of head, face, torso and arms → overlaps resolved → amplitude, parts, text →
    phases

It is the default annotator and the baseline for others: each of its phases is based on a measured movement.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.annotate.base import AnnotationRequest, AnnotatorReply, StructuredResult
from xsheet.annotate.motion.arm_rules import ArmRuleSettings, detect_arm_actions
from xsheet.annotate.motion.curves import VOICED_THRESHOLD, MotionCurves, motion_curves, motion_ratio, track_speeds
from xsheet.annotate.motion.detected_actions import (
    AmplitudeAndSpeed,
    DetectedAction,
    amplitude_and_speed,
    resolve_overlaps,
)
from xsheet.annotate.motion.face_rules import FaceRuleSettings, detect_face_actions
from xsheet.annotate.motion.head_activity import unnamed_head_motion
from xsheet.annotate.motion.head_rules import HeadRuleSettings, detect_head_actions
from xsheet.annotate.motion.segments import MotionSegment
from xsheet.annotate.motion.series import FPS, Floats, round_to_frame, true_ranges
from xsheet.annotate.motion.torso_rules import TorsoRuleSettings, detect_torso_actions
from xsheet.annotate.text.wording import describe_action, describe_clip, kind_of
from xsheet.schemas import vocab
from xsheet.schemas.annotation import MIN_PHASE_US, Base, Evidence, KinematicPhase, Phase, sorted_phases
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, US_PER_S, frame_start_us, span_of_frames

RULES_VERSION = 5  # part of a run's id; raise it with every change of what the rules find or say
MIN_PHASE_FRAMES = MIN_PHASE_US // frame_start_us(1, CLIP_RATE)
# Uniform over one frame: the uncertainty of the start and end of a rest.
MIN_SIGMA_US = round(frame_start_us(1, CLIP_RATE) / 12**0.5)
# Error of the tracker, and of the segment fit as a share of its duration; two thirds of the puppet's boundaries lie
# within one sigma.
TRACKER_SIGMA_US, FIT_SIGMA_SHARE = 40_000, 0.2
ARM_TRACKS = ("arm_left", "arm_right", "hands")
# Minimum median face height in picture heights, by framing.
_FRAMINGS: tuple[tuple[float, vocab.Framing], ...] = (
    (0.55, "face"), (0.28, "head_shoulders"), (0.15, "upper_body"), (0.10, "three_quarter"),
    (0.0, "full_body"),
)  # fmt: skip
BODY_PARTS_OF_TRACK: dict[vocab.Track, tuple[vocab.BodyPart, ...]] = {
    "head": ("head",), "gaze": ("eyes",), "brows": ("brows",), "face": ("mouth", "cheeks"), "mouth": ("mouth",),
    "torso": ("torso",), "arm_left": ("arm_left", "hand_left"), "arm_right": ("arm_right", "hand_right"),
    "hands": ("hand_left", "hand_right"),
}  # fmt: skip


class MotionSettings(StrictModel):
    """Limits of all rules."""

    head: HeadRuleSettings = HeadRuleSettings()
    face: FaceRuleSettings = FaceRuleSettings()
    torso: TorsoRuleSettings = TorsoRuleSettings()
    arms: ArmRuleSettings = ArmRuleSettings()
    min_face_px: float = Field(
        default=96, ge=0, le=1000, description="minimum face height for expressions; smaller meshes jitter too much"
    )
    min_rest_s: float = Field(default=0.48, ge=0.12, le=10, description="shorter stillness is a gap, not a rest")


class MotionAnnotator:
    """Annotates from signals alone; never fails and never opens the media."""

    def __init__(self, settings: MotionSettings | None = None) -> None:
        self._settings = settings or MotionSettings()

    def __call__(self, requests: Sequence[AnnotationRequest], /) -> Iterator[AnnotatorReply]:
        """Yield one reply per request, in order."""
        for request in requests:
            structured = annotate_motion(request.clip, request.signals, self._settings)
            yield AnnotatorReply(request_id=request.request_id, status="ok", structured=structured)


def annotate_motion(clip: Clip, signals: Signals, settings: MotionSettings) -> StructuredResult:
    """Base and phases from the signals of a clip; a clip without signals is one rest."""
    curves = motion_curves(signals)
    candidates = [
        *detect_head_actions(curves, settings.head),
        *(detect_face_actions(curves, settings.face) if _face_px(clip, signals) >= settings.min_face_px else ()),
        *detect_torso_actions(curves, settings.torso),
        *detect_arm_actions(curves, settings.arms),
    ]
    actions = [
        action
        for track in BODY_PARTS_OF_TRACK
        for action in resolve_overlaps(
            (replace(a, end=min(a.end, clip.frames)) for a in candidates if a.track == track),
            min_frames=MIN_PHASE_FRAMES,
        )
    ]
    speed = track_speeds(curves)
    actions += unnamed_head_motion(curves, speed["head"], [a for a in actions if a.track == "head"], settings.head)
    timed = list(
        zip(
            actions,
            amplitude_and_speed(actions),
            [_action_frames(action, clip.frames) for action in actions],
            strict=True,
        )
    )
    active = _active_frames(actions, clip.frames)
    phases = [
        _phase(action, levels, frames, curves, _evidence(speed[action.track], frames, active[action.track]))
        for action, levels, frames in timed
    ]
    phases += _rest_phases(active, settings.min_rest_s)
    in_order = enumerate(sorted_phases(phases))
    return StructuredResult(
        base=base_from_signals(clip, signals),
        phases=tuple(replace(phase, phase_id=f"p{k}") for k, phase in in_order),
    )


def _phase(
    detected: DetectedAction, levels: AmplitudeAndSpeed, frames: range, curves: MotionCurves, evidence: Evidence
) -> Phase:
    span = span_of_frames(frames, CLIP_RATE)
    return Phase(
        phase_id="p",
        track=detected.track,
        start_us=span.start_us,
        end_us=span.end_us,
        start_sigma_us=_sigma_us(detected.segments[0]),
        end_sigma_us=_sigma_us(detected.segments[-1]),
        action=detected.action,
        text=describe_action(
            detected.action,
            detected.side,
            repetitions=detected.repetitions,
            amplitude=levels.amplitude,
            speed=levels.speed,
            open_hand=detected.open_hand,
        ),
        text_short=describe_action(detected.action, detected.side, open_hand=detected.open_hand),
        body_parts=BODY_PARTS_OF_TRACK[detected.track],
        laterality=detected.side,
        kind=kind_of(detected.action),
        amplitude=levels.amplitude,
        speed=levels.speed,
        amplitude_z=levels.amplitude_z,
        speed_z=levels.speed_z,
        repetitions=detected.repetitions,
        kinematics=kinematic_phases(detected, frames),
        visibility=float(curves.visibility[detected.track][frames.start : frames.stop].mean()),
        evidence=evidence,
        origin="motion",
    )


def kinematic_phases(detected: DetectedAction, frames: range) -> tuple[KinematicPhase, ...]:
    """Kinematic parts of an action inside its frames: preparation or stroke, hold, retraction."""
    first, last = detected.segments[0], detected.segments[-1]
    ends: list[tuple[vocab.Kinematic, float]]
    if detected.repetitions is not None and detected.track in ARM_TRACKS and len(detected.segments) > 1:
        ends = [("preparation", first.end), ("stroke", last.start), ("retraction", detected.end)]
    elif detected.repetitions is not None:
        ends = [("stroke", detected.end)]
    elif len(detected.segments) == 1:  # a pose that is still held at the end of the clip has a hold
        ends = [("stroke", first.end), ("post_stroke_hold", detected.end)]
    else:
        reached = max(segment.end for segment in detected.segments[:-1])
        ends = [("stroke", reached), ("post_stroke_hold", last.start), ("retraction", detected.end)]
    edges = [frames.start, *(min(max(round_to_frame(end), frames.start), frames.stop) for _, end in ends)]
    edges[-1] = frames.stop
    edges = list(accumulate(edges, max))  # of two hands, one may go back before the other arrives
    parts: list[tuple[vocab.Kinematic, range]]
    parts = [(part, range(a, b)) for (part, _), (a, b) in zip(ends, pairwise(edges), strict=True) if b > a]
    if all(part != "stroke" for part, _ in parts):  # the stroke is shorter than a frame or cut off
        parts = [("stroke", frames)]
    return tuple(_kinematic_phase(part, inside) for part, inside in parts)


def _kinematic_phase(part: vocab.Kinematic, frames: range) -> KinematicPhase:
    span = span_of_frames(frames, CLIP_RATE)
    return KinematicPhase(phase=part, start_us=span.start_us, end_us=span.end_us)


def base_from_signals(clip: Clip, signals: Signals) -> Base:
    """Framing and speaking of the clip from its signals."""
    face_share = _face_px(clip, signals) / clip.height
    framing: vocab.Framing = next(name for min_share, name in _FRAMINGS if face_share >= min_share)
    voiced = sum(v is not None and v > VOICED_THRESHOLD for v in signals.voice) / clip.frames
    speaking: vocab.Speaking = "speaking" if voiced >= 0.5 else "mixed" if voiced >= 0.1 else "silent"
    return Base(
        text=describe_clip(framing, speaking),
        subject="a person",
        framing=framing,
        scene="not described",
        camera="static",
        speaking=speaking,
    )


def _face_px(clip: Clip, signals: Signals) -> float:
    """Median face height in pixels; 0 without a face."""
    return clip.height * max(
        0.0, median([face_share for face_share in signals.head_height if face_share is not None] or [0.0])
    )


def _action_frames(detected: DetectedAction, frames: int) -> range:
    start = min(max(round_to_frame(detected.start), 0), frames - MIN_PHASE_FRAMES)
    return range(start, min(max(round_to_frame(detected.end), start + MIN_PHASE_FRAMES), frames))


def _active_frames(actions: Sequence[DetectedAction], frames: int) -> dict[vocab.Track, NDArray[np.bool_]]:
    """(frames,) mask of the detected actions, by track."""
    active: dict[vocab.Track, NDArray[np.bool_]] = {track: np.zeros(frames, bool) for track in BODY_PARTS_OF_TRACK}
    for action in actions:
        inside = _action_frames(action, frames)
        active[action.track][inside.start : inside.stop] = True
    return active


def _rest_phases(active: Mapping[vocab.Track, NDArray[np.bool_]], min_s: float) -> Iterator[Phase]:
    """Phases of rest: spans without an action on any track."""
    for frames in true_ranges(~np.any(list(active.values()), axis=0)):
        if len(frames) >= max(MIN_PHASE_FRAMES, min_s * FPS):
            span = span_of_frames(frames, CLIP_RATE)
            yield Phase(
                phase_id="r", track="whole_body", start_us=span.start_us, end_us=span.end_us, action="rest",
                start_sigma_us=MIN_SIGMA_US, end_sigma_us=MIN_SIGMA_US, text=describe_action("rest", "none"),
                laterality="none", kind="rest", amplitude=0, speed=0, origin="motion",
            )  # fmt: skip


def _evidence(speed: Floats, frames: range, active: NDArray[np.bool_]) -> Evidence:
    return Evidence(motion_ratio=motion_ratio(speed, frames, other_phases=active))


def _sigma_us(segment: MotionSegment) -> int:
    """Standard uncertainty of a boundary: tracker error and segment fit combined."""
    return round(math.hypot(TRACKER_SIGMA_US, FIT_SIGMA_SHARE * segment.seconds * US_PER_S))
