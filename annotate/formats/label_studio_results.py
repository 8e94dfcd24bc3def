"""Events as Label Studio's results and back: one timeline region each, and answers that share its id."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from xsheet.annotate.formats.base import ATTRIBUTES, LISTS, Event, Part
from xsheet.annotate.formats.loss import Tally
from xsheet.schemas.time import CLIP_RATE, Span, frame_start_us, nearest_frame, span_of_frames

LABELS, KINEMATICS, TRACK, VIDEO = "action", "kinematics", "track", "video"
TEXTS = ("text", "text_short", "action_raw")
NUMBERS = ("amplitude", "speed", "repetitions", "visibility")
CHOICES = tuple(name for name in ATTRIBUTES if name not in (*TEXTS, *NUMBERS, "confidence"))
Result = dict[str, Any]


# ---- writing


def results_of(events: Iterable[Event], *, where: str, tally: Tally) -> Iterator[Result]:
    """Results of one prediction; a region's id is the phase's, that of a part has a '/' that no phase id has."""
    for event in events:
        place = f"{where}/{event.phase_id}"
        ranges = [_range(event, field="phases", where=place, tally=tally)]
        region = {"id": event.phase_id, "to_name": VIDEO}
        score = {"score": float(event.attributes["confidence"])} if "confidence" in event.attributes else {}
        yield region | _labels(LABELS, event.label, ranges) | score
        for name, text in ((TRACK, event.tier), *event.attributes.items()):
            if name != "confidence":
                yield region | _answer(name, text, ranges)
        for number, part in enumerate(event.kinematics):
            own = _range(part, field="phases.kinematics", where=place, tally=tally)
            if own["start"] <= own["end"]:
                nested = {"id": f"{event.phase_id}/{number}", "to_name": VIDEO, "parentID": event.phase_id}
                yield nested | _labels(KINEMATICS, part.label, [own])
            else:
                tally.add("phases.kinematics", "shorter than a frame", f"{place}: {part}")


def _range(one: Event | Part, *, field: str, where: str, tally: Tally) -> dict[str, int]:
    first, stop = (nearest_frame(us, CLIP_RATE) for us in (one.start_us, one.end_us))
    for name, us, frame in (("start_us", one.start_us, first), ("end_us", one.end_us, stop)):
        if frame_start_us(frame, CLIP_RATE) != us:
            tally.add(f"phases.{name}" if field == "phases" else field, "snapped to a frame", f"{where}: {us} µs")
    return {"start": first + 1, "end": stop}


def _labels(name: str, label: str, ranges: Sequence[Mapping[str, int]]) -> Result:
    value = {"ranges": ranges, "timelinelabels": [label]}
    return {"from_name": name, "type": "timelinelabels", "origin": "prediction", "value": value}


def _answer(name: str, text: str, ranges: Sequence[Mapping[str, int]]) -> Result:
    value: dict[str, Any] = {"ranges": ranges}
    if name in TEXTS:
        kind, value["text"] = "textarea", [text]
    elif name in NUMBERS:
        kind, value["number"] = "number", float(text) if name == "visibility" else int(text)
    else:
        kind, value["choices"] = "choices", text.split() if name in LISTS else [text]
    return {"from_name": name, "type": kind, "value": value}


# ---- reading


def events_of(results: object, *, where: str, tally: Tally) -> Iterator[Event]:
    """Events of the results of one annotation or prediction; what is not understood is counted."""
    rows = [row for row in results if isinstance(row, dict)] if isinstance(results, list) else []
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    parts: dict[str, list[Part]] = defaultdict(list)
    regions: list[tuple[Result, Span, str]] = []
    for row in rows:
        kind, name = row.get("type"), str(row.get("from_name", ""))
        labelled = list(_labelled(row, where=where, tally=tally)) if kind == "timelinelabels" else []
        if name == KINEMATICS and row.get("parentID"):
            parts[str(row["parentID"])] += [Part(label, span.start_us, span.end_us) for span, label in labelled]
        elif kind == "timelinelabels":
            regions += [(row, span, label) for span, label in labelled]
        elif name in (TRACK, *ATTRIBUTES) and row.get("id") and (text := _text(row.get("value"))):
            answers[str(row["id"])][name] = text
        else:
            tally.add(f"result {str(kind)[:40]!r}", "no field of the contract", f"{where}: {name} {row.get('value')}")
    known = {str(row.get("id")) for row, _, _ in regions}
    for name in (answers.keys() | parts.keys()) - known:
        tally.add("result", "belongs to no region", f"{where}: {name}")
    for row, span, label in regions:
        yield _event(row, span, label, answers, parts)


def _event(
    row: Result, span: Span, label: str, answers: Mapping[str, Mapping[str, str]], parts: dict[str, list[Part]]
) -> Event:
    own, name = str(row.get("id", "")), str(row.get("from_name", ""))
    attributes = dict(answers.get(own, {}))
    track = attributes.pop(TRACK, "" if name == LABELS else name)
    score = row.get("score")
    if isinstance(score, int | float):
        attributes["confidence"] = str(score)
    kinematics = sorted(parts.pop(own, []), key=lambda part: part.start_us)
    return Event(
        tier=track,
        label=label,
        start_us=span.start_us,
        end_us=span.end_us,
        phase_id=own or None,
        attributes=attributes,
        kinematics=tuple(kinematics),
    )


def _labelled(row: Result, *, where: str, tally: Tally) -> Iterator[tuple[Span, str]]:
    value = row.get("value")
    ranges, labels = (value.get("ranges"), value.get("timelinelabels")) if isinstance(value, dict) else (None, None)
    for one in ranges if isinstance(ranges, list) else [None]:
        start, end = (one.get("start"), one.get("end")) if isinstance(one, dict) else (None, None)
        if not (_is_frame(start) and _is_frame(end) and start <= end):
            tally.add("phases", "no range of frames, the first being 1", f"{where}: {one}")
            continue
        span = span_of_frames(range(start - 1, end), CLIP_RATE)
        yield from ((span, str(label)) for label in (labels if isinstance(labels, list) else [""]))


def _is_frame(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**40


def _text(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    found = value.get("text", value.get("choices", value.get("number")))
    many = found if isinstance(found, list) else [found]
    return ("\n" if "text" in value else " ").join(str(one) for one in many if one is not None)
