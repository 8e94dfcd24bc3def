"""TalkVid: a JSON list of clips (github.com/FreedomIntelligence/TalkVid, README and download_clips.py).

    {"id": "...-scene1", "fps": 24.0, "start-time": 0.1, "end-time": 5.14, "height": 1080, "width": 1920,
     "info": {"Person ID": "1", "Video Link": "https://www.youtube.com/watch?v=ID", "Language": "English", ...},
     "description": "...", "dover_scores": 8.9, "cotracker_ratio": 0.9, "head_detail": {...}}

Clips are called by their `id`, or ID_000_START_END (download_clips.py, times with three decimals), recordings ID.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xsheet.curate.corpora.clips import (
    CorpusClip,
    CorpusProblem,
    metadata_files,
    read_clips,
    seconds_at,
    span_of_seconds,
    table_rows,
    text_at,
    text_columns,
    value_at,
    youtube_id,
)

LICENCE = "CC-BY-NC-4.0"
_CARRIED = {"Language": "language", "Gender": "gender", "Age Group": "age_group", "Ethnicity": "ethnicity"}


def talkvid_clips(meta: Path) -> Iterator[CorpusClip | CorpusProblem]:
    """Clips of a metadata file, or of all below a folder.

    Raises:
        ConfigError: no metadata, or unreadable.
    """
    for file in metadata_files(meta, (".json", ".jsonl")):
        yield from read_clips(table_rows(file), _clips_of)


def _clips_of(where: str, row: Any) -> Iterator[CorpusClip]:
    name, video = text_at(row, "id"), youtube_id(text_at(row, "info", "Video Link"))
    start, end = seconds_at(row, "start-time"), seconds_at(row, "end-time")
    info = value_at(row, "info")
    yield CorpusClip(
        where=where, name=name, clip_files=(name, f"{video}_{start:.3f}_{end:.3f}"), video_files=(video,),
        span=span_of_seconds(start, end),
        columns=text_columns(
            {
                "speaker": value_at(info, "Person ID"), "caption": value_at(row, "description"), "licence": LICENCE,
                "dover_score": value_at(row, "dover_scores"), "cotracker_ratio": value_at(row, "cotracker_ratio"),
            }
            | {ours: value_at(info, theirs) for theirs, ours in _CARRIED.items()}
        ),
    )  # fmt: skip
