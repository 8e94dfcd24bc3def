"""Convert events to Label Studio results and back: one timeline region each, and results that share its id."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from xsheet.annotate.formats.base import LIST_FIELDS, PHASE_FIELDS, GesturePart, LossTally, SheetEvent
from xsheet.schemas.time import CLIP_RATE, FrameRate, Span, frame_start_us, nearest_frame, span_of_frames

LABELS_CONTROL, KINEMATICS_CONTROL, TRACK_CONTROL, VIDEO_CONTROL = "action", "kinematics", "track", "video"
TEXT_FIELDS = ("text", "text_short", "action_raw")
NUMBER_FIELDS = ("amplitude", "speed", "repetitions", "visibility")
LabelStudioResult = dict[str, Any]


# ---- writing


def results_of(events: Iterable[SheetEvent], *, where: str, tally: LossTally) -> Iterator[LabelStudioResult]:
    """Results of one prediction. A region has the id of its phase; part ids contain '/', which phase ids cannot."""
    for event in events:
        place = f"{where}/{event.phase_id}"
        ranges = [_range(event, field="phases", where=place, tally=tally)]
        region = {"id": event.phase_id, "to_name": VIDEO_CONTROL}
        score = {"score": float(event.attributes["confidence"])} if "confidence" in event.attributes else {}
        yield region | _labels(LABELS_CONTROL, event.label, ranges) | score
        for name, text in ((TRACK_CONTROL, event.tier), *event.attributes.items()):
            if name != "confidence":
                yield region | _region_answer(name, text, ranges)
        for number, part in enumerate(event.kinematics):
            own = _range(part, field="phases.kinematics", where=place, tally=tally)
            if own["start"] <= own["end"]:
                nested = {"id": f"{event.phase_id}/{number}", "to_name": VIDEO_CONTROL, "parentID": event.phase_id}
                yield nested | _labels(KINEMATICS_CONTROL, part.label, [own])
            else:
                tally.add("phases.kinematics", "shorter than a frame", f"{place}: {part}")


def _range(timed: SheetEvent | GesturePart, *, field: str, where: str, tally: LossTally) -> dict[str, int]:
    first, stop = (nearest_frame(us, CLIP_RATE) for us in (timed.start_us, timed.end_us))
    for name, us, frame in (("start_us", timed.start_us, first), ("end_us", timed.end_us, stop)):
        if frame_start_us(frame, CLIP_RATE) != us:
            tally.add(f"phases.{name}" if field == "phases" else field, "rounded to a frame", f"{where}: {us} µs")
    return {"start": first + 1, "end": stop}


def _labels(name: str, label: str, ranges: Sequence[Mapping[str, int]]) -> LabelStudioResult:
    value = {"ranges": ranges, "timelinelabels": [label]}
    return {"from_name": name, "type": "timelinelabels", "origin": "prediction", "value": value}


def _region_answer(name: str, text: str, ranges: Sequence[Mapping[str, int]]) -> LabelStudioResult:
    value: dict[str, Any] = {"ranges": ranges}
    if name in TEXT_FIELDS:
        kind, value["text"] = "textarea", [text]
    elif name in NUMBER_FIELDS:
        kind, value["number"] = "number", float(text) if name == "visibility" else int(text)
    else:
        kind, value["choices"] = "choices", text.split() if name in LIST_FIELDS else [text]
    return {"from_name": name, "type": kind, "value": value}


# ---- reading


def with_results(task: dict[str, Any], where: str, tally: LossTally) -> dict[str, Any]:
    """A task of the form JSON-MIN as one of the form JSON; another one as it is.

    JSON-MIN puts the values of each control beside the data of the task, without the ids that tell whose they are:
    answers about regions are lost.
    """
    if isinstance(task.get("data"), dict) or "annotations" in task or "predictions" in task:
        return task
    results = []
    for name, values in task.items():
        listed = [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []
        labelled = [one for one in listed if "timelinelabels" in one]
        if labelled and name != KINEMATICS_CONTROL:
            results += [{"type": "timelinelabels", "from_name": name, "value": one} for one in labelled]
        elif name in (TRACK_CONTROL, KINEMATICS_CONTROL, *PHASE_FIELDS):
            tally.add(name, "JSON-MIN does not state its region", f"{where}: export the project as JSON")
    return {"data": task, "annotations": [{"completed_by": task.get("annotator", ""), "result": results}]}


def events_of(results: object, *, rate: FrameRate, where: str, tally: LossTally) -> Iterator[SheetEvent]:
    """Events of one annotation or prediction, whose frames are at a rate; unknown results are counted as lost."""
    rows = [row for row in results if isinstance(row, dict)] if isinstance(results, list) else []
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    parts: dict[str, list[GesturePart]] = defaultdict(list)
    regions: list[tuple[LabelStudioResult, Span, str]] = []
    for row in rows:
        kind, name = row.get("type"), str(row.get("from_name", ""))
        labelled = list(_labelled_spans(row, rate=rate, where=where, tally=tally)) if kind == "timelinelabels" else []
        if name == KINEMATICS_CONTROL and row.get("parentID"):
            parts[str(row["parentID"])] += [GesturePart(label, span.start_us, span.end_us) for span, label in labelled]
        elif kind == "timelinelabels":
            regions += [(row, span, label) for span, label in labelled]
        elif name in (TRACK_CONTROL, *PHASE_FIELDS) and row.get("id") and (text := _text(row.get("value"))):
            answers[str(row["id"])][name] = text
        else:
            tally.add(
                f"result {str(kind)[:40]!r}", "the contract has no such field", f"{where}: {name} {row.get('value')}"
            )
    known = {str(row.get("id")) for row, _, _ in regions}
    for name in (answers.keys() | parts.keys()) - known:
        tally.add("result", "belongs to no region", f"{where}: {name}")
    for row, span, label in regions:
        yield _event(row, span, label, answers, parts)


def _event(
    row: LabelStudioResult,
    span: Span,
    label: str,
    answers: Mapping[str, Mapping[str, str]],
    parts: dict[str, list[GesturePart]],
) -> SheetEvent:
    own, name = str(row.get("id", "")), str(row.get("from_name", ""))
    attributes = dict(answers.get(own, {}))
    track = attributes.pop(TRACK_CONTROL, "" if name == LABELS_CONTROL else name)
    score = row.get("score")
    if isinstance(score, int | float):
        attributes["confidence"] = str(score)
    kinematics = sorted(parts.pop(own, []), key=lambda part: part.start_us)
    return SheetEvent(
        tier=track,
        label=label,
        start_us=span.start_us,
        end_us=span.end_us,
        phase_id=own or None,
        attributes=attributes,
        kinematics=tuple(kinematics),
    )


def _labelled_spans(
    row: LabelStudioResult, *, rate: FrameRate, where: str, tally: LossTally
) -> Iterator[tuple[Span, str]]:
    value = row.get("value")
    ranges, labels = (value.get("ranges"), value.get("timelinelabels")) if isinstance(value, dict) else (None, None)
    for one in ranges if isinstance(ranges, list) else [None]:
        start, end = (one.get("start"), one.get("end")) if isinstance(one, dict) else (None, None)
        if not (_is_frame(start) and _is_frame(end) and start <= end):
            tally.add("phases", "not a range of frames counted from 1", f"{where}: {one}")
            continue
        span = span_of_frames(range(start - 1, end), rate)
        yield from ((span, str(label)) for label in (labels if isinstance(labels, list) else [""]))


def _is_frame(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**40


def _text(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    found = value.get("text", value.get("choices", value.get("number")))
    many = found if isinstance(found, list) else [found]
    return ("\n" if "text" in value else " ").join(str(one) for one in many if one is not None)
