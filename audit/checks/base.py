"""Check: one question to one annotation, with its reason and its formula. Its answers stand beside their limit.

    Check(id="G1", why="a movement that is claimed shows in the part that is named", formula="...", severity="error",
          number="motion_ratio", sense=">=", judge=moves)

A judge is a pure function of what is known of the annotation (View) and the settings. It yields one outcome for each
thing it looked at, those that passed among them; where nothing can be told, because the part is not seen or was not
measured, the outcome is open, which is no fault.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.curves import frames_of_span
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import ids, vocab
from xsheet.schemas.annotation import Annotation, EvidenceValue, Finding, Phase
from xsheet.schemas.run import Run

_PAIRED_TRACKS: tuple[vocab.Track, ...] = ("arms", "hands")
CheckFamily = Literal["structure", "timeline", "consistency", "text", "motion", "speech"]
_FAMILY_BY_LETTER: dict[str, CheckFamily] = {
    "A": "structure", "B": "timeline", "D": "consistency", "F": "text", "G": "motion", "H": "speech",
}  # fmt: skip


class ClipMetadata(NamedTuple):
    """What the tables know of a clip beside its signals."""

    duration_us: int
    media_sha256: str
    cuts_us: tuple[int, ...] = ()  # shot cuts strictly inside the clip, on its own clock
    camera_motion: float | None = None  # picture heights per second


class MeasuredPhase(NamedTuple):
    """A phase beside the signals."""

    phase: Phase
    frames: range
    visible_share: float | None  # share of its frames in which its part is seen; None where the part is not measured
    class_strength: float | None  # how clearly its class shows there (detectors.shows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnotationView:
    """Everything that the checks may look at; what a set does not have is None or empty."""

    annotation: Annotation
    run: Run
    clip: ClipMetadata | None = None
    clip_evidence: ClipEvidence | None = None
    missing_parents: tuple[str, ...] = ()  # named, but not in the layers it may be made from
    support_by_phase: Mapping[str, float] = field(
        default_factory=dict
    )  # by phase id: share of the samples that have it
    sample_f1: float | None = None  # of the samples of its clip, mean F1 at tIoU 0.5
    measured_phases: tuple[MeasuredPhase, ...] = ()
    active_frames: Mapping[vocab.Track, NDArray[np.bool_]] = field(
        default_factory=dict
    )  # (frames,) where a phase claims a track

    @property
    def duration_us(self) -> int:
        """Of the clip itself where it is known, else as the annotation says."""
        return self.clip.duration_us if self.clip is not None else self.annotation.duration_us


def with_clip_evidence(view: AnnotationView, clip_evidence: ClipEvidence) -> AnnotationView:
    """The view with its phases held beside the signals of its clip."""
    claims = tuple(_measure_phase(phase, clip_evidence) for phase in view.annotation.phases)
    busy: dict[vocab.Track, NDArray[np.bool_]] = {}
    for claim in claims:
        if claim.phase.action != "rest" and claim.phase.track in clip_evidence.speeds:
            mask = busy.setdefault(claim.phase.track, np.zeros(len(clip_evidence.curves), np.bool_))
            mask[claim.frames.start : claim.frames.stop] = True
    return replace(
        view, clip_evidence=clip_evidence, measured_phases=claims, active_frames=_propagate_hand_activity(busy)
    )


def _propagate_hand_activity(
    active_frames: dict[vocab.Track, NDArray[np.bool_]],
) -> dict[vocab.Track, NDArray[np.bool_]]:
    """What both hands do, each of them does; and while one acts, the pair is not at rest."""
    both = [active_frames[track] for track in _PAIRED_TRACKS if track in active_frames]
    each = [active_frames[track] for track in vocab.SIDED_TRACK if track in active_frames]
    if both:
        pair = np.logical_or.reduce(both)
        active_frames |= {track: active_frames.get(track, pair) | pair for track in vocab.SIDED_TRACK}
        active_frames |= {track: np.logical_or.reduce([*both, *each]) for track in _PAIRED_TRACKS}
    return active_frames


def _measure_phase(phase: Phase, measured: ClipEvidence) -> MeasuredPhase:
    frames = frames_of_span(phase.span)
    strength = None if phase.action == "rest" else measured.class_strength(phase.action, frames, phase.laterality)
    return MeasuredPhase(phase, frames, measured.visible_share(phase.track, frames), strength)


class CheckResult(NamedTuple):
    """One answer of a check."""

    passed: bool | None  # None: cannot be told
    value: float | None = None
    limit: float | None = None
    phase: Phase | None = None  # none: about the whole annotation
    detail: str = ""
    start_us: int | None = None  # where, if it is not a phase
    end_us: int | None = None


CheckFunction = Callable[[AnnotationView, AuditSettings], Iterable[CheckResult]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question. `sense` says on which side of the limit the number has to lie."""

    id: str
    requirement: str
    formula: str  # with its source; §9 is that of references/annotation.md
    severity: vocab.Severity
    metric: str = ""  # name of what is measured, with its unit; empty for yes or no
    comparator: Literal[">=", "<=", ""] = ""
    evaluate: CheckFunction

    @property
    def family(self) -> CheckFamily:
        """The part of the score that it belongs to."""
        return _FAMILY_BY_LETTER[self.id[0]]

    def message(self, outcome: CheckResult) -> str:
        """What was expected and what was found, on one line."""
        if outcome.value is None or outcome.limit is None:
            return (outcome.detail or self.requirement) if outcome.passed is False else ""
        found = f"{self.metric} is {outcome.value:.3g}, expected {self.comparator} {outcome.limit:.3g}"
        return f"{found}: {outcome.detail}" if outcome.detail and outcome.passed is False else found


def to_finding(check: Check, outcome: CheckResult, annotation: Annotation, *, run_id: str) -> Finding:
    """A failed outcome as a row."""
    phase = outcome.phase
    span = (phase.start_us, phase.end_us) if phase is not None else (outcome.start_us, outcome.end_us)
    return Finding(
        finding_id=finding_id(
            check.id, annotation.annotation_id, phase.phase_id if phase else None, outcome.detail, *span
        ),
        run_id=run_id,
        check=check.id,
        severity=check.severity,
        annotation_id=annotation.annotation_id,
        clip_id=annotation.clip_id,
        phase_id=None if phase is None else phase.phase_id,
        start_us=span[0],
        end_us=span[1],
        message=check.message(outcome),
        evidence=tuple(
            EvidenceValue(name=name, value=value)
            for name, value in ((check.metric, outcome.value), ("limit", outcome.limit))
            if value is not None
        ),
    )


def finding_id(*key_parts: str | int | None) -> str:
    """Id of a finding from its check and its place."""
    return "fin_" + ids.content_key(*key_parts)[:20]
