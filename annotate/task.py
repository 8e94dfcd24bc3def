"""One batch of clips to the rows of its replies."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path

from xsheet.annotate.base import AnnotationRequest, Annotator, AnnotatorReply
from xsheet.annotate.clip_batches import ClipBatch
from xsheet.annotate.motion.curves import motion_curves, track_speeds
from xsheet.annotate.rows import interpret_reply, normalised_annotation, raw_annotation
from xsheet.annotate.settings import AnnotateSettings, open_annotator
from xsheet.annotate.speech.relation import SpeechSettings, add_speech_relations
from xsheet.annotate.speech.transcript import Transcript
from xsheet.runtime.executor import Incomplete, Item, Row
from xsheet.schemas import ids, tables
from xsheet.schemas.annotation import Annotation, Repair
from xsheet.schemas.clip import Clip, Signals, TranscriptWord
from xsheet.schemas.errors import ContractError
from xsheet.schemas.run import Run


class AnnotateTask:
    """Requests K replies for every clip of a batch. The payload of an item is a ClipBatch."""

    name = "annotate"

    def __init__(self, settings: AnnotateSettings, *, run: Run, cache_folder: Path) -> None:
        self.stage = "signals"
        self._settings = settings
        self._run_id = run.run_id
        self._fingerprint = settings.request_fingerprint(run)
        self._cache_folder = cache_folder.absolute()  # cache of finished calls
        self._annotator: Annotator | None = None

    def open(self) -> None:
        """Open the annotator; loads weights if it has any."""
        self._annotator = open_annotator(self._settings, cache_folder=self._cache_folder)

    def __call__(self, item: Item, /) -> Sequence[Row] | Incomplete:
        """Rows of the layers raw and normalised, by clip and sample; Incomplete with these rows if a reply failed."""
        batch: ClipBatch = item.payload
        assert self._annotator is not None
        self.stage = "signals"
        requests = {
            request.request_id: request
            for request in annotation_requests(batch, self._settings, fingerprint=self._fingerprint)
        }
        self.stage = "ask"
        rows: list[Annotation] = []
        for reply in self._annotator(list(requests.values())):
            rows += self._rows(batch, requests[reply.request_id], reply)
        rows.sort(key=lambda row: (row.clip_id, row.sample_index or 0, row.layer != "raw"))
        failed = [row for row in rows if row.layer == "raw" and row.status == "error"]
        if failed:
            reason = failed[0].repairs[-1].reason if failed[0].repairs else "no reply"
            return Incomplete(
                "ask", "no_reply", f"{len(failed)} of {len(requests)} requests failed: {reason}", rows=rows
            )
        return rows

    def _rows(
        self, batch: ClipBatch, request: AnnotationRequest, reply: AnnotatorReply
    ) -> tuple[Annotation, Annotation]:
        content = interpret_reply(request, reply, settings=self._settings.normalise)
        problem = batch.transcripts[batch.clips.index(request.clip)].problem
        if problem is not None:
            ignored = Repair(op="ignore", path="transcript", reason=problem)
            content = replace(content, repairs=(ignored, *content.repairs))
        raw = raw_annotation(request, reply, content, run_id=self._run_id)
        return raw, with_speech_relation(
            normalised_annotation(raw, content), request.signals, request.words, settings=self._settings.speech
        )


def with_speech_relation(
    annotation: Annotation, signals: Signals, words: Sequence[TranscriptWord], *, settings: SpeechSettings
) -> Annotation:
    """The annotation with the speech relation of every phase; the apex of a phase is at its highest measured speed."""
    speed = {
        track: tuple(None if math.isnan(value) else value for value in values.tolist())
        for track, values in track_speeds(motion_curves(signals)).items()
        if any(phase.track == track for phase in annotation.phases)
    }
    return add_speech_relations(annotation, signals, words, speeds=speed, settings=settings)


def annotation_requests(
    batch: ClipBatch, settings: AnnotateSettings, *, fingerprint: str
) -> Iterator[AnnotationRequest]:
    """K requests for every clip of a batch."""
    table = tables.read_slice(batch.signals_file, tables.SIGNALS, batch.rows)
    rows: list[Signals] = tables.from_arrow(table, tables.SIGNALS)
    for clip, signals, transcript in zip(batch.clips, rows, batch.transcripts, strict=True):
        if clip.clip_id != signals.clip_id:
            raise ContractError(
                where=str(batch.signals_file), expected=f"signals of {clip.clip_id}", got=signals.clip_id,
                hint="run `xsheet curate run` again, then annotate",
            )  # fmt: skip
        for sample in range(settings.samples):
            yield _annotation_request(
                batch, clip, signals, transcript, sample=sample, seed=settings.seed, fingerprint=fingerprint
            )


def _annotation_request(
    batch: ClipBatch, clip: Clip, signals: Signals, transcript: Transcript, *, sample: int, seed: int, fingerprint: str
) -> AnnotationRequest:
    seed = int(ids.content_key("seed", seed, clip.clip_id, sample)[:8], 16) >> 1  # inference engines accept 31 bits
    words = [[word.text, word.start_us, word.end_us] for word in transcript.words]
    return AnnotationRequest(
        request_id=ids.content_key(
            "ask", fingerprint, clip.media_sha256, _signals_hash(signals), transcript.text, words, sample, seed
        ),
        clip=clip,
        signals=signals,
        media=batch.set_folder / clip.media_path,
        sample_index=sample,
        seed=seed,
        transcript=transcript.text,
        words=transcript.words,
    )


def _signals_hash(signals: Signals) -> str:
    # Without the clip's id: equal files give equal requests.
    return hashlib.sha256(repr(astuple(signals)[1:]).encode()).hexdigest()
