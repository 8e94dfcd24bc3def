"""`xsheet demo`: all parts on a synthetic corpus."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import LOCAL_PATH, AsJson, DryRun, Jobs, Quiet, Ray, cpu_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xsheet.demo.run import DemoResult
    from xsheet.workflow import WorkflowSettings

app = typer.Typer()

FilmsOption = Annotated[
    int, typer.Option("--films", "-n", min=1, help="Films to render; 20 contain every kind of fault.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of all random choices.")]
HeightOption = Annotated[
    int, typer.Option("--height", min=64, max=1024, metavar="PX", help="Picture height in pixels, an even number.")
]

# CPU seconds, measured (docs/log/demo.md#demo): render and encode a 6 s film at 256 × 256 (grows with the area);
# curate and annotate it; train one clip for one step; work done once, mostly sampling and evaluation.
RENDER_S_PER_FILM, CURATE_S_PER_FILM, TRAIN_S_PER_STEP, FIXED_S = 3.0, 5.0, 0.085, 100.0
FILMS, STEPS, PEOPLE = 20, (40, 120), 12
QUICK_FILMS, QUICK_STEPS, QUICK_PEOPLE = 12, (20, 40), 6


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Output folder.", **LOCAL_PATH)] = Path("demo-out"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer films and steps; takes a third of the time.")] = False,
    films: Annotated[
        int | None, typer.Option("--films", "-n", min=1, help=f"Films to render; {FILMS} contain every kind of fault.")
    ] = None,
    seed: SeedOption = 0,
    height: HeightOption = 384,
    jobs: Jobs = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run all parts on films of a talking puppet with planted faults: curate, annotate, audit, train, one report page.

    The same command continues after Ctrl-C; a second run keeps finished work.

    Examples: xsheet demo --quick

    xsheet demo --out demo-out --films 60
    """
    if context.invoked_subcommand is not None:
        return
    from xsheet.cli.run import describe_step
    from xsheet.cli.show import console
    from xsheet.schemas.settings import load_settings

    jobs, steps = jobs or cpu_count(), QUICK_STEPS if quick else STEPS
    films = films or (QUICK_FILMS if quick else FILMS)
    shows = not (quiet or as_json)
    if dry_run or shows:
        _print_demo_estimate(films, height, jobs, out, steps, as_json=as_json)
    if dry_run:
        return
    from xsheet.cli.trained import log_training_to_stderr
    from xsheet.demo.run import DemoSettings, demo_steps, run_demo
    from xsheet.runtime.executor import Execution

    workflow_settings = _workflow_settings(films, steps, jobs, quick=quick)
    names = demo_steps(workflow_settings)
    own_steps = {
        "films": "render the films", "samples": "draw new people, generate their videos and score them",
        "page": "write the report page",
    }  # fmt: skip

    def show_step(step: str) -> None:
        if shows:
            text = own_steps.get(step) or describe_step(step)[0]
            typer.secho(f"{names.index(step) + 1}/{len(names)} {text}", err=True, bold=True)

    if shows:
        log_training_to_stderr()
    overrides = [
        f"films={films}", f"seed={seed}", f"height_px={height}", f"new_people.seed={seed}",
        f"new_people.people={QUICK_PEOPLE if quick else PEOPLE}",
    ]  # fmt: skip
    result = run_demo(
        out,
        load_settings(DemoSettings, overrides=overrides),
        workflow_settings,
        execution=Execution(jobs=jobs, ray=ray),
        shows_progress=shows,
        on_step=show_step,
    )
    if as_json:
        _print_json(result)
    else:
        console().print("\n".join(_summary(result)), markup=False)
    reason = _untrained_reason(result)
    if reason is not None:
        typer.secho(f"Nothing was trained: {reason}.", err=True, fg="red")
    raise typer.Exit(1 if result.workflow.curation.failed or reason is not None else 0)


def _workflow_settings(films: int, steps: tuple[int, int], jobs: int, *, quick: bool) -> "WorkflowSettings":
    """Presets of all parts; training adapts the base of the package in few steps."""
    from xsheet.cli import annotate, audit, train
    from xsheet.cli.curate.inputs import preset_settings as curate_settings
    from xsheet.curate.dedup.split import SplitSettings
    from xsheet.train.pretrained import TINY_BASE
    from xsheet.workflow import WorkflowSettings

    batch_size = _batch_size(films)
    overrides = [
        f"pretrained_avatar={TINY_BASE}",
        f"loader.batch_size={batch_size}", f"compute.micro_batch_size={batch_size}", f"compute.threads={min(2, jobs)}",
        "loop.log_every=10", "loop.save_every=100", f"loop.validate_every={max(steps) // 2}",
    ]  # fmt: skip
    names = train.preset_settings("tiny", None, None).stage_names
    overrides += [f"stages.{names[0]}.trainable_parts=[audio]"]
    for name, count in zip(names, steps, strict=True):
        overrides += [
            f"stages.{name}.steps={count}", f"stages.{name}.optim.warmup_steps={count // 8}",
            f"stages.{name}.optim.lr=0.00002", f"stages.{name}.optim.ema_decay=0.95",
        ]  # fmt: skip
    return WorkflowSettings(
        curate=curate_settings("keep", None, None),
        annotate=annotate.preset_settings("motion", None, None, None, None),
        audit=audit.preset_settings("default", None, None),
        split=SplitSettings(val=0.1, test=0),  # new people are drawn for the test
        train=train.preset_settings("tiny", None, overrides),
    )


def _batch_size(films: int) -> int:
    """Clips per training step. A film yields about one clip, and more than half of the clips are for training."""
    return max(1, min(8, 2 * films // 5))


def _summary(result: "DemoResult") -> "Iterator[str]":
    """Lines of the summary."""
    workflow = result.workflow
    counts = workflow.curation.counts
    yield f"{counts['sources']} films, {counts['candidates']} candidates, {counts['clips']} clips kept"
    if workflow.annotation is not None and workflow.acceptance is not None:
        verb = "passes" if workflow.acceptance.audit.gate.passed else "fails"
        yield (
            f"{workflow.annotation.phases} phases; the layer {verb} the gate, {workflow.acceptance.accepted_count} "
            f"annotations accepted"
        )
    for stage in () if workflow.training is None else workflow.training.stages:
        loss = "" if stage.loss is None else f", loss {stage.loss[0]:.2f} → {stage.loss[1]:.2f}"
        yield f"{stage.stage}: {stage.steps} steps{loss}"
    if result.new_people is not None:
        yield result.new_people.evaluation.table()
    yield f"{sum(result.seconds.values()) / 60:.1f} min in total. Report page: {result.page}"


def _untrained_reason(result: "DemoResult") -> str | None:
    """Return why the workflow ended before training; None if it trained."""
    workflow = result.workflow
    if workflow.training is not None:
        return None
    if workflow.acceptance is None:
        return "curation kept no clip"
    unmet = ", ".join(
        f"{one.name} is {'not measured' if one.value is None else f'{one.value:.3f}'}, expected {one.comparator} "
        f"{one.limit:g}"
        for one in workflow.acceptance.audit.gate.criteria
        if not one.passed
    )
    return f"the layer fails the gate ({unmet})" if unmet else "no annotation reached the minimum score"


def _print_json(result: "DemoResult") -> None:
    from xsheet.cli.show import print_json

    workflow = result.workflow
    numbers = {} if result.new_people is None else result.new_people.evaluation.summary()
    print_json({
        "page": str(result.page), "corpus": str(result.corpus), "set": str(workflow.set_folder),
        "counts": workflow.curation.counts,
        "phases": 0 if workflow.annotation is None else workflow.annotation.phases,
        "accepted": 0 if workflow.acceptance is None else workflow.acceptance.accepted_count,
        "steps": {} if workflow.training is None else {stage.stage: stage.steps for stage in workflow.training.stages},
        "numbers": {name: sampled and round(sampled.mean, 4) for name, (sampled, _) in numbers.items()},
        "seconds": result.seconds,
    })  # fmt: skip


@app.command()
def corpus(
    out: Annotated[Path, typer.Option("--out", help="Folder of the corpus.", **LOCAL_PATH)],
    films: FilmsOption = FILMS,
    seed: SeedOption = 0,
    height: HeightOption = 384,
    jobs: Jobs = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Render talking films of the puppet, and write the ground truth as tables of the contract.

    Example: xsheet demo corpus --out puppet --films 60 --seed 7
    """
    from xsheet.cli.show import console, print_json

    jobs = jobs or cpu_count()
    shows = not (quiet or as_json)
    if dry_run or shows:
        _print_corpus_estimate(films, height, jobs, out, as_json=as_json)
    if dry_run:
        return
    from xsheet.demo.corpus import make_corpus
    from xsheet.runtime.executor import Execution, Progress

    execution, progress = Execution(jobs=jobs, ray=ray), Progress("films") if shows else None
    results = make_corpus(out, films=films, seed=seed, height_px=height, execution=execution, progress=progress)
    failed = results.counts.get("failed", 0)
    if as_json:
        print_json({"out": str(out), "films": len(results), "failed": failed})
    else:
        console().print(
            f"{len(results) - failed} films in {out / 'videos'}, ground truth in {out / 'truth'}", markup=False
        )
        for outcome in results.outcomes():
            if outcome.status == "failed":
                console().print(f"failed: {outcome.name}: {outcome.message}", style="red", markup=False)
    raise typer.Exit(1 if failed else 0)


def _print_corpus_estimate(films: int, height_px: int, jobs: int, out: Path, *, as_json: bool) -> None:
    from xsheet.cli.show import print_json

    minutes = films * RENDER_S_PER_FILM * (height_px / 256) ** 2 / jobs / 60
    if as_json:
        print_json({"out": str(out), "films": films, "jobs": jobs, "minutes": round(minutes, 1)})
        return
    typer.echo(f"{films} films of 4 to 15 s into {out}, about {minutes:.1f} min on {jobs} cores", err=True)


def _print_demo_estimate(
    films: int, height_px: int, jobs: int, out: Path, steps: tuple[int, int], *, as_json: bool
) -> None:
    from xsheet.cli.show import print_json

    films_s = films * (RENDER_S_PER_FILM * (height_px / 256) ** 2 + CURATE_S_PER_FILM) / jobs
    train_s = (TRAIN_S_PER_STEP * _batch_size(films) * sum(steps) + FIXED_S) / min(2, jobs)
    if as_json:
        minutes = round((films_s + train_s) / 60, 1)
        print_json({"out": str(out), "films": films, "steps": list(steps), "jobs": jobs, "minutes": minutes})
        return
    typer.echo(
        f"{films} films of 4 to 15 s, two stages of {steps[0]} and {steps[1]} steps, one page, into {out}: "
        f"about {(films_s + train_s) / 60:.0f} min on {jobs} cores",
        err=True,
    )
