"""SpeakerVid-5M: one JSON object per clip (merged_anno).

The keys are known from the project's issues only (github.com/Dorniwang/SpeakerVid-5M-Code, issues 3 and 11), not from
a published schema: `start_seconds`, `end_seconds` (in the recording), `box` (the person: shares, or pixels if an edge
lies well above 1), and further times.
A clip is called by its key `clip_id`, `name` or `id`, or by the name of its file; the recording by `video_id`,
`youtube_id`, `bvid` or `url`.
"""

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

_CLIP_KEYS = ("clip_id", "name", "id")
_VIDEO_KEYS = ("video_id", "youtube_id", "bvid", "url")
_START_KEYS = ("start_seconds", "start_time", "start_s", "start")
_END_KEYS = ("end_seconds", "end_time", "end_s", "end")
_TEXT_COLUMNS = {"speaker": ("speaker", "speaker_id"), "transcript": ("asr", "transcript"), "caption": ("caption",)}


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
    name = next((text_at(row, key) for key in _CLIP_KEYS if value_at(row, key) is not None), stem)
    video = next((text_at(row, key) for key in _VIDEO_KEYS if value_at(row, key) is not None), None)
    start, end = (
        seconds_at(row, next((key for key in keys if value_at(row, key) is not None), keys[0]))
        for keys in (_START_KEYS, _END_KEYS)
    )
    columns = {
        ours: next((value_at(row, key) for key in keys if value_at(row, key)), None)
        for ours, keys in _TEXT_COLUMNS.items()
    }
    yield CorpusClip(
        where=where, name=name, clip_files=(name,), video_files=() if video is None else (youtube_id(video),),
        span=span_of_seconds(start, end),
        crop=_crop(value_at(row, "box")), columns=text_columns(columns),
    )  # fmt: skip


def _crop(box: Any) -> Crop | None:
    if box is None:
        return None
    if not isinstance(box, list) or len(box) != 4:
        raise MalformedRowError(f"expected four edges in 'box', got {repr(box)[:60]}")
    edges = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
    x0, y0, x1, y1 = (number_at(edges, edge) for edge in edges)
    in_shares = max(x0, y0, x1, y1) <= 1 + SHARE_TOLERANCE
    return share_crop(x0, y0, x1, y1) if in_shares else checked_crop(x0, y0, x1, y1)
