"""Sheets to annotations of layer `imported`: one run and at most one annotation per clip for every voice.

Nothing is guessed silently: what is changed is a repair of the annotation, and what is left out is a loss as well.

Times    a start after the end is swapped, what sticks out of the clip is cut; what is shorter than 0.12 s is left out.
Overlap  events of one voice and track that overlap are kept: the later goes to the voice `NAME#2`, a run of its own.
Fields   what the contract refuses is dropped; text, side and kind then have the values of meaning.assumed.
Base     that of the file; where it has none, the one the caller gives; without both the status is `skipped`, since an
         annotation that is `ok` has a base.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import chain, count
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from xsheet import __version__
from xsheet.annotate.formats.base import Sheet
from xsheet.annotate.formats.files import Clips
from xsheet.annotate.formats.loss import Loss, Tally
from xsheet.annotate.formats.phases import Phases, is_id
from xsheet.schemas import ids, vocab
from xsheet.schemas.annotation import Annotation, Base, Phase, Repair, annotation_id, sorted_phases
from xsheet.schemas.clip import Clip
from xsheet.schemas.run import Model, Run

MAX_LANES = 16  # annotators on top of one another; a file with more is an attack or a mistake
MAX_VOICE_CHARS = 80
NO_BASES: Mapping[str, Base] = MappingProxyType({})
_BASE: TypeAdapter[Base] = TypeAdapter(Base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One voice of the files: a run and its layer, for `schemas.layers.write_layer(SET, run, "imported", ...)`."""

    voice: str
    run: Run
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """All voices of the files, by name, and what did not come through."""

    imports: tuple[Import, ...]
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    clip: Clip
    sheet: Sheet
    phases: tuple[Phase, ...]
    repairs: tuple[Repair, ...]


def imported(
    sheets: Iterable[Sheet],
    clips: Clips,
    *,
    format_name: str,
    files: Mapping[str, str],
    bases: Mapping[str, Base],
    tally: Tally,
) -> Reading:
    """Annotations of the sheets.

    Args:
        sheets: what the files say.
        clips: what they may be about.
        format_name: part of the name of the runs, e.g. 'eaf'.
        files: the text they were read from; it decides the ids of the runs.
        bases: base block by clip, for files that have none.
        tally: what their reader could not take; more is added here.
    """
    rows: dict[str, list[_Row]] = defaultdict(list)
    for clip_id, by_voice in _together(sheets).items():
        for voice, sheet in by_voice.items():
            phases = Phases(sheet, clips.by_id[clip_id], tally)
            lanes = _lanes(list(phases), tally, where=clip_id)
            for name, lane in zip(_names(voice, by_voice), lanes, strict=False):
                rows[name].append(_Row(clips.by_id[clip_id], sheet, lane, tuple(phases.repairs.made)))
    read = [[name, sha256(text.encode()).hexdigest()] for name, text in sorted(files.items())]
    source = ids.content_key(__version__, format_name, sorted(clips.by_id), read)
    imports = []
    for voice in sorted(rows):
        run = _run(format_name, voice, source)
        made = tuple(_annotation(row, run=run, bases=bases, tally=tally) for row in rows[voice])
        imports.append(Import(voice=voice, run=run, annotations=made))
    return Reading(tuple(imports), tally.losses())


def _together(sheets: Iterable[Sheet]) -> dict[str, dict[str, Sheet]]:
    """One sheet per clip and voice."""
    found: dict[str, dict[str, Sheet]] = defaultdict(dict)
    for sheet in sheets:
        before = found[sheet.clip_id].get(sheet.voice)
        found[sheet.clip_id][sheet.voice] = (
            sheet if before is None else replace(before, events=before.events + sheet.events)
        )
    return found


def _names(voice: str, taken: Iterable[str]) -> Iterator[str]:
    return chain([voice], (name for n in count(2) if (name := f"{voice}#{n}") not in taken))


def _lanes(phases: Sequence[Phase], tally: Tally, *, where: str) -> list[tuple[Phase, ...]]:
    """Phases in as few groups without overlap as possible, most of them in the first; one group at least."""
    lanes: list[list[Phase]] = [[]]
    ends: list[dict[vocab.Track, int]] = [{}]
    for phase in sorted_phases(phases):
        free = next((i for i, end in enumerate(ends) if end.get(phase.track, 0) <= phase.start_us), len(lanes))
        if free > 0:
            why = "overlaps on its track: kept as another voice, '#2' and so on"
            why = why if free < MAX_LANES else f"more than {MAX_LANES} overlap on one track"
            tally.add("phases.track", why, f"{where}/{phase.phase_id}: {phase.track} {phase.span}")
        if free < MAX_LANES:
            if free == len(lanes):
                lanes.append([])
                ends.append({})
            lanes[free].append(phase)
            ends[free][phase.track] = phase.end_us
    return [tuple(lane) for lane in lanes]


def _run(format_name: str, voice: str, source: str) -> Run:
    # The outside annotator is the model and the files are its version, so layers are found as imported@eaf.NAME.
    name = "".join(c for c in voice if c.isprintable())[:MAX_VOICE_CHARS]
    model = Model(id=f"{format_name}.{name}" if name else format_name, revision=source[:20])
    run_id = f"run_{ids.content_key('import', voice, source)[:20]}"
    return Run(run_id=run_id, kind="import", tool_version=__version__, model=model)


def _annotation(row: _Row, *, run: Run, bases: Mapping[str, Base], tally: Tally) -> Annotation:
    base = _base(row.sheet, bases.get(row.clip.clip_id), tally)
    given = row.sheet.annotation_id
    return Annotation(
        annotation_id=annotation_id(
            clip_id=row.clip.clip_id,
            layer="imported",
            run_id=run.run_id,
            sample_index=None,
            said=base,
            phases=row.phases,
        ),
        vocab_version=vocab.VOCAB_VERSION,
        clip_id=row.clip.clip_id,
        media_sha256=row.clip.media_sha256,
        layer="imported",
        parent_ids=(given,) if given is not None and is_id(given) else (),
        run_id=run.run_id,
        status="ok" if base is not None else "skipped",
        duration_us=row.clip.duration_us,
        base=base,
        phases=row.phases,
        repairs=row.repairs,
    )


def _base(sheet: Sheet, given: Base | None, tally: Tally) -> Base | None:
    """The base of the file, its missing fields from the one given."""
    if sheet.base:
        try:
            known = asdict(given) if given is not None else {}
            return _BASE.validate_python(known | dict(sheet.base), strict=False)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            why = "the base of the file breaks the contract"
            tally.add("base", why, f"{sheet.clip_id}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    if given is None:
        tally.add("base", "the file has none and none was given: status 'skipped'", sheet.clip_id)
    return given
