"""Convert the events of a sheet to phases. Every change is a repair; everything left out is also a loss."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from xsheet.annotate.formats import vocabulary
from xsheet.annotate.formats.base import (
    LIST_FIELDS,
    PHASE_FIELDS,
    AnnotationSheet,
    GesturePart,
    LossTally,
    SheetEvent,
)
from xsheet.annotate.repairs import RepairLog
from xsheet.schemas import vocab
from xsheet.schemas.annotation import HALF_FRAME_US, MIN_PHASE_US, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.time import Span

MIN_TEXT_CHARS, MAX_TEXT_CHARS = 3, 400  # of the contract
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_PHASE: TypeAdapter[Phase] = TypeAdapter(Phase)


def is_valid_id(text: str) -> bool:
    """Whether it is a valid id."""
    return _ID.fullmatch(text) is not None


class PhaseImporter:
    """The phases of one sheet, in no particular order; `repairs` is complete after the iteration."""

    def __init__(self, sheet: AnnotationSheet, clip: Clip, tally: LossTally) -> None:
        self.repairs = RepairLog()
        self._sheet, self._tally, self._end_us = sheet, tally, clip.duration_us
        self._reserved_ids: set[str] = {one.phase_id for one in sheet.events if one.phase_id is not None}
        self._free_ids = (f"p{n}" for n in range(len(self._reserved_ids) + len(sheet.events)))
        self._assigned_ids: set[str] = set()

    def __iter__(self) -> Iterator[Phase]:
        """The phases of all events that the contract accepts."""
        for event in sorted(self._sheet.events, key=lambda one: (one.start_us, one.end_us, one.tier)):
            phase_id = self._id(event)
            span = self._span(event, phase_id)
            phase = None if span is None else self._build_phase(phase_id, event, span)
            if phase is not None:
                yield phase

    def _id(self, event: SheetEvent) -> str:
        if event.phase_id is not None and is_valid_id(event.phase_id) and event.phase_id not in self._assigned_ids:
            self._assigned_ids.add(event.phase_id)
            return event.phase_id
        fresh = next(name for name in self._free_ids if name not in self._reserved_ids)
        if event.phase_id is not None:
            why = "a valid phase id, unique in its clip"
            self.repairs.change("set", f"{fresh}/phase_id", event.phase_id, fresh, reason=why)
            self._tally.add("phases.phase_id", f"expected {why}", f"{self._sheet.clip_id}: {event.phase_id}")
        return fresh

    def _span(self, event: SheetEvent, phase_id: str) -> Span | None:
        start_us, end_us = event.start_us, event.end_us
        if start_us > end_us:
            why = "starts after its end"
            start_us = self.repairs.change("swap", f"{phase_id}/start_us", start_us, end_us, reason=why)
            end_us = self.repairs.change("swap", f"{phase_id}/end_us", end_us, event.start_us, reason=why)
        last_us = end_us if end_us <= self._end_us + HALF_FRAME_US else self._end_us
        start_us = self.repairs.change(
            "clip", f"{phase_id}/start_us", start_us, max(start_us, 0), reason="clip's start"
        )
        end_us = self.repairs.change("clip", f"{phase_id}/end_us", end_us, last_us, reason="clip's end")
        if end_us - start_us < MIN_PHASE_US:
            why = f"less than {MIN_PHASE_US / 1e6} s of it inside the clip"
            self._record_loss("phases", why, phase_id, _shown(event))
            return None
        if (start_us, end_us) != (event.start_us, event.end_us):
            was = f"{self._sheet.clip_id}/{phase_id}: {event.start_us}..{event.end_us} µs"
            self._tally.add("phases.start_us", "cut at the ends of the clip, or swapped", was)
        return Span(start_us, end_us)

    def _build_phase(self, phase_id: str, event: SheetEvent, span: Span) -> Phase | None:
        """The phase without fields that the contract refuses."""
        assumed, values = self._values(phase_id, event)
        while True:
            try:
                return _PHASE.validate_python(
                    {"phase_id": phase_id, "start_us": span.start_us, "end_us": span.end_us, **values}, strict=False
                )
            except ValidationError as error:
                wrong = {str(one["loc"][0]) for one in error.errors(include_url=False) if one["loc"]}
            # An error between fields names no field. Sides are checked before, so the gesture's parts are out of order.
            wrong = (wrong & set(values)) or ({"kinematics"} & set(values))
            if not wrong or any(values[name] == assumed.get(name) for name in wrong):
                self._record_loss("phases", "violates the contract", phase_id, _shown(event))
                return None
            for name in sorted(wrong):
                self._record_loss(f"phases.{name}", "violates the contract", phase_id, values.pop(name))
                if name in assumed:
                    values[name] = assumed[name]

    def _values(self, phase_id: str, event: SheetEvent) -> tuple[dict[str, Any], dict[str, Any]]:
        """Default fields of the phase, and all fields: the defaults updated with those of the event."""
        action = vocabulary.action_of(event.label)
        track = vocabulary.track_of(event.tier, action, label=event.label)
        change = self.repairs.change
        change("set", f"{phase_id}/track", event.tier, track, reason="body part in the tier name")
        change("set", f"{phase_id}/action", event.label, action, reason="vocabulary class of the label")
        assumed: dict[str, Any] = dict(vocabulary.default_fields(event.tier, track, action))
        fields: dict[str, Any] = {name: event.attributes[name] for name in PHASE_FIELDS if name in event.attributes}
        if action == "other" and event.label.strip() not in ("", "other"):
            fields.setdefault("action_raw", event.label)
            assumed["text"] = _default_text(event)
        text = fields.get("text", assumed["text"])
        if len(text) > MAX_TEXT_CHARS:
            self._record_loss("phases.text", f"cut after {MAX_TEXT_CHARS} characters", phase_id, text)
            fields["text"] = text[:MAX_TEXT_CHARS]
        side = vocab.SIDED_TRACK.get(track)
        if side is not None and fields.get("laterality", side) != side:
            self._record_loss(
                "phases.laterality", f"contradicts the side of the track {track}", phase_id, fields.pop("laterality")
            )
        for name in set(LIST_FIELDS) & set(fields):
            fields[name] = fields[name].split()
        if parts := list(self._parts(phase_id, event)):
            fields["kinematics"] = parts
        return assumed, assumed | fields | {"track": track, "action": action, "origin": "import"}

    def _parts(self, phase_id: str, event: SheetEvent) -> Iterator[dict[str, Any]]:
        for part in event.kinematics:
            known = vocabulary.kinematic_of(part.label)
            if known is None:
                self._record_loss("phases.kinematics", "not in the vocabulary: 'unknown'", phase_id, part.label)
            if part.start_us < part.end_us:
                yield {"phase": known or "unknown", "start_us": part.start_us, "end_us": part.end_us}
            else:
                self._record_loss("phases.kinematics", "a part without duration", phase_id, _shown(part))

    def _record_loss(self, field: str, reason: str, phase_id: str, value: object) -> None:
        self.repairs.drop(f"{phase_id}/{field.partition('.')[2]}".rstrip("/"), value, reason=reason)
        self._tally.add(field, reason, f"{self._sheet.clip_id}/{phase_id}: {value}")


def _shown(timed: SheetEvent | GesturePart) -> str:
    """Label and times, for a message: 'nod 400000..480000 µs'."""
    return f"{timed.label} {timed.start_us}..{timed.end_us} µs"


def _default_text(event: SheetEvent) -> str:
    label = event.label.strip()
    return label if len(label) >= MIN_TEXT_CHARS else f"{event.tier}: {label}".strip(": ").ljust(MIN_TEXT_CHARS, ".")
