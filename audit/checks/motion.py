"""Grounding (G): every phase beside the measured motion of the part that it names, and motion that no phase names.

A part that is not seen, or whose motion no series holds, makes the answer open: unverifiable is not wrong.
"""

from collections.abc import Iterator

import numpy as np

from xsheet.annotate.motion.curves import FPS, side_share
from xsheet.annotate.motion.segments import Chain
from xsheet.audit.checks.base import Check, Claim, Outcome, View
from xsheet.audit.checks.evidence import Measured, Quantity, quantity_of
from xsheet.audit.settings import AuditSettings, MotionLimits
from xsheet.schemas import vocab
from xsheet.schemas.time import CLIP_RATE, US_PER_S, span_of_frames

# Classes that are a state: the part may stand still in them.
_STATES: frozenset[vocab.Action] = frozenset({
    "talk", "listen", "pause", "look_at_camera", "cross_arms", "hand_on_chest", "hold_object", "rest", "close_eyes",
    "fist", "palm_up", "other",
})  # fmt: skip
_SAME_LENGTH = 0.3  # of a phase: what its length may differ by from that of the movement it means
# Of the least leg that counts as an action: small legs join what larger ones tell apart, and find what they do not.
_SCALES = (1.0, 0.6)
_SIDED: frozenset[vocab.Action] = frozenset({"turn_head", "tilt_head", "look_away"})
_FEW_COVERED = 0.25  # share of a movement that a phase covers without having seen it


def _open(claim: Claim, limits: MotionLimits) -> bool:
    return claim.seen is None or claim.seen < limits.min_seen


def _moves(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, measured = settings.motion, view.measured
    if measured is None:
        return
    still = {track: measured.still_speed(track, mask) for track, mask in view.busy.items()}
    for claim in view.claims:
        phase = claim.phase
        if phase.action not in _STATES and phase.kind != "rest":
            moved = None if _open(claim, limits) else measured.mean_speed(phase.track, claim.frames)
            at_rest = still.get(phase.track)
            if moved is None or at_rest is None:
                yield Outcome(None, phase=phase)
            else:
                yield Outcome(moved / at_rest >= limits.min_ratio, moved / at_rest, limits.min_ratio, phase)


def _rests(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, measured = settings.motion, view.measured
    if measured is None:
        return
    for claim in view.claims:
        if claim.phase.action == "rest":
            moved = None if _open(claim, limits) else measured.mean_speed("whole_body", claim.frames)
            passed = None if moved is None else moved <= limits.max_rest_speed
            yield Outcome(passed, moved, limits.max_rest_speed, claim.phase)


def _energy(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, measured = settings.motion, view.measured
    if measured is None:
        return
    for claim in view.claims:
        phase = claim.phase
        if phase.action not in _STATES and phase.track in measured.speed:
            gain = (
                None
                if _open(claim, limits)
                else measured.energy_gain(phase.track, claim.frames, view.busy[phase.track])
            )
            passed = None if gain is None else gain > limits.min_energy_gain
            yield Outcome(passed, gain, limits.min_energy_gain, phase)


def _displaced(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, measured = settings.motion, view.measured
    if measured is None:
        return
    for claim in view.claims:
        quantity = quantity_of(claim.phase.action, claim.phase.track)
        if quantity is not None:
            sigma_us = max(claim.phase.start_sigma_us or 0, claim.phase.end_sigma_us or 0)
            limit_s = max(limits.max_displacement_s, min(2 * sigma_us / US_PER_S, limits.max_excused_s))
            found = None if _open(claim, limits) else _displacement_s(claim, measured, quantity, limit_s, limits)
            yield Outcome(None if found is None else found <= limit_s, found, limit_s, claim.phase)


def _displacement_s(
    claim: Claim, measured: Measured, quantity: Quantity, limit_s: float, limits: MotionLimits
) -> float | None:
    """How far a phase lies from the movement it means; None where no movement near it has its length.

    A movement that begins and ends within the limit is meant, whatever else is near; else the nearest one of the same
    length is, which tells a phase that was moved from one whose ends are loose.
    """
    start, stop = claim.frames.start, claim.frames.stop
    near: list[tuple[float, float]] = []
    for scale in _SCALES:
        spans = measured.movement_spans(quantity, scale=scale)
        near += [((a - start) / FPS, (b - stop) / FPS) for a, b in spans]
        fitting = min((max(abs(a), abs(b)) for a, b in near), default=None)
        if fitting is not None and fitting <= limit_s:
            return fitting
    same = max(limits.same_length_s, _SAME_LENGTH * (stop - start) / FPS)
    moved = [(a, b) for a, b in near if abs(a - b) <= same or min(a * b, abs(a) - limit_s, abs(b) - limit_s) > 0]
    nearest = min((abs(a + b) / 2 for a, b in moved), default=None)
    return nearest if nearest is not None and limit_s < nearest <= limits.max_reach_s else None


def _fits(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, measured = settings.motion, view.measured
    if measured is None:
        return
    for claim in view.claims:
        quantity = quantity_of(claim.phase.action, claim.phase.track)
        if quantity is not None and not _open(claim, limits):
            share = _moving_share(claim, measured.movements(quantity, scale=_SCALES[0]))
            if share < limits.min_fit:
                share = _moving_share(claim, measured.movements(quantity, scale=_SCALES[1]))
            yield Outcome(share >= limits.min_fit, share, limits.min_fit, claim.phase)


def _moving_share(claim: Claim, chains: list[Chain]) -> float:
    """Share of a phase that lies in movements."""
    start, stop = claim.frames.start, claim.frames.stop
    inside = sum(max(0.0, min(stop, chain.end) - max(start, chain.start)) for chain in chains)
    return min(1.0, inside / max(stop - start, 1))


def _right_side(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, measured = settings.motion, view.measured
    if measured is None:
        return
    for claim in view.claims:
        phase = claim.phase
        if phase.laterality not in ("left", "right"):
            continue
        if phase.action in _SIDED:
            toward = None if _open(claim, limits) else claim.strength
            # Too little to either side is no matter of sides.
            passed = None if toward is None or abs(toward) < limits.min_strength else toward > 0
            yield Outcome(passed, toward, 0.0, phase)
        elif phase.track in vocab.SIDED_TRACK:
            both = [measured.seen_share(track, claim.frames) or 0.0 for track in vocab.SIDED_TRACK]
            seen = max(both) >= limits.min_seen
            share = side_share(measured.course, claim.frames, left=phase.laterality == "left") if seen else None
            yield Outcome(
                None if share is None else share >= limits.min_side_share, share, limits.min_side_share, phase
            )


def _right_class(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits = settings.motion
    for claim in view.claims:
        if claim.phase.action != "rest":
            strength = None if _open(claim, limits) or claim.strength is None else abs(claim.strength)
            passed = None if strength is None else strength >= limits.min_strength
            yield Outcome(passed, strength, limits.min_strength, claim.phase)


def _visible(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limit = settings.motion.min_seen
    for claim in view.claims:
        seen = claim.seen
        yield Outcome(True if seen is not None and seen >= limit else None, seen, limit, claim.phase)


def _camera(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    base, clip, limit = view.annotation.base, view.clip, settings.motion.max_camera_motion
    if base is not None and base.camera == "static" and clip is not None and clip.camera_motion is not None:
        yield Outcome(clip.camera_motion <= limit, clip.camera_motion, limit)


def _missed(view: View, settings: AuditSettings) -> Iterator[Outcome]:
    limits, measured = settings.motion, view.measured
    if measured is None or view.annotation.status != "ok":
        return
    for quantity, frames, chain in measured.large_movements(limits.missed_scale, limits.min_missed_s):
        busy = view.busy.get(quantity.track)
        is_free = busy is None or np.count_nonzero(busy[frames.start : frames.stop]) < _FEW_COVERED * len(frames)
        if is_free and measured.stands_out(quantity, frames, chain):
            span, size = span_of_frames(frames, CLIP_RATE), abs(chain.peak) / quantity.least
            yield Outcome(
                False, size, limits.missed_scale, detail=f"{quantity.track} moves at {span}, and no phase says so",
                start_us=span.start_us, end_us=span.end_us,
            )  # fmt: skip


def missed_us(outcomes: list[Outcome]) -> int:
    """Time of movements that no phase names; those of several quantities at once count once."""
    total = end = 0
    for start, stop in sorted((o.start_us or 0, o.end_us or 0) for o in outcomes):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


GROUNDING = (
    Check(id="G1", why="a movement that is claimed shows in the part that is named", severity="error",
          number="motion_ratio", sense=">=", judge=_moves,
          formula="mean speed inside / median speed outside the phases of the track (§9-G1)"),
    Check(id="G1b", why="who rests does not move", severity="warning", number="rest_speed", sense="<=", judge=_rests,
          formula="mean speed of the fastest part, 1 = a small movement (§9-G1)"),
    Check(id="G2", why="a phase holds more of the motion than of the time", severity="warning", number="energy_gain",
          sense=">=", judge=_energy,
          formula="share of the motion - share of the time, beside the track's other phases (§9-G2)"),
    Check(id="G3", why="a phase begins and ends with the movement it means", severity="error", number="displacement_s",
          sense="<=", judge=_displaced,
          formula="mean of both ends' distances to the nearest movement of the same length (after §9-G3)"),
    Check(id="G5", why="a phase is not much longer than its movement", severity="warning", number="moving_share",
          sense=">=", judge=_fits, formula="share of the phase in which its quantity is away from rest"),
    Check(id="G4", why="the side that is named is the side that moves", severity="error", number="toward_side",
          sense=">=", judge=_right_side,
          formula="named hand / both hands; signed excursion of yaw, roll or gaze (§9-G4)"),
    Check(id="G6", why="the class that is named shows", severity="error", number="strength", sense=">=",
          judge=_right_class, formula="size in the quantity of the class / least that counts (§9-G6)"),
    Check(id="G7", why="what is not seen cannot be verified", severity="info", number="seen_share", sense=">=",
          judge=_visible, formula="share of the frames in which the part is seen (§9-G7)"),
    Check(id="G8", why="a camera that is called static stands", severity="info", number="camera_motion", sense="<=",
          judge=_camera, formula="median motion of the background, picture heights per second (§9-G8)"),
    Check(id="G9", why="a clear movement has a phase", severity="warning", number="size", sense="<=", judge=_missed,
          formula="size of a movement outside all phases of its track / least that counts (after §9-G9)"),
)  # fmt: skip
