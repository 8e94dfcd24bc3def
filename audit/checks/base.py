"""A check: one requirement on an annotation, with a formula, a limit and an evaluation function.

    Check(id="G1", requirement="A named movement is visible in its body part", formula="...", severity="error",
          metric="motion_ratio", comparator=">=", evaluate=_check_motion_ratio)

The evaluation is a pure function of AnnotationView and the settings. It yields one CheckResult per phase or fact,
passed ones included. A result is undetermined if the body part is hidden or not measured; that is not a failure.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xsheet.annotate.motion.series import frames_of_span
from xsheet.audit.checks.evidence import ClipEvidence
from xsheet.audit.settings import AuditSettings
from xsheet.schemas import ids, vocab
from xsheet.schemas.annotation import Annotation, EvidenceValue, Finding, Phase
from xsheet.schemas.run import Run
from xsheet.schemas.time import Span

_PAIRED_TRACKS: tuple[vocab.Track, ...] = ("arms", "hands")
CheckFamily = Literal["structure", "timeline", "consistency", "text", "motion", "speech"]
_FAMILY_BY_LETTER: dict[str, CheckFamily] = {
    "A": "structure", "B": "timeline", "D": "consistency", "F": "text", "G": "motion", "H": "speech",
}  # fmt: skip


class ClipMetadata(NamedTuple):
    """Facts about a clip from tables other than its signals."""

    duration_us: int
    media_sha256: str
    cuts_us: tuple[int, ...] = ()  # shot cuts strictly inside the clip, on its own clock
    camera_motion: float | None = None  # picture heights per second


class MeasuredPhase(NamedTuple):
    """A phase with its measured visibility and class strength."""

    phase: Phase
    frames: range
    visible_share: float | None  # share of its frames with a visible body part; None if not measured
    class_strength: float | None  # amplitude of its class, 1 = the minimum that counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnotationView:
    """Input of the checks; what a set does not have is None or empty."""

    annotation: Annotation
    run: Run
    clip: ClipMetadata | None = None
    clip_evidence: ClipEvidence | None = None
    missing_parents: tuple[str, ...] = ()  # parent ids that no earlier layer contains
    # By phase id: share of the samples that contain the phase.
    support_by_phase: Mapping[str, float] = field(default_factory=dict)
    sample_f1: float | None = None  # mean F1 at tIoU 0.5 over pairs of samples of the clip
    measured_phases: tuple[MeasuredPhase, ...] = ()
    # (frames,) by track: whether a phase covers the frame, or a span of which nothing is known.
    active_frames: Mapping[vocab.Track, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def duration_us(self) -> int:
        """Duration of the clip if known, else of the annotation."""
        return self.clip.duration_us if self.clip is not None else self.annotation.duration_us


def with_clip_evidence(view: AnnotationView, clip_evidence: ClipEvidence) -> AnnotationView:
    """Add the measured motion of the clip and of each phase to a view."""
    measured_phases = tuple(_measure_phase(phase, clip_evidence) for phase in view.annotation.phases)
    covered = [(m.phase.track, m.frames) for m in measured_phases if m.phase.action != "rest"]
    for span in view.annotation.unknown:
        tracks = tuple(clip_evidence.speeds) if span.track == "whole_body" else (span.track,)
        covered += [(track, frames_of_span(Span(span.start_us, span.end_us))) for track in tracks]
    active: dict[vocab.Track, NDArray[np.bool_]] = {}
    for track, frames in covered:
        if track in clip_evidence.speeds:
            mask = active.setdefault(track, np.zeros(len(clip_evidence.curves), np.bool_))
            mask[frames.start : frames.stop] = True
    return replace(
        view,
        clip_evidence=clip_evidence,
        measured_phases=measured_phases,
        active_frames=_propagate_hand_activity(active),
    )


def _propagate_hand_activity(
    active_frames: dict[vocab.Track, NDArray[np.bool_]],
) -> dict[vocab.Track, NDArray[np.bool_]]:
    """Mark single hands active during phases of both hands, and the pair active during phases of one hand."""
    both = [active_frames[track] for track in _PAIRED_TRACKS if track in active_frames]
    each = [active_frames[track] for track in vocab.SIDED_TRACK if track in active_frames]
    if both:
        pair = np.logical_or.reduce(both)
        active_frames |= {track: active_frames.get(track, pair) | pair for track in vocab.SIDED_TRACK}
        active_frames |= {track: np.logical_or.reduce([*both, *each]) for track in _PAIRED_TRACKS}
    return active_frames


def _measure_phase(phase: Phase, evidence: ClipEvidence) -> MeasuredPhase:
    frames = frames_of_span(phase.span)
    strength = None if phase.action == "rest" else evidence.class_strength(phase.action, frames, phase.laterality)
    return MeasuredPhase(phase, frames, evidence.visible_share(phase.track, frames), strength)


class CheckResult(NamedTuple):
    """One result of a check."""

    passed: bool | None  # None: undetermined
    value: float | None = None
    limit: float | None = None
    phase: Phase | None = None  # None: about the whole annotation
    detail: str = ""
    start_us: int | None = None  # time span of a result without a phase
    end_us: int | None = None
    track: vocab.Track | None = None  # of a result without a phase


CheckFunction = Callable[[AnnotationView, AuditSettings], Iterable[CheckResult]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A requirement. It passes if `metric` `comparator` limit holds."""

    id: str
    requirement: str
    formula: str  # how the value is computed, with the paper if there is one
    severity: vocab.Severity
    metric: str = ""  # name of the measured value, with its unit; empty for yes/no checks
    comparator: Literal[">=", "<=", ""] = ""
    evaluate: CheckFunction

    @property
    def family(self) -> CheckFamily:
        """Family of the check, by the first letter of its id."""
        return _FAMILY_BY_LETTER[self.id[0]]

    def message(self, result: CheckResult) -> str:
        """One line with the measured value, the limit and the detail."""
        if result.value is None or result.limit is None:
            return (result.detail or self.requirement) if result.passed is False else ""
        comparison = f"{self.metric} is {result.value:.3g}, expected {self.comparator} {result.limit:.3g}"
        return f"{comparison}: {result.detail}" if result.detail and result.passed is False else comparison


REVIEWED_LAYERS: frozenset[vocab.Layer] = frozenset(("human",))  # a person has decided on every annotation


def to_finding(check: Check, result: CheckResult, annotation: Annotation, *, run_id: str) -> Finding:
    """A failed result as a row of the findings table."""
    phase = result.phase
    span = (phase.start_us, phase.end_us) if phase is not None else (result.start_us, result.end_us)
    return Finding(
        finding_id=finding_id(
            run_id, check.id, annotation.annotation_id, phase.phase_id if phase else None, result.detail, *span
        ),
        run_id=run_id,
        check=check.id,
        # What a person accepted is accepted; a check that disagrees is a note.
        severity="info" if annotation.layer in REVIEWED_LAYERS and check.family != "structure" else check.severity,
        annotation_id=annotation.annotation_id,
        clip_id=annotation.clip_id,
        phase_id=None if phase is None else phase.phase_id,
        track=result.track if phase is None else phase.track,
        start_us=span[0],
        end_us=span[1],
        message=check.message(result),
        evidence=tuple(
            EvidenceValue(name=name, value=value)
            for name, value in ((check.metric, result.value), ("limit", result.limit))
            if value is not None
        ),
    )


def finding_id(*key_parts: str | int | None) -> str:
    """Finding id: a hash of the audit run, the check and its location; a set may be audited twice."""
    return "fin_" + ids.content_key(*key_parts)[:20]
