"""Annotation: clips to phase-timed actions, in layers that never overwrite one another.

    signals → ask (measured edges and candidates as a ruler) → reply → parse → normalise → consensus over K samples

Replies are the raw layer, verbatim; normalised is what they come to in the contract's words, every change noted; consensus is
what the samples of a clip agree on. Shards commit as they end, and a finished reply is never asked for again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from xsheet.annotate.clip_batches import ClipBatches, TranscriptLookup
from xsheet.annotate.consensus import ConsensusSettings, build_consensus
from xsheet.annotate.lookup import SignalsLookup
from xsheet.annotate.settings import AnnotateSettings, annotation_run, consensus_run
from xsheet.annotate.speech.relation import DEFAULT_SETTINGS as SPEECH_DEFAULTS
from xsheet.annotate.speech.relation import SpeechSettings
from xsheet.annotate.task import AnnotateTask, with_speech_relation
from xsheet.runtime.executor import Execution, Progress, run_task
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.layers import LayerRun, write_layer
from xsheet.schemas.sets import build_manifest, open_set

DISTRIBUTIONS = ("xsheet", "numpy", "pyarrow", "torch", "transformers", "qwen-vl-utils", "llguidance", "httpx")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateResult:
    """What a run left behind."""

    raw: LayerRun
    normalised: LayerRun
    consensus: LayerRun
    clips: int
    phases: int  # of the consensus layer
    actions: Mapping[str, int]  # of the consensus layer, by class
    statuses: Mapping[str, int]  # replies by how they ended
    repairs: Mapping[str, int]  # changes from raw to normalised, by what was done
    seconds: float

    @property
    def failed(self) -> int:
        """Replies without a usable statement."""
        return sum(self.statuses.values()) - self.statuses.get("ok", 0)


def annotate(
    set_folder: Path,
    settings: AnnotateSettings,
    *,
    execution: Execution,
    retry_failed: bool = False,
    show_progress: bool = True,
    limit: int | None = None,
) -> AnnotateResult:
    """The whole path over the clips of a set.

    Raises:
        ContractError: no set, or one without clips and signals.
        ConfigError: an annotator that cannot be opened (weights, key, library).
        RunError: the run cannot go on; what is finished is kept.
    """
    open_set(set_folder)
    started = datetime.now(UTC)
    said = annotation_run(settings)
    items = ClipBatches(set_folder, settings, run_id=said.run_id, limit=limit)
    progress = Progress("annotate") if show_progress else None
    task = AnnotateTask(settings, run=said, cache_folder=set_folder / ".replies")
    replied = run_task(task, items, out=set_folder, execution=execution, retry_failed=retry_failed, progress=progress)
    raw, normalised = (
        write_layer(set_folder, said, layer, (row for row in replied.rows(Annotation) if row.layer == layer))
        for layer in ("raw", "normalised")
    )
    agreed = write_consensus(set_folder, normalised, settings.consensus, speech=settings.speech)
    seconds = (datetime.now(UTC) - started).total_seconds()
    annotated = _summary(raw, normalised, agreed, seconds=seconds)
    told = build_manifest(
        "annotate run",
        arguments={"jobs": execution.jobs, "ray": execution.ray},
        settings=settings,
        distributions=DISTRIBUTIONS,
        started=started,
        seconds={"annotate": seconds},
        counts={"clips": annotated.clips, "phases": annotated.phases} | dict(annotated.statuses),
    )
    told.write(set_folder)
    return annotated


def write_consensus(
    set_folder: Path, normalised: LayerRun, settings: ConsensusSettings, *, speech: SpeechSettings = SPEECH_DEFAULTS
) -> LayerRun:
    """What the samples of each clip agree on, as a layer beside the one it was made from."""
    said = consensus_run(normalised.run, settings)
    signals_of, transcript_of = SignalsLookup(set_folder), TranscriptLookup(set_folder)

    def agreed() -> Iterator[Annotation]:
        for clip_id, rows in groupby(normalised.read(), key=lambda row: row.clip_id):
            row = build_consensus(list(rows), run_id=said.run_id, settings=settings)
            # A median of spans has a place of its own beside the voice.
            signals = signals_of(clip_id) if any(phase.speech is None for phase in row.phases) else None
            yield (
                row
                if signals is None
                else with_speech_relation(row, signals, transcript_of(clip_id).words, settings=speech)
            )

    return write_layer(set_folder, said, "consensus", agreed())


def _summary(raw: LayerRun, normalised: LayerRun, consensus: LayerRun, *, seconds: float) -> AnnotateResult:
    statuses: Counter[str] = Counter()
    repairs: Counter[str] = Counter()
    for row in normalised.read():
        statuses[row.status] += 1
        repairs.update(repair.op for repair in row.repairs)
    clips, actions = 0, Counter[str]()
    for row in consensus.read():
        clips += 1
        actions.update(phase.action for phase in row.phases)
    return AnnotateResult(
        raw=raw, normalised=normalised, consensus=consensus, clips=clips, phases=actions.total(), actions=actions,
        statuses=statuses, repairs=repairs, seconds=seconds,
    )  # fmt: skip
