"""WebVTT: one file per annotation, which browsers show with the clip. Times are whole milliseconds.

    WEBVTT

    NOTE xsheet {"clip_id": "clip_1", "annotator": "consensus", "annotation_id": "ann_1", "base": {...}}

    p0
    00:00:00.400 --> 00:00:01.200
    <v.nod.none head>nods twice</v>

The cue id is the phase id. WebVTT's voice tag <v> holds class, side and track; the text is escaped. In cues of other
tools the name in the voice tag gives the track and the text gives the class.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from xsheet.annotate.formats.base import (
    BASE_FIELDS,
    AnnotationSheet,
    ExportResult,
    LossTally,
    SheetEvent,
    clips_by_id,
    sheets_by_clip,
)
from xsheet.annotate.formats.files import ClipIndex, file_error, parse_files, parse_json
from xsheet.annotate.formats.imported import NO_BASES, ImportResult, import_sheets
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base
from xsheet.schemas.clip import Clip
from xsheet.schemas.source import SourceVideo

CARRIED_FIELDS = frozenset({
    "annotation_id", "layer", "base", "phases.phase_id", "phases.track", "phases.action", "phases.text",
    "phases.laterality",
})  # fmt: skip
MAX_CUE_CHARS = 10_000  # a subtitle has 80; searching for unclosed tags takes quadratic time
_NOTE = "NOTE xsheet "
_TIMING = re.compile(r"(?:(\d{1,9}):)?([0-5]?\d):([0-5]\d)[.,](\d{3})")
_SUBRIP = re.compile(r"\d+\n\d{1,9}:[0-5]?\d:[0-5]\d[.,]\d{3}[ \t]*-->")  # SRT: a number, then times; no header
_VOICE = re.compile(r"<v((?:\.[^\s.>]*)*)[ \t]*([^>]*)>")
_TAG = re.compile(r"<[^>]*>")
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # position or style in a subtitle: {\an8}


def export(annotations: Iterable[Annotation], clips: Iterable[Clip]) -> ExportResult:
    """One file `<clip_id>.<annotator>.vtt` per annotation.

    Raises:
        ContractError: an annotation belongs to a clip that is not given.
    """
    tally = LossTally()
    found = sheets_by_clip(annotations, clips_by_id(clips), carried_fields=CARRIED_FIELDS, tally=tally)
    files = {
        f"{sheet.clip_id}.{sheet.annotator_id.replace('#', '-')}.vtt": _document(sheet, tally)
        for sheets in found.values()
        for sheet in sheets
    }
    return ExportResult(files, tally.losses())


def read(
    files: Mapping[str, str],
    clips: Iterable[Clip],
    *,
    bases: Mapping[str, Base] = NO_BASES,
    recordings: Iterable[SourceVideo] = (),
) -> ImportResult:
    """Annotations of WebVTT files written by xsheet or another tool.

    Raises:
        ContractError: no file is WebVTT.
    """
    tally, known = LossTally(), ClipIndex(clips, recordings)
    sheets = parse_files(files, lambda name, text: _sheet(name, text, known, tally), tally)
    return import_sheets(sheets, known, format_name="vtt", files=files, bases=bases, tally=tally)


# ---- writing


def _document(sheet: AnnotationSheet, tally: LossTally) -> str:
    note = {
        "clip_id": sheet.clip_id,
        "annotator": sheet.annotator_id,
        "annotation_id": sheet.annotation_id,
        "base": sheet.base,
    }
    # '-->' or an empty line would end the comment.
    blocks = ["WEBVTT", _NOTE + json.dumps(note, ensure_ascii=False).replace(">", "\\u003e")]
    for event in sheet.events:
        where = f"{sheet.clip_id}/{event.phase_id}"
        text = " ".join(re.split(r"[\r\n\0]+", event.attributes["text"]))
        if text != event.attributes["text"]:
            tally.add("phases.text", "line breaks became spaces", where)
        for name, us in (("start_us", event.start_us), ("end_us", event.end_us)):
            if us % 1000:
                tally.add(f"phases.{name}", "rounded to milliseconds", f"{where}: {us} µs")
        times = f"{_format_time(event.start_us)} --> {_format_time(event.end_us)}"
        tag = f"<v.{event.label}.{event.attributes['laterality']} {event.tier}>"
        blocks.append(f"{event.phase_id}\n{times}\n{tag}{html.escape(text, quote=False)}</v>")
    return "\n\n".join(blocks) + "\n"


def _format_time(us: int) -> str:
    seconds, ms = divmod((us + 500) // 1000, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{ms:03d}"


# ---- reading


def _sheet(name: str, text: str, clips: ClipIndex, tally: LossTally) -> Iterator[AnnotationSheet]:
    blocks = _blocks(text)
    is_subrip = _SUBRIP.match("\n".join(blocks[0])) is not None
    if is_subrip:
        blocks = [[_OVERRIDE.sub("", line) for line in block] for block in blocks]
    if not (is_subrip or re.match(r"WEBVTT(?:[ \t]|$)", blocks[0][0])):
        raise file_error(name, "WebVTT", blocks[0][0], "begin the file with the line WEBVTT")
    if "X-TIMESTAMP-MAP" in "".join(blocks[0]):
        tally.add("phases.start_us", "X-TIMESTAMP-MAP is not applied", name)
    note = next((_note(name, block[0]) for block in blocks if block[0].startswith(_NOTE)), {})
    clip = clips.find([_text(note.get("clip_id"))], file=name)
    if clip is None:
        tally.add("file", "the set has no clip of that name", name)
        return
    base = note.get("base")
    yield AnnotationSheet(
        clip_id=clip.clip_id,
        annotator_id=_text(note.get("annotator")) or "",
        annotation_id=_text(note.get("annotation_id")),
        base={key: base[key] for key in BASE_FIELDS if isinstance(base.get(key), str)}
        if isinstance(base, dict)
        else {},
        events=tuple(event for block in blocks[not is_subrip :] if (event := _event(name, block, tally)) is not None),
    )


def _blocks(text: str) -> list[list[str]]:
    """Lines of the header and of every cue, comment or style.

    A blank line ends a block, and so does a line with times if the block has times already, or is the header (WebVTT,
    "collect a block"). Files of subtitles also leave spaces in blank lines.
    """
    lines = re.sub(r"\r\n?", "\n", text.lstrip("\ufeff")).strip("\n").split("\n")
    is_header, has_times = lines[0].startswith("WEBVTT"), False
    blocks: list[list[str]] = [[]]
    for line in lines:
        times = "-->" in line
        if not line.strip() or (times and (has_times or is_header)):
            number = blocks[-1].pop() if times and has_times and blocks[-1][-1].isdecimal() else None
            blocks.append([] if number is None else [number])  # a number above times is that of a subtitle
            is_header = has_times = False
        if line.strip():
            blocks[-1].append(line)
            has_times = has_times or times
    return [block for block in blocks if block] or [[""]]


def _note(name: str, line: str) -> dict[str, object]:
    found = parse_json(name, line.removeprefix(_NOTE))
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _event(name: str, block: list[str], tally: LossTally) -> SheetEvent | None:
    at = next((n for n, line in enumerate(block[:2]) if "-->" in line), None)
    if at is None:
        if not block[0].startswith(("NOTE", "STYLE", "REGION")):
            tally.add("phases", "no times", f"{name}: {' '.join(block)}")
        return None
    start, end, *settings = block[at].replace("-->", " ").split()[:3] + [""] * 2
    times = [_TIMING.fullmatch(stamp) for stamp in (start, end)]
    if times[0] is None or times[1] is None:
        tally.add("phases", "no times", f"{name}: {block[at]}")
        return None
    if settings[0]:
        tally.add("cue settings", "the contract has no field for them", f"{name}: {block[at]}")
    start_us, end_us = (_microseconds(found) for found in times if found is not None)
    cue = " ".join(block[at + 1 :])
    if len(cue) > MAX_CUE_CHARS:
        tally.add("phases.text", f"cut after {MAX_CUE_CHARS} characters", f"{name}: {block[at]}")
        cue = cue[:MAX_CUE_CHARS]
    voice = _VOICE.search(cue)
    classes = voice[1].split(".") if voice is not None else []
    text = html.unescape(_TAG.sub("", cue))
    action = next((one for one in classes if one in vocab.ACTIONS), None)
    side = next((one for one in classes if one in get_args(vocab.Laterality)), None)
    return SheetEvent(
        tier=html.unescape(voice[2]) if voice is not None else "",
        label=action or text,
        start_us=start_us,
        end_us=end_us,
        phase_id=block[0] if at == 1 else None,
        attributes=({"text": text} if action else {}) | ({"laterality": side} if side else {}),
    )


def _microseconds(found: re.Match[str]) -> int:
    hours, minutes, seconds, ms = (int(part or 0) for part in found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + ms * 1000
