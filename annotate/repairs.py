"""The log of repairs, and the one rule by which phases of a track are kept apart."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from xsheet.schemas.annotation import MIN_PHASE_US, Phase, Repair, sorted_phases

V = TypeVar("V")
MAX_VALUE_CHARS = 200  # of a value before or after; the raw reply is kept whole anyway


class RepairLog:
    """What was changed so far, in order."""

    def __init__(self) -> None:
        self.entries: list[Repair] = []

    def change(self, op: str, path: str, before: object, after: V, *, reason: str) -> V:
        """`after`; noted where it differs from `before`."""
        if before != after:
            self.entries.append(Repair(op=op, path=path, before=_as_text(before), after=_as_text(after), reason=reason))
        return after

    def drop(self, path: str, dropped: object, *, reason: str) -> None:
        """Note that something was left out."""
        self.entries.append(Repair(op="drop", path=path, before=_as_text(dropped), reason=reason))


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)[:MAX_VALUE_CHARS]


def trim_overlaps(phases: Sequence[Phase], repairs: RepairLog) -> tuple[Phase, ...]:
    """Phases, sorted, of which no two of one track overlap.

    Of two that do, the earlier ends where the later starts. If less than the minimum would be left of it, both stand
    for one stretch and the shorter is left out (the later at a tie). Starts never move.
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
        reason = f"{phase.phase_id} begins on the same track"
        repairs.change("trim", f"{before.phase_id}/end_us", before.end_us, trimmed.end_us, reason=reason)
        kept[kept.index(before)] = trimmed
        kept.append(phase)
    else:
        shorter, longer = sorted((before, phase), key=lambda one: (one.span.duration_us, one is before))
        reason = f"{longer.phase_id} stands for the same stretch of {longer.track}"
        repairs.drop(shorter.phase_id, f"{shorter.action} {shorter.span}", reason=reason)
        if shorter is before:
            kept[kept.index(before)] = phase


def trim_end(phase: Phase, end_us: int) -> Phase:
    """The phase, ended earlier. Its kinematic parts go with it, but half a gesture has none: then all of them go."""
    parts = tuple(replace(part, end_us=min(part.end_us, end_us)) for part in phase.kinematics if part.start_us < end_us)
    return replace(phase, end_us=end_us, kinematics=parts if len(parts) == len(phase.kinematics) else ())
