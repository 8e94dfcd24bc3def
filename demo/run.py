"""`xsheet demo`: run the whole workflow on a corpus with known ground truth and write a page with the results."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from pydantic import Field

from xsheet.curate.discover import discover
from xsheet.curate.pipeline import RunContext
from xsheet.demo.corpus import make_corpus
from xsheet.demo.new_people import NewPeople, NewPeopleSettings, sample_new_people
from xsheet.demo.page.page import write_page
from xsheet.demo.page.report_data import collect_report
from xsheet.runtime.executor import Execution, Progress
from xsheet.schemas.files import decode_json, write_text
from xsheet.schemas.settings import StrictModel
from xsheet.workflow import WorkflowResult, WorkflowSettings, run_workflow, steps_until


def demo_steps(settings: WorkflowSettings) -> tuple[str, ...]:
    """Names of all steps, in order."""
    return ("films", *steps_until("train", settings.train), "samples", "page")


class DemoSettings(StrictModel):
    """Settings of corpus and samples; the workflow has its own."""

    films: int = Field(default=20, ge=1, le=100_000, description="number of films; twenty contain every kind of fault")
    seed: int = Field(default=0, ge=0, description="seed of all random choices")
    height_px: int = Field(
        default=384,
        ge=64,
        le=1024,
        multiple_of=2,
        description="picture height in pixels; faces in smaller pictures are rejected",
    )
    new_people: NewPeopleSettings = Field(
        default=NewPeopleSettings(), description="new people and scripts on which the trained model is measured"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """Result of a demo run."""

    corpus: Path
    workflow: WorkflowResult
    new_people: NewPeople | None  # None: nothing trained
    page: Path
    seconds: dict[str, float]  # by step, summed over this and earlier runs


def run_demo(
    out: Path,
    settings: DemoSettings,
    workflow_settings: WorkflowSettings,
    *,
    execution: Execution,
    shows_progress: bool = True,
    on_step: Callable[[str], None] = lambda _: None,
) -> DemoResult:
    """Make the corpus, run the workflow on it, generate samples and write the page. Finished work is kept.

    Args:
        out: folder for corpus/, set/, samples/, evaluation.json and demo.html.
        settings: corpus and samples.
        workflow_settings: settings of the workflow.
        execution: workers of every step except training.
        shows_progress: whether steps show progress.
        on_step: called with each step when it begins.

    Raises:
        XsheetError: a step failed; finished work is kept.
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
        context = RunContext(set_folder=out / "set", execution=execution, shows_progress=shows_progress)
        workflow = run_workflow(
            discover([str(corpus / "videos")]), workflow_settings, context, final_stage="train", on_step=step
        )
        step("samples")
        people = None
        if workflow.training is not None:
            people = sample_new_people(workflow.training.run_folder, samples, settings.new_people, execution=execution)
            people.evaluation.write(out / "evaluation.json")
        step("page")
        write_page(collect_report(corpus, workflow, people, samples=samples, seconds=seconds), page)
    return DemoResult(corpus=corpus, workflow=workflow, new_people=people, page=page, seconds=seconds)


@contextmanager
def _step_timer(file: Path, on_step: Callable[[str], None]) -> Iterator[tuple[Callable[[str], None], dict[str, float]]]:
    """Time consecutive steps; the file accumulates the seconds of all runs, including interrupted ones."""
    seconds: dict[str, float] = decode_json(file.read_text(encoding="utf-8")) if file.is_file() else {}
    running: list[tuple[str, float]] = []

    def end() -> None:
        for name, began in running:
            seconds[name] = round(seconds.get(name, 0.0) + perf_counter() - began, 2)
        running.clear()
        write_text(file, json.dumps(seconds) + "\n")

    def begin(name: str) -> None:
        end()
        on_step(name)
        running.append((name, perf_counter()))

    try:
        yield begin, seconds
    finally:
        end()
