"""Motion checks (G): compare each phase with the measured motion of its body part, and find motion without a phase.

If a body part is hidden or not measured, the result is undetermined, not failed.
"""

from collections.abc import Iterator

import numpy as np

from xsheet.annotate.motion.curves import hand_motion_share
from xsheet.annotate.motion.segments import MotionEpisode
from xsheet.annotate.motion.series import FPS
from xsheet.audit.checks.base import AnnotationView, Check, CheckResult, MeasuredPhase
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.checks.quantities import MotionQuantity
from xsheet.audit.settings import AuditSettings, MotionCheckLimits
from xsheet.schemas import vocab
from xsheet.schemas.time import CLIP_RATE, US_PER_S, span_of_frames

# Classes that are states: the body part may be still.
_STATIC_ACTIONS: frozenset[vocab.Action] = frozenset({
    "talk", "listen", "pause", "look_at_camera", "cross_arms", "hand_on_chest", "hold_object", "rest", "close_eyes",
    "fist", "palm_up", "other",
})  # fmt: skip
_LENGTH_TOLERANCE_SHARE = 0.3  # tolerated length difference of a phase and its movement, by the length of the phase
# Of the minimum amplitude. A lower one joins movements that the higher one separates, and finds smaller ones.
_AMPLITUDE_SCALES = (1.0, 0.6)
_DIRECTIONAL_ACTIONS: frozenset[vocab.Action] = frozenset({"turn_head", "tilt_head", "look_away"})
_MIN_COVERED_SHARE = 0.25  # below this covered share a movement counts as missed


def _is_unverifiable(measured_phase: MeasuredPhase, limits: MotionCheckLimits) -> bool:
    return measured_phase.visible_share is None or measured_phase.visible_share < limits.min_visible_share


def _check_motion_ratio(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, evidence = settings.motion, view.clip_evidence
    if evidence is None:
        return
    still = {track: evidence.resting_speed(track, mask) for track, mask in view.active_frames.items()}
    for measured in view.measured_phases:
        phase = measured.phase
        if phase.action not in _STATIC_ACTIONS and phase.kind != "rest":
            moved = None if _is_unverifiable(measured, limits) else evidence.mean_speed(phase.track, measured.frames)
            at_rest = still.get(phase.track)
            if moved is None or at_rest is None:
                yield CheckResult(None, phase=phase)
            else:
                yield CheckResult(
                    moved / at_rest >= limits.min_motion_ratio, moved / at_rest, limits.min_motion_ratio, phase
                )


def _check_rest_speed(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, evidence = settings.motion, view.clip_evidence
    if evidence is None:
        return
    for measured in view.measured_phases:
        if measured.phase.action == "rest":
            moved = None if _is_unverifiable(measured, limits) else evidence.mean_speed("whole_body", measured.frames)
            passed = None if moved is None else moved <= limits.max_rest_speed
            yield CheckResult(passed, moved, limits.max_rest_speed, measured.phase)


def _check_energy_gain(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, evidence = settings.motion, view.clip_evidence
    if evidence is None:
        return
    for measured in view.measured_phases:
        phase = measured.phase
        if phase.action not in _STATIC_ACTIONS and phase.track in evidence.speeds:
            gain = (
                None
                if _is_unverifiable(measured, limits)
                else evidence.motion_energy_gain(phase.track, measured.frames, view.active_frames[phase.track])
            )
            passed = None if gain is None else gain > limits.min_energy_gain
            yield CheckResult(passed, gain, limits.min_energy_gain, phase)


def _check_displacement(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, evidence = settings.motion, view.clip_evidence
    if evidence is None:
        return
    for measured in view.measured_phases:
        quantity = evidence.quantities.find(measured.phase.action, measured.phase.track)
        if quantity is not None:
            sigma_us = max(measured.phase.start_sigma_us or 0, measured.phase.end_sigma_us or 0)
            limit_s = max(limits.max_displacement_s, min(2 * sigma_us / US_PER_S, limits.max_sigma_tolerance_s))
            found = (
                None
                if _is_unverifiable(measured, limits)
                else _displacement_s(measured, evidence, quantity, limit_s, limits)
            )
            yield CheckResult(None if found is None else found <= limit_s, found, limit_s, measured.phase)


def _displacement_s(
    measured_phase: MeasuredPhase,
    evidence: ClipEvidence,
    quantity: MotionQuantity,
    limit_s: float,
    limits: MotionCheckLimits,
) -> float | None:
    """Distance of a phase from its movement, seconds; None if no movement near it has a similar length.

    Its movement is one that starts and ends within the limit, else the nearest one of similar length. The length
    distinguishes a shifted phase from one with imprecise ends.
    """
    start, stop = measured_phase.frames.start, measured_phase.frames.stop
    near: list[tuple[float, float]] = []
    for scale in _AMPLITUDE_SCALES:
        spans = evidence.movement_spans(quantity, scale=scale)
        near += [((a - start) / FPS, (b - stop) / FPS) for a, b in spans]
        closest = min((max(abs(a), abs(b)) for a, b in near), default=None)
        if closest is not None and closest <= limit_s:
            return closest
    tolerance_s = max(limits.length_tolerance_s, _LENGTH_TOLERANCE_SHARE * (stop - start) / FPS)
    shifted = [
        (a, b) for a, b in near if abs(a - b) <= tolerance_s or min(a * b, abs(a) - limit_s, abs(b) - limit_s) > 0
    ]
    nearest = min((abs(a + b) / 2 for a, b in shifted), default=None)
    return nearest if nearest is not None and limit_s < nearest <= limits.max_match_distance_s else None


def _check_moving_share(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, evidence = settings.motion, view.clip_evidence
    if evidence is None:
        return
    for measured in view.measured_phases:
        quantity = evidence.quantities.find(measured.phase.action, measured.phase.track)
        if quantity is not None and not _is_unverifiable(measured, limits):
            share = _moving_share(measured, evidence.movements(quantity, scale=_AMPLITUDE_SCALES[0]))
            if share < limits.min_moving_share:
                share = _moving_share(measured, evidence.movements(quantity, scale=_AMPLITUDE_SCALES[1]))
            yield CheckResult(share >= limits.min_moving_share, share, limits.min_moving_share, measured.phase)


def _moving_share(measured_phase: MeasuredPhase, episodes: list[MotionEpisode]) -> float:
    """Share of a phase that movements cover."""
    start, stop = measured_phase.frames.start, measured_phase.frames.stop
    inside = sum(max(0.0, min(stop, episode.end) - max(start, episode.start)) for episode in episodes)
    return min(1.0, inside / max(stop - start, 1))


def _check_side(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, evidence = settings.motion, view.clip_evidence
    if evidence is None:
        return
    for measured in view.measured_phases:
        phase = measured.phase
        if phase.laterality not in ("left", "right"):
            continue
        if phase.action in _DIRECTIONAL_ACTIONS:
            toward = None if _is_unverifiable(measured, limits) else measured.class_strength
            # Too little motion to either side does not decide the side.
            passed = None if toward is None or abs(toward) < limits.min_class_strength else toward > 0
            yield CheckResult(passed, toward, 0.0, phase)
        elif phase.track in vocab.SIDED_TRACK:
            both = [evidence.visible_share(track, measured.frames) or 0.0 for track in vocab.SIDED_TRACK]
            is_visible = max(both) >= limits.min_visible_share
            share = (
                hand_motion_share(evidence.curves, measured.frames, left=phase.laterality == "left")
                if is_visible
                else None
            )
            yield CheckResult(
                None if share is None else share >= limits.min_side_share, share, limits.min_side_share, phase
            )


def _check_class_strength(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits = settings.motion
    for measured in view.measured_phases:
        if measured.phase.action != "rest":
            strength = (
                None
                if _is_unverifiable(measured, limits) or measured.class_strength is None
                else abs(measured.class_strength)
            )
            passed = None if strength is None else strength >= limits.min_class_strength
            yield CheckResult(passed, strength, limits.min_class_strength, measured.phase)


def _check_visibility(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limit = settings.motion.min_visible_share
    for measured in view.measured_phases:
        share = measured.visible_share
        yield CheckResult(True if share is not None and share >= limit else None, share, limit, measured.phase)


def _check_static_camera(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    base, clip, limit = view.annotation.base, view.clip, settings.motion.max_camera_motion
    if base is not None and base.camera == "static" and clip is not None and clip.camera_motion is not None:
        yield CheckResult(clip.camera_motion <= limit, clip.camera_motion, limit)


def _check_missed_motion(view: AnnotationView, settings: AuditSettings) -> Iterator[CheckResult]:
    limits, evidence = settings.motion, view.clip_evidence
    if evidence is None or view.annotation.status != "ok":
        return
    for quantity, frames, episode in evidence.large_movements(
        limits.min_missed_amplitude, limits.min_missed_duration_s
    ):
        active = view.active_frames.get(quantity.track)
        is_free = active is None or np.count_nonzero(active[frames.start : frames.stop]) < _MIN_COVERED_SHARE * len(
            frames
        )
        if is_free and evidence.exceeds_usual_range(quantity, frames, episode):
            span, size = span_of_frames(frames, CLIP_RATE), abs(episode.peak) / quantity.min_amplitude
            yield CheckResult(
                False,
                size,
                limits.min_missed_amplitude,
                detail=f"{quantity.track} moves at {span} without a phase",
                start_us=span.start_us,
                end_us=span.end_us,
                track=quantity.track,
            )


def missed_spans(results: list[CheckResult]) -> tuple[tuple[int, int], ...]:
    """Start and end in microseconds of the stretches with missed movements, in order; overlapping ones are one."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted((result.start_us or 0, result.end_us or 0) for result in results):
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return tuple(spans)


MOTION_CHECKS = (
    Check(
        id="G1",
        requirement="A named movement is visible in its body part",
        severity="error",
        metric="motion_ratio",
        comparator=">=",
        evaluate=_check_motion_ratio,
        formula="mean speed inside the phase / median speed outside all phases of the track",
    ),
    Check(
        id="G1b",
        requirement="A resting person does not move",
        severity="warning",
        metric="rest_speed",
        comparator="<=",
        evaluate=_check_rest_speed,
        formula="mean speed of the fastest body part; 1 = a small deliberate movement",
    ),
    Check(
        id="G2",
        requirement="A phase contains more motion than its share of time",
        severity="warning",
        metric="motion_energy_gain",
        comparator=">=",
        evaluate=_check_energy_gain,
        formula="share of the motion − share of the time, excluding other phases of the track",
    ),
    Check(
        id="G3",
        requirement="A phase starts and ends with its movement",
        severity="error",
        metric="displacement_s",
        comparator="<=",
        evaluate=_check_displacement,
        formula="mean distance of both boundaries to the nearest movement of similar length, in seconds",
    ),
    Check(
        id="G5",
        requirement="A phase is not much longer than its movement",
        severity="warning",
        metric="moving_share",
        comparator=">=",
        evaluate=_check_moving_share,
        formula="share of the phase in which its motion quantity is away from rest",
    ),
    Check(
        id="G4",
        requirement="The named side is the side that moves",
        severity="error",
        metric="named_side_motion",
        comparator=">=",
        evaluate=_check_side,
        formula="motion of the named hand / motion of both hands; signed displacement of yaw, roll or gaze",
    ),
    Check(
        id="G6",
        requirement="The motion matches the named action class",
        severity="error",
        metric="class_strength",
        comparator=">=",
        evaluate=_check_class_strength,
        formula="amplitude of the class's motion quantity / minimum amplitude that counts",
    ),
    Check(
        id="G7",
        requirement="The body part of a phase is visible",
        severity="info",
        metric="visible_share",
        comparator=">=",
        evaluate=_check_visibility,
        formula="share of the frames in which the body part is visible; below it, motion checks are undetermined",
    ),
    Check(
        id="G8",
        requirement="A camera described as static does not move",
        severity="info",
        metric="camera_motion",
        comparator="<=",
        evaluate=_check_static_camera,
        formula="median background motion in picture heights per second",
    ),
    Check(
        id="G9",
        requirement="Every clear movement is covered by a phase",
        severity="warning",
        metric="missed_amplitude_ratio",
        comparator="<=",
        evaluate=_check_missed_motion,
        formula="amplitude of a movement outside all phases of its track / minimum amplitude that counts",
    ),
)
