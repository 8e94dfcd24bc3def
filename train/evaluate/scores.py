"""Phases asked for against phases found, one by one, and a mouth against its sound. Pure: no pictures, no model.

The paper has a language model judge its Action Bench, on scales of its own. Here the same questions are asked of the
motion annotator: does the action appear (H@S), is it the class that was asked for, when, and does it move when the
texts are exchanged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from xsheet.curate.sync.lip_audio import score_sync
from xsheet.schemas.annotation import Annotation, Phase, sorted_phases
from xsheet.schemas.time import CLIP_RATE, seconds_from_us

Floats = NDArray[np.float64]
HIT = 0.5
"""Share of the shorter of two spans that they must have in common to be about the same movement."""
SYNC_FRAMES = 3
"""Lips and sound that lie at most this far apart pass: the limit that curation keeps clips by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseScore:
    """One phase asked for, and what was found of it."""

    action: str  # as asked, with its side
    found: str | None  # of the same part of the body, that fits best; None = nothing there
    hit: bool  # the action appears, wherever exactly
    tiou: float  # of the hit; 0 without
    start_error_s: float | None  # of the hit, absolute

    @property
    def named(self) -> bool:
        """Whether what is there is what was asked for."""
        return self.found == self.action


@dataclass(frozen=True, slots=True, kw_only=True)
class MouthScore:
    """The mouth of one clip."""

    r: float | None  # with the mouth that made the sound, in one clip's own time; None where one of them is still
    confidence: float | None  # of lips against sound, in standard deviations of chance
    offset_frames: int | None  # at 25 fps, positive = the voice is late

    @property
    def in_sync(self) -> bool | None:
        """Whether lips and sound meet; None where it cannot be told."""
        return None if self.offset_frames is None else abs(self.offset_frames) <= SYNC_FRAMES


def score_phases(asked: Iterable[Phase], found: Sequence[Phase]) -> list[PhaseScore]:
    """Every phase but rests; each stands for itself, one movement may answer two of the same kind."""
    return [_score(phase, found) for phase in asked if phase.action != "rest"]


def by_habit(asked: Sequence[Sequence[Phase]], found: Sequence[Sequence[Phase]]) -> list[tuple[PhaseScore, ...]]:
    """Each clip's phases against what was found in the next clip, cyclically, whose sheet asks for the same action.

    A model that always acts at its usual time scores as well here as on its own videos: that much of tIoU and start
    error is habit. Phases that no other sheet asks for are left out.
    """
    names = [{name_of(phase) for phase in phases} for phases in asked]
    scores = []
    for i, phases in enumerate(asked):
        mine: list[PhaseScore] = []
        for phase in phases:
            following = chain(range(i + 1, len(asked)), range(i))
            alike = (found[j] for j in following if name_of(phase) in names[j])
            for there in islice(alike, 1):
                mine += score_phases([phase], there)
        scores.append(tuple(mine))
    return scores


def name_of(phase: Phase) -> str:
    """Class and side: what a phase must be right about."""
    return phase.action if phase.laterality in ("none", "both") else f"{phase.action} {phase.laterality}"


def score_mouth(seen: Floats, own: Floats, heard: Floats, voice: Floats) -> MouthScore:
    """The mouth seen, (T,) at 25 fps, against that of the clip whose sound it is, and the one its sound predicts."""
    both = np.isfinite(seen) & np.isfinite(own)
    moves = both.sum() > CLIP_RATE.num and np.std(seen[both]) > 0 and np.std(own[both]) > 0
    sync = score_sync(seen, heard, voice)
    return MouthScore(
        r=float(np.corrcoef(seen[both], own[both])[0, 1]) if moves else None,
        confidence=sync.confidence,
        offset_frames=sync.offset_frames,
    )


def exchanged(said: Annotation) -> Annotation | None:
    """The sheet with the actions of two phases exchanged between their times; None without two that differ.

    Of all pairs the earliest is taken, else the text would change in several places at once.
    """
    acts = [phase for phase in said.phases if phase.action != "rest"]
    pairs = ((a, b) for i, a in enumerate(acts) for b in acts[i + 1 :] if name_of(a) != name_of(b))
    for first, second in pairs:
        changed = {first.phase_id: _acting_as(first, second), second.phase_id: _acting_as(second, first)}
        try:
            return replace(said, phases=sorted_phases(changed.get(p.phase_id, p) for p in said.phases))
        except ValueError:  # a third phase on one of the tracks is in the way
            continue
    return None


def recast(said: Annotation, other: Annotation) -> Annotation | None:
    """The sheet with one action replaced, in its time, by one of another sheet; None without two that differ."""
    mine, theirs = ([phase for phase in sheet.phases if phase.action != "rest"] for sheet in (said, other))
    for old, new in ((old, new) for old in mine for new in theirs if name_of(old) != name_of(new)):
        changed = {old.phase_id: _acting_as(old, new)}
        try:
            return replace(said, phases=sorted_phases(changed.get(p.phase_id, p) for p in said.phases))
        except ValueError:  # another phase on the new one's track is in the way
            continue
    return None


def changed_phases(before: Annotation, after: Annotation) -> list[Phase]:
    """Phases of `after` that act otherwise than those of the same id in `before`."""
    names = {phase.phase_id: name_of(phase) for phase in before.phases}
    return [phase for phase in after.phases if names.get(phase.phase_id) != name_of(phase)]


def _acting_as(phase: Phase, other: Phase) -> Phase:
    """The other's action in this one's time. Its inner times go, for they were measured."""
    return replace(
        other, phase_id=phase.phase_id, start_us=phase.start_us, end_us=phase.end_us, kinematics=(),
        start_sigma_us=phase.start_sigma_us, end_sigma_us=phase.end_sigma_us,
    )  # fmt: skip


def _score(asked: Phase, found: Sequence[Phase]) -> PhaseScore:
    near = [p for p in found if p.track == asked.track and _shared(p, asked) >= HIT]
    best = max(near, key=lambda p: p.span.tiou(asked.span), default=None)
    same = max((p for p in near if name_of(p) == name_of(asked)), key=lambda p: p.span.tiou(asked.span), default=None)
    return PhaseScore(
        action=name_of(asked),
        found=None if best is None else name_of(best),
        hit=same is not None,
        tiou=0.0 if same is None else same.span.tiou(asked.span),
        start_error_s=None if same is None else abs(seconds_from_us(same.start_us) - seconds_from_us(asked.start_us)),
    )


def _shared(a: Phase, b: Phase) -> float:
    return a.span.overlap_us(b.span) / min(a.span.duration_us, b.span.duration_us)
