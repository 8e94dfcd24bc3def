"""SpeakerVid-5M: one JSON object per clip (merged_anno).

    VIDEO_full_video_1080x1920_001_A.json
    {"bbox": [0.1, 0.0, 0.9, 1.0], "org_start_seconds": 12.5, "video_total_duration": 4.2, "speaker": ["SPEAKER_00"],
     "raw_video_height": 1080, "raw_video_width": 1920, "start_new": 12.6, "duration_new": 4.0, "conf": 5.1, ...}

As the project's scripts write the file and cut by it: the clip is that time of VIDEO.mp4, cropped to `bbox` in shares
of the picture, and called as the file. The scripts write its sound into a WAV file, so a clip file is silent and the
recording comes first. Users report `start_seconds`, `end_seconds`, `start`, `duration` and `box` in published files
(github.com/Dorniwang/SpeakerVid-5M-Code, issue 3); these are read, too, a box in pixels if an edge lies well above 1.
A speaker is a label of one recording.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from xsheet.curate.corpora.clips import (
    SHARE_TOLERANCE,
    CorpusClip,
    CorpusProblem,
    MalformedRowError,
    checked_crop,
    metadata_files,
    number_at,
    read_clips,
    read_json_metadata,
    seconds_at,
    share_crop,
    span_of_seconds,
    table_rows,
    text_at,
    text_columns,
    value_at,
    youtube_id,
)
from xsheet.curate.manifest import Crop
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import Span

_CLIP_KEYS = ("clip_id", "name", "id")
_VIDEO_KEYS = ("video_id", "youtube_id", "bvid", "url")
_START_KEYS = ("org_start_seconds", "start_seconds", "start_time", "start_s", "start")
_END_KEYS = ("end_seconds", "end_time", "end_s", "end")
_DURATION_KEYS = ("video_total_duration", "duration")
_COLUMNS = {
    "transcript": ("asr", "transcript"), "caption": ("caption",), "sync_conf": ("conf",), "clear_score": ("clear",),
    "dover_score": ("dover",), "is_talking": ("is_talking",),
}  # fmt: skip
_SIZE = re.compile(r"_\d+[x×]\d+$")


def speakervid_clips(meta: Path) -> Iterator[CorpusClip | CorpusProblem]:
    """Clips of a JSON or JSONL file, or of all below a folder.

    Raises:
        ConfigError: no metadata, or unreadable.
    """
    for file in metadata_files(meta, (".json", ".jsonl")):
        try:
            yield from read_clips(_rows(file), partial(_clips_of, stem=file.stem))
        except ConfigError as error:
            if file == meta:
                raise
            yield CorpusProblem(where=file.name, name=file.stem, reason="malformed", message=str(error))


def _rows(file: Path) -> Iterator[tuple[str, Any]]:
    found = None if file.suffix.lower() == ".jsonl" else read_json_metadata(file)
    if isinstance(found, dict):
        return iter([(file.name, found)])
    return iter(table_rows(file))


def _clips_of(where: str, row: Any, *, stem: str) -> Iterator[CorpusClip]:
    name = _text(row, _CLIP_KEYS) or stem
    videos = _videos(row, name)
    columns = {ours: _value(row, keys) for ours, keys in _COLUMNS.items()}
    yield CorpusClip(
        where=where, name=name, clip_files=(name,), video_files=videos, is_cut_without_sound=True, span=_span(row),
        crop=_crop(row), columns=text_columns({"speaker": _speaker(row, videos)} | columns),
    )  # fmt: skip


def _span(row: Any) -> Span:
    start_key = _key(row, _START_KEYS) or _START_KEYS[1]
    start = seconds_at(row, start_key)
    end_key, duration_key = _key(row, _END_KEYS), _key(row, _DURATION_KEYS)
    if duration_key and (end_key is None or start_key == _START_KEYS[0]):
        return span_of_seconds(start, start + seconds_at(row, duration_key))
    return span_of_seconds(start, seconds_at(row, end_key or _END_KEYS[0]))


def _videos(row: Any, name: str) -> tuple[str, ...]:
    """Names that the recording may have: of a key, or what the clip's name begins with, without a picture size."""
    if stated := _text(row, _VIDEO_KEYS):
        return (youtube_id(stated),)
    video, mark, _ = name.partition("_full_video")
    if not mark:
        video = (_text(row, ("video_name",)) or "").partition("_full_video")[0]
    return tuple(dict.fromkeys((_SIZE.sub("", video), video))) if video else ()


def _speaker(row: Any, videos: tuple[str, ...]) -> str | None:
    """The label of a person; a list has labels of one recording, whose name makes them those of a person."""
    value = _value(row, ("speaker", "speaker_id"))
    if not isinstance(value, list):
        return None if value is None else str(value)
    label = "+".join(map(str, value))
    return f"{videos[0]}/{label}" if label and videos else None


def _crop(row: Any) -> Crop | None:
    box = _value(row, ("bbox", "box"))
    if box is None:
        return None
    if not isinstance(box, list) or len(box) != 4:
        raise MalformedRowError(f"expected four edges in 'bbox' or 'box', got {repr(box)[:60]}")
    edges = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    x0, y0, x1, y1 = (number_at(edges, edge) for edge in edges)
    in_shares = _value(row, ("bbox",)) is not None or max(x0, y0, x1, y1) <= 1 + SHARE_TOLERANCE
    return share_crop(x0, y0, x1, y1) if in_shares else checked_crop(x0, y0, x1, y1)


def _key(row: Any, keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if value_at(row, key) is not None), None)


def _value(row: Any, keys: tuple[str, ...]) -> Any:
    key = _key(row, keys)
    return None if key is None else value_at(row, key)


def _text(row: Any, keys: tuple[str, ...]) -> str | None:
    key = _key(row, keys)
    return None if key is None else text_at(row, key)
