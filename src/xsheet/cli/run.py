"""`xsheet run`: the whole path over a folder of videos."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xsheet.cli.options import AsJson, DryRun, Jobs, Limit, Models, Preset, Quiet, Ray, RetryFailed, cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xsheet.curate.discover import Given
    from xsheet.workflow import Step, Walked, Ways

Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file with sections curate, annotate, audit, split and train.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PART.KEY=VALUE", help="One setting, e.g. curate.face.min_height_px=200."),
]
Until = Literal["curate", "annotate", "audit", "train"]


def run(
    inputs: Annotated[
        list[str], typer.Argument(metavar="VIDEOS...", help="Folders, files, patterns, or a CSV/Parquet with path.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the set.")],
    until: Annotated[Until, typer.Option("--until", help="The last part; training takes hours.")] = "audit",
    preset: Preset = "keep",
    annotator: Annotated[
        str, typer.Option("--annotator", "-a", help="motion (embedded), qwen or endpoint.")
    ] = "motion",
    model: Annotated[
        str | None, typer.Option("--model", help="Folder of a Qwen-VL model, or its name at the endpoint.")
    ] = None,
    size: Annotated[str, typer.Option("--size", "-s", help="Trained model: tiny or wan2.2-ti2v-5b.")] = "tiny",
    config: Config = None,
    set_: Set = None,
    models: Models = None,
    limit: Limit = None,
    jobs: Jobs = None,
    ray: Ray = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """From a folder of videos to a set that can be trusted, or (`--until train`) to a model trained on it.

    A stopped run goes on where it was. Every step is a command of its own: `curate`, `annotate`, `audit`, `train`.

    Exit 1 when something failed, the gate did not pass, or the path ended early; files that are no good are rows.

    Examples: xsheet run videos/ --out my-set

    xsheet run videos/ --out my-set --until train --set train.stage2.steps=5000
    """
    from xsheet.curate.discover import discover

    ways = _ways(preset, annotator, model, size if until == "train" else None, config=config, overrides=set_ or [])
    given = discover(inputs)[:limit]
    if dry_run or not (quiet or as_json):
        _show_plan(given, ways, out, until, jobs=jobs or cores(), as_json=as_json, err=not dry_run)
    if dry_run:
        return
    from xsheet.cli.annotate import execution
    from xsheet.cli.show import console
    from xsheet.cli.trained import tell_steps
    from xsheet.curate.pipeline import Where
    from xsheet.runtime.executor import Execution
    from xsheet.workflow import steps_to, walk

    shows = not (quiet or as_json)
    steps = steps_to(until)

    def tell(step: "Step") -> None:
        if shows:
            said = f"{steps.index(step) + 1}/{len(steps)} {DOES[step][0]}"
            console(err=True).print(said, style="bold", markup=False, soft_wrap=True)

    if shows and until == "train":
        tell_steps()
    how = Execution(jobs=jobs or cores(), ray=ray)
    where = Where(set_folder=out, how=how, models=models, retry_failed=retry_failed, shows_progress=shows)
    walked = walk(given, ways, where, until=until, asking=execution(ways.annotate, jobs, ray), tell=tell)
    _show(walked, until, as_json=as_json)
    raise typer.Exit(1 if _ended_badly(walked, until) else 0)


FAILED = 5
"""Files that a summary names; the table `sources` has all."""
DOES: "dict[Step, tuple[str, str]]" = {
    "curate": ("measure every video, decide, write the clips that are kept", "clips/, media/"),
    "report": ("report what was kept, what was dropped, and why", "report.html"),
    "annotate": ("write what is done when in every clip", "annotations/"),
    "audit": ("check it against what was measured, and accept what holds", "audit.html, layer accepted"),
    "split": ("share the clips out, no person on two sides", "splits/"),
    "cache": ("encode the clips once for the model", "cache/"),
    "stage1": ("train stage 1: sound", "train/stage1/"),
    "stage2": ("train stage 2: actions in time", "train/stage2/"),
}
"""What a step does, and where in the set its result lies."""


def _ways(
    preset: str, annotator: str, model: str | None, size: str | None, *, config: Path | None, overrides: list[str]
) -> "Ways":
    """Settings of all parts; those of training only where a size is given, since they load torch."""
    from xsheet.cli import annotate, audit, curate, train
    from xsheet.curate.dedup.split import SplitSettings
    from xsheet.schemas.settings import by_section, load
    from xsheet.workflow import Ways

    parts = ("curate", "annotate", "audit", "split", "train")
    of = by_section(parts, config=config, overrides=overrides)
    return Ways(
        curate=curate.settings_of(preset, *of["curate"]),
        annotate=annotate.settings_of(annotator, model, None, *of["annotate"]),
        audit=audit.settings_of("default", *of["audit"]),
        split=load(SplitSettings, config=of["split"][0], overrides=of["split"][1]),
        train=None if size is None else train.settings_of(size, *of["train"]),
    )


def _show_plan(
    given: "Sequence[Given]", ways: "Ways", out: Path, until: Until, *, jobs: int, as_json: bool, err: bool
) -> None:
    """What would be done; on stderr where a result follows on stdout."""
    from dataclasses import replace

    from xsheet.cli.curate import BYTES_PER_HOUR, bytes_of
    from xsheet.cli.show import print_json
    from xsheet.curate.report.estimate import MEASURED, describe
    from xsheet.workflow import steps_to

    size = sum(bytes_of(one.path) for one in given)
    hours = size / BYTES_PER_HOUR
    # What is kept costs most, and nobody knows yet how much that will be.
    minutes = [
        round(describe(ways.curate.limits, replace(MEASURED, kept_share=share), hours=hours, jobs=jobs).wall_hours * 60)
        for share in (0.0, 1.0)
    ]
    steps = steps_to(until)
    if as_json:
        print_json({
            "set": str(out), "inputs": len(given), "bytes": size, "hours": round(hours, 4),
            "steps": [{"step": step, "does": DOES[step][0], "leaves": DOES[step][1]} for step in steps],
            "curate_minutes": minutes,
        })  # fmt: skip
        return
    known = "goes on with the set" if (out / "set.json").exists() else "new set"
    typer.echo(f"{len(given)} inputs, {size / 1e6:.0f} MB, about {hours:.2g} h of video; {known} {out}", err=err)
    for number, step in enumerate(steps, start=1):
        does, leaves = DOES[step]
        took = f", {minutes[0]} to {minutes[1]} min on {jobs} cores" if step == "curate" else ""
        typer.echo(f"  {number} {does}{took} → {leaves}", err=err)


def _show(walked: "Walked", until: Until, *, as_json: bool) -> None:
    """The summary of the path, on one screen."""
    from xsheet.cli.audit import show_accepted
    from xsheet.cli.curate import told_gone
    from xsheet.cli.show import console, plain, print_json, print_table
    from xsheet.curate.report.funnel import stage_rows

    if as_json:
        print_json(_as_json(walked))
        return
    say = console().print
    if walked.curated.gone:
        say(told_gone(walked.curated), style="yellow", markup=False)
    print_table(f"set {walked.set_folder}", ("", "count", "hours"), stage_rows(walked.funnel))
    failed = [source for source in walked.curated.sources if source.status == "failed"]
    if failed:
        named = ", ".join(f"{Path(source.path).name} ({source.reason})" for source in failed[:FAILED])
        say(plain(f"failed: {named}" + (f" and {len(failed) - FAILED} more" if failed[FAILED:] else "")), markup=False)
    for name, counts in (
        ("files left out for", walked.funnel.faults),
        ("candidates dropped for", {cost.reason: cost.first.count for cost in walked.funnel.costs}),
        ("actions", {} if walked.annotated is None else walked.annotated.actions),
    ):
        said = ", ".join(f"{what} {count}" for what, count in sorted(counts.items(), key=lambda one: -one[1]) if count)
        if said:
            say(plain(f"{name}: {said}"), markup=False)
    if walked.accepted is not None:
        for criterion in walked.accepted.audited.gate.criteria:
            say(str(criterion), markup=False, style=None if criterion.passed else "bold red")
        errors = [one for one in walked.accepted.audited.checks if one.check.severity == "error" and one.failed]
        for one in sorted(errors, key=lambda one: -one.failed):
            say(f"error  {one.check.id} {one.check.why}: {one.failed}", markup=False)
        show_accepted(walked.accepted)
    if walked.trained is not None:
        parts = ", ".join(f"{tally.clips} {name}" for name, tally in walked.trained.split.parts.items())
        say(f"clips: {parts}; model: {walked.trained.folder}", markup=False)
        for ended in walked.trained.stages:
            lost = "" if ended.loss is None else f", loss {ended.loss[0]:.3f} → {ended.loss[1]:.3f}"
            held = "" if ended.held_out is None else f", held out {ended.held_out[0]:.3f} → {ended.held_out[1]:.3f}"
            say(f"{ended.stage}: {ended.steps} steps{lost}{held}", markup=False)
    pages = [page for page in (walked.page, walked.audit_page) if page is not None]
    took = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in walked.seconds.items())
    say(f"pages: {', '.join(map(str, pages))}\n{took}\nnext: {_next(walked, until)}", markup=False, soft_wrap=True)


def _as_json(walked: "Walked") -> dict[str, object]:
    from dataclasses import asdict

    annotated, accepted, trained = walked.annotated, walked.accepted, walked.trained
    return {
        "set": str(walked.set_folder), "page": str(walked.page), "counts": walked.curated.counts,
        "no_good": walked.funnel.faults,
        "dropped_for": {cost.reason: cost.first.count for cost in walked.funnel.costs},
        "annotated": annotated and {
            "clips": annotated.clips, "phases": annotated.phases, "actions": dict(annotated.actions),
            "replies": dict(annotated.statuses),
        },
        "audited": accepted and {
            "passed": accepted.audited.gate.passed, "accepted": accepted.accepted, "refused": dict(accepted.refused),
            "layer": accepted.layer and str(accepted.layer), "page": str(walked.audit_page),
        },
        "trained": trained and {
            "run": str(trained.folder), "stages": [asdict(stage) for stage in trained.stages],
            "clips": {name: tally.clips for name, tally in trained.split.parts.items()},
        },
        "seconds": {step: round(seconds, 2) for step, seconds in walked.seconds.items()},
    }  # fmt: skip


def _next(walked: "Walked", until: Until) -> str:
    folder = shlex.quote(str(walked.set_folder))
    if not walked.curated.counts["clips"]:
        return f"no clip was kept; see the page, then xsheet curate decide {folder} --set LIMIT=VALUE"
    if until == "curate":
        return f"xsheet annotate run {folder}"
    if until == "annotate":
        return f"xsheet annotate show {folder} CLIP, xsheet audit run {folder}"
    if walked.trained is not None:
        run = shlex.quote(str(walked.trained.folder))
        return f"xsheet train evaluate {run} {folder}, xsheet train sample {run} --help"
    review = f"xsheet audit review {folder} --reviewer YOU"
    return f"{review}, or the same command with --until train" if _accepted(walked) else review


def _accepted(walked: "Walked") -> bool:
    return walked.accepted is not None and walked.accepted.accepted > 0


def _ended_badly(walked: "Walked", until: Until) -> bool:
    """Something failed, or a part that was asked for had nothing to go on with."""
    reached = {"curate": True, "annotate": walked.annotated is not None, "audit": _accepted(walked),
               "train": walked.trained is not None}  # fmt: skip
    unanswered = walked.annotated is not None and walked.annotated.failed > 0
    return bool(walked.curated.failed) or unanswered or not reached[until]
