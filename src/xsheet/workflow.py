"""The whole path, in reading order: from videos to an audited set and a model trained on it.

    curate → report → annotate → audit, accept → split → cache → each training stage

Every step keeps finished work: the same call continues after a kill, and takes seconds when all is done.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xsheet.annotate.pipeline import AnnotateResult, annotate
from xsheet.annotate.settings import AnnotateSettings
from xsheet.audit.accept import AcceptResult, accept_layer
from xsheet.audit.report.page import write_report as write_audit
from xsheet.audit.settings import AuditSettings
from xsheet.curate.dedup.split import SplitSettings, SplitSummary, split_set
from xsheet.curate.discover import InputFile
from xsheet.curate.pipeline import CurationResult, RunContext, StepTimer, curate, prepare_set
from xsheet.curate.report.funnel import Funnel
from xsheet.curate.report.page import write_report
from xsheet.curate.settings import CurateSettings
from xsheet.runtime.executor import Execution
from xsheet.runtime.lock import write_lock
from xsheet.schemas.layers import LayerRun

if TYPE_CHECKING:
    from xsheet.train.data.cache.build import CacheBuildResult
    from xsheet.train.settings import TrainSettings
    from xsheet.train.stage_summary import StageSummary

FinalStage = Literal["curate", "annotate", "audit", "train"]
STEPS = ("curate", "report", "annotate", "audit", "split", "cache")
"""Steps before training; the stages of the training settings follow, by name."""
_LAST_STEP: dict[FinalStage, str] = {"curate": "report", "annotate": "annotate", "audit": "audit", "train": "cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSettings:
    """Settings of every part."""

    curate: CurateSettings
    annotate: AnnotateSettings
    audit: AuditSettings
    split: SplitSettings
    train: "TrainSettings | None" = None  # None unless training runs: its settings import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """Results of training."""

    split: SplitSummary
    cache: "CacheBuildResult"
    run_folder: Path  # a folder per stage
    stages: "tuple[StageSummary, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowResult:
    """Results of all steps; None for a step that was not reached."""

    set_folder: Path
    curation: CurationResult
    funnel: Funnel
    curation_report: Path
    annotation: AnnotateResult | None = None  # also None if no clip was kept
    acceptance: AcceptResult | None = None
    audit_report: Path | None = None
    training: TrainingResult | None = None  # also None if no annotation was accepted
    seconds: dict[str, float]  # by step


def run_workflow(
    inputs: Sequence[InputFile],
    settings: WorkflowSettings,
    context: RunContext,
    *,
    final_stage: FinalStage,
    annotator_execution: Execution | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> WorkflowResult:
    """Run all steps up to `final_stage`; stop early when a step leaves no input for the next.

    Args:
        inputs: inputs that `discover` found.
        settings: settings of all parts; `train` is needed only if `final_stage` is "train".
        context: folder of the set, workers, models.
        final_stage: last part to run.
        annotator_execution: workers of the annotator (default: those of `context`).
        on_step: called with the name of each step when it begins.

    Raises:
        XsheetError: an error of a part; finished work is kept.
    """
    prepare_set(inputs, context.set_folder)
    with write_lock(context.set_folder):
        return _run_steps(inputs, settings, context, final_stage, annotator_execution, on_step)


def _run_steps(
    inputs: Sequence[InputFile],
    settings: WorkflowSettings,
    context: RunContext,
    final_stage: FinalStage,
    annotator_execution: Execution | None,
    on_step: Callable[[str], None],
) -> WorkflowResult:
    folder, clock = context.set_folder, StepTimer()

    def step(name: str) -> AbstractContextManager[None]:
        on_step(name)
        return clock(name)

    with step("curate"):
        curated = curate(inputs, settings.curate, context)
    with step("report"):
        page = folder / "report.html"
        funnel = write_report(folder, page)
    annotated = accepted = audit_page = trained = None
    if final_stage != "curate" and curated.counts["clips"]:
        with step("annotate"):
            annotated = annotate(
                folder,
                settings.annotate,
                execution=annotator_execution or context.execution,
                retry_failed=context.retry_failed,
                show_progress=context.shows_progress,
            )
    if final_stage in ("audit", "train") and annotated is not None:
        with step("audit"):
            accepted = accept_layer(folder, annotated.consensus, settings.audit, shows_progress=context.shows_progress)
            audit_page = write_audit(folder, accepted.audit, folder / "audit.html", execution=context.execution)
    if final_stage == "train" and accepted is not None and accepted.accepted_count:
        assert settings.train is not None, "settings of training"
        trained = _train(_with_accepted_layer(accepted.layer, settings.train), settings.split, context, step)
    return WorkflowResult(
        set_folder=folder,
        curation=curated,
        funnel=funnel,
        curation_report=page,
        annotation=annotated,
        acceptance=accepted,
        audit_report=audit_page,
        training=trained,
        seconds=clock.seconds,
    )


def steps_until(final_stage: FinalStage, train: "TrainSettings | None" = None) -> tuple[str, ...]:
    """Steps of a workflow that ends with `final_stage`; for training, the stages of `train` come last."""
    steps = STEPS[: STEPS.index(_LAST_STEP[final_stage]) + 1]
    return (*steps, *train.stage_names) if final_stage == "train" and train is not None else steps


def _with_accepted_layer(layer: LayerRun | None, settings: "TrainSettings") -> "TrainSettings":
    """Training settings that name the layer this run accepted; the set may have accepted layers of other runs."""
    text = settings.cache.text
    if layer is None or text.layer != layer.layer:
        return settings
    cache = settings.cache.model_copy(update={"text": text.model_copy(update={"layer": str(layer)})})
    return settings.model_copy(update={"cache": cache})


def _train(
    settings: "TrainSettings",
    split: SplitSettings,
    context: RunContext,
    step: Callable[[str], AbstractContextManager[None]],
) -> TrainingResult:
    from xsheet.train.data.cache.build import build_cache  # noqa: PLC0415  # takes seconds and 1 GB of memory
    from xsheet.train.evaluate.validation import ValidationCallback, ValidationSettings  # noqa: PLC0415
    from xsheet.train.launch import WorkerSettings  # noqa: PLC0415
    from xsheet.train.run import WeightedSet, train_stages  # noqa: PLC0415
    from xsheet.train.stage_summary import stage_summary  # noqa: PLC0415

    folder, run, shows = context.set_folder, context.set_folder / "train", context.shows_progress
    with step("split"):
        parts = split_set(folder, split)
    with step("cache"):
        cached = build_cache(
            folder, settings.cache, execution=context.execution, retry_failed=context.retry_failed, shows_progress=shows
        )
    for stage in settings.stage_names:
        with step(stage):
            train_stages(
                [WeightedSet(folder)],
                settings,
                stages=(stage,),
                out=run,
                workers=WorkerSettings(),
                validation=ValidationCallback(ValidationSettings()),
            )
    ended = tuple(stage_summary(run, stage) for stage in settings.stage_names)
    return TrainingResult(split=parts, cache=cached, run_folder=run, stages=ended)
