"""The whole path, in reading order: from videos to a set that can be trusted, and to a model trained on it.

    curate → report → annotate → audit, accept → split → cache → stage 1 → stage 2

Every step keeps what it finished, so the same call goes on after a kill, and a second one finishes in seconds.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from xsheet.annotate.pipeline import Annotated, annotate
from xsheet.annotate.settings import AnnotateSettings
from xsheet.audit.accept import Accepted, accept
from xsheet.audit.report.page import write_report as write_audit
from xsheet.audit.settings import AuditSettings
from xsheet.curate.dedup.split import SplitSettings, SplitSummary, split_set
from xsheet.curate.discover import Given
from xsheet.curate.pipeline import Clock, Curated, Where, curate
from xsheet.curate.report.funnel import Funnel
from xsheet.curate.report.page import write_report
from xsheet.curate.settings import CurateSettings
from xsheet.runtime.executor import Execution
from xsheet.schemas.layers import LayerRun

if TYPE_CHECKING:
    from xsheet.train.data.cache.build import Built
    from xsheet.train.settings import TrainSettings
    from xsheet.train.stage_summary import Outcome

Step = Literal["curate", "report", "annotate", "audit", "split", "cache", "stage1", "stage2"]
Until = Literal["curate", "annotate", "audit", "train"]
STAGES: tuple[Literal["stage1", "stage2"], ...] = ("stage1", "stage2")
_LAST: dict[Until, Step] = {"curate": "report", "annotate": "annotate", "audit": "audit", "train": "stage2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """Settings of every part."""

    curate: CurateSettings
    annotate: AnnotateSettings
    audit: AuditSettings
    split: SplitSettings
    train: "TrainSettings | None" = None  # its libraries are needed by those alone who train


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What training left behind."""

    split: SplitSummary
    cached: "Built"
    folder: Path  # of the run: stage1/ and stage2/
    stages: "tuple[Outcome, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What every step left behind; None where the path ended before it."""

    set_folder: Path
    curated: Curated
    funnel: Funnel
    page: Path
    annotated: Annotated | None = None  # None also where no clip was kept
    accepted: Accepted | None = None
    audit_page: Path | None = None
    trained: Trained | None = None  # None also where nothing was accepted
    seconds: dict[str, float]  # by step


def walk(
    given: Sequence[Given],
    ways: Ways,
    where: Where,
    *,
    until: Until,
    asking: Execution | None = None,
    tell: Callable[[Step], None] = lambda _: None,
) -> Walked:
    """Walk the path; it ends early where nothing is left to go on with.

    Args:
        given: inputs that `discover` found.
        ways: settings; those of training are needed until train only.
        where: the set, workers, models.
        until: the last part.
        asking: workers of the annotator, where it holds a model.
        tell: called with every step as it begins.

    Raises:
        XsheetError: what the parts raise; what is finished is kept.
    """
    folder, clock = where.set_folder, Clock()

    def step(name: Step) -> AbstractContextManager[None]:
        tell(name)
        return clock(name)

    with step("curate"):
        curated = curate(given, ways.curate, where)
    with step("report"):
        page = folder / "report.html"
        funnel = write_report(folder, page)
    annotated = accepted = audit_page = trained = None
    if until != "curate" and curated.counts["clips"]:
        with step("annotate"):
            how = asking or where.how
            annotated = annotate(
                folder, ways.annotate, how=how, retry_failed=where.retry_failed, shows_progress=where.shows_progress
            )
    if until in ("audit", "train") and annotated is not None:
        with step("audit"):
            accepted = accept(folder, annotated.consensus, ways.audit)
            audit_page = write_audit(folder, accepted.audited, folder / "audit.html", how=where.how)
    if until == "train" and accepted is not None and accepted.accepted:
        assert ways.train is not None, "settings of training"
        trained = _train(_reading(accepted.layer, ways.train), ways.split, where, step)
    return Walked(
        set_folder=folder, curated=curated, funnel=funnel, page=page, annotated=annotated, accepted=accepted,
        audit_page=audit_page, trained=trained, seconds=clock.seconds,
    )  # fmt: skip


def steps_to(until: Until) -> tuple[Step, ...]:
    """The steps of a path that ends there."""
    steps: tuple[Step, ...] = get_args(Step)
    return steps[: steps.index(_LAST[until]) + 1]


def _reading(layer: LayerRun | None, settings: "TrainSettings") -> "TrainSettings":
    """Training reads what this path accepted, also where the set has the accepted layers of other settings."""
    text = settings.cache.text
    if layer is None or text.layer != layer.layer:
        return settings
    cache = settings.cache.model_copy(update={"text": text.model_copy(update={"layer": str(layer)})})
    return settings.model_copy(update={"cache": cache})


def _train(
    settings: "TrainSettings", split: SplitSettings, where: Where, step: Callable[[Step], AbstractContextManager[None]]
) -> Trained:
    from xsheet.train.data.cache.build import build_cache  # noqa: PLC0415  # seconds and a gigabyte, for those who train
    from xsheet.train.evaluate.validation import Watching, WatchSettings  # noqa: PLC0415
    from xsheet.train.launch import Workers  # noqa: PLC0415
    from xsheet.train.run import train_stages  # noqa: PLC0415
    from xsheet.train.stage_summary import outcome  # noqa: PLC0415

    folder, run, shows = where.set_folder, where.set_folder / "train", where.shows_progress
    with step("split"):
        parts = split_set(folder, split)
    with step("cache"):
        cached = build_cache(
            folder, settings.cache, how=where.how, retry_failed=where.retry_failed, shows_progress=shows
        )
    for stage in STAGES:
        with step(stage):
            train_stages(folder, settings, stages=(stage,), out=run, how=Workers(), watch=Watching(WatchSettings()))
    ended = tuple(outcome(run, stage) for stage in STAGES)
    return Trained(split=parts, cached=cached, folder=run, stages=ended)
