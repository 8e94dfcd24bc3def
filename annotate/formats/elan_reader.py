"""Read an EAF document of any tool, version 2.7 to 3.0, into sheets.

A tier `TRACK@ANNOTATOR` states both; with an attribute ANNOTATOR of another name the annotator is ATTRIBUTE.ANNOTATOR.
For any other tier the name gives the track (vocabulary.track_of) and its attribute ANNOTATOR the annotator. A symbolic
child adds its value to its parent, in the order of PREVIOUS_ANNOTATION: as the field named at the end of the child's
tier name (`.../text`), else in parentheses after the text. Aligned children with kinematic labels become the parts of
their parent's gesture. Times are shifted by the TIME_ORIGIN of the media: ELAN's time 0 is that far into the video.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from xml.etree import ElementTree as ET

from xsheet.annotate.formats import vocabulary
from xsheet.annotate.formats.base import BASE_FIELDS, PHASE_FIELDS, AnnotationSheet, GesturePart, LossTally, SheetEvent
from xsheet.annotate.formats.files import MAX_DEPTH, file_error, parse_xml

BASE_TIER, KINEMATICS_TIER = "base", "kinematics"
_FIELDS = frozenset((*PHASE_FIELDS, *BASE_FIELDS))
_ANNOTATION_ID_PREFIX = "annotation_id:"
EAF_VERSIONS = ((2, 7), (3, 0))
_ILLEGAL = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0; and CR, which parsers change


def xml_text(text: str) -> str:
    """Text as XML can hold it: other characters as U+FFFD, line ends as one line feed."""
    return _ILLEGAL.sub("\ufffd", re.sub(r"\r\n?", "\n", text))


@dataclass(slots=True)
class _AlignedAnnotation:
    """One aligned annotation with the values of its children."""

    tier: ET.Element
    annotation_id: str
    value: str
    phase_id: str | None
    start_us: int
    end_us: int
    fields: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    parts: list[GesturePart] = field(default_factory=list)


class EafDocument:
    """One EAF file.

    Raises:
        ContractError: not an EAF document of a known version with times in milliseconds.
    """

    def __init__(self, name: str, text: str, tally: LossTally) -> None:
        self._name, self._tally = name, tally
        self._find = parse_xml(name, text)
        version = self._find.get("FORMAT") or self._find.get("VERSION") or ""
        if self._find.tag != "ANNOTATION_DOCUMENT" or not EAF_VERSIONS[0] <= _version(version) <= EAF_VERSIONS[1]:
            got = f"{self._find.tag} {version}"
            raise file_error(
                name, "an EAF document of version 2.7 to 3.0", got, "save it with a current version of ELAN"
            )
        header = self._find.find("HEADER")
        units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
        if units != "milliseconds":
            raise file_error(name, "times in milliseconds", units, "save it with a current version of ELAN")
        self.origins_ms = {
            url: _milliseconds(one.get("TIME_ORIGIN")) or 0
            for one in self._find.iterfind("HEADER/MEDIA_DESCRIPTOR")
            for key in ("RELATIVE_MEDIA_URL", "MEDIA_URL")
            if (url := one.get(key))
        }
        self.properties = {
            one.get("NAME", "").removeprefix("xsheet."): one.text or ""
            for one in self._find.iterfind("HEADER/PROPERTY")
            if one.get("NAME", "").startswith("xsheet.")
        }

    def sheets(self, clip_id: str, *, media: str | None) -> Iterator[AnnotationSheet]:
        """One sheet per annotator; `media` is the key of `origins_ms` that shows the clip, by default the first."""
        first = next(iter(self.origins_ms.values()), 0)
        shift_ms = first if media is None else self.origins_ms[media]
        events: dict[str, list[SheetEvent]] = defaultdict(list)
        bases: dict[str, Mapping[str, str]] = {}
        for found in self._annotations(shift_ms):
            track, voice = self._track_and_annotator(found.tier)
            if not found.tier.get("TIER_ID", "").startswith(f"{BASE_TIER}@"):
                events[voice].append(_event(found, track))
            elif voice not in bases:
                self._count_notes(found, "base")
                bases[voice] = {"text": found.value} | {
                    name: found.fields[name] for name in BASE_FIELDS if name in found.fields
                }
            else:
                self._tally.add("base", "a second base block of the same annotator", f"{self._name}: {found.value}")
        annotation_ids = {
            key.removeprefix(_ANNOTATION_ID_PREFIX): value
            for key, value in self.properties.items()
            if key.startswith(_ANNOTATION_ID_PREFIX)
        }
        for voice in dict.fromkeys([*annotation_ids, *bases, *events]) or [""]:
            yield AnnotationSheet(
                clip_id=clip_id,
                annotator_id=voice,
                annotation_id=annotation_ids.get(voice),
                base=bases.get(voice, {}),
                events=tuple(events[voice]),
            )

    def _annotations(self, shift_ms: int) -> list[_AlignedAnnotation]:
        """Aligned annotations with the values of their children, in the order of the document."""
        aligned = self._aligned(shift_ms)
        self._add_children({found.annotation_id: found for found in aligned})
        by_tier: dict[str, list[_AlignedAnnotation]] = defaultdict(list)
        for found in aligned:
            by_tier[found.tier.get("TIER_ID", "")].append(found)
        parts: set[str] = set()
        for name, of_tier in by_tier.items():
            parent = of_tier[0].tier.get("PARENT_REF")
            if parent and (
                name == f"{parent}/{KINEMATICS_TIER}" or all(vocabulary.kinematic_of(one.value) for one in of_tier)
            ):
                self._add_parts(by_tier.get(parent, []), of_tier)
                parts.add(name)
        return [found for name, of_tier in by_tier.items() if name not in parts for found in of_tier]

    def _aligned(self, shift_ms: int) -> list[_AlignedAnnotation]:
        aligned = []
        for tier in self._find.iterfind("TIER"):
            slots = self._slots_of(tier)
            if tier.get("PARTICIPANT"):
                self._tally.add(
                    "tier", "the contract has no field for a participant", f"{self._name}: {tier.get('PARTICIPANT')}"
                )
            for one in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION"):
                start, end = (slots.get(one.get(f"TIME_SLOT_REF{n}", "")) for n in (1, 2))
                own, value = one.get("ANNOTATION_ID", ""), one.findtext("ANNOTATION_VALUE") or ""
                if start is None or end is None:
                    self._tally.add("phases", "no time", f"{self._name}: {own} {value}")
                else:
                    phase_id = self.properties.get(f"phase_id:{own}")
                    start_us, end_us = ((ms + shift_ms) * 1000 for ms in (start, end))
                    aligned.append(_AlignedAnnotation(tier, own, value, phase_id, start_us, end_us))
        return aligned

    def _slots_of(self, tier: ET.Element) -> dict[str, int]:
        """Times in ms for one tier: a chain of annotations without times divides the time between its ends evenly."""
        slots = dict(self._known_slots)
        following = {
            one.get("TIME_SLOT_REF1", ""): one.get("TIME_SLOT_REF2", "")
            for one in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION")
        }
        for first in [slot for slot in following if slot in self._known_slots]:
            chain = {first: None}  # in order; a ring ends it
            slot: str | None = following[first]
            while slot is not None and slot not in slots and slot not in chain:
                chain[slot] = None
                slot = following.get(slot)
            end = slots.get(slot or "")
            if end is None:
                continue
            for at, slot in enumerate(list(chain)[1:], start=1):
                slots[slot] = slots[first] + (end - slots[first]) * at // len(chain)
                self._tally.add("phases.start_us", "no time in the file: spread evenly", f"{self._name}: {slot}")
        for slot in {*following, *following.values()} - slots.keys():
            if slot in self._slots:  # in no chain: between its neighbours in the document
                slots[slot] = self._slots[slot]
                self._tally.add("phases.start_us", "no time in the file: spread evenly", f"{self._name}: {slot}")
        return slots

    @cached_property
    def _known_slots(self) -> dict[str, int]:
        """Slots with a time, in ms."""
        found = (
            (one.get("TIME_SLOT_ID", ""), _milliseconds(one.get("TIME_VALUE"))) for one in self._find.iter("TIME_SLOT")
        )
        return {name: ms for name, ms in found if ms is not None}

    @cached_property
    def _slots(self) -> dict[str, int]:
        """All slots in ms; those without a time are spread evenly between their neighbours in the document."""
        slots = [
            (one.get("TIME_SLOT_ID", ""), _milliseconds(one.get("TIME_VALUE"))) for one in self._find.iter("TIME_SLOT")
        ]
        known = [at for at, (_, ms) in enumerate(slots) if ms is not None]
        for before, after in pairwise(known):
            first, last = slots[before][1] or 0, slots[after][1] or 0
            for at in range(before + 1, after):
                spread = first + (last - first) * (at - before) // (after - before)
                slots[at] = (slots[at][0], spread)
        return {name: ms for name, ms in slots if ms is not None}

    def _add_children(self, aligned: Mapping[str, _AlignedAnnotation]) -> None:
        """Add values without times to the aligned annotation that they refer to, directly or through other values."""
        children = [
            (tier, one)
            for tier in self._find.iterfind("TIER")
            for one in _in_order(tier.findall("ANNOTATION/REF_ANNOTATION"))
        ]
        above = {one.get("ANNOTATION_ID", ""): one.get("ANNOTATION_REF", "") for _, one in children}
        for tier, one in children:
            name, value = tier.get("TIER_ID", ""), one.findtext("ANNOTATION_VALUE") or ""
            owner = one.get("ANNOTATION_REF", "")
            for _ in range(MAX_DEPTH):
                owner = above.get(owner, owner)
            found, attribute = aligned.get(owner), name.rpartition("/")[2]
            if found is None:
                self._tally.add("phases", "refers to no annotation with times", f"{self._name}: {name} {value}")
            elif name == f"{found.tier.get('TIER_ID')}/{attribute}" and attribute in _FIELDS - found.fields.keys():
                found.fields[attribute] = value
            else:
                found.notes.append(f"{name}: {value}")

    def _add_parts(self, parents: Sequence[_AlignedAnnotation], parts: Sequence[_AlignedAnnotation]) -> None:
        parents = sorted(parents, key=lambda one: one.start_us)
        starts = [one.start_us for one in parents]
        for part in sorted(parts, key=lambda one: one.start_us):
            self._count_notes(part, "phases.kinematics")
            at = bisect_right(starts, part.start_us) - 1
            if at >= 0 and part.start_us < parents[at].end_us:
                parents[at].parts.append(GesturePart(part.value, part.start_us, part.end_us))
            else:
                self._tally.add(
                    "phases.kinematics",
                    "lies outside every annotation of its parent",
                    f"{self._name}: {part.annotation_id}",
                )

    def _count_notes(self, aligned: _AlignedAnnotation, field: str) -> None:
        for note in aligned.notes:
            self._tally.add(field, "the contract has no field for this child value", f"{self._name}: {note}")

    def _track_and_annotator(self, tier: ET.Element) -> tuple[str, str]:
        """Track and annotator."""
        name = tier.get("TIER_ID", "")
        track, at, voice = name.rpartition("@")
        coder = tier.get("ANNOTATOR", "")
        if not at:
            return name, coder
        # xsheet writes the producer of a layer as ANNOTATOR beside the layer's name, which alone says whose it is.
        is_ours = _ANNOTATION_ID_PREFIX + voice in self.properties
        return track, f"{coder}.{voice}" if coder not in ("", voice) and not is_ours else voice


def _event(aligned: _AlignedAnnotation, track: str) -> SheetEvent:
    attributes = dict(aligned.fields)
    if aligned.notes:
        attributes["text"] = f"{attributes.get('text') or aligned.value.strip()} ({'; '.join(aligned.notes)})"
    return SheetEvent(
        tier=track,
        label=aligned.value,
        start_us=aligned.start_us,
        end_us=aligned.end_us,
        phase_id=aligned.phase_id,
        attributes=attributes,
        kinematics=tuple(aligned.parts),
    )


def _in_order(children: list[ET.Element]) -> list[ET.Element]:
    """Children of one tier: behind the one that PREVIOUS_ANNOTATION names, else in the order of the document."""
    position = {one.get("ANNOTATION_ID", ""): at for at, one in enumerate(children)}
    followers: dict[str, list[str]] = defaultdict(list)
    for name, at in position.items():
        previous = children[at].get("PREVIOUS_ANNOTATION", "")
        followers[previous if previous in position else ""].append(name)
    ordered, pending = dict[str, None](), list(reversed(followers[""]))
    while pending:
        name = pending.pop()
        if name not in ordered:
            ordered[name] = None
            pending += reversed(followers[name])
    return [children[position[name]] for name in dict.fromkeys((*ordered, *position))]  # a ring follows nothing


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,4}", text)[:2])


def _milliseconds(text: str | None) -> int | None:
    """Milliseconds; None if the text is not a number. Fifteen digits are 30,000 years."""
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,15}", text.strip()) else None
