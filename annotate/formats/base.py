"""Annotation sheet: one annotator's events of one clip as plain text. Every format writes and reads sheets.

An annotator is one layer, or one person or tool of an imported file. If a layer has several annotations of a clip
(samples of a model), the second becomes the annotator `raw#2`, so events of one annotator and track never overlap.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, fields
from dataclasses import field as default

from xsheet.annotate.formats import vocabulary
from xsheet.schemas.annotation import Annotation, Base, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ContractError
from xsheet.schemas.vocab import VOCAB_VERSION

MAX_EXAMPLE_CHARS = 160
MAX_KINDS = 500  # field names may come from a file: a million columns are reported in one line


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionLoss:
    """One field that a conversion dropped or changed: the reason, the number of times, and the first case."""

    field: str  # as in the contract, e.g. 'phases.evidence'; else 'file', 'column', ...
    reason: str
    count: int
    example: str


class LossTally:
    """Counts the losses of a conversion."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], ConversionLoss] = {}

    def add(self, field: str, reason: str, example: object, *, count: int = 1) -> None:
        """Count a loss; only the first example of a field and reason is kept."""
        before = self._found.get((field, reason))
        if before is None:
            if len(self._found) >= MAX_KINDS and field != "more":
                self.add("more", f"losses beyond {MAX_KINDS} kinds", f"{field}: {example}", count=count)
                return
            # One line of printable characters, since it may be printed to a terminal.
            line = " ".join(str(example).split())[:MAX_EXAMPLE_CHARS]
            shown = "".join(c if c.isprintable() else "\ufffd" for c in line)
            self._found[field, reason] = ConversionLoss(field=field, reason=reason, count=count, example=shown)
        else:
            self._found[field, reason] = ConversionLoss(
                field=field, reason=reason, count=before.count + count, example=before.example
            )

    def losses(self) -> tuple[ConversionLoss, ...]:
        """All losses, sorted by field and reason."""
        return tuple(self._found[key] for key in sorted(self._found))


PHASE_FIELDS = (
    "text", "text_short", "action_raw", "laterality", "kind", "body_parts", "amplitude", "speed", "repetitions",
    "gesture_function", "visibility", "confidence",
)  # fmt: skip
LIST_FIELDS = ("body_parts", "gesture_function")  # words separated by spaces
BASE_FIELDS = tuple(one.name for one in fields(Base))
# A format lists the contract fields that it can hold; every format holds times and classes.
ALL_FIELDS = frozenset(
    {"annotation_id", "layer", "base", "phases.phase_id", "phases.track", "phases.kinematics"}
    | {f"phases.{name}" for name in PHASE_FIELDS}
)
NO_FIELD = "the format has no field for it"
_IMPLIED_FIELDS = {"clip_id", "duration_us", "phases"}
_DEFAULT_VALUES = {"status": "ok", "vocab_version": VOCAB_VERSION}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Files by name, and the losses of the export."""

    files: Mapping[str, str]
    losses: tuple[ConversionLoss, ...]


@dataclass(frozen=True, slots=True)
class GesturePart:
    """One kinematic part of a gesture, in µs from the start of the clip."""

    label: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetEvent:
    """One labelled interval, in µs from the start of the clip; `attributes` are further fields of a phase, as text."""

    tier: str  # a track, or the tier name of the file
    label: str  # an action class, or the label of the file
    start_us: int
    end_us: int
    phase_id: str | None = None
    attributes: Mapping[str, str] = default(default_factory=dict)
    kinematics: tuple[GesturePart, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationSheet:
    """One annotator's events of one clip; no events means that the annotator found none."""

    clip_id: str
    annotator_id: str = ""
    run_id: str | None = None
    annotation_id: str | None = None
    base: Mapping[str, str] = default(default_factory=dict)
    events: tuple[SheetEvent, ...] = ()


def clips_by_id(clips: Iterable[Clip]) -> dict[str, Clip]:
    """Clips by their id."""
    return {clip.clip_id: clip for clip in clips}


def sheets_by_clip(
    annotations: Iterable[Annotation], clips: Mapping[str, Clip], *, carried_fields: Set[str], tally: LossTally
) -> dict[str, list[AnnotationSheet]]:
    """The sheets of every clip, in the order of the annotations; fields outside `carried_fields` are counted as lost.

    Raises:
        ContractError: an annotation of a clip that is not among the clips.
    """
    found: dict[str, list[AnnotationSheet]] = {}
    for one in annotations:
        clip = clips.get(one.clip_id)
        if clip is None:
            raise ContractError(
                where=f"annotation {one.annotation_id}",
                expected="an annotation of one of the clips",
                got=f"clip {one.clip_id!r}",
                hint="export the layer with the clips of its own set",
            )
        _count_losses(one, clip, carried_fields, tally)
        beside = found.setdefault(one.clip_id, [])
        nth = 1 + sum(sheet.annotator_id.partition("#")[0] == one.layer for sheet in beside)
        beside.append(
            _sheet(
                one,
                annotator_id=one.layer if nth == 1 else f"{one.layer}#{nth}",
                carried_fields=carried_fields,
                tally=tally,
            )
        )
    return found


def _sheet(annotation: Annotation, *, annotator_id: str, carried_fields: Set[str], tally: LossTally) -> AnnotationSheet:
    source_base = annotation.base if "base" in carried_fields else None
    base = (
        _texts(source_base, BASE_FIELDS, field="base", where=annotation.clip_id, tally=tally)
        if source_base is not None
        else {}
    )
    return AnnotationSheet(
        clip_id=annotation.clip_id,
        annotator_id=annotator_id,
        run_id=annotation.run_id,
        annotation_id=annotation.annotation_id,
        base=base,
        events=tuple(_event(phase, annotation.clip_id, carried_fields, tally) for phase in annotation.phases),
    )


def _event(phase: Phase, clip_id: str, carried_fields: Set[str], tally: LossTally) -> SheetEvent:
    names = [name for name in PHASE_FIELDS if f"phases.{name}" in carried_fields]
    return SheetEvent(
        tier=phase.track,
        label=phase.action,
        start_us=phase.start_us,
        end_us=phase.end_us,
        phase_id=phase.phase_id,
        attributes=_texts(phase, names, field="phases", where=f"{clip_id}/{phase.phase_id}", tally=tally),
        kinematics=tuple(GesturePart(part.phase, part.start_us, part.end_us) for part in phase.kinematics),
    )


def _texts(record: Base | Phase, names: Iterable[str], *, field: str, where: str, tally: LossTally) -> dict[str, str]:
    texts = {}
    for name in names:
        value = getattr(record, name)
        if value == "":
            tally.add(f"{field}.{name}", "an empty text is read back as absent", where)
        elif value not in (None, ()):
            texts[name] = " ".join(value) if name in LIST_FIELDS else str(value)
    return texts


# ---- fields that the format cannot hold


def _count_losses(annotation: Annotation, clip: Clip, carried_fields: Set[str], tally: LossTally) -> None:
    if annotation.duration_us != clip.duration_us:
        tally.add(
            "duration_us", "an import uses the duration of the clip", f"{annotation.clip_id}: {annotation.duration_us}"
        )
    for name, value in _non_empty_fields(annotation):
        if name not in carried_fields | _IMPLIED_FIELDS and value != _DEFAULT_VALUES.get(name):
            tally.add(name, NO_FIELD, f"{annotation.clip_id}: {value}")
    for phase in annotation.phases:
        assumed = vocabulary.default_fields("", phase.track, phase.action)
        taken = {"track": phase.track, "action": phase.action, "origin": "import", **assumed}
        for name, value in _non_empty_fields(phase):
            if (
                f"phases.{name}" not in carried_fields
                and name not in ("start_us", "end_us")
                and value != taken.get(name)
            ):
                why = "an imported phase has the origin 'import'" if name == "origin" else NO_FIELD
                tally.add(f"phases.{name}", why, f"{annotation.clip_id}/{phase.phase_id}: {value}")


def _non_empty_fields(record: Annotation | Phase) -> Iterator[tuple[str, object]]:
    for one in fields(record):
        value = getattr(record, one.name)
        if value not in (None, ()):
            yield one.name, value
