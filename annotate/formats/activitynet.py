"""ActivityNet JSON: the classes and their seconds, as training and evaluation code of action detection reads them.

    {"version": "xsheet", "database": {"clip_1": {"duration": 5.0, "subset": "validation",
                                                  "annotations": [{"segment": [0.4, 1.2], "label": "nod"}]}}}

`results=True` writes predictions instead ({"results": {clip: [{"segment", "label", "score"}]}}); both are read. Track,
side and text have no place: an import takes those that the class usually has (meaning).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from xsheet.annotate.formats.base import Event, Export, Sheet, by_id, sheets_of
from xsheet.annotate.formats.files import Clips, each, json_of, refused
from xsheet.annotate.formats.imported import NO_BASES, Reading, imported
from xsheet.annotate.formats.loss import Tally
from xsheet.schemas.annotation import HALF_FRAME_US, Annotation, Base
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ContractError
from xsheet.schemas.time import seconds_from_us, us_from_seconds

SUBSETS = MappingProxyType({"train": "training", "val": "validation", "test": "testing"})  # of the table `splits`
NO_SPLITS: Mapping[str, str] = MappingProxyType({})


def export(
    annotations: Iterable[Annotation],
    clips: Iterable[Clip],
    *,
    splits: Mapping[str, str] = NO_SPLITS,
    results: bool = False,
) -> Export:
    """One file `activitynet.json`.

    Args:
        annotations: one per clip at most.
        clips: all clips they may be about.
        splits: train, val or test by clip, for 'subset'; training where it is not known.
        results: predictions, with the confidence as score; phases without one are left out.

    Raises:
        ContractError: two annotations of a clip, or one of a clip that is not given.
    """
    tally, known = Tally(), by_id(clips)
    carries = frozenset({"phases.confidence"} if results else ())
    found = {
        clip_id: _only(sheets)
        for clip_id, sheets in sheets_of(annotations, known, carries=carries, tally=tally).items()
    }
    if results:
        scored = {clip_id: list(_scored(sheet, tally)) for clip_id, sheet in found.items()}
        document: dict[str, object] = {"version": "xsheet", "results": scored, "external_data": {"used": False}}
    else:
        database = {
            clip_id: {
                "duration": seconds_from_us(known[clip_id].duration_us),
                "subset": SUBSETS.get(splits.get(clip_id, "train"), "training"),
                "annotations": [_segment(event) for event in sheet.events],
            }
            for clip_id, sheet in found.items()
        }
        document = {"version": "xsheet", "database": database}
    return Export({"activitynet.json": json.dumps(document, indent=1) + "\n"}, tally.losses())


def read(files: Mapping[str, str], clips: Iterable[Clip], *, bases: Mapping[str, Base] = NO_BASES) -> Reading:
    """Annotations of ActivityNet files, ground truth (voice '') or results (voice 'results').

    Raises:
        ContractError: none of the files is one.
    """
    tally, known = Tally(), Clips(clips)
    sheets = each(files, lambda name, text: _sheets(name, json_of(name, text), known, tally), tally)
    return imported(sheets, known, format_name="activitynet", files=files, bases=bases, tally=tally)


# ---- writing


def _only(sheets: list[Sheet]) -> Sheet:
    if len(sheets) > 1:
        raise ContractError(
            where=f"clip {sheets[0].clip_id}",
            expected="one annotation per clip: ActivityNet has no layers",
            came=", ".join(sheet.voice for sheet in sheets),
            todo="export one layer without samples, e.g. the consensus",
        )
    return sheets[0]


def _segment(event: Event) -> dict[str, object]:
    return {"segment": [seconds_from_us(event.start_us), seconds_from_us(event.end_us)], "label": event.label}


def _scored(sheet: Sheet, tally: Tally) -> Iterator[dict[str, object]]:
    for event in sheet.events:
        score = event.attributes.get("confidence")
        if score is None:
            tally.add("phases", "results need a confidence", f"{sheet.clip_id}/{event.phase_id}")
        else:
            yield _segment(event) | {"score": float(score)}


# ---- reading


def _sheets(name: str, document: object, clips: Clips, tally: Tally) -> Iterator[Sheet]:
    database = document.get("database") if isinstance(document, dict) else None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(database, dict) and not isinstance(results, dict):
        raise refused(name, "an object with 'database' or 'results'", type(document).__name__, "export it again")
    for voice, table in (("", database), ("results", results)):
        for clip_name, entry in table.items() if isinstance(table, dict) else ():
            clip = clips.find([clip_name], file="")
            rows = entry.get("annotations") if isinstance(entry, dict) else entry
            if clip is None or not isinstance(rows, list):
                tally.add("clip_id", "no clip of that name, or no list of segments", f"{name}: {clip_name}")
                continue
            if isinstance(entry, dict):
                _check_duration(entry.get("duration"), clip, tally)
            events = (_event(row, f"{name}: {clip_name}", tally) for row in rows)
            yield Sheet(clip_id=clip.clip_id, voice=voice, events=tuple(one for one in events if one is not None))


def _check_duration(duration: object, clip: Clip, tally: Tally) -> None:
    us = _us(duration)
    if us is not None and abs(us - clip.duration_us) > HALF_FRAME_US:
        tally.add("duration_us", "another length than the clip's", f"{clip.clip_id}: {duration} s")


def _event(row: object, where: str, tally: Tally) -> Event | None:
    segment = row.get("segment") if isinstance(row, dict) else None
    times = [_us(value) for value in segment] if isinstance(segment, list) else []
    if not isinstance(row, dict) or len(times) != 2 or times[0] is None or times[1] is None:
        tally.add("phases", "no segment of two times in seconds", f"{where}: {row}")
        return None
    for key in row.keys() - {"segment", "label", "score"}:
        tally.add(f"key {str(key)[:40]!r}", "no field of the contract", f"{where}: {row[key]}")
    score = row.get("score")
    known = {} if score is None else {"confidence": str(score)}
    return Event(tier="", label=str(row.get("label", "")), start_us=times[0], end_us=times[1], attributes=known)


def _us(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return us_from_seconds(value)
    except (ValueError, OverflowError):
        return None
