"""Annotations on the timeline of a recording, mapped to the clips that were cut from it.

A file whose name or media is that of a source video has the times of that video. An event goes to every clip that it
overlaps, with times from the clip's first frame; the part outside the clip is cut when it becomes a phase. A clip
without an event of an annotator gets no annotation of that annotator, because it may not have been annotated at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from xsheet.annotate.formats.base import AnnotationSheet, GesturePart, LossTally, SheetEvent
from xsheet.schemas.clip import Clip
from xsheet.schemas.time import Span


def sheets_of_clips(sheet: AnnotationSheet, clips: Sequence[Clip], tally: LossTally) -> Iterator[AnnotationSheet]:
    """The sheet of a recording as sheets of its clips; an event in no clip is counted as lost.

    Args:
        sheet: events in µs of the recording.
        clips: all clips of that recording.
        tally: losses.
    """
    covered: set[int] = set()
    for clip in sorted(clips, key=lambda one: (one.start_us, one.clip_id)):
        events = []
        for number, event in enumerate(sheet.events):
            first, last = sorted((event.start_us, event.end_us))
            if first < last and Span(max(first, 0), max(last, 1)).overlap_us(clip.span):
                covered.add(number)
                events.append(_shift(event, -clip.start_us))
        if events:
            yield replace(sheet, clip_id=clip.clip_id, annotation_id=None, events=tuple(events))
    for number, event in enumerate(sheet.events):
        if number not in covered:
            where = f"{sheet.clip_id}: {event.tier} {event.label} {event.start_us}..{event.end_us} µs"
            tally.add("phases", "lies in no clip of the recording", where)


def _shift(event: SheetEvent, by_us: int) -> SheetEvent:
    parts = (GesturePart(part.label, part.start_us + by_us, part.end_us + by_us) for part in event.kinematics)
    return replace(event, start_us=event.start_us + by_us, end_us=event.end_us + by_us, kinematics=tuple(parts))
