"""Annotation: the content of one clip by one annotator in one layer; Finding: a failed check; Review: a human edit."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import AwareDatetime, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from xsheet.schemas import ids, vocab
from xsheet.schemas.columns import (
    RECORD,
    Float,
    Id,
    Int16,
    Int64,
    Level,
    NonNegative,
    OffsetUs,
    Sha256,
    Share,
    Str,
    Us,
)
from xsheet.schemas.run import ModelInput, Usage
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us

MIN_PHASE_US = 120_000  # three frames at 25 fps; no class of the vocabulary is shorter
HALF_FRAME_US = frame_start_us(1, CLIP_RATE) // 2  # maximum time from the last sampled frame to the end of a span


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Base:
    """Caption of the whole clip, without timed actions and identity."""

    text: Annotated[Str, Field(min_length=4, max_length=600), "appearance, scene, framing and mood, in prose"]
    subject: Annotated[Str, "visible person, without identity: 'a woman with short dark hair'"]
    framing: Annotated[vocab.Framing, "visible part of the body"]
    scene: Annotated[Str, "surroundings and light"]
    camera: Annotated[vocab.Camera, "camera motion"]
    camera_note: Annotated[Str | None, "details of the camera motion"] = None
    speaking: Annotated[vocab.Speaking, "speaking style over the whole clip"]
    emotion: Annotated[Str | None, "mood over the whole clip, from the face only"] = None
    lang: Annotated[Str | None, "BCP-47 tag of the spoken language, where known"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class KinematicPhase:
    """One part of a gesture: preparation, hold, stroke, retraction."""

    phase: Annotated[vocab.Kinematic, "kind of part"]
    start_us: Annotated[Us, "start in the clip"]
    end_us: Annotated[Us, "end in the clip, half-open"]

    def __post_init__(self) -> None:
        Span(self.start_us, self.end_us)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class SpeechRelation:
    """Timing of a phase relative to speech; always computed, never requested from a model."""

    relation: Annotated[vocab.Relation, "temporal relation of the phase to speech"]
    overlap: Annotated[Share | None, "share of the phase inside speech: known words, else voice activity"] = None
    anchor_word: Annotated[Str | None, "nearest word of the transcript"] = None
    anchor_start_us: Annotated[Us | None, "start of that word in the clip"] = None
    start_word: Annotated[Str | None, "word in progress when the phase starts, or that starts then"] = None
    end_word: Annotated[Str | None, "word in progress when the phase ends, or that ends then"] = None
    lag_us: Annotated[OffsetUs | None, "stroke apex minus word or syllable onset; negative = gesture first"] = None
    method: Annotated[Str, "what was computed from what, with version"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class FacialEmotion:
    """An emotion, with the facial action that is evidence for it."""

    label: Annotated[vocab.Emotion, "class"]
    intensity: Annotated[Level, "0 none, 1 slight, 2 clear, 3 strong"]
    evidence: Annotated[Str, Field(min_length=3), "visible facial action"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Evidence:
    """Evidence for a phase; each number comes from the step that measured it."""

    support_k: Annotated[Int16 | None, Field(ge=0), "samples that contain the phase"] = None
    k: Annotated[Int16 | None, Field(ge=1), "samples requested"] = None
    motion_ratio: Annotated[
        NonNegative | None, "speed of the named part inside the phase divided by its speed outside"
    ] = None
    text: Annotated[Str | None, "evidence in the annotator's words"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Phase:
    """One timed action of one track, half-open, in µs from the first frame of the clip."""

    phase_id: Annotated[Id, "unique in the annotation, stable over layers"]
    track: Annotated[vocab.Track, "body part that acts; phases of one track never overlap"]
    start_us: Annotated[Us, "start in the clip"]
    end_us: Annotated[Us, "end in the clip, half-open"]
    start_sigma_us: Annotated[Us | None, "standard uncertainty of the start; at least stamp step / sqrt(12)"] = None
    end_sigma_us: Annotated[Us | None, "standard uncertainty of the end"] = None
    action: Annotated[vocab.Action, "class"]
    action_raw: Annotated[Str | None, "the annotator's original label of the class"] = None
    text: Annotated[Str, Field(min_length=1, max_length=400), "the action in plain words, present tense"]
    text_short: Annotated[Str | None, "the same in at most eight words"] = None
    body_parts: Annotated[tuple[vocab.BodyPart, ...], "finer parts that move"] = ()
    laterality: Annotated[vocab.Laterality, "the subject's own side"]
    kind: Annotated[vocab.PhaseKind, "kind of event"]
    amplitude: Annotated[Level | None, "0 none, 1 small, 2 medium, 3 large"] = None
    speed: Annotated[Level | None, "0 none, 1 slow, 2 normal, 3 fast"] = None
    amplitude_z: Annotated[Float | None, "measured amplitude in standard deviations of the speaker"] = None
    speed_z: Annotated[Float | None, "measured speed in standard deviations of the speaker"] = None
    repetitions: Annotated[Int16 | None, Field(ge=1), "cycles of a repeated action (nods, waves)"] = None
    gesture_function: Annotated[tuple[vocab.GestureFunction, ...], "communicative function; low reliability"] = ()
    kinematics: Annotated[tuple[KinematicPhase, ...], "parts of a gesture in order, inside the phase"] = ()
    speech: Annotated[SpeechRelation | None, "relation to the voice; null until computed"] = None
    emotion: Annotated[FacialEmotion | None, "emotion; only with facial evidence"] = None
    visibility: Annotated[Share | None, "share of frames in which the named parts are visible"] = None
    confidence: Annotated[Share | None, "calibrated probability that a human would accept it"] = None
    evidence: Annotated[Evidence | None, "evidence"] = None
    origin: Annotated[vocab.Origin, "origin of the phase"]

    def __post_init__(self) -> None:
        if self.span.duration_us < MIN_PHASE_US:
            raise ValueError(f"phase {self.phase_id} lasts {self.span.duration_us} µs, expected >= {MIN_PHASE_US}")
        side = vocab.SIDED_TRACK.get(self.track)
        if side is not None and self.laterality != side:
            raise ValueError(f"track {self.track!r} goes with laterality {side!r}, got {self.laterality!r}")
        _check_kinematics(self.span, self.kinematics)

    @property
    def span(self) -> Span:
        """Span in the clip."""
        return Span(self.start_us, self.end_us)


def _check_kinematics(span: Span, parts: Sequence[KinematicPhase]) -> None:
    for part in parts:
        if part.start_us < span.start_us or part.end_us > span.end_us:
            raise ValueError(f"{part.phase} [{part.start_us}, {part.end_us}) lies outside its phase {span}")
    for a, b in pairwise(parts):
        if b.start_us < a.end_us:
            raise ValueError(f"{b.phase} starts at {b.start_us} before {a.phase} ends at {a.end_us}")
    letters = "".join(vocab.KINEMATIC_LETTER.get(part.phase, "") for part in parts)
    if letters and not re.match(vocab.KINEMATIC_ORDER, letters):
        raise ValueError(f"kinematic order {[part.phase for part in parts]} breaks the rule {vocab.KINEMATIC_ORDER}")


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class UnknownSpan:
    """A span of a track without knowledge: a reviewer rejected the phase, or a movement has no phase."""

    track: Annotated[vocab.Track, "body part"]
    start_us: Annotated[Us, "start in the clip"]
    end_us: Annotated[Us, "end in the clip, half-open"]

    def __post_init__(self) -> None:
        Span(self.start_us, self.end_us)


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Repair:
    """One change between two layers, similar to an RFC 6902 operation."""

    op: Annotated[Str, "kind of change: clip, snap, drop, merge, set, ..."]
    path: Annotated[Str, "path of the changed field, e.g. 'phases/2/end_us'"]
    before: Annotated[Str | None, "value before, as text"] = None
    after: Annotated[Str | None, "value after, as text"] = None
    reason: Annotated[Str, "why"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Scores:
    """Audit scores, each 0..1."""

    overall: Annotated[Share | None, "overall score from those below"] = None
    consistency: Annotated[Share | None, "agreement of the K samples"] = None
    motion: Annotated[Share | None, "grounding in measured motion"] = None
    speech: Annotated[Share | None, "relation to speech"] = None
    text: Annotated[Share | None, "quality of the wording"] = None


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Annotation:
    """One sample's annotation of one clip in one layer. A layer never overwrites another: it names its parents."""

    TAG: ClassVar[str] = "annotation"
    annotation_id: Annotated[Id, "hash of the content (annotation_id)"]
    vocab_version: Annotated[Str, "version of the word lists"]
    clip_id: Annotated[Id, "clip it describes"]
    media_sha256: Annotated[Sha256 | None, "media file that was annotated; null for ground truth"] = None
    layer: Annotated[vocab.Layer, "raw, normalised, consensus, human, accepted gold (truth), imported"]
    parent_ids: Annotated[
        tuple[Str, ...],
        "annotations it was derived from; none for raw and ground truth; for imported only if the file names them",
    ] = ()
    run_id: Annotated[Id, "run that produced it (table runs)"]
    sample_index: Annotated[Int16 | None, Field(ge=0), "index among K samples; raw and normalised only"] = None
    seed: Annotated[Int64 | None, "seed of the sample"] = None
    status: Annotated[vocab.ResponseStatus, "outcome of the response"]
    duration_us: Annotated[Us, Field(gt=0), "length of the clip"]
    base: Annotated[
        Base | None,
        "description of the whole clip; present if status is ok, except for a raw response that is plain text",
    ] = None
    phases: Annotated[tuple[Phase, ...], "sorted by start, end, track; empty = no visible action"] = ()
    unknown: Annotated[
        tuple[UnknownSpan, ...],
        "spans where a reviewer rejected a phase, or a movement was measured without one; not known to be still",
    ] = ()
    raw_text: Annotated[Str | None, "the response verbatim; raw layer only"] = None
    raw_sha256: Annotated[Sha256 | None, "hash of the response"] = None
    model_input: Annotated[ModelInput | None, "input the model received"] = None
    repairs: Annotated[tuple[Repair, ...], "changes against the parent; empty = unchanged"] = ()
    usage: Annotated[Usage | None, "cost of the response"] = None
    scores: Annotated[Scores | None, "audit's scores"] = None

    def __post_init__(self) -> None:
        if self.status == "ok" and self.base is None and self.layer != "raw":
            raise ValueError("status 'ok' needs a base block")
        if self.layer not in ("raw", "gold", "imported") and not self.parent_ids:
            raise ValueError(f"layer {self.layer!r} must name its parents")
        if self.sample_index is not None and self.layer not in ("raw", "normalised"):
            raise ValueError(f"layer {self.layer!r} has no sample index")
        _check_phases(self.phases, self.duration_us)


def _check_phases(phases: Sequence[Phase], duration_us: int) -> None:
    keys = [(p.start_us, p.end_us, p.track) for p in phases]
    if keys != sorted(keys):
        raise ValueError("phases must be sorted by start, end and track")
    if len({p.phase_id for p in phases}) != len(phases):
        raise ValueError("phase ids must be unique within an annotation")
    ends: dict[str, Phase] = {}
    for phase in phases:
        if phase.end_us > duration_us + HALF_FRAME_US:
            raise ValueError(f"phase {phase.phase_id} ends at {phase.end_us}, the clip at {duration_us}")
        before = ends.get(phase.track)
        if before is not None and phase.start_us < before.end_us:
            raise ValueError(f"phases {before.phase_id} and {phase.phase_id} overlap on track {phase.track!r}")
        ends[phase.track] = phase


def sorted_phases(phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Phases in the order that the contract requires."""
    return tuple(sorted(phases, key=lambda p: (p.start_us, p.end_us, p.track)))


def annotation_id(
    *,
    clip_id: str,
    layer: vocab.Layer,
    run_id: str,
    sample_index: int | None,
    base: Base | None,
    phases: Sequence[Phase],
    raw_text: str | None = None,
) -> str:
    """Id of an annotation: a hash of content, clip, layer and run."""
    content = [_BASE.dump_python(base), _PHASES.dump_python(tuple(phases))]
    return "ann_" + ids.content_key(clip_id, layer, run_id, sample_index, content, raw_text)[:20]


_BASE: TypeAdapter[Base | None] = TypeAdapter(Base | None)
_PHASES: TypeAdapter[tuple[Phase, ...]] = TypeAdapter(tuple[Phase, ...])


Instant = Annotated[AwareDatetime, pa.timestamp("us", tz="UTC")]
Operation = Literal["accept", "reject", "edit", "split", "merge", "new", "delete", "flip_side", "dispute", "undo"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class EvidenceValue:
    """One number that supports a finding."""

    name: Annotated[Str, "name of the quantity, with its unit"]
    value: Annotated[Float, "the number"]


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Finding:
    """One check that did not pass, with its evidence."""

    finding_id: Annotated[Id, "derived from check, annotation and place"]
    run_id: Annotated[Id, "audit run"]
    check: Annotated[Id, "id of the check, e.g. 'G4'"]
    severity: Annotated[vocab.Severity, "severity"]
    annotation_id: Annotated[Id | None, "annotation concerned; null for a finding about a whole layer"] = None
    clip_id: Annotated[Id | None, "clip"] = None
    phase_id: Annotated[Id | None, "phase"] = None
    track: Annotated[vocab.Track | None, "track concerned, if any"] = None
    start_us: Annotated[Us | None, "start in the clip"] = None
    end_us: Annotated[Us | None, "end in the clip, half-open"] = None
    message: Annotated[Str, "expected and measured state"]
    evidence: Annotated[tuple[EvidenceValue, ...], "measured numbers and the limit"] = ()


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class Review:
    """One operation of a reviewer. Never changed or removed; undo is an operation too."""

    review_id: Annotated[Id, "derived from reviewer, time and operation"]
    annotation_id: Annotated[Id, "annotation under review"]
    clip_id: Annotated[Id, "clip"]
    operation: Annotated[Operation, "kind of operation"]
    phase_ids: Annotated[tuple[Str, ...], "phases concerned; several for a merge, none for the whole clip"] = ()
    after: Annotated[tuple[Phase, ...], "these phases afterwards; none for accept, reject and delete"] = ()
    before_sha256: Annotated[Sha256, "hash of the annotation as the reviewer saw it; a mismatch is a conflict"]
    undoes: Annotated[Id | None, "review that is undone; undo only"] = None
    finding: Annotated[
        Finding | None, "finding that the reviewer rejects because the annotation is right; dispute only"
    ] = None
    reviewer: Annotated[Str, "name of the reviewer"]
    at: Annotated[Instant, "when, UTC"]
    note: Annotated[Str | None, "remark"] = None

    def __post_init__(self) -> None:
        if (self.operation == "undo") != (self.undoes is not None):
            raise ValueError("an undo, and nothing else, names the review it takes back")
        if (self.operation == "dispute") != (self.finding is not None):
            raise ValueError("a dispute, and nothing else, names the finding that is wrong")
        if not isinstance(self.at, datetime) or self.at.utcoffset() is None:
            raise ValueError("a review needs a time with a zone")
