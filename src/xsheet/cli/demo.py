"""`xsheet demo`: the path on a synthetic corpus."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import AsJson, DryRun, Jobs, Ray, cores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xsheet.demo.run import Shown
    from xsheet.workflow import Ways

app = typer.Typer()

Clips = Annotated[int, typer.Option("--clips", min=1, help="Films to make; twenty hold every kind of fault.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="What all randomness follows from.")]
Size = Annotated[int, typer.Option("--size", min=64, max=1024, help="Picture height in pixels, an even number.")]

# CPU seconds, measured (docs/log/demo.md#demo). A film of 6 s: drawn and encoded at 256 × 256, growing with the area;
# all that is done with it until it is trained on. A clip in a step. What is done once, mostly sampling and reading.
FILM_S, CURATE_S, STEP_S, ONCE_S = 3.0, 5.0, 0.085, 100.0
CLIPS, STEPS = 20, (300, 500)
QUICK_CLIPS, QUICK_STEPS = 12, (80, 120)


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder of everything the demo makes.")] = Path("demo-out"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer films and steps: a third of the time.")] = False,
    clips: Annotated[
        int | None, typer.Option("--clips", min=1, help=f"Films to make; {CLIPS} hold every kind of fault.")
    ] = None,
    seed: Seed = 0,
    size: Size = 384,
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
    from xsheet.cli.run import DOES
    from xsheet.cli.show import console
    from xsheet.schemas.settings import load

    jobs, steps, clips = jobs or cores(), QUICK_STEPS if quick else STEPS, clips or (QUICK_CLIPS if quick else CLIPS)
    _announce_all(clips, size, jobs, out, steps)
    if dry_run:
        return
    from xsheet.cli.trained import tell_steps
    from xsheet.demo.run import STEPS as PATH
    from xsheet.demo.run import DemoSettings, DemoStep, show
    from xsheet.runtime.executor import Execution

    does: dict[str, str] = {step: told for step, (told, _) in DOES.items()}
    does |= {"films": "draw the films", "samples": "draw sheets it never saw, and score them", "page": "tell the story"}

    def tell(step: DemoStep) -> None:
        if not as_json:
            typer.secho(f"{PATH.index(step) + 1}/{len(PATH)} {does[step]}", err=True, bold=True)

    if not as_json:
        tell_steps()
    settings = load(DemoSettings, overrides=[f"clips={clips}", f"seed={seed}", f"size={size}", *_reading(quick)])
    how = Execution(jobs=jobs, ray=ray)
    shown = show(out, settings, _ways(clips, steps, jobs, quick=quick), how=how, shows_progress=not as_json, tell=tell)
    if as_json:
        _print_json(shown)
    else:
        console().print("\n".join(_summary(shown)), markup=False)
    raise typer.Exit(1 if shown.walked.curated.failed else 0)


def _reading(quick: bool) -> list[str]:
    """The reader of small faces is fitted in seconds here; its ceiling stands beside every number."""
    return [f"unseen.evaluation.fitting.steps={150 if quick else 300}"]


def _ways(clips: int, steps: tuple[int, int], jobs: int, *, quick: bool) -> "Ways":
    """The path with its own presets; so much is held out that three sheets are left to draw, and steps are few."""
    from xsheet.cli import annotate, audit, curate, train
    from xsheet.curate.dedup.split import SplitSettings
    from xsheet.workflow import Ways

    at_once = _at_once(clips)
    few = [
        f"data.batch={at_once}", f"compute.micro_batch={at_once}", f"compute.threads={min(2, jobs)}",
        f"stage1.steps={steps[0]}", f"stage1.optim.warmup_steps={steps[0] // 8}",
        f"stage2.steps={steps[1]}", f"stage2.optim.warmup_steps={steps[1] // 8}",
        "loop.log_every=10", "loop.save_every=100", f"loop.observe_every={max(steps) // 2}",
    ]  # fmt: skip
    return Ways(
        curate=curate.settings_of("keep", None, None),
        annotate=annotate.settings_of("motion", None, None, None, None),
        audit=audit.settings_of("default", None, None),
        split=SplitSettings(val=0.1, test=0.4) if quick else SplitSettings(val=0.05, test=0.25),
        train=train.settings_of("tiny", None, few),
    )


def _at_once(clips: int) -> int:
    """Clips in a step. A film gives about one clip, more than half of them to train on; few are seen often."""
    return max(1, min(8, 2 * clips // 5))


def _summary(shown: "Shown") -> "Iterator[str]":
    """The demo on one screen."""
    walked = shown.walked
    counts = walked.curated.counts
    yield f"{counts['sources']} films, {counts['candidates']} candidates, {counts['clips']} clips kept"
    if walked.annotated is not None and walked.accepted is not None:
        gate = "passes" if walked.accepted.audited.gate.passed else "fails"
        yield f"{walked.annotated.phases} phases; the layer {gate} the gate, {walked.accepted.accepted} sheets accepted"
    for stage in () if walked.trained is None else walked.trained.stages:
        lost = "" if stage.loss is None else f", loss {stage.loss[0]:.2f} → {stage.loss[1]:.2f}"
        yield f"{stage.stage}: {stage.steps} steps{lost}"
    if shown.unseen is not None:
        yield shown.unseen.evaluation.table()
    yield f"{sum(shown.seconds.values()) / 60:.1f} min in all. The story, to be opened in a browser: {shown.page}"


def _print_json(shown: "Shown") -> None:
    from xsheet.cli.show import print_json

    walked = shown.walked
    numbers = {} if shown.unseen is None else shown.unseen.evaluation.numbers()
    print_json({
        "page": str(shown.page), "corpus": str(shown.corpus), "set": str(walked.set_folder),
        "counts": walked.curated.counts,
        "phases": 0 if walked.annotated is None else walked.annotated.phases,
        "accepted": 0 if walked.accepted is None else walked.accepted.accepted,
        "steps": {} if walked.trained is None else {stage.stage: stage.steps for stage in walked.trained.stages},
        "numbers": {name: None if drawn is None else round(drawn.mean, 4) for name, (drawn, _) in numbers.items()},
        "seconds": shown.seconds,
    })  # fmt: skip


@app.command()
def corpus(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the corpus.")],
    clips: Clips = 20,
    seed: Seed = 0,
    size: Size = 384,
    jobs: Jobs = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write talking films of the puppet, and the truth about them in the contract's own tables.

    Example: xsheet demo corpus puppet --clips 60 --seed 7
    """
    from xsheet.cli.show import console, print_json

    jobs = jobs or cores()
    _announce(clips, size, jobs, out)
    if dry_run:
        return
    from xsheet.demo.corpus import make_corpus
    from xsheet.runtime.executor import Execution, Progress

    how = Execution(jobs=jobs, ray=ray)
    made = make_corpus(out, clips=clips, seed=seed, size=size, how=how, progress=Progress("films"))
    failed = made.counts.get("failed", 0)
    if as_json:
        print_json({"out": str(out), "films": len(made), "failed": failed})
    else:
        console().print(f"{len(made) - failed} films in {out / 'videos'}, their truth in {out / 'truth'}", markup=False)
        for outcome in made.outcomes():
            if outcome.status == "failed":
                console().print(f"failed: {outcome.name}: {outcome.message}", style="red", markup=False)
    raise typer.Exit(1 if failed else 0)


def _announce(clips: int, size: int, jobs: int, out: Path) -> None:
    minutes = clips * FILM_S * (size / 256) ** 2 / jobs / 60
    typer.echo(f"{clips} films of 4 to 15 s into {out}, about {minutes:.1f} min on {jobs} cores", err=True)


def _announce_all(clips: int, size: int, jobs: int, out: Path, steps: tuple[int, int]) -> None:
    films_s = clips * (FILM_S * (size / 256) ** 2 + CURATE_S) / jobs
    learning_s = (STEP_S * _at_once(clips) * sum(steps) + ONCE_S) / min(2, jobs)
    typer.echo(
        f"{clips} films of 4 to 15 s, two stages of {steps[0]} and {steps[1]} steps, one page, into {out}: "
        f"about {(films_s + learning_s) / 60:.0f} min on {jobs} cores",
        err=True,
    )
