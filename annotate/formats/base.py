"""Sheet: what one voice says of one clip, in plain words. Every format writes sheets and reads sheets.

A voice is one layer, or one annotator of a file from elsewhere. Where a layer has several annotations of a clip
(samples of a model) the second is the voice `raw#2`, so that events of one voice and track never overlap.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, fields
from dataclasses import field as default

from xsheet.annotate.formats import vocabulary
from xsheet.annotate.formats.loss import Loss, Tally
from xsheet.schemas.annotation import Annotation, Base, Phase
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ContractError
from xsheet.schemas.vocab import VOCAB_VERSION

ATTRIBUTES = (
    "text", "text_short", "action_raw", "laterality", "kind", "body_parts", "amplitude", "speed", "repetitions",
    "gesture_function", "visibility", "confidence",
)  # fmt: skip
LISTS = ("body_parts", "gesture_function")  # words with spaces between them
BASE = tuple(one.name for one in fields(Base))
# A format names what it carries in the contract's words; times and classes have a place in all of them.
WHOLE = frozenset(
    {"annotation_id", "layer", "base", "phases.phase_id", "phases.track", "phases.kinematics"}
    | {f"phases.{name}" for name in ATTRIBUTES}
)
NO_PLACE = "the format has no place for it"
_KNOWN = {"clip_id", "duration_us", "phases"}
_ASSUMED = {"status": "ok", "vocab_version": VOCAB_VERSION}


@dataclass(frozen=True, slots=True)
class Export:
    """Files by name, and what they could not hold."""

    files: Mapping[str, str]
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a gesture, in µs of the clip."""

    label: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One labelled stretch, in µs of the clip; `attributes` are further fields of a phase, as text."""

    tier: str  # a track, or whatever the file calls it
    label: str  # a class of action, or whatever the file calls it
    start_us: int
    end_us: int
    phase_id: str | None = None
    attributes: Mapping[str, str] = default(default_factory=dict)
    kinematics: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What one voice says of one clip; no events = looked, saw nothing."""

    clip_id: str
    voice: str = ""
    run_id: str | None = None
    annotation_id: str | None = None
    base: Mapping[str, str] = default(default_factory=dict)
    events: tuple[Event, ...] = ()


def by_id(clips: Iterable[Clip]) -> dict[str, Clip]:
    """Clips by their id."""
    return {clip.clip_id: clip for clip in clips}


def sheets_of(
    annotations: Iterable[Annotation], clips: Mapping[str, Clip], *, carries: Set[str], tally: Tally
) -> dict[str, list[Sheet]]:
    """The sheets of every clip, in the order of the annotations; what is not in `carries` is counted as lost.

    Raises:
        ContractError: an annotation of a clip that is not among the clips.
    """
    found: dict[str, list[Sheet]] = {}
    for one in annotations:
        clip = clips.get(one.clip_id)
        if clip is None:
            raise ContractError(
                where=f"annotation {one.annotation_id}",
                expected="an annotation of one of the clips",
                came=f"clip {one.clip_id!r}",
                todo="export the layer with the clips of its own set",
            )
        _count(one, clip, carries, tally)
        beside = found.setdefault(one.clip_id, [])
        nth = 1 + sum(sheet.voice.partition("#")[0] == one.layer for sheet in beside)
        beside.append(_sheet(one, voice=one.layer if nth == 1 else f"{one.layer}#{nth}", carries=carries, tally=tally))
    return found


def _sheet(one: Annotation, *, voice: str, carries: Set[str], tally: Tally) -> Sheet:
    said = one.base if "base" in carries else None
    base = _texts(said, BASE, field="base", where=one.clip_id, tally=tally) if said is not None else {}
    return Sheet(
        clip_id=one.clip_id,
        voice=voice,
        run_id=one.run_id,
        annotation_id=one.annotation_id,
        base=base,
        events=tuple(_event(phase, one.clip_id, carries, tally) for phase in one.phases),
    )


def _event(phase: Phase, clip_id: str, carries: Set[str], tally: Tally) -> Event:
    names = [name for name in ATTRIBUTES if f"phases.{name}" in carries]
    return Event(
        tier=phase.track,
        label=phase.action,
        start_us=phase.start_us,
        end_us=phase.end_us,
        phase_id=phase.phase_id,
        attributes=_texts(phase, names, field="phases", where=f"{clip_id}/{phase.phase_id}", tally=tally),
        kinematics=tuple(Part(part.phase, part.start_us, part.end_us) for part in phase.kinematics),
    )


def _texts(record: Base | Phase, names: Iterable[str], *, field: str, where: str, tally: Tally) -> dict[str, str]:
    texts = {}
    for name in names:
        value = getattr(record, name)
        if value == "":
            tally.add(f"{field}.{name}", "an empty text reads as none", where)
        elif value not in (None, ()):
            texts[name] = " ".join(value) if name in LISTS else str(value)
    return texts


# ---- what is not carried


def _count(one: Annotation, clip: Clip, carries: Set[str], tally: Tally) -> None:
    if one.duration_us != clip.duration_us:
        tally.add("duration_us", "an import has the clip's", f"{one.clip_id}: {one.duration_us}")
    for name, value in _values(one):
        if name not in carries | _KNOWN and value != _ASSUMED.get(name):
            tally.add(name, NO_PLACE, f"{one.clip_id}: {value}")
    for phase in one.phases:
        assumed = vocabulary.assumed("", phase.track, phase.action)
        taken = {"track": phase.track, "action": phase.action, "origin": "import", **assumed}
        for name, value in _values(phase):
            if f"phases.{name}" not in carries and name not in ("start_us", "end_us") and value != taken.get(name):
                why = "an import is its own origin" if name == "origin" else NO_PLACE
                tally.add(f"phases.{name}", why, f"{one.clip_id}/{phase.phase_id}: {value}")


def _values(record: Annotation | Phase) -> Iterator[tuple[str, object]]:
    for one in fields(record):
        value = getattr(record, one.name)
        if value not in (None, ()):
            yield one.name, value
