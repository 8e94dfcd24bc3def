"""`xsheet demo`: the path on a synthetic corpus."""

from pathlib import Path
from typing import Annotated

import typer

from xsheet.cli.options import AsJson, DryRun, Jobs, Ray, cores

app = typer.Typer()

Clips = Annotated[int, typer.Option("--clips", min=1, help="Films to make; twenty hold every kind of fault.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="What all randomness follows from.")]
Size = Annotated[int, typer.Option("--size", min=64, max=1024, help="Picture height in pixels, an even number.")]

# Measured on one core, for a film of 6 s: drawing and encoding it at 256 × 256 (grows with the area), and curating it.
FILM_S = 3.0
CURATE_S = 9.0
STAGE1_STEPS, STAGE2_STEPS = 60, 90  # minutes, to show that the loop runs; not to learn much


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder for the corpus and the set.")] = Path("demo-out"),
    clips: Clips = 20,
    seed: Seed = 0,
    size: Size = 384,
    jobs: Jobs = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """The whole path on a synthetic talking corpus: films with planted faults become a set that can be trusted.

    A second run keeps what the first one finished.

    Example: xsheet demo --out demo-out --clips 20
    """
    if context.invoked_subcommand is not None:
        return
    from xsheet.cli.show import console, print_json
    from xsheet.schemas.settings import load

    jobs = jobs or cores()
    _announce(clips, size, jobs, out, curated=True)
    if dry_run:
        return
    from xsheet.cli import annotate, audit, curate
    from xsheet.cli.train import settings_of as train_settings
    from xsheet.curate.split import SplitSettings
    from xsheet.demo.walk import DemoSettings, show
    from xsheet.execute import Execution
    from xsheet.path import Ways

    settings = load(DemoSettings, overrides=[f"clips={clips}", f"seed={seed}", f"size={size}"])
    ways = Ways(
        curate=curate.settings_of("keep", None, None),
        annotate=annotate.settings_of("motion", None, None, None, None),
        audit=audit.settings_of("default", None, None),
        split=SplitSettings(),
        train=train_settings("tiny", None, [f"stage1.steps={STAGE1_STEPS}", f"stage2.steps={STAGE2_STEPS}"]),
    )
    shown = show(out, settings, ways, how=Execution(jobs=jobs, ray=ray), shows_progress=not as_json)
    walked = shown.walked
    if as_json:
        print_json({
            "corpus": str(shown.corpus), "set": str(walked.set_folder), "page": str(walked.page),
            "counts": walked.curated.counts,
            "phases": 0 if walked.annotated is None else walked.annotated.phases,
            "accepted": 0 if walked.accepted is None else walked.accepted.accepted,
            "seconds": {k: round(v, 2) for k, v in walked.seconds.items()},
        })  # fmt: skip
    else:
        curate.show_run(walked.curated, walked.set_folder, as_json=False)
        if walked.annotated is not None:
            annotate.show_run(walked.annotated, walked.set_folder, as_json=False)
            annotate.show_richest(walked.annotated, walked.set_folder)
        if walked.accepted is not None:
            audit.show_audit(walked.accepted.audited, walked.audit_page, as_json=False)
            audit.show_accepted(walked.accepted)
        console().print(f"films and their truth: {shown.corpus}\npage: {walked.page}", markup=False)
    raise typer.Exit(1 if walked.curated.failed else 0)


@app.command()
def corpus(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the corpus.")],
    clips: Clips = 20,
    seed: Seed = 0,
    size: Size = 256,
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
    from xsheet.execute import Execution, Progress

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


def _announce(clips: int, size: int, jobs: int, out: Path, *, curated: bool = False) -> None:
    minutes = clips * (FILM_S * (size / 256) ** 2 + CURATE_S * curated) / jobs / 60
    typer.echo(f"{clips} films of 4 to 15 s into {out}, about {minutes:.1f} min on {jobs} cores", err=True)
