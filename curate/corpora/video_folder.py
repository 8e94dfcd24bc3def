"""Hugging Face video folders (huggingface.co/docs/datasets/video_dataset, as of November 2026).

A folder of videos with `metadata.csv`, `metadata.jsonl` or `metadata.parquet` beside them, or in each folder of a
split: `file_name` (or one column that ends in `_file_name`) names the video from the folder of the metadata. Without
metadata the folder of a video is its label and a folder above called train, validation or test its split.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from xsheet.curate.corpora.clips import (
    CorpusClip,
    CorpusProblem,
    find_name,
    metadata_error,
    read_clips,
    table_rows,
    text_at,
    text_columns,
)
from xsheet.curate.discover import VIDEO_SUFFIXES
from xsheet.schemas.errors import ConfigError

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SPLITS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}


def video_folder_clips(meta: Path, columns: Mapping[str, str]) -> Iterator[CorpusClip | CorpusProblem]:
    """Videos of a folder, or of the folder of a metadata file.

    Args:
        meta: the folder, or its metadata file.
        columns: {column of xsheet: column of the metadata}.

    Raises:
        ConfigError: no such folder, no videos, or metadata without file names.
    """
    if not meta.exists():
        raise metadata_error(meta, f"a folder of videos, or {', '.join(_METADATA)}", "no such path")
    top = meta if meta.is_dir() else meta.parent
    files = [meta] if meta.is_file() else sorted(p for name in _METADATA for p in meta.rglob(name))
    if not files:
        yield from _clips_of_folders(top)
    for file in files:
        rows = list(table_rows(file))
        name = _file_column(file, [row for _, row in rows], columns)
        below = file.parent.relative_to(top)
        yield from read_clips(rows, partial(_clips_of, name=name, below=below, columns=columns))


def _clips_of(where: str, row: Any, *, name: str, below: Path, columns: Mapping[str, str]) -> Iterator[CorpusClip]:
    file = text_at(row, name)
    path = (below / (file if "/" in file else file.replace("\\", "/"))).as_posix()  # metadata written on Windows
    renamed = {ours: row.get(theirs) for ours, theirs in columns.items() if ours != "path"}
    kept = {str(key): value for key, value in row.items() if key not in (name, *columns.values())}
    caption = next(
        (row[key] for key in (find_name((one,), row) for one in ("caption", "text")) if key and row[key]), None
    )
    yield CorpusClip(where=where, name=path, file=path, columns=text_columns(kept | {"caption": caption} | renamed))


def _file_column(file: Path, rows: list[dict[str, Any]], columns: Mapping[str, str]) -> str:
    present = list(dict.fromkeys(str(key) for row in rows for key in row))
    candidates = [columns["path"]] if "path" in columns else ["file_name", *(n for n in present if "file_name" in n)]
    found = find_name(candidates, present)
    if found is None:
        raise ConfigError(
            where=str(file), expected=f"a column {candidates[0]!r}", got=", ".join(present)[:300],
            hint="name it with --columns path=COLUMN",
        )  # fmt: skip
    return found


def _clips_of_folders(top: Path) -> Iterator[CorpusClip]:
    videos = sorted(p for p in top.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
    if not videos:
        raise metadata_error(top, f"videos, or {', '.join(_METADATA)}", "none")
    for video in videos:
        folders = video.relative_to(top).parts[:-1]
        split = next((_SPLITS[name] for name in folders if name in _SPLITS), None)
        label = folders[-1] if folders and folders[-1] not in _SPLITS else None
        path = video.relative_to(top).as_posix()
        yield CorpusClip(where=path, name=path, file=path, columns=text_columns({"label": label, "split": split}))
