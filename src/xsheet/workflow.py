"""The whole path, in reading order: from videos to a set that can be trusted, and to a model trained on it.

    curate → report → annotate → audit, accept → split → cache → each training stage

Every step keeps what it finished, so the same call goes on after a kill, and a second one finishes in seconds.
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
    train: "TrainSettings | None" = None  # its libraries are needed by those alone who train


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """Results of training."""

    split: SplitSummary
    cache: "CacheBuildResult"
    run_folder: Path  # a folder per stage
    stages: "tuple[StageSummary, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowResult:
    """What every step left behind; None where the path ended before it."""

    set_folder: Path
    curation: CurationResult
    funnel: Funnel
    curation_report: Path
    annotation: AnnotateResult | None = None  # None also where no clip was kept
    acceptance: AcceptResult | None = None
    audit_report: Path | None = None
    training: TrainingResult | None = None  # None also where nothing was accepted
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
        settings: settings; those of training are needed until train only.
        context: the set, workers, models.
        final_stage: the last part.
        annotator_execution: workers of the annotator, where it holds a model.
        on_step: called with every step as it begins.

    Raises:
        XsheetError: what the parts raise; what is finished is kept.
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
            accepted = accept_layer(folder, annotated.consensus, settings.audit)
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
    """Steps of a workflow that ends there; the stages of `train` are the last ones of training."""
    steps = STEPS[: STEPS.index(_LAST_STEP[final_stage]) + 1]
    return (*steps, *train.stage_names) if final_stage == "train" and train is not None else steps


def _with_accepted_layer(layer: LayerRun | None, settings: "TrainSettings") -> "TrainSettings":
    """Training reads what this path accepted, also where the set has the accepted layers of other settings."""
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
    from xsheet.train.data.cache.build import build_cache  # noqa: PLC0415  # seconds and a gigabyte, for those who train
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
