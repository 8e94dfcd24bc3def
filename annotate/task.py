"""One shard of clips to the rows of its replies."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path

from xsheet.annotate.base import Annotator, Ask, Reply, Word
from xsheet.annotate.clip_batches import Shard
from xsheet.annotate.motion.curves import course_of, speeds
from xsheet.annotate.rows import content_of, norm_row, raw_row
from xsheet.annotate.settings import AnnotateSettings, open_annotator
from xsheet.annotate.speech.relation import SpeechSettings, with_speech
from xsheet.annotate.speech.transcript import Transcript
from xsheet.runtime.executor import Item, Row, Unfinished
from xsheet.schemas import ids, tables
from xsheet.schemas.annotation import Annotation, Repair
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.errors import ContractError
from xsheet.schemas.run import Run


class AnnotateTask:
    """Asks an annotator K times about every clip of a shard. The payload of an item is a Shard."""

    name = "annotate"

    def __init__(self, settings: AnnotateSettings, *, run: Run, replies: Path) -> None:
        self.stage = "signals"
        self._settings = settings
        self._run_id = run.run_id
        self._asker = settings.asker_sha256(run)
        self._replies = replies.absolute()  # finished calls are kept below it
        self._annotator: Annotator | None = None

    def open(self) -> None:
        """Weights, where the annotator has any."""
        self._annotator = open_annotator(self._settings, replies=self._replies)

    def __call__(self, item: Item, /) -> Sequence[Row] | Unfinished:
        """Raw and norm rows, by clip and sample. With replies missing, the item is unfinished and keeps its rows."""
        shard: Shard = item.payload
        assert self._annotator is not None
        self.stage = "signals"
        asks = {ask.ask_id: ask for ask in asks_of(shard, self._settings, asker=self._asker)}
        self.stage = "ask"
        rows: list[Annotation] = []
        for reply in self._annotator(list(asks.values())):
            rows += self._rows(shard, asks[reply.ask_id], reply)
        rows.sort(key=lambda row: (row.clip_id, row.sample_index or 0, row.layer != "raw"))
        away = [row for row in rows if row.layer == "raw" and row.status == "error"]
        if away:
            why = away[0].repairs[-1].reason if away[0].repairs else "no reply"
            return Unfinished("ask", "no_reply", f"{len(away)} of {len(asks)} asks: {why}", rows=rows)
        return rows

    def _rows(self, shard: Shard, ask: Ask, reply: Reply) -> tuple[Annotation, Annotation]:
        content = content_of(ask, reply, settings=self._settings.normalise)
        problem = shard.transcripts[shard.clips.index(ask.clip)].problem
        if problem is not None:
            ignored = Repair(op="ignore", path="transcript", reason=problem)
            content = replace(content, repairs=(ignored, *content.repairs))
        raw = raw_row(ask, reply, content, run_id=self._run_id)
        return raw, spoken(norm_row(raw, content), ask.signals, ask.words, settings=self._settings.speech)


def spoken(norm: Annotation, signals: Signals, words: Sequence[Word], *, settings: SpeechSettings) -> Annotation:
    """The row with every phase's relation to the voice; apexes are where the measured speed is highest."""
    speed = {
        track: tuple(None if math.isnan(value) else value for value in values.tolist())
        for track, values in speeds(course_of(signals)).items()
        if any(phase.track == track for phase in norm.phases)
    }
    return with_speech(norm, signals, words, speeds=speed, settings=settings)


def asks_of(shard: Shard, settings: AnnotateSettings, *, asker: str) -> Iterator[Ask]:
    """K asks for every clip of a shard."""
    found = tables.read_slice(shard.signals_file, tables.SIGNALS, shard.rows)
    rows: list[Signals] = tables.from_arrow(found, tables.SIGNALS)
    for clip, signals, transcript in zip(shard.clips, rows, shard.transcripts, strict=True):
        if clip.clip_id != signals.clip_id:
            raise ContractError(
                where=str(shard.signals_file), expected=f"signals of {clip.clip_id}", came=signals.clip_id,
                todo="run `xsheet curate run` again, then annotate",
            )  # fmt: skip
        for sample in range(settings.samples):
            yield _ask(shard, clip, signals, transcript, sample=sample, seed=settings.seed, asker=asker)


def _ask(
    shard: Shard, clip: Clip, signals: Signals, transcript: Transcript, *, sample: int, seed: int, asker: str
) -> Ask:
    seed = int(ids.content_key("seed", seed, clip.clip_id, sample)[:8], 16) >> 1  # engines want 31 bits
    words = [[word.text, word.start_us, word.end_us] for word in transcript.words]
    return Ask(
        ask_id=ids.content_key("ask", asker, clip.media_sha256, _digest(signals), transcript.text, words, sample, seed),
        clip=clip,
        signals=signals,
        media=shard.set_folder / clip.media_path,
        sample_index=sample,
        seed=seed,
        transcript=transcript.text,
        words=transcript.words,
    )


def _digest(signals: Signals) -> str:
    # Without its own clip's id: equal files have equal asks.
    return hashlib.sha256(repr(astuple(signals)[1:]).encode()).hexdigest()
