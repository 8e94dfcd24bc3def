"""Convert sheets to annotations of layer `imported`: per annotator one run and at most one annotation per clip.

Every change is recorded as a repair of the annotation, and everything that is left out is counted as a loss.

Times    a start after the end is swapped, parts outside the clip are cut, phases shorter than 0.12 s are left out.
Overlap  of overlapping events of one annotator and track the later goes to the annotator `NAME#2`, a separate run.
Fields   values that the contract refuses are dropped; text, side and kind then get vocabulary.default_fields.
Base     of the file, else the one that the caller gives; without both the status is `skipped`, because an annotation
         with the status `ok` has a base. Events of which no phase is left: the status is `invalid`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import chain, count
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from xsheet import __version__
from xsheet.annotate.formats.base import AnnotationSheet, ConversionLoss, LossTally
from xsheet.annotate.formats.files import ClipIndex
from xsheet.annotate.formats.phases import PhaseImporter, is_valid_id
from xsheet.annotate.formats.recording import sheets_of_clips
from xsheet.schemas import ids, vocab
from xsheet.schemas.annotation import Annotation, Base, Phase, Repair, annotation_id, sorted_phases
from xsheet.schemas.clip import Clip
from xsheet.schemas.run import Model, Run

MAX_LANES = 16  # overlapping events at one instant; a file with more is an attack or a mistake
MAX_ANNOTATOR_CHARS = 80
NO_BASES: Mapping[str, Base] = MappingProxyType({})
_BASE: TypeAdapter[Base] = TypeAdapter(Base)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLayer:
    """One annotator of the files: a run and its layer, for `schemas.layers.write_layer(SET, run, "imported", ...)`."""

    annotator_id: str
    run: Run
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """All annotators of the files, by name, and the losses of the import."""

    layers: tuple[ImportedLayer, ...]
    losses: tuple[ConversionLoss, ...]


@dataclass(frozen=True, slots=True)
class _ImportedClip:
    clip: Clip
    sheet: AnnotationSheet
    phases: tuple[Phase, ...]
    repairs: tuple[Repair, ...]


def import_sheets(
    sheets: Iterable[AnnotationSheet],
    clips: ClipIndex,
    *,
    format_name: str,
    files: Mapping[str, str],
    bases: Mapping[str, Base],
    tally: LossTally,
) -> ImportResult:
    """Annotations of the sheets.

    Args:
        sheets: the content of the files.
        clips: the clips that they may belong to.
        format_name: part of the name of the runs, e.g. 'eaf'.
        files: the text of the files; the ids of the runs are hashes of it.
        bases: base block by clip, for files that have none.
        tally: losses of reading; the losses of the import are added to it.
    """
    rows: dict[str, list[_ImportedClip]] = defaultdict(list)
    for clip_id, by_annotator in _merge_sheets(_on_clips(sheets, clips, tally)).items():
        for annotator, sheet in by_annotator.items():
            phases = PhaseImporter(sheet, clips.clips_by_id[clip_id], tally)
            lanes = _split_overlaps(list(phases), tally, where=clip_id)
            for name, lane in zip(_lane_names(annotator, by_annotator), lanes, strict=False):
                rows[name].append(_ImportedClip(clips.clips_by_id[clip_id], sheet, lane, tuple(phases.repairs.entries)))
    read = [[name, sha256(text.encode()).hexdigest()] for name, text in sorted(files.items())]
    source = ids.content_key(__version__, format_name, sorted(clips.clips_by_id), read)
    imports = []
    for annotator in sorted(rows):
        run = _run(format_name, annotator, source)
        made = tuple(_annotation(row, run=run, bases=bases, tally=tally) for row in rows[annotator])
        imports.append(ImportedLayer(annotator_id=annotator, run=run, annotations=made))
    return ImportResult(tuple(imports), tally.losses())


def _on_clips(sheets: Iterable[AnnotationSheet], clips: ClipIndex, tally: LossTally) -> Iterator[AnnotationSheet]:
    """Sheets of recordings as sheets of their clips; all others as they are."""
    for sheet in sheets:
        members = clips.clips_by_recording.get(sheet.clip_id)
        if members is None or sheet.clip_id in clips.clips_by_id:
            yield sheet
        else:
            yield from sheets_of_clips(sheet, members, tally)


def _merge_sheets(sheets: Iterable[AnnotationSheet]) -> dict[str, dict[str, AnnotationSheet]]:
    """One sheet per clip and annotator."""
    found: dict[str, dict[str, AnnotationSheet]] = defaultdict(dict)
    for sheet in sheets:
        before = found[sheet.clip_id].get(sheet.annotator_id)
        found[sheet.clip_id][sheet.annotator_id] = (
            sheet if before is None else replace(before, events=before.events + sheet.events)
        )
    return found


def _lane_names(annotator_id: str, used: Iterable[str]) -> Iterator[str]:
    return chain([annotator_id], (name for n in count(2) if (name := f"{annotator_id}#{n}") not in used))


def _split_overlaps(phases: Sequence[Phase], tally: LossTally, *, where: str) -> list[tuple[Phase, ...]]:
    """Phases in as few groups without overlap as possible, most in the first; at least one group."""
    lanes: list[list[Phase]] = [[]]
    ends: list[dict[vocab.Track, int]] = [{}]
    for phase in sorted_phases(phases):
        free = next((i for i, end in enumerate(ends) if end.get(phase.track, 0) <= phase.start_us), len(lanes))
        if free > 0:
            why = "overlaps on its track: moved to another annotator, '#2' and so on"
            why = why if free < MAX_LANES else f"more than {MAX_LANES} overlap on one track"
            tally.add("phases.track", why, f"{where}/{phase.phase_id}: {phase.track} {phase.span}")
        if free < MAX_LANES:
            if free == len(lanes):
                lanes.append([])
                ends.append({})
            lanes[free].append(phase)
            ends[free][phase.track] = phase.end_us
    return [tuple(lane) for lane in lanes]


def _run(format_name: str, annotator_id: str, source: str) -> Run:
    # The external annotator is stored as the model and the files as its revision: layers are named imported@eaf.NAME.
    name = "".join(c for c in annotator_id if c.isprintable())[:MAX_ANNOTATOR_CHARS]
    model = Model(id=f"{format_name}.{name}" if name else format_name, revision=source[:20])
    run_id = f"run_{ids.content_key('import', annotator_id, source)[:20]}"
    return Run(run_id=run_id, kind="import", tool_version=__version__, model=model)


def _annotation(row: _ImportedClip, *, run: Run, bases: Mapping[str, Base], tally: LossTally) -> Annotation:
    base = _base(row.sheet, bases.get(row.clip.clip_id), tally)
    given = row.sheet.annotation_id
    return Annotation(
        annotation_id=annotation_id(
            clip_id=row.clip.clip_id,
            layer="imported",
            run_id=run.run_id,
            sample_index=None,
            base=base,
            phases=row.phases,
        ),
        vocab_version=vocab.VOCAB_VERSION,
        clip_id=row.clip.clip_id,
        media_sha256=row.clip.media_sha256,
        layer="imported",
        parent_ids=(given,) if given is not None and is_valid_id(given) else (),
        run_id=run.run_id,
        status=_status(row, base),
        duration_us=row.clip.duration_us,
        base=base,
        phases=row.phases,
        repairs=row.repairs,
    )


def _status(row: _ImportedClip, base: Base | None) -> vocab.ResponseStatus:
    """Invalid if all events were dropped: an annotation without phases would claim that the person keeps still."""
    if row.sheet.events and not row.phases:
        return "invalid"
    return "ok" if base is not None else "skipped"


def _base(sheet: AnnotationSheet, default: Base | None, tally: LossTally) -> Base | None:
    """The base of the file; missing fields come from the default."""
    if sheet.base:
        try:
            known = asdict(default) if default is not None else {}
            return _BASE.validate_python(known | dict(sheet.base), strict=False)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            why = "the base of the file violates the contract"
            tally.add("base", why, f"{sheet.clip_id}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    if default is None:
        tally.add("base", "the file has none and none was given: status 'skipped'", sheet.clip_id)
    return default
