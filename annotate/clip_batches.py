"""Clips of a set in batches, with the location of their signals and their transcripts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from xsheet.annotate.settings import AnnotateSettings
from xsheet.annotate.speech.transcript import Transcript, transcript_of
from xsheet.runtime.executor import Item
from xsheet.schemas import ids, tables
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ContractError
from xsheet.schemas.source import SourceVideo


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipBatch:
    """Clips that are annotated together, and the rows of their signals."""

    set_folder: Path  # absolute
    signals_file: Path  # absolute
    rows: range  # of signals_file, one per clip in the same order
    clips: tuple[Clip, ...]
    transcripts: tuple[Transcript, ...]


class ClipBatches:
    """The batches of a set as items, read lazily.

    The key of an item starts with `key_prefix`, which the batches of one run share, and hashes the signals file, the
    rows, media and transcripts: any change reruns the batch. Finished calls are cached separately, so a rerun does not
    repeat them.

    Raises:
        ContractError: the set has no clips with signals.
    """

    def __init__(self, set_folder: Path, settings: AnnotateSettings, *, run_id: str, limit: int | None = None) -> None:
        self._set_folder = set_folder.absolute()
        self._settings = settings
        self._run_id = run_id
        self.key_prefix = ids.content_key("annotate", run_id)[:16]
        self._row_ranges = list(_row_ranges(self._set_folder, limit=limit, step=settings.clips_per_batch))
        if not self._row_ranges:
            raise ContractError(
                where=str(set_folder), expected="clips with signals", got="none",
                hint="run `xsheet curate run` first; its report shows why clips were rejected",
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self._row_ranges)

    def __iter__(self) -> Iterator[Item]:
        clips, transcript_of_clip = (
            tables.read_table(self._set_folder, tables.CLIPS),
            TranscriptLookup(self._set_folder),
        )
        hashes: dict[Path, str] = {}
        for file, rows in self._row_ranges:
            if file not in hashes:
                hashes[file] = ids.file_sha256(file)
            batch_clips = _clips_for_rows(clips, file, rows)
            yield self._item(
                file, hashes[file], rows, batch_clips, [transcript_of_clip(clip.clip_id) for clip in batch_clips]
            )

    def _item(
        self, file: Path, sha256: str, rows: range, clips: Sequence[Clip], transcripts: Sequence[Transcript]
    ) -> Item:
        transcript_key = [
            [transcript.text, [[word.text, word.start_us, word.end_us] for word in transcript.words]]
            for transcript in transcripts
        ]
        media = [clip.media_sha256 for clip in clips]
        content = ids.content_key(sha256, rows.start, rows.stop, media, transcript_key)
        return Item(
            key=self.key_prefix + content,
            name=f"clips {rows.start} to {rows.stop - 1} of {file.name}",
            payload=ClipBatch(
                set_folder=self._set_folder, signals_file=file, rows=rows, clips=tuple(clips),
                transcripts=tuple(transcripts),
            ),
        )  # fmt: skip


def _row_ranges(set_folder: Path, *, limit: int | None, step: int) -> Iterator[tuple[Path, range]]:
    remaining = limit
    for file in tables.part_files(set_folder, tables.SIGNALS):
        count: int = tables.read_footer(file).num_rows
        end = count if remaining is None else min(count, remaining)
        remaining = None if remaining is None else remaining - end
        for start in range(0, end, step):
            yield file, range(start, min(start + step, end))


def _clips_for_rows(clips: pa.Table, file: Path, rows: range) -> list[Clip]:
    clip_ids = tables.read_slice(file, tables.SIGNALS, rows, ["clip_id"])["clip_id"]
    indices = pc.index_in(clip_ids, value_set=clips["clip_id"].combine_chunks())
    if indices.null_count:
        raise ContractError(
            where=str(file), expected="a clip for every row of signals", got=f"{indices.null_count} without",
            hint="run `xsheet curate run` again",
        )  # fmt: skip
    return tables.from_arrow(clips.take(indices), tables.CLIPS)


class TranscriptLookup:
    """Transcripts by clip, for clips in the table `words` and for sources whose manifest has them."""

    def __init__(self, set_folder: Path) -> None:
        self._words = {row.clip_id: row for row in tables.iter_records(set_folder, tables.WORDS)}
        self._sources: dict[str, SourceVideo] = {
            source.source_id: source
            for source in tables.iter_records(set_folder, tables.SOURCES)
            if self._words
            or any(
                column.key in ("transcript", "words")
                for columns in (source.manifest_columns, *(segment.columns for segment in source.segments))
                for column in columns
            )
        }
        self._clips: dict[str, Clip] = {}
        if self._sources:
            self._clips = {clip.clip_id: clip for clip in tables.iter_records(set_folder, tables.CLIPS)}

    def __call__(self, clip_id: str) -> Transcript:
        """The transcript of a clip; empty if there is none."""
        clip = self._clips.get(clip_id)
        source = None if clip is None else self._sources.get(clip.source_id)
        return Transcript() if clip is None or source is None else transcript_of(source, clip, self._words.get(clip_id))
