"""Annotation: clips to phase-timed actions, in layers that never overwrite one another.

    signals → request (with measured motion candidates) → reply → parse → normalise → consensus over K samples

Layer `raw` holds the replies verbatim. Layer `normalised` holds them in the vocabulary of the contract and logs every
change. Layer `consensus` holds what the samples of a clip agree on. Each finished batch is committed; a rerun repeats
no finished call.
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
from xsheet.runtime.lock import write_lock
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.layers import LayerRun, write_layer
from xsheet.schemas.sets import build_manifest, open_set

DISTRIBUTIONS = ("xsheet", "numpy", "pyarrow", "torch", "transformers", "qwen-vl-utils", "llguidance", "httpx")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateResult:
    """Result of a run."""

    raw: LayerRun
    normalised: LayerRun
    consensus: LayerRun
    clips: int
    phases: int  # of the consensus layer
    actions: Mapping[str, int]  # of the consensus layer, by class
    statuses: Mapping[str, int]  # replies by status
    repairs: Mapping[str, int]  # changes from raw to normalised, by operation
    seconds: float

    @property
    def failed(self) -> int:
        """Replies that could not be used."""
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
    """Annotate the clips of a set and write the layers raw, normalised and consensus.

    Raises:
        ContractError: no set, or a set without clips and signals.
        ConfigError: the annotator cannot be opened (weights, key, library).
        RunError: another process writes to the set, or the run cannot continue; finished batches are kept.
    """
    open_set(set_folder)
    with write_lock(set_folder):
        return _annotate(set_folder, settings, execution, retry_failed, show_progress, limit)


def _annotate(
    set_folder: Path,
    settings: AnnotateSettings,
    execution: Execution,
    retry_failed: bool,
    show_progress: bool,
    limit: int | None,
) -> AnnotateResult:
    started = datetime.now(UTC)
    run = annotation_run(settings)
    batches = ClipBatches(set_folder, settings, run_id=run.run_id, limit=limit)
    progress = Progress("annotate") if show_progress else None
    task = AnnotateTask(settings, run=run, cache_folder=set_folder / ".replies")
    results = run_task(task, batches, out=set_folder, execution=execution, retry_failed=retry_failed, progress=progress)
    raw, normalised = (
        write_layer(set_folder, run, layer, (row for row in results.rows(Annotation) if row.layer == layer))
        for layer in ("raw", "normalised")
    )
    if limit is None:  # batches that hold a clip more or less than those of an earlier run take their place
        results.remove_superseded(batches.key_prefix)
    consensus = write_consensus(set_folder, normalised, settings.consensus, speech=settings.speech)
    seconds = (datetime.now(UTC) - started).total_seconds()
    result = _summary(raw, normalised, consensus, seconds=seconds)
    manifest = build_manifest(
        "annotate run",
        arguments={"jobs": execution.jobs, "ray": execution.ray},
        settings=settings,
        distributions=DISTRIBUTIONS,
        started=started,
        seconds={"annotate": seconds},
        counts={"clips": result.clips, "phases": result.phases} | dict(result.statuses),
    )
    manifest.write(set_folder)
    return result


def write_consensus(
    set_folder: Path, normalised: LayerRun, settings: ConsensusSettings, *, speech: SpeechSettings = SPEECH_DEFAULTS
) -> LayerRun:
    """Write the consensus of the samples of each clip as a new layer."""
    run = consensus_run(normalised.run, settings)
    signals_of, transcript_of = SignalsLookup(set_folder), TranscriptLookup(set_folder)

    def consensus() -> Iterator[Annotation]:
        for clip_id, rows in groupby(normalised.read(), key=lambda row: row.clip_id):
            row = build_consensus(list(rows), run_id=run.run_id, settings=settings)
            # A phase with median times needs its own relation to speech.
            signals = signals_of(clip_id) if any(phase.speech is None for phase in row.phases) else None
            yield (
                row
                if signals is None
                else with_speech_relation(row, signals, transcript_of(clip_id).words, settings=speech)
            )

    with write_lock(set_folder):
        return write_layer(set_folder, run, "consensus", consensus())


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
