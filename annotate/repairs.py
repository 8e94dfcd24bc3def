"""The log of repairs, and the rule that removes overlaps between phases of one track."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from xsheet.schemas.annotation import MIN_PHASE_US, Phase, Repair, sorted_phases

V = TypeVar("V")
MAX_VALUE_CHARS = 200  # of a logged value; layer raw keeps the whole reply


class RepairLog:
    """All changes so far, in order."""

    def __init__(self) -> None:
        self.entries: list[Repair] = []

    def change(self, op: str, path: str, before: object, after: V, *, reason: str) -> V:
        """Return `after`; log a repair if it differs from `before`."""
        if before != after:
            self.entries.append(Repair(op=op, path=path, before=_as_text(before), after=_as_text(after), reason=reason))
        return after

    def drop(self, path: str, dropped: object, *, reason: str) -> None:
        """Log that something was dropped."""
        self.entries.append(Repair(op="drop", path=path, before=_as_text(dropped), reason=reason))


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)[:MAX_VALUE_CHARS]


def trim_overlaps(phases: Sequence[Phase], repairs: RepairLog) -> tuple[Phase, ...]:
    """The phases sorted, without overlaps on one track.

    Of two that overlap, the earlier is trimmed to the start of the later. If less than the minimum duration would
    remain, the shorter is dropped (the later at a tie). Starts never move.
    """
    kept: list[Phase] = []
    for phase in sorted_phases(phases):
        _insert(phase, kept, repairs)
    return sorted_phases(kept)


def _insert(phase: Phase, kept: list[Phase], repairs: RepairLog) -> None:
    before = next((one for one in reversed(kept) if one.track == phase.track and one.end_us > phase.start_us), None)
    if before is None:
        kept.append(phase)
    elif phase.start_us - before.start_us >= MIN_PHASE_US:
        trimmed = trim_end(before, phase.start_us)
        reason = f"{phase.phase_id} starts on the same track"
        repairs.change("trim", f"{before.phase_id}/end_us", before.end_us, trimmed.end_us, reason=reason)
        kept[kept.index(before)] = trimmed
        kept.append(phase)
    else:
        shorter, longer = sorted((before, phase), key=lambda one: (one.span.duration_us, one is before))
        reason = f"{longer.phase_id} covers the same span on {longer.track}"
        repairs.drop(shorter.phase_id, f"{shorter.action} {shorter.span}", reason=reason)
        if shorter is before:
            kept[kept.index(before)] = phase


def trim_end(phase: Phase, end_us: int) -> Phase:
    """The phase with an earlier end. Kinematic parts are trimmed; all are dropped if one lies behind the new end."""
    parts = tuple(replace(part, end_us=min(part.end_us, end_us)) for part in phase.kinematics if part.start_us < end_us)
    return replace(phase, end_us=end_us, kinematics=parts if len(parts) == len(phase.kinematics) else ())
