"""Label Studio: tasks with predictions, and the labelling config for them.

Frame numbers start at 1 and ranges include both ends, so at 25 frames per second [1, 25] is the first second. Label
Studio converts times with a frame rate of its own, not that of the video: `fps` of the task, else `framerate` of the
config, else 24. A file of tasks without any of these and without its config is refused. Further fields of a phase are
per-region results that share the region's id; the form JSON-MIN has no ids, so it keeps the regions alone.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args
from urllib.parse import quote
from xml.etree import ElementTree as ET

from xsheet.annotate.formats.base import (
    ALL_FIELDS,
    BASE_FIELDS,
    LIST_FIELDS,
    PHASE_FIELDS,
    AnnotationSheet,
    ExportResult,
    LossTally,
    clips_by_id,
    sheets_by_clip,
)
from xsheet.annotate.formats.files import ClipIndex, file_error, parse_files, parse_json, parse_xml
from xsheet.annotate.formats.imported import NO_BASES, ImportResult, import_sheets
from xsheet.annotate.formats.label_studio_results import (
    KINEMATICS_CONTROL,
    LABELS_CONTROL,
    NUMBER_FIELDS,
    TEXT_FIELDS,
    TRACK_CONTROL,
    VIDEO_CONTROL,
    events_of,
    results_of,
    with_results,
)
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Annotation, Base
from xsheet.schemas.clip import Clip
from xsheet.schemas.source import SourceVideo
from xsheet.schemas.time import CLIP_RATE, FrameRate

# Label Studio's default if neither config nor data state a rate.
DEFAULT_FPS = "24"
DOCUMENT_ROOT = "/data/local-files/?d="
CHOICES_OF_FIELD: Mapping[str, tuple[str, ...]] = {
    TRACK_CONTROL: vocab.TRACKS,
    "laterality": get_args(vocab.Laterality),
    "kind": get_args(vocab.PhaseKind),
    "body_parts": get_args(vocab.BodyPart),
    "gesture_function": get_args(vocab.GestureFunction),
}
_RATE = re.compile(r"\d{1,6}(\.\d{1,9}|/\d{1,6})?")
MAX_FPS = 1000
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # prefix that Label Studio adds to uploaded files


def export(
    annotations: Iterable[Annotation],
    clips: Iterable[Clip],
    *,
    made_by: Mapping[str, str] | None = None,
    video_root: str = DOCUMENT_ROOT,
) -> ExportResult:
    """`tasks.json`, a task per clip with one prediction per annotation, and `config.xml`.

    Args:
        annotations: of one layer or of several.
        clips: the clips that the annotations may belong to.
        made_by: name of the model or reviewer by run id (`LayerRun.made_by`), for the model version.
        video_root: prefix of the video address; by default Label Studio's local storage.

    Raises:
        ContractError: an annotation belongs to a clip that is not given.
    """
    tally, known = LossTally(), clips_by_id(clips)
    tasks = [
        _task(known[clip_id], sheets, made_by or {}, video_root, tally)
        for clip_id, sheets in sheets_by_clip(annotations, known, carried_fields=ALL_FIELDS, tally=tally).items()
    ]
    files = {"tasks.json": json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", "config.xml": config()}
    return ExportResult(files, tally.losses())


def read(
    files: Mapping[str, str],
    clips: Iterable[Clip],
    *,
    bases: Mapping[str, Base] = NO_BASES,
    recordings: Iterable[SourceVideo] = (),
) -> ImportResult:
    """Annotations and predictions of tasks exported as JSON or JSON-MIN; a config among the files (.xml) gives a rate.

    Annotators are those of an xsheet export, other model versions, and 'user N' for annotations that people completed.

    Raises:
        ContractError: not a list of tasks, or no frame rate.
    """
    tally, known = LossTally(), ClipIndex(clips, recordings)
    configs = [parse_xml(name, text) for name, text in files.items() if name.endswith(".xml")]
    rates = [video.get("framerate") or video.get("frameRate") for config in configs for video in config.iter("Video")]
    fps = next((rate for rate in rates if rate), DEFAULT_FPS if configs else None)

    def sheets(name: str, text: str) -> Iterator[AnnotationSheet]:
        tasks = parse_json(name, text)
        if not isinstance(tasks, list):
            raise file_error(name, "a list of tasks", type(tasks).__name__, "export the project as JSON")
        for number, task in enumerate(tasks):
            where = f"{name}, task {number}"
            yield from _sheets(
                with_results(task, where, tally) if isinstance(task, dict) else {}, where, fps, known, tally
            )

    tasks = {name: text for name, text in files.items() if not name.endswith(".xml")}
    return import_sheets(
        parse_files(tasks, sheets, tally), known, format_name="ls", files=files, bases=bases, tally=tally
    )


# ---- writing


def config() -> str:
    """The labelling config: a control for every exported field, at the clips' frame rate."""
    view = ET.Element("View")
    ET.SubElement(view, "Header", {"value": "$clip_id"})
    video = {"name": VIDEO_CONTROL, "value": "$video", "framerate": f"{float(CLIP_RATE)}", "timelineHeight": "160"}
    ET.SubElement(view, "Video", video)
    for name, words in ((LABELS_CONTROL, vocab.ACTIONS), (KINEMATICS_CONTROL, get_args(vocab.Kinematic))):
        labels = ET.SubElement(view, "TimelineLabels", {"name": name, "toName": VIDEO_CONTROL})
        for word in words:
            ET.SubElement(labels, "Label", {"value": word})
    for name in (TRACK_CONTROL, *PHASE_FIELDS):
        if name in TEXT_FIELDS:
            ET.SubElement(
                view, "TextArea", _control_attributes(name) | {"maxSubmissions": "1", "editable": "true", "rows": "2"}
            )
        elif name in NUMBER_FIELDS:
            ET.SubElement(view, "Number", _control_attributes(name) | {"min": "0"})
        elif name != "confidence":
            several = {"choice": "multiple" if name in LIST_FIELDS else "single", "layout": "select"}
            choices = ET.SubElement(view, "Choices", _control_attributes(name) | several)
            for word in CHOICES_OF_FIELD[name]:
                ET.SubElement(choices, "Choice", {"value": word})
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def _control_attributes(name: str) -> dict[str, str]:
    return {"name": name, "toName": VIDEO_CONTROL, "perRegion": "true"}


def _task(
    clip: Clip, sheets: list[AnnotationSheet], made_by: Mapping[str, str], video_root: str, tally: LossTally
) -> dict[str, object]:
    own_fields, predictions = {}, []
    for sheet in sheets:
        name = made_by.get(sheet.run_id or "")
        version = f"{sheet.annotator_id}@{name}" if name else sheet.annotator_id
        own_fields[version] = {
            "annotator": sheet.annotator_id,
            "annotation_id": sheet.annotation_id,
            "base": dict(sheet.base),
        }
        results = list(results_of(sheet.events, where=clip.clip_id, tally=tally))
        predictions.append({"model_version": version, "result": results})
    data = {
        "video": video_root + quote(clip.media_path),
        "fps": CLIP_RATE.num,
        "frames": clip.frames,
        "clip_id": clip.clip_id,
        "xsheet": own_fields,
    }
    return {"data": data, "predictions": predictions}


# ---- reading


def _sheets(
    task: Mapping[str, Any], where: str, fps: str | None, clips: ClipIndex, tally: LossTally
) -> Iterator[AnnotationSheet]:
    data = task.get("data")
    data = data if isinstance(data, dict) else {}
    video = str(data.get("video", ""))
    clip = clips.find([str(data.get("clip_id", "")), video, _UPLOAD.sub("", video.rpartition("/")[2])], file="")
    if clip is None:
        tally.add("clip_id", "the set has no clip of that name", f"{where}: {video}")
        return
    rate = _frame_rate(data.get("fps", fps), where)
    own_fields = data.get("xsheet")
    own_fields = (
        {str(key): one for key, one in own_fields.items() if isinstance(one, dict)}
        if isinstance(own_fields, dict)
        else {}
    )
    for kind in ("predictions", "annotations"):
        for entry in _only_dicts(task.get(kind)):
            if entry.get("was_cancelled"):
                tally.add("phases", "the annotator skipped the task", where)
                continue
            ours = own_fields.get(str(entry.get("model_version")), {})
            if kind == "annotations" and len(own_fields) == 1:
                ours = next(iter(own_fields.values()))
            base, given = ours.get("base"), ours.get("annotation_id")
            yield AnnotationSheet(
                clip_id=clip.clip_id,
                annotator_id=_annotator_name(entry)
                if kind == "annotations"
                else str(ours.get("annotator") or entry.get("model_version") or ""),
                annotation_id=given if isinstance(given, str) else None,
                base={key: base[key] for key in BASE_FIELDS if isinstance(base.get(key), str)}
                if isinstance(base, dict)
                else {},
                events=tuple(events_of(entry.get("result"), rate=rate, where=where, tally=tally)),
            )


def _only_dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _annotator_name(answer: Mapping[str, Any]) -> str:
    who = answer.get("completed_by", "")
    return f"user {who.get('email') or who.get('id') or '' if isinstance(who, dict) else who}".strip()


def _frame_rate(fps: object, where: str) -> FrameRate:
    text = str(fps).strip()
    try:
        if not isinstance(fps, bool) and _RATE.fullmatch(text) and float(rate := FrameRate.parse(text)) <= MAX_FPS:
            return rate
    except (ValueError, ZeroDivisionError):
        pass
    got = "none" if fps is None else f"{text[:40]} frames per second"
    hint = "put 'fps' into the task's data, or pass the config with framerate=\"25\" on its Video"
    raise file_error(where, f"the frame rate of the labels, above 0 and up to {MAX_FPS}", got, hint)
