"""ELAN: one EAF 3.0 file per clip, read back from 2.7 to 3.0. Times are whole milliseconds.

    head@consensus               a tier per track and annotator; values are classes (controlled vocabulary)
    head@consensus/text, ...     further fields of a phase, one tier per field (Symbolic_Association)
    head@consensus/kinematics    parts of gestures (Included_In)
    base@consensus, .../scene    the base block over the whole clip

Phase and annotation ids are PROPERTY elements of the header. elan_reader.py reads the files of any tool.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import get_args
from urllib.parse import quote
from xml.etree import ElementTree as ET

from xsheet.annotate.formats.base import (
    ALL_FIELDS,
    BASE_FIELDS,
    PHASE_FIELDS,
    AnnotationSheet,
    ExportResult,
    GesturePart,
    LossTally,
    SheetEvent,
    clips_by_id,
    sheets_by_clip,
)
from xsheet.annotate.formats.elan_reader import BASE_TIER, KINEMATICS_TIER, EafDocument, xml_text
from xsheet.annotate.formats.files import ClipIndex, parse_files
from xsheet.annotate.formats.imported import NO_BASES, ImportResult, import_sheets
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base
from xsheet.schemas.clip import Clip
from xsheet.schemas.source import SourceVideo

EAF_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
UNDETERMINED = "http://cdb.iso.org/lg/CDB-00130975-001"
VOCABULARIES: Mapping[str, tuple[str, ...]] = {
    "action": vocab.ACTIONS,
    KINEMATICS_TIER: get_args(vocab.Kinematic),
    "laterality": get_args(vocab.Laterality),
    "kind": get_args(vocab.PhaseKind),
    "framing": get_args(vocab.Framing),
    "camera": get_args(vocab.Camera),
    "speaking": get_args(vocab.Speaking),
}
STEREOTYPES = {
    "Time_Subdivision": "Time subdivision of parent annotation's time interval, no time gaps allowed within it",
    "Symbolic_Subdivision": "Symbolic subdivision of a parent annotation, without times of its own",
    "Symbolic_Association": "1-1 association with a parent annotation",
    "Included_In": "Time alignable annotations within the parent annotation's time interval, gaps are allowed",
}
NO_DATE = "1970-01-01T00:00:00+00:00"  # EAF requires a date; a fixed one keeps repeated exports byte-identical


def export(
    annotations: Iterable[Annotation],
    clips: Iterable[Clip],
    *,
    made_by: Mapping[str, str] | None = None,
    media_prefix: str = "",
) -> ExportResult:
    """One file `<clip_id>.eaf` per clip that has annotations.

    Args:
        annotations: of one layer or of several, which become tiers side by side.
        clips: the clips that the annotations may belong to.
        made_by: name of the model or reviewer by run id (`LayerRun.made_by`), for ELAN's ANNOTATOR.
        media_prefix: relative path from the folder of the files to the set, e.g. '../'; the media URL is relative.

    Raises:
        ContractError: an annotation belongs to a clip that is not given.
    """
    tally, known = LossTally(), clips_by_id(clips)
    files = {
        f"{clip_id}.eaf": _document(known[clip_id], sheets, made_by or {}, media_prefix, tally)
        for clip_id, sheets in sheets_by_clip(annotations, known, carried_fields=ALL_FIELDS, tally=tally).items()
    }
    return ExportResult(files, tally.losses())


def read(
    files: Mapping[str, str],
    clips: Iterable[Clip],
    *,
    bases: Mapping[str, Base] = NO_BASES,
    recordings: Iterable[SourceVideo] = (),
) -> ImportResult:
    """Annotations of EAF files written by xsheet, people or other tools.

    A file is matched to its clip by the xsheet property, by the name of its media, or by its own name.

    Raises:
        ContractError: no file can be read (not EAF, another version or time unit, a DOCTYPE).
    """
    tally, known = LossTally(), ClipIndex(clips, recordings)

    def sheets(name: str, text: str) -> Iterator[AnnotationSheet]:
        document = EafDocument(name, text, tally)
        clip = known.find([document.properties.get("clip_id"), *document.origins_ms], file=name)
        if clip is None:
            tally.add(
                "file", "the set has no clip of that name", f"{name}: {', '.join(document.origins_ms) or 'no media'}"
            )
            return
        about = next((url for url in document.origins_ms if known.find([url], file="") is clip), None)
        yield from document.sheets(clip.clip_id, media=about)

    return import_sheets(
        parse_files(files, sheets, tally), known, format_name="eaf", files=files, bases=bases, tally=tally
    )


# ---- writing


def _document(
    clip: Clip, sheets: list[AnnotationSheet], made_by: Mapping[str, str], media_prefix: str, tally: LossTally
) -> str:
    root = ET.Element("ANNOTATION_DOCUMENT", {
        "AUTHOR": "xsheet", "DATE": NO_DATE, "FORMAT": "3.0", "VERSION": "3.0",
        "xmlns:xsi": XSI, "xsi:noNamespaceSchemaLocation": EAF_SCHEMA,
    })  # fmt: skip
    header = ET.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    url = media_prefix + quote(clip.media_path)
    ET.SubElement(header, "MEDIA_DESCRIPTOR", {"MEDIA_URL": url, "MIME_TYPE": "video/mp4", "RELATIVE_MEDIA_URL": url})
    order = ET.SubElement(root, "TIME_ORDER")
    write = _EafWriter(root, header, clip, tally)
    write.property("clip_id", clip.clip_id)
    for sheet in sheets:
        write.sheet(sheet, annotator=made_by.get(sheet.run_id or "", ""))
    write.property("lastUsedAnnotationId", str(write.annotations), ours=False)
    write.times(order)
    _write_types(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


class _EafWriter:
    """Builds the tiers of one document and assigns their ids."""

    def __init__(self, root: ET.Element, header: ET.Element, clip: Clip, tally: LossTally) -> None:
        self.annotations = 0
        self._find, self._header, self._clip, self._tally = root, header, clip, tally
        self._tiers: dict[str, ET.Element] = {}
        self._time_slots: list[tuple[int, ET.Element, str]] = []  # time in ms, annotation, attribute

    def sheet(self, sheet: AnnotationSheet, *, annotator: str) -> None:
        """All tiers of one annotator."""
        if sheet.annotation_id is not None:
            self.property(f"annotation_id:{sheet.annotator_id}", sheet.annotation_id)
        if sheet.base:
            whole = SheetEvent(tier=BASE_TIER, label=sheet.base["text"], start_us=0, end_us=self._clip.duration_us)
            self._event(
                whole, sheet.annotator_id, annotator, {n: sheet.base[n] for n in BASE_FIELDS[1:] if n in sheet.base}
            )
        for event in sheet.events:
            self._event(event, sheet.annotator_id, annotator, event.attributes)

    def _event(self, event: SheetEvent, annotator_id: str, annotator: str, fields: Mapping[str, str]) -> None:
        tier = f"{event.tier}@{annotator_id}"
        of_base = event.tier == BASE_TIER
        own = self._aligned(
            self._tier(tier, "base" if of_base else "action", annotator),
            event,
            field="base.text" if of_base else "phases",
        )
        if event.phase_id is not None:
            self.property(f"phase_id:{own}", event.phase_id)
        for name, text in fields.items():
            child = self._tier(f"{tier}/{name}", name, annotator, parent=tier)
            field = f"base.{name}" if of_base else f"phases.{name}"
            self._value(child, ("REF_ANNOTATION", {"ANNOTATION_REF": own}), text, field=field)
        for part in event.kinematics:
            if _ms(part.start_us) == _ms(part.end_us):
                self._tally.add("phases.kinematics", "shorter than a millisecond", f"{self._clip.clip_id}: {part}")
                continue
            parts = self._tier(f"{tier}/{KINEMATICS_TIER}", KINEMATICS_TIER, annotator, parent=tier)
            self._aligned(parts, part, field="phases.kinematics")

    def _tier(self, name: str, kind: str, annotator: str, *, parent: str | None = None) -> ET.Element:
        if name not in self._tiers:
            attributes = {"LINGUISTIC_TYPE_REF": kind, "TIER_ID": name}
            attributes |= {"ANNOTATOR": xml_text(annotator)} if annotator else {}
            attributes |= {"PARENT_REF": parent} if parent is not None else {}
            self._tiers[name] = ET.SubElement(self._find, "TIER", attributes)
        return self._tiers[name]

    def _aligned(self, tier: ET.Element, timed: SheetEvent | GesturePart, *, field: str) -> str:
        annotation = self._value(tier, ("ALIGNABLE_ANNOTATION", {}), timed.label, field=field)
        for attribute, name, us in (
            ("TIME_SLOT_REF1", "start_us", timed.start_us),
            ("TIME_SLOT_REF2", "end_us", timed.end_us),
        ):
            self._time_slots.append((_ms(us), annotation, attribute))
            if us % 1000:
                where = f"{self._clip.clip_id}: {us} µs as {_ms(us)} ms"
                self._tally.add(f"phases.{name}" if field == "phases" else field, "rounded to milliseconds", where)
        return annotation.attrib["ANNOTATION_ID"]

    def _value(self, tier: ET.Element, kind: tuple[str, dict[str, str]], text: str, *, field: str) -> ET.Element:
        self.annotations += 1
        name, attributes = kind
        annotation = ET.SubElement(
            ET.SubElement(tier, "ANNOTATION"), name, {"ANNOTATION_ID": f"a{self.annotations}", **attributes}
        )
        legal = xml_text(text)
        if legal != text:
            self._tally.add(field, "XML does not allow some of its characters", f"{self._clip.clip_id}: {text!r}")
        ET.SubElement(annotation, "ANNOTATION_VALUE").text = legal
        return annotation

    def property(self, name: str, value: str, *, ours: bool = True) -> None:
        """One property of the header."""
        ET.SubElement(self._header, "PROPERTY", {"NAME": f"xsheet.{name}" if ours else name}).text = value

    def times(self, order: ET.Element) -> None:
        """Time slots in order of time; every aligned annotation has two of its own, as in files that ELAN writes."""
        for number, (ms, annotation, attribute) in enumerate(
            sorted(self._time_slots, key=lambda slot: slot[0]), start=1
        ):
            ET.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": f"ts{number}", "TIME_VALUE": str(ms)})
            annotation.set(attribute, f"ts{number}")


def _write_types(root: ET.Element) -> None:
    """Linguistic types, language, constraints and vocabularies, in the order of the EAF_SCHEMA schema."""
    constraints = {"action": None, "base": None, KINEMATICS_TIER: "Included_In"}
    constraints |= dict.fromkeys((*PHASE_FIELDS, *BASE_FIELDS[1:]), "Symbolic_Association")
    for name, constraint in constraints.items():
        aligned = str(constraint != "Symbolic_Association").lower()
        kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": name, "TIME_ALIGNABLE": aligned}
        kind |= {"CONSTRAINTS": constraint} if constraint is not None else {}
        kind |= {"CONTROLLED_VOCABULARY_REF": name} if name in VOCABULARIES else {}
        ET.SubElement(root, "LINGUISTIC_TYPE", kind)
    ET.SubElement(root, "LANGUAGE", {"LANG_DEF": UNDETERMINED, "LANG_ID": "und", "LANG_LABEL": "undetermined (und)"})
    for stereotype, description in STEREOTYPES.items():
        ET.SubElement(root, "CONSTRAINT", {"DESCRIPTION": description, "STEREOTYPE": stereotype})
    for name, entries in VOCABULARIES.items():
        vocabulary = ET.SubElement(root, "CONTROLLED_VOCABULARY", {"CV_ID": name})
        ET.SubElement(vocabulary, "DESCRIPTION", {"LANG_REF": "und"})
        for entry in entries:
            held = ET.SubElement(vocabulary, "CV_ENTRY_ML", {"CVE_ID": f"{name}.{entry}"})
            ET.SubElement(held, "CVE_VALUE", {"DESCRIPTION": "", "LANG_REF": "und"}).text = entry


def _ms(us: int) -> int:
    return (us + 500) // 1000
