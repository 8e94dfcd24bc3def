"""`xsheet demo`: the path on a synthetic corpus."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import AsJson, DryRun, Jobs, Ray, cpu_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xsheet.demo.run import DemoResult
    from xsheet.workflow import WorkflowSettings

app = typer.Typer()

FilmsOption = Annotated[int, typer.Option("--clips", min=1, help="Films to make; twenty hold every kind of fault.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="What all randomness follows from.")]
HeightOption = Annotated[
    int, typer.Option("--size", min=64, max=1024, help="Picture height in pixels, an even number.")
]

# CPU seconds, measured (docs/log/demo.md#demo). A film of 6 s: drawn and encoded at 256 × 256, growing with the area;
# all that is done with it until it is trained on. A clip in a step. What is done once, mostly sampling and reading.
RENDER_S_PER_FILM, CURATE_S_PER_FILM, TRAIN_S_PER_STEP, FIXED_S = 3.0, 5.0, 0.085, 100.0
FILMS, STEPS = 20, (300, 500)
QUICK_FILMS, QUICK_STEPS = 12, (80, 120)


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder of everything the demo makes.")] = Path("demo-out"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer films and steps: a third of the time.")] = False,
    clips: Annotated[
        int | None, typer.Option("--clips", min=1, help=f"Films to make; {FILMS} hold every kind of fault.")
    ] = None,
    seed: SeedOption = 0,
    size: HeightOption = 384,
    jobs: Jobs = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """The whole path on a talking puppet: films with planted faults in, a small avatar and one page that tells all out.

    A second run keeps what the first one finished; after Ctrl-C the same command goes on.

    Examples: xsheet demo --quick

    xsheet demo --out demo-out --clips 60
    """
    if context.invoked_subcommand is not None:
        return
    from xsheet.cli.run import describe_step
    from xsheet.cli.show import console
    from xsheet.schemas.settings import load_settings

    jobs, steps, clips = (
        jobs or cpu_count(),
        QUICK_STEPS if quick else STEPS,
        clips or (QUICK_FILMS if quick else FILMS),
    )
    _print_demo_estimate(clips, size, jobs, out, steps)
    if dry_run:
        return
    from xsheet.cli.trained import log_training_to_stderr
    from xsheet.demo.run import DemoSettings, demo_steps, run_demo
    from xsheet.runtime.executor import Execution

    workflow_settings = _workflow_settings(clips, steps, jobs, quick=quick)
    names = demo_steps(workflow_settings)
    own_steps = {
        "films": "draw the films",
        "samples": "draw sheets it never saw, and score them",
        "page": "tell the story",
    }

    def tell(step: str) -> None:
        if not as_json:
            typer.secho(
                f"{names.index(step) + 1}/{len(names)} {own_steps.get(step) or describe_step(step)[0]}",
                err=True,
                bold=True,
            )

    if not as_json:
        log_training_to_stderr()
    settings = load_settings(
        DemoSettings, overrides=[f"clips={clips}", f"seed={seed}", f"size={size}", *_face_reader_overrides(quick)]
    )
    how = Execution(jobs=jobs, ray=ray)
    shown = run_demo(
        out,
        settings,
        workflow_settings,
        execution=how,
        shows_progress=not as_json,
        on_step=tell,
    )
    if as_json:
        _print_json(shown)
    else:
        console().print("\n".join(_summary(shown)), markup=False)
    raise typer.Exit(1 if shown.workflow.curation.failed else 0)


def _face_reader_overrides(quick: bool) -> list[str]:
    """The reader of small faces is fitted in seconds here; its ceiling stands beside every number."""
    return [f"unseen.evaluation.fitting.steps={150 if quick else 300}"]


def _workflow_settings(films: int, steps: tuple[int, int], jobs: int, *, quick: bool) -> "WorkflowSettings":
    """The path with its own presets; so much is held out that three sheets are left to draw, and steps are few."""
    from xsheet.cli import annotate, audit, curate, train
    from xsheet.curate.dedup.split import SplitSettings
    from xsheet.workflow import WorkflowSettings

    at_once = _batch_size(films)
    few = [
        f"loader.batch_size={at_once}", f"compute.micro_batch_size={at_once}", f"compute.threads={min(2, jobs)}",
        "loop.log_every=10", "loop.save_every=100", f"loop.validate_every={max(steps) // 2}",
    ]  # fmt: skip
    names = train.preset_settings("tiny", None, None).stage_names
    for name, count in zip(names, steps, strict=True):
        few += [f"stages.{name}.steps={count}", f"stages.{name}.optim.warmup_steps={count // 8}"]
    return WorkflowSettings(
        curate=curate.preset_settings("keep", None, None),
        annotate=annotate.preset_settings("motion", None, None, None, None),
        audit=audit.preset_settings("default", None, None),
        split=SplitSettings(val=0.1, test=0.4) if quick else SplitSettings(val=0.05, test=0.25),
        train=train.preset_settings("tiny", None, few),
    )


def _batch_size(films: int) -> int:
    """Clips in a step. A film gives about one clip, more than half of them to train on; few are seen often."""
    return max(1, min(8, 2 * films // 5))


def _summary(shown: "DemoResult") -> "Iterator[str]":
    """The demo on one screen."""
    walked = shown.workflow
    counts = walked.curation.counts
    yield f"{counts['sources']} films, {counts['candidates']} candidates, {counts['clips']} clips kept"
    if walked.annotation is not None and walked.acceptance is not None:
        gate = "passes" if walked.acceptance.audit.gate.passed else "fails"
        yield (
            f"{walked.annotation.phases} phases; the layer {gate} the gate, {walked.acceptance.accepted_count} "
            f"sheets accepted"
        )
    for stage in () if walked.training is None else walked.training.stages:
        lost = "" if stage.loss is None else f", loss {stage.loss[0]:.2f} → {stage.loss[1]:.2f}"
        yield f"{stage.stage}: {stage.steps} steps{lost}"
    if shown.held_out_samples is not None:
        yield shown.held_out_samples.evaluation.table()
    yield f"{sum(shown.seconds.values()) / 60:.1f} min in all. The story, to be opened in a browser: {shown.page}"


def _print_json(shown: "DemoResult") -> None:
    from xsheet.cli.show import print_json

    walked = shown.workflow
    numbers = {} if shown.held_out_samples is None else shown.held_out_samples.evaluation.summary()
    print_json({
        "page": str(shown.page), "corpus": str(shown.corpus), "set": str(walked.set_folder),
        "counts": walked.curation.counts,
        "phases": 0 if walked.annotation is None else walked.annotation.phases,
        "accepted": 0 if walked.acceptance is None else walked.acceptance.accepted_count,
        "steps": {} if walked.training is None else {stage.stage: stage.steps for stage in walked.training.stages},
        "numbers": {name: None if drawn is None else round(drawn.mean, 4) for name, (drawn, _) in numbers.items()},
        "seconds": shown.seconds,
    })  # fmt: skip


@app.command()
def corpus(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the corpus.")],
    clips: FilmsOption = 20,
    seed: SeedOption = 0,
    size: HeightOption = 384,
    jobs: Jobs = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write talking films of the puppet, and the truth about them in the contract's own tables.

    Example: xsheet demo corpus puppet --clips 60 --seed 7
    """
    from xsheet.cli.show import console, print_json

    jobs = jobs or cpu_count()
    _print_corpus_estimate(clips, size, jobs, out)
    if dry_run:
        return
    from xsheet.demo.corpus import make_corpus
    from xsheet.runtime.executor import Execution, Progress

    how = Execution(jobs=jobs, ray=ray)
    made = make_corpus(out, films=clips, seed=seed, height_px=size, execution=how, progress=Progress("films"))
    failed = made.counts.get("failed", 0)
    if as_json:
        print_json({"out": str(out), "films": len(made), "failed": failed})
    else:
        console().print(f"{len(made) - failed} films in {out / 'videos'}, their truth in {out / 'truth'}", markup=False)
        for outcome in made.outcomes():
            if outcome.status == "failed":
                console().print(f"failed: {outcome.name}: {outcome.message}", style="red", markup=False)
    raise typer.Exit(1 if failed else 0)


def _print_corpus_estimate(films: int, height_px: int, jobs: int, out: Path) -> None:
    minutes = films * RENDER_S_PER_FILM * (height_px / 256) ** 2 / jobs / 60
    typer.echo(f"{films} films of 4 to 15 s into {out}, about {minutes:.1f} min on {jobs} cores", err=True)


def _print_demo_estimate(films: int, height_px: int, jobs: int, out: Path, steps: tuple[int, int]) -> None:
    films_s = films * (RENDER_S_PER_FILM * (height_px / 256) ** 2 + CURATE_S_PER_FILM) / jobs
    learning_s = (TRAIN_S_PER_STEP * _batch_size(films) * sum(steps) + FIXED_S) / min(2, jobs)
    typer.echo(
        f"{films} films of 4 to 15 s, two stages of {steps[0]} and {steps[1]} steps, one page, into {out}: "
        f"about {(films_s + learning_s) / 60:.0f} min on {jobs} cores",
        err=True,
    )
