"""`xsheet demo`: the whole path on a corpus whose truth is known, and the page that tells how it went."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

from pydantic import Field

from xsheet.curate.discover import discover
from xsheet.curate.pipeline import RunContext
from xsheet.demo.corpus import make_corpus
from xsheet.demo.held_out_samples import HeldOutSamples, HeldOutSampleSettings, generate_held_out_samples
from xsheet.demo.page.page import write_page
from xsheet.demo.page.report_data import collect_report
from xsheet.runtime.executor import Execution, Progress
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.tables import write_text
from xsheet.workflow import WorkflowResult, WorkflowSettings, WorkflowStep, run_workflow, steps_until

log = logging.getLogger(__name__)

DemoStep = Literal["films", "samples", "page"] | WorkflowStep
DEMO_STEPS: tuple[DemoStep, ...] = ("films", *steps_until("train"), "samples", "page")


class DemoSettings(StrictModel):
    """What the demo makes. The path over it has settings of its own."""

    films: int = Field(default=20, ge=1, le=100_000, description="films; twenty hold every kind of fault once")
    seed: int = Field(default=0, ge=0, description="what all randomness follows from")
    height_px: int = Field(
        default=384, ge=64, le=1024, multiple_of=2, description="picture height in pixels; below it faces are too small"
    )
    held_out_samples: HeldOutSampleSettings = Field(
        default=HeldOutSampleSettings(), description="what the trained model draws"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What a demo left behind."""

    corpus: Path
    workflow: WorkflowResult
    held_out_samples: HeldOutSamples | None  # None: nothing was trained, or nothing held out
    page: Path
    seconds: dict[str, float]  # by step, of this run and those before it


def run_demo(
    out: Path,
    settings: DemoSettings,
    workflow_settings: WorkflowSettings,
    *,
    execution: Execution,
    shows_progress: bool = True,
    on_step: Callable[[DemoStep], None] = lambda _: None,
) -> DemoResult:
    """Make the corpus, walk the path over it, draw, and write the page. What an earlier run finished is kept.

    Args:
        out: folder for corpus/, set/, samples/ and demo.html.
        settings: what is made.
        workflow_settings: settings of the path.
        execution: workers of all but training.
        shows_progress: whether the steps show theirs.
        on_step: called with every step as it begins.

    Raises:
        XsheetError: what the parts raise; what is finished is kept.
    """
    corpus, samples, page = out / "corpus", out / "samples", out / "demo.html"
    with _step_timer(out / "seconds.json", on_step) as (step, seconds):
        step("films")
        bar = Progress("films") if shows_progress else None
        make_corpus(
            corpus,
            films=settings.films,
            seed=settings.seed,
            height_px=settings.height_px,
            execution=execution,
            progress=bar,
        )
        where = RunContext(set_folder=out / "set", execution=execution, shows_progress=shows_progress)
        walked = run_workflow(
            discover([str(corpus / "videos")]), workflow_settings, where, final_stage="train", on_step=step
        )
        step("samples")
        unseen = _generate_samples(walked, samples, settings.held_out_samples)
        step("page")
        write_page(collect_report(corpus, walked, unseen, samples=samples, seconds=seconds), page)
    return DemoResult(corpus=corpus, workflow=walked, held_out_samples=unseen, page=page, seconds=seconds)


def _generate_samples(walked: WorkflowResult, samples: Path, settings: HeldOutSampleSettings) -> HeldOutSamples | None:
    if walked.training is None:
        return None
    try:
        return generate_held_out_samples(walked.training.run_folder, walked.set_folder, samples, settings)
    except ConfigError as error:  # a small corpus may have nothing to hold out; the rest of it can be told
        log.warning("nothing is drawn: %s", error)
        return None


@contextmanager
def _step_timer(
    file: Path, on_step: Callable[[DemoStep], None]
) -> Iterator[tuple[Callable[[DemoStep], None], dict[str, float]]]:
    """Begins a step where the last one ends, and sums up in a file the seconds of all runs, stopped ones too."""
    seconds: dict[str, float] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    running: list[tuple[DemoStep, float]] = []

    def end() -> None:
        for name, began in running:
            seconds[name] = round(seconds.get(name, 0.0) + perf_counter() - began, 2)
        running.clear()
        write_text(file, json.dumps(seconds) + "\n")

    def begin(name: DemoStep) -> None:
        end()
        on_step(name)
        running.append((name, perf_counter()))

    try:
        yield begin, seconds
    finally:
        end()
