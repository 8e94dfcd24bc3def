"""VIP-200K: a JSON list of persons, each with faces and segments (the dataset card of HiDream-ai/VIP-200K).

    [{"faces":    [{"id": ID, "clip": CLIP, "fidx": 65, "xyxy_norm": [0.4, 0.3, 0.5, 0.4]}, ...],
      "segments": [{"id": ID, "clip": CLIP, "fidx_beg": 276, "fidx_end": 843, "caption": "..."}, ...]}, ...]
    CLIP = {"beg": {"frame_num": 1016, "framerate": 23.976}, "end": {"frame_num": 1147, "framerate": 23.976}}

Frames of a segment count from the start of its clip, and both are part of it: in the published rows `fidx_end` is the
last frame of the clip. A person's segments share a `speaker`. Faces are boxes of single frames and are not read.
Recordings are called ID, clips are not published.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from xsheet.curate.corpora.clips import (
    CorpusClip,
    CorpusProblem,
    MalformedRowError,
    metadata_files,
    number_at,
    read_clips,
    table_rows,
    text_at,
    text_columns,
    value_at,
    youtube_id,
)
from xsheet.schemas.time import FrameRate, span_of_frames

LICENCE = "Apache-2.0 (card); access for academic, non-commercial use"
_MAX_FRAME = 100_000_000


def vip_200k_clips(meta: Path) -> Iterator[CorpusClip | CorpusProblem]:
    """Segments of all persons.

    Raises:
        ConfigError: no metadata, or unreadable.
    """
    for file in metadata_files(meta, (".json", ".jsonl", ".parquet")):
        yield from read_clips(_segments(file), _clips_of)


def _segments(file: Path) -> Iterator[tuple[str, Any]]:
    """(place, segment with the person's name) of every person; a person without a list of segments as it is."""
    for place, row in table_rows(file):
        person = f"{file.stem}-{place.rpartition(' ')[2]}"
        segments = row.get("segments")
        if not isinstance(segments, list):
            yield place, row
            continue
        for k, segment in enumerate(segments):
            yield f"{place}, segment {k}", {"segment": segment, "speaker": person, "name": f"{person}-{k}"}


def _clips_of(where: str, row: Any) -> Iterator[CorpusClip]:
    if value_at(row, "segment") is None:
        raise MalformedRowError("expected an object with a list 'segments', got none")
    start = _frame(row, "segment", "clip", "beg", "frame_num")
    first, last = _frame(row, "segment", "fidx_beg"), _frame(row, "segment", "fidx_end")
    if last < first:
        raise MalformedRowError(f"expected fidx_beg <= fidx_end, got {first} and {last}")
    video = youtube_id(text_at(row, "segment", "id"))
    yield CorpusClip(
        where=where, name=text_at(row, "name"), video_files=(video,),
        span=span_of_frames(range(start + first, start + last + 1), _rate(row)),
        columns=text_columns(
            {"speaker": text_at(row, "speaker"), "caption": value_at(row, "segment", "caption"), "licence": LICENCE}
        ),
    )  # fmt: skip


def _frame(row: Any, *keys: str) -> int:
    number = number_at(row, *keys)
    if number != int(number) or not 0 <= number <= _MAX_FRAME:
        raise MalformedRowError(f"expected a frame number in {'.'.join(keys)!r}, got {number:g}")
    return int(number)


def _rate(row: Any) -> FrameRate:
    """The rate of the clip; decimals such as 23.976023976 stand for 24000/1001."""
    number = number_at(row, "segment", "clip", "beg", "framerate")
    if not 1 <= number <= 1000:
        raise MalformedRowError(f"expected a frame rate of 1 to 1000, got {number:g}")
    for value in (Fraction(round(number * 1001), 1001), Fraction(number).limit_denominator(1000)):
        if abs(float(value) - number) < 1e-4:
            return FrameRate(value.numerator, value.denominator)
    return FrameRate.parse(f"{number:.6f}")
