"""The table `words`: one row for every clip with a transcript, from times that exist, else by forced alignment.

    a file of the sidecar folder with times   .json, .TextGrid or .vtt, named like the source's video
    the column `words` of the manifest
    a text file of the sidecar folder         .txt: aligned
    the column `transcript`                   aligned

The first that exists is used. A clip whose words could not be timed has a row with the reason.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from xsheet.annotate.speech.aligner import Aligner, AlignSettings
from xsheet.annotate.speech.transcript import words_in_clip
from xsheet.annotate.speech.word_times import parse_words
from xsheet.curate.media.reader import open_media
from xsheet.curate.paths import text_to_path
from xsheet.runtime.executor import Execution, Item, Progress, run_task
from xsheet.runtime.lock import write_lock
from xsheet.schemas import ids, tables
from xsheet.schemas.clip import Clip, ClipWords
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.sets import build_manifest, open_set
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.source import SourceVideo

TIMED_SUFFIXES = (".json", ".textgrid", ".vtt")
TEXT_SUFFIX = ".txt"
_LANGUAGE = re.compile(r"\.[a-z]{2,3}(?:-[A-Za-z]{2,4})?$")  # talk.en.vtt
MAX_SIDECAR_BYTES = 16 << 20
MAX_MESSAGE_CHARS = 400
Origin = Literal["manifest", "sidecar", "alignment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsResult:
    """What was written."""

    clips: int  # of the set
    timed: int  # clips whose words have times
    failed: int  # clips with a transcript and no usable times
    words: int
    guessed: int  # words with a pronunciation from their letters

    @property
    def without_transcript(self) -> int:
        """Clips without any transcript; they have no row."""
        return self.clips - self.timed - self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipText:
    """A text for one clip: word times, or a transcript to be aligned."""

    clip: Clip
    text: str
    is_timed: bool
    place: str  # column or file that holds it

    def row(self, origin: Origin, method: str, message: str | None = None) -> ClipWords:
        """The row of this clip, without words."""
        message = None if message is None else message[:MAX_MESSAGE_CHARS]
        return ClipWords(
            clip_id=self.clip.clip_id, status="ok" if message is None else "failed", message=message, origin=origin,
            method=method, transcript_sha256=hashlib.sha256(self.text.encode()).hexdigest(),
        )  # fmt: skip


class AlignTask:
    """Aligns the transcript of one clip per item; the payload is a ClipText."""

    name = "align"
    VERSION = 1  # part of the keys of results; raise it with every change of the rows

    def __init__(self, settings: AlignSettings, *, set_folder: Path) -> None:
        self.stage = "align"
        self._settings = settings
        self._set = set_folder.absolute()
        self._aligner: Aligner | None = None

    def open(self) -> None:
        """Load the acoustic model and the dictionary."""
        self._aligner = Aligner(self._settings)

    def __call__(self, item: Item, /) -> list[ClipWords]:
        """One row, with words or with the reason why there are none."""
        text: ClipText = item.payload
        assert self._aligner is not None
        with open_media(self._set / text.clip.media_path, root=self._set) as media:
            sound = media.sound()
        try:
            if sound is None:
                raise ValueError("a clip with audio, got none")
            alignment = self._aligner(sound, text.text)
        except ValueError as error:
            return [text.row("alignment", _method(), f"expected {error}")]
        return [replace(text.row("alignment", _method()), score=alignment.score, words=alignment.words)]


def write_words(
    set_folder: Path,
    settings: AlignSettings,
    *,
    sidecars: Path | None = None,
    execution: Execution,
    retry_failed: bool = False,
    show_progress: bool = True,
) -> WordsResult:
    """Write the table `words` of a set; the same command continues a stopped run.

    Args:
        set_folder: with clips.
        settings: limits of alignment.
        sidecars: folder with a file per source video, with the video's name and another ending.
        execution: workers for the alignment.
        retry_failed: align clips again that failed.
        show_progress: show a progress bar.

    Raises:
        ContractError: no set.
        ConfigError: the sidecar folder does not exist, or holds a file that is too large.
        RunError: pocketsphinx is needed and not installed, or another process writes to the set.
    """
    open_set(set_folder)
    started = datetime.now(UTC)
    with write_lock(set_folder):
        texts = ClipTexts(set_folder, sidecars)
        items = (_item(text, settings) for text in texts if not text.is_timed)
        results = run_task(
            AlignTask(settings, set_folder=set_folder), items, out=set_folder, execution=execution,
            retry_failed=retry_failed, progress=Progress("align") if show_progress else None,
        )  # fmt: skip
        problems = {one.key: one.message or one.status for one in results.outcomes() if one.status != "ok"}
        counts: Counter[str] = Counter()

        def rows() -> Iterator[ClipWords]:
            for text in texts:
                if text.is_timed:
                    row = _timed_row(text)
                else:
                    key = _item(text, settings).key
                    problem = problems.get(key)
                    row = next(results.rows_of(key, ClipWords)) if problem is None else text.row(
                        "alignment", _method(), problem
                    )  # fmt: skip
                counts[row.status] += 1
                counts["words"] += len(row.words)
                counts["guessed"] += sum(word.pronunciation == "guessed" for word in row.words)
                yield row

        tables.write_table(set_folder, tables.WORDS, rows())
        clips = tables.read_table(set_folder, tables.CLIPS, ["clip_id"]).num_rows
        result = WordsResult(
            clips=clips, timed=counts["ok"], failed=counts["failed"], words=counts["words"], guessed=counts["guessed"]
        )
        seconds = (datetime.now(UTC) - started).total_seconds()
        manifest = build_manifest(
            "annotate words", arguments={"jobs": execution.jobs, "sidecars": sidecars and str(sidecars)},
            settings=settings, distributions=("xsheet", "numpy", "pyarrow", "pocketsphinx"), started=started,
            seconds={"words": seconds}, counts={"clips": clips, **counts},
        )  # fmt: skip
        manifest.write(set_folder)
    return result


class ClipTexts:
    """The texts of the clips of a set, in the order of the table; clips without one are left out.

    Raises:
        ConfigError: the sidecar folder does not exist, or holds a file that is too large.
    """

    def __init__(self, set_folder: Path, sidecars: Path | None) -> None:
        self._set_folder = set_folder
        self._sources = {source.source_id: source for source in tables.iter_records(set_folder, tables.SOURCES)}
        self._sidecars = {} if sidecars is None else _sidecar_files(sidecars)
        self._read = lru_cache(maxsize=4)(_read)  # the clips of one source are neighbours

    def __iter__(self) -> Iterator[ClipText]:
        for clip in tables.iter_records(self._set_folder, tables.CLIPS):
            source = self._sources.get(clip.source_id)
            text = None if source is None else self._text(clip, source)
            if text is not None:
                yield text

    def _text(self, clip: Clip, source: SourceVideo) -> ClipText | None:
        columns, stem = source.columns_at(clip.start_us), Path(text_to_path(source.path)).stem
        files = self._sidecars.get(stem, {})
        timed = next((files[suffix] for suffix in TIMED_SUFFIXES if suffix in files), None)
        candidates = (
            (timed and self._read(timed), True, timed and timed.name),
            (columns.get("words"), True, "column words"),
            (TEXT_SUFFIX in files and self._read(files[TEXT_SUFFIX]), False, f"{stem}{TEXT_SUFFIX}"),
            (columns.get("transcript"), False, "column transcript"),
        )
        for text, is_timed, place in candidates:
            if text and text.strip():
                return ClipText(clip=clip, text=text, is_timed=is_timed, place=str(place))
        return None


def _sidecar_files(folder: Path) -> dict[str, dict[str, Path]]:
    """{name of the video without its ending: {ending: file}}; `talk.en.vtt` belongs to `talk` too."""
    if not folder.is_dir():
        raise ConfigError(where="--sidecars", expected="a folder", got=str(folder), hint="name the folder of the files")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if suffix in (*TIMED_SUFFIXES, TEXT_SUFFIX) and path.is_file():
            if path.stat().st_size > MAX_SIDECAR_BYTES:
                raise ConfigError(
                    where=str(path), expected=f"at most {MAX_SIDECAR_BYTES} bytes", got=str(path.stat().st_size),
                    hint="remove it, or write one file per recording",
                )  # fmt: skip
            for stem in {path.stem, _LANGUAGE.sub("", path.stem)}:
                found.setdefault(stem, {}).setdefault(suffix, path)
    return found


def _read(path: Path) -> str:
    data = path.read_bytes()
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"  # Praat writes either
    return data.decode(encoding, errors="replace")


_parse = lru_cache(maxsize=4)(parse_words)


def _timed_row(text: ClipText) -> ClipWords:
    origin: Origin = "manifest" if text.place.startswith("column ") else "sidecar"
    try:
        words = words_in_clip(_parse(text.text), text.clip)
    except ValueError as error:
        return text.row(origin, text.place, str(error))
    return replace(text.row(origin, text.place), words=words)


def _item(text: ClipText, settings: AlignSettings) -> Item:
    key = ids.content_key(
        "align", AlignTask.VERSION, _method(), settings_sha256(settings), text.clip.clip_id, text.clip.media_sha256,
        text.text,
    )  # fmt: skip
    return Item(key=key, name=f"words of {text.clip.clip_id}", payload=text)


@cache
def _method() -> str:
    try:
        return f"pocketsphinx {version('pocketsphinx')}, en-us"
    except PackageNotFoundError:
        return "pocketsphinx, not installed"
