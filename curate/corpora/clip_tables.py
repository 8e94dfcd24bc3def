"""Tables with one row per clip: TalkVerse and OpenHumanVid.

The lists are available on request, and the projects document only parts of them. OpenHumanVid_part_001.csv has
`clip_id`, `path` (clips/part_001/f6/05/HASH, without suffix), `caption` and scores, as users read HQ-OpenHumanVid;
issues 25 and 33 of github.com/fudan-generative-vision/OpenHumanVid report ids without files. The training script of
github.com/snap-research/TalkVerse reads `video_path`, `fps` and `scenes` (frames, "0,99;100,200"). So columns are found
by name: the first of the names below that exists, or the name given with `--columns` (`path` is the id or file name of
the clip).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from xsheet.curate.corpora.clips import (
    CorpusClip,
    CorpusProblem,
    find_name,
    metadata_files,
    read_clips,
    seconds_at,
    span_of_seconds,
    table_rows,
    text_at,
    text_columns,
    youtube_id,
)
from xsheet.curate.discover import VIDEO_SUFFIXES
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.time import Span

NAMES = {
    "path": ("clip_id", "clipid", "clip_path", "video_path", "path", "file_name", "video", "video_id", "id"),
    "video": ("video_id", "source_id", "youtube_id", "url"),
    "start_s": ("start_s", "start", "start_time", "start_sec"),
    "end_s": ("end_s", "end", "end_time", "end_sec"),
    "caption": ("caption", "text", "prompt", "short_caption", "long_caption"),
    "speaker": ("speaker", "speaker_id"),
}
_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


def table_clips(meta: Path, columns: Mapping[str, str], *, licence: str | None) -> Iterator[CorpusClip | CorpusProblem]:
    """Clips of a table, or of all tables below a folder.

    Args:
        meta: CSV, TSV, JSON, JSONL or Parquet, or a folder of these.
        columns: {column of xsheet: column of the tables}, before the names that are tried.
        licence: licence of the corpus, where it is known.

    Raises:
        ConfigError: no table, unreadable, or without a column for the clip.
    """
    for file in metadata_files(meta, _SUFFIXES):
        rows = list(table_rows(file))
        names = _column_names(file, [row for _, row in rows], columns)
        fixed = {} if licence is None else {"licence": licence}
        yield from read_clips(rows, partial(_clips_of, names=names, fixed=fixed))


def _column_names(file: Path, rows: list[dict[str, Any]], columns: Mapping[str, str]) -> dict[str, str]:
    """{column of xsheet: column of the table}."""
    present = list(dict.fromkeys(key for row in rows for key in row))
    wrong = next((name for name in columns.values() if rows and name not in present), None)
    found = {ours: name for ours, names in NAMES.items() if (name := find_name(names, present))} | dict(columns)
    if wrong is not None or (rows and "path" not in found):
        raise ConfigError(
            where=str(file), expected=f"a column {wrong!r}" if wrong else "a column with the id or file of each clip",
            got=", ".join(map(str, present))[:300], hint="name it with --columns path=COLUMN",
        )  # fmt: skip
    return found


def _clips_of(where: str, row: Any, *, names: Mapping[str, str], fixed: Mapping[str, str]) -> Iterator[CorpusClip]:
    clip = _stem(text_at(row, names["path"]))
    video = row.get(names["video"]) if "video" in names and names["video"] != names["path"] else None
    own = {name: row.get(column) for name, column in names.items() if name not in ("path", "video", "start_s", "end_s")}
    others = {key: value for key, value in row.items() if key not in names.values() and isinstance(key, str)}
    yield CorpusClip(
        where=where, name=clip, clip_files=(clip,), video_files=() if not video else (_stem(str(video)),),
        span=_span(row, names), columns=text_columns(others | own | dict(fixed)),
    )  # fmt: skip


def _stem(value: str) -> str:
    """The id or name of a file, from a path or a link."""
    name = youtube_id(value) if "://" in value else PurePosixPath(value.replace("\\", "/")).name
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in VIDEO_SUFFIXES else name


def _span(row: Any, names: Mapping[str, str]) -> Span | None:
    edges = [(names.get(edge, edge), row.get(names.get(edge, ""))) for edge in ("start_s", "end_s")]
    if all(value is None or value == "" for _, value in edges):
        return None
    start, end = (seconds_at(dict(edges), name) for name, _ in edges)
    return span_of_seconds(start, end)
