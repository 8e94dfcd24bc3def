"""Import a corpus: write a manifest of the clips with local files, and a table of the missing ones."""

import csv
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xsheet.curate.corpora.clips import CorpusClip, CorpusProblem
from xsheet.curate.corpora.kinds import CorpusKind, corpus_clips
from xsheet.curate.corpora.local_files import LocalVideos
from xsheet.curate.manifest import CROP_COLUMNS, CROP_HEIGHT, TIME_COLUMNS
from xsheet.curate.paths import path_to_text
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.files import atomic_path, write_text
from xsheet.schemas.time import seconds_from_us

MANIFEST_SUFFIXES = (".parquet", ".csv", ".jsonl")
_NUMBERS = ("start_s", "end_s", *CROP_COLUMNS, CROP_HEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedClip:
    """A clip and its local file."""

    clip: CorpusClip
    file: Path
    is_whole: bool  # the file is the clip; otherwise the recording that it is part of

    @property
    def start_us(self) -> int:
        """Start in the file."""
        return 0 if self.is_whole or self.clip.span is None else self.clip.span.start_us

    @property
    def end_us(self) -> float:
        """End in the file; infinite for a whole file."""
        return float("inf") if self.is_whole or self.clip.span is None else self.clip.span.end_us


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusImport:
    """Clips of a corpus with local files, and rows that are not usable."""

    kind: CorpusKind
    placed: Sequence[PlacedClip]  # by file and time
    problems: Sequence[CorpusProblem]

    @property
    def counts(self) -> dict[str, int]:
        """Clips in the metadata, those in the manifest, their files, and clips per reason."""
        reasons = Counter(problem.reason for problem in self.problems)
        return {
            "clips": len(self.placed) + len(self.problems),
            "in_manifest": len(self.placed),
            "files": len({one.file for one in self.placed}),
            "clip_files": sum(one.is_whole for one in self.placed),
            "segments": sum(not one.is_whole for one in self.placed),
            **dict(sorted(reasons.items())),
        }


def import_corpus(kind: CorpusKind, meta: Path, videos: Path, columns: Mapping[str, str]) -> CorpusImport:
    """Find the clips of a corpus among local files; nothing is written.

    Args:
        kind: which corpus.
        meta: its metadata, a file or a folder.
        videos: folder of the local videos, searched recursively.
        columns: {column of xsheet: column of the metadata}.

    Raises:
        ConfigError: unusable metadata, no such folder, or no clip has a local file.
    """
    files = LocalVideos(videos)
    placed: list[PlacedClip] = []
    problems: list[CorpusProblem] = []
    for clip in corpus_clips(kind, meta, columns):
        found = clip if isinstance(clip, CorpusProblem) else _place(clip, files)
        if isinstance(found, CorpusProblem):
            problems.append(found)
        else:
            placed.append(found)
    if not placed:
        raise ConfigError(
            where=str(videos), expected=f"at least one video of {kind}",
            got=f"none of {len(problems)} clips among {len(files.files)} videos"
            + (f" (first: {problems[0].where}: {problems[0].message})" if problems else ""),
            hint="see docs/corpora.md for the names that files may have",
        )  # fmt: skip
    kept, more = _without_overlaps(placed)
    return CorpusImport(kind=kind, placed=kept, problems=[*problems, *more])


def _place(clip: CorpusClip, files: LocalVideos) -> PlacedClip | CorpusProblem:
    def problem(reason: Any, message: str) -> CorpusProblem:
        return CorpusProblem(where=clip.where, name=clip.name, reason=reason, message=message)

    if clip.file is not None:
        if not files.contains(clip.file):
            return problem("outside_folder", f"expected a path below {files.folder}, got {clip.file[:200]!r}")
        file = files.at(clip.file)
        missing = f"no file {clip.file}"
        return problem("missing", missing) if file is None else PlacedClip(clip=clip, file=file, is_whole=True)
    places = ((clip.clip_files, True), (clip.video_files, False))
    for names, is_whole in reversed(places) if clip.is_cut_without_sound else places:
        found = sorted({file for name in names for file in files.find(name)})
        if len(found) > 1:
            listed = ", ".join(str(file.relative_to(files.folder)) for file in found[:3])
            return problem("ambiguous", f"expected one file, got {len(found)}: {listed}; remove the others")
        if found and not _is_utf8(found[0]):
            return problem("name_not_utf8", f"expected a path in UTF-8, got {path_to_text(str(found[0]))}; rename it")
        if found:
            return PlacedClip(clip=clip, file=found[0], is_whole=is_whole)
    return problem("missing", f"no file called {' or '.join((*clip.clip_files, *clip.video_files))}")


def _is_utf8(path: Path) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in str(path))


def _without_overlaps(placed: Iterable[PlacedClip]) -> tuple[list[PlacedClip], list[CorpusProblem]]:
    """Clips by file and time; of clips that overlap in a file, the first by time stays."""
    by_file: dict[Path, list[PlacedClip]] = defaultdict(list)
    for one in placed:
        by_file[one.file].append(one)
    kept: list[PlacedClip] = []
    problems: list[CorpusProblem] = []
    for file in sorted(by_file):
        last: PlacedClip | None = None
        for one in sorted(by_file[file], key=lambda one: (one.start_us, one.end_us)):
            if last is None or one.start_us >= last.end_us:
                kept.append(one)
                last = one
                continue
            same = (one.start_us, one.end_us) == (last.start_us, last.end_us)
            problems.append(
                CorpusProblem(
                    where=one.clip.where, name=one.clip.name, reason="duplicate" if same else "overlaps",
                    message=f"{'is the same part of' if same else 'overlaps'} {last.clip.name} in {file.name}",
                )
            )  # fmt: skip
    return kept, problems


# ---- files


def write_import(found: CorpusImport, out: Path) -> Path:
    """Write the manifest, then the table of problems beside it; both replace earlier ones.

    Returns:
        The table of problems, OUT without suffix + `.missing.csv`; it is written even if it is empty.

    Raises:
        ConfigError: a suffix that is not one of MANIFEST_SUFFIXES.
        OSError: the folder cannot be written.
    """
    check_manifest_path(out)
    rows = [
        {name: _encodable(value) for name, value in row.items()} for row in _manifest_rows(found, out.absolute().parent)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    missing = out.with_name(f"{out.stem}.missing.csv")
    fields = ("where", "name", "reason", "message")
    problems = [{field: _encodable(getattr(problem, field)) for field in fields} for problem in found.problems]
    write_text(missing, _csv(fields, problems))
    match out.suffix.lower():
        case ".parquet":
            schema = pa.schema([(name, pa.float64() if name in _NUMBERS else pa.string()) for name in names])
            with atomic_path(out) as temporary:
                pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)
        case ".jsonl":
            write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        case _:
            write_text(out, _csv(names, rows))
    return missing


def check_manifest_path(out: Path) -> None:
    """Raise ConfigError unless the suffix is one of MANIFEST_SUFFIXES."""
    if out.suffix.lower() not in MANIFEST_SUFFIXES:
        raise ConfigError(
            where="--out", expected=f"a file that ends in {', '.join(MANIFEST_SUFFIXES)}", got=str(out),
            hint="write e.g. --out manifest.parquet",
        )  # fmt: skip


def _manifest_rows(found: CorpusImport, folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of the manifest; paths below its folder are relative to it, so that both can be moved together."""
    for one in found.placed:
        file = Path(os.path.abspath(one.file))  # noqa: PTH100 - links stay links
        row: dict[str, Any] = {"path": str(file.relative_to(folder) if file.is_relative_to(folder) else file)}
        clip = one.clip
        if not one.is_whole:
            if clip.span is not None:
                row |= {"start_s": seconds_from_us(clip.span.start_us), "end_s": seconds_from_us(clip.span.end_us)}
            if clip.crop is not None:
                row |= dict(zip(CROP_COLUMNS, clip.crop, strict=True))
                row |= {} if clip.crop_height is None else {CROP_HEIGHT: clip.crop_height}
        yield row | {"corpus": found.kind, "corpus_clip": clip.name} | _carried(clip.columns)


def _carried(columns: Mapping[str, str]) -> dict[str, str]:
    """Columns of the metadata for the manifest; those with a meaning in manifests are renamed.

    The metadata is untrusted: it must not set the path of the video or of a file of word times.
    """
    own = ("path", *TIME_COLUMNS, *CROP_COLUMNS, CROP_HEIGHT, "corpus", "corpus_clip")
    return {
        f"corpus_{name}" if name in own or (name == "words" and text.lstrip()[:1] not in ("[", "{")) else name: text
        for name, text in columns.items()
    }


def _encodable(value: Any) -> Any:
    """A text without the halves of characters that JSON can hold and UTF-8 cannot."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{v:.6f}" if isinstance(v, float) else v for name, v in row.items()})
    return text.getvalue()
