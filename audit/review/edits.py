"""Edits: the edit request of a reviewer, and the phases that result from it.

The page sends the minimum; this module derives the rest: mirrored sides, the halves of a split, fields that an edit
invalidates.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from xsheet.annotate.text.wording import kind_of
from xsheet.audit.review.draft import Draft, to_contract_error
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Finding, KinematicPhase, Operation, Phase, Review
from xsheet.schemas.ids import content_key
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us

HUMAN_BOUNDARY_SIGMA_US = round(
    frame_start_us(1, CLIP_RATE) / 12**0.5
)  # a border set to a frame is uniform over that frame
NULLABLE_FIELDS = ("amplitude", "speed", "repetitions")
REJECTION_REASONS = (  # for a rejection, as its note
    "wrong_time", "wrong_part", "wrong_side", "not_happening", "merged", "split", "wrong_intensity", "text_style",
    "unverifiable", "media_fault",
)  # fmt: skip
OPPOSITE_SIDE: Final = {"left": "right", "right": "left"}


class PhaseChange(StrictModel):
    """New values of one phase; what is left out stays as it is."""

    phase_id: str | None = Field(default=None, description="null for a new phase")
    start_us: int | None = Field(default=None, description="start in the clip, µs")
    end_us: int | None = Field(default=None, description="end in the clip, µs, half-open")
    track: vocab.Track | None = Field(default=None, description="body part that acts")
    action: vocab.Action | None = Field(default=None, description="action class")
    laterality: vocab.Laterality | None = Field(default=None, description="the subject's own side")
    kind: vocab.PhaseKind | None = Field(default=None, description="kind of event")
    text: str | None = Field(default=None, description="the action in plain words")
    amplitude: int | None = Field(default=None, description="0..3; null = not stated")
    speed: int | None = Field(default=None, description="0..3; null = not stated")
    repetitions: int | None = Field(default=None, description="cycles; null = not stated")

    def set_values(self) -> dict[str, Any]:
        """The fields that the request sets; null counts only for fields that may be null."""
        given = self.model_dump(exclude_unset=True, exclude={"phase_id"})
        return {name: value for name, value in given.items() if value is not None or name in NULLABLE_FIELDS}


class EditRequest(StrictModel):
    """One operation as the page requests it."""

    operation: Operation
    before_sha256: str = Field(description="hash of the draft that the page shows")
    phase_ids: tuple[str, ...] = Field(default=(), max_length=64, description="phases concerned")
    changes: tuple[PhaseChange, ...] = Field(default=(), max_length=64, description="changed fields; edit and new only")
    at_us: int | None = Field(default=None, description="where to split, µs")
    undoes: str | None = Field(default=None, description="review that is undone; undo only")
    finding_id: str | None = Field(default=None, description="finding that the reviewer rejects; dispute only")
    note: str | None = Field(default=None, max_length=400, description="comment")


@dataclass(frozen=True, slots=True)
class AuditedAnnotation:
    """An annotation as the layer has it, and the findings about it."""

    annotation: Annotation
    findings: Sequence[Finding]


def to_review(
    request: EditRequest, draft: Draft, *, reviewer: str, at: datetime, audited: AuditedAnnotation | None = None
) -> Review:
    """The operation as a row of the table `reviews`.

    Args:
        request: request of the page.
        draft: draft to which it applies.
        reviewer: name of the reviewer.
        at: when, with a zone.
        audited: the annotation as the layer has it, with its findings; a dispute names one of them.

    Raises:
        ContractError: it does not fit the draft, or its phases break a rule; the message says which.
    """
    try:
        after = _resulting_phases(request, draft)
        made = tuple(phase.phase_id for phase in after)
        ids = made if request.operation in ("edit", "new") else request.phase_ids
        finding = _disputed_finding(request, draft, audited) if request.operation == "dispute" else None
        if finding is not None:
            ids = () if finding.phase_id is None else (finding.phase_id,)
        if not ids and request.operation not in ("accept", "reject", "dispute", "undo"):
            raise ValueError(f"expected a phase to {request.operation}, got none")
        key = [reviewer, at.isoformat(), request.model_dump(mode="json"), draft.annotation.annotation_id]
        return Review(
            review_id="rev_" + content_key(key)[:20],
            annotation_id=draft.annotation.annotation_id,
            clip_id=draft.annotation.clip_id,
            operation=request.operation,
            phase_ids=ids,
            after=after,
            before_sha256=request.before_sha256,
            undoes=request.undoes,
            finding=finding,
            reviewer=reviewer,
            at=at,
            note=request.note,
        )
    except ValueError as error:
        raise to_contract_error(error) from error


def _disputed_finding(request: EditRequest, draft: Draft, audited: AuditedAnnotation | None) -> Finding:
    """The finding of a dispute; ValueError if it is unknown or its phase is no longer as it was measured."""
    findings = () if audited is None else audited.findings
    found = next((one for one in findings if one.finding_id == request.finding_id), None)
    if audited is None or found is None:
        raise ValueError(f"expected a finding about this annotation to dispute, got {request.finding_id!r}")
    if found.phase_id is not None and draft.get_phase(found.phase_id) not in audited.annotation.phases:
        raise ValueError("expected the phase as it was measured, got one that was edited since")
    return found


def _resulting_phases(request: EditRequest, draft: Draft) -> tuple[Phase, ...]:
    phases = [draft.get_phase(one) for one in request.phase_ids]
    match request.operation:
        case "edit":
            return tuple(
                _edit_phase(draft.get_phase(change.phase_id or ""), change.set_values()) for change in request.changes
            )
        case "new":
            return tuple(_new_phase(change, f"{request.before_sha256}{i}") for i, change in enumerate(request.changes))
        case "flip_side":
            return tuple(map(_flip_phase, phases))
        case "split":
            return _split_phase(_single_phase(phases), request.at_us, request.before_sha256)
        case "merge":
            return (_merge_phases(phases),)
        case _:
            return ()


def _edit_phase(phase: Phase, values: dict[str, Any]) -> Phase:
    """The phase with new values. Measured and derived fields of the old phase are cleared."""
    changed = {name for name, value in values.items() if getattr(phase, name) != value}
    if not changed:
        return phase
    values["origin"] = "human"
    if changed - {"text"}:
        values |= {"confidence": None, "evidence": None, "speech": None, "amplitude_z": None, "speed_z": None}
    if "text" in changed:
        values["text_short"] = None
    if "action" in changed:
        values["action_raw"] = None
        values.setdefault("kind", kind_of(values["action"]))
    if "track" in changed:
        values.setdefault("laterality", vocab.SIDED_TRACK.get(values["track"], "none"))
        values |= {"body_parts": (), "visibility": None}
    for edge in ("start", "end"):
        if f"{edge}_us" in changed:
            values[f"{edge}_sigma_us"] = HUMAN_BOUNDARY_SIGMA_US
    span = Span(values.get("start_us", phase.start_us), values.get("end_us", phase.end_us))
    return replace(phase, **values, kinematics=_clip_kinematics(phase.kinematics, span))


def _clip_kinematics(kinematics: Sequence[KinematicPhase], span: Span) -> tuple[KinematicPhase, ...]:
    """Parts of a gesture, cut to a span; none if a part would vanish, because the order would be invalid."""
    if any(part.start_us >= span.end_us or part.end_us <= span.start_us for part in kinematics):
        return ()
    return tuple(
        replace(part, start_us=max(part.start_us, span.start_us), end_us=min(part.end_us, span.end_us))
        for part in kinematics
    )


def _new_phase(change: PhaseChange, seed: str) -> Phase:
    values: dict[str, Any] = {"action": "other", "laterality": "none", **change.set_values()}
    values.setdefault("kind", kind_of(values["action"]))
    if "track" not in values:
        raise ValueError("expected the track of the new phase, got none")
    if (side := vocab.SIDED_TRACK.get(values["track"])) is not None:
        values["laterality"] = side
    values.setdefault("text", values["action"].replace("_", " "))
    values |= {"start_sigma_us": HUMAN_BOUNDARY_SIGMA_US, "end_sigma_us": HUMAN_BOUNDARY_SIGMA_US, "origin": "human"}
    return Phase(phase_id=_new_phase_id(seed), **values)


def _split_phase(phase: Phase, at_us: int | None, seed: str) -> tuple[Phase, Phase]:
    if at_us is None or not phase.span.contains(at_us):
        raise ValueError(f"expected an instant inside {phase.span} to split at, got {at_us}")
    first = _edit_phase(phase, {"end_us": at_us, "repetitions": None})
    return first, replace(_edit_phase(phase, {"start_us": at_us, "repetitions": None}), phase_id=_new_phase_id(seed))


def _merge_phases(phases: Sequence[Phase]) -> Phase:
    """One phase from the start of the earliest to the end of the latest, in the words of the longest."""
    if len(phases) < 2 or len({phase.track for phase in phases}) > 1:
        raise ValueError("expected two phases of one track to merge")
    longest = max(phases, key=lambda phase: phase.span.duration_us)
    span = {"start_us": min(p.start_us for p in phases), "end_us": max(p.end_us for p in phases)}
    counts = {phase.repetitions for phase in phases if phase.action == longest.action}
    total = None if None in counts else sum(p.repetitions or 0 for p in phases if p.action == longest.action)
    return replace(_edit_phase(longest, {**span, "repetitions": total}), kinematics=())


def _flip_phase(phase: Phase) -> Phase:
    if phase.laterality not in OPPOSITE_SIDE:
        raise ValueError(f"expected a phase of the left or the right side, got {phase.laterality!r}")
    values = {
        "track": mirror_side(phase.track),
        "laterality": OPPOSITE_SIDE[phase.laterality],
        "text": mirror_side(phase.text),
    }
    parts: Any = tuple(map(mirror_side, phase.body_parts))  # the record refuses a part that does not exist
    return replace(_edit_phase(phase, values), body_parts=parts)


def mirror_side(text: str) -> str:
    """Exchange left and right, in text and in names such as arm_left."""
    return re.sub(r"(?i)(?<![a-z])(left|right)(?![a-z])", _mirror_word, text)


def _mirror_word(found: re.Match[str]) -> str:
    word = found.group()
    other = OPPOSITE_SIDE[word.lower()]
    return other.capitalize() if word[0].isupper() else other


def _single_phase(phases: Sequence[Phase]) -> Phase:
    if len(phases) != 1:
        raise ValueError(f"expected one phase, got {len(phases)}")
    return phases[0]


def _new_phase_id(seed: str) -> str:
    return "h_" + content_key("phase", seed)[:10]
