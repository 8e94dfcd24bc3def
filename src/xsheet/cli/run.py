"""`xsheet run`: the whole path over a folder of videos."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xsheet.cli.options import AsJson, DryRun, Jobs, Limit, Models, Preset, Quiet, Ray, RetryFailed, cpu_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xsheet.curate.discover import InputFile
    from xsheet.workflow import WorkflowResult, WorkflowSettings

Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file with sections curate, annotate, audit, split and train.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PART.KEY=VALUE", help="One setting, e.g. curate.face.min_height_px=200."),
]
FinalStageOption = Literal["curate", "annotate", "audit", "train"]


def run(
    inputs: Annotated[
        list[str], typer.Argument(metavar="VIDEOS...", help="Folders, files, patterns, or a CSV/Parquet with path.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the set.")],
    until: Annotated[FinalStageOption, typer.Option("--until", help="The last part; training takes hours.")] = "audit",
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

    xsheet run videos/ --out my-set --until train --set train.stages.NAME.steps=5000
    """
    from xsheet.curate.discover import discover

    ways = _workflow_settings(
        preset, annotator, model, size if until == "train" else None, config=config, overrides=set_ or []
    )
    given = discover(inputs)[:limit]
    if dry_run or not (quiet or as_json):
        _show_plan(given, ways, out, until, jobs=jobs or cpu_count(), as_json=as_json, err=not dry_run)
    if dry_run:
        return
    from xsheet.cli.annotate import annotator_execution
    from xsheet.cli.show import console
    from xsheet.cli.trained import log_training_to_stderr
    from xsheet.curate.pipeline import RunContext
    from xsheet.runtime.executor import Execution
    from xsheet.workflow import run_workflow, steps_until

    shows = not (quiet or as_json)
    steps = steps_until(until, ways.train)

    def tell(step: str) -> None:
        if shows:
            said = f"{steps.index(step) + 1}/{len(steps)} {describe_step(step)[0]}"
            console(err=True).print(said, style="bold", markup=False, soft_wrap=True)

    if shows and until == "train":
        log_training_to_stderr()
    how = Execution(jobs=jobs or cpu_count(), ray=ray)
    where = RunContext(set_folder=out, execution=how, models=models, retry_failed=retry_failed, shows_progress=shows)
    walked = run_workflow(
        given,
        ways,
        where,
        final_stage=until,
        annotator_execution=annotator_execution(ways.annotate, jobs, ray),
        on_step=tell,
    )
    _print_summary(walked, until, as_json=as_json)
    raise typer.Exit(1 if _has_failed(walked, until) else 0)


MAX_FAILED_SHOWN = 5
"""Files that a summary names; the table `sources` has all."""
_STEP_DESCRIPTIONS = {
    "curate": ("measure every video, decide, write the clips that are kept", "clips/, media/"),
    "report": ("report what was kept, what was dropped, and why", "report.html"),
    "annotate": ("write what is done when in every clip", "annotations/"),
    "audit": ("check it against what was measured, and accept what holds", "audit.html, layer accepted"),
    "split": ("share the clips out, no person on two sides", "splits/"),
    "cache": ("encode the clips once for the model", "cache/"),
}


def describe_step(step: str) -> tuple[str, str]:
    """What a step does, and where in the set its result is; a step of another name is a training stage."""
    return _STEP_DESCRIPTIONS.get(step, (f"train {step}", f"train/{step}/"))


def _workflow_settings(
    curate_preset: str,
    annotate_preset: str,
    model: str | None,
    train_preset: str | None,
    *,
    config: Path | None,
    overrides: list[str],
) -> "WorkflowSettings":
    """Settings of all parts; those of training only where a size is given, since they load torch."""
    from xsheet.cli import annotate, audit, curate, train
    from xsheet.curate.dedup.split import SplitSettings
    from xsheet.schemas.settings import load_settings, split_by_section
    from xsheet.workflow import WorkflowSettings

    parts = ("curate", "annotate", "audit", "split", "train")
    of = split_by_section(parts, config=config, overrides=overrides)
    return WorkflowSettings(
        curate=curate.preset_settings(curate_preset, *of["curate"]),
        annotate=annotate.preset_settings(annotate_preset, model, None, *of["annotate"]),
        audit=audit.preset_settings("default", *of["audit"]),
        split=load_settings(SplitSettings, config=of["split"][0], overrides=of["split"][1]),
        train=None if train_preset is None else train.preset_settings(train_preset, *of["train"]),
    )


def _show_plan(
    inputs: "Sequence[InputFile]",
    settings: "WorkflowSettings",
    out: Path,
    final_stage: FinalStageOption,
    *,
    jobs: int,
    as_json: bool,
    err: bool,
) -> None:
    """What would be done; on stderr where a result follows on stdout."""
    from dataclasses import replace

    from xsheet.cli.curate import BYTES_PER_HOUR, file_size_bytes
    from xsheet.cli.show import print_json
    from xsheet.curate.report.estimate import MEASURED_COSTS, estimate_run
    from xsheet.workflow import steps_until

    size = sum(file_size_bytes(one.path) for one in inputs)
    hours = size / BYTES_PER_HOUR
    # What is kept costs most, and nobody knows yet how much that will be.
    minutes = [
        round(
            estimate_run(
                settings.curate.limits, replace(MEASURED_COSTS, kept_share=share), hours=hours, jobs=jobs
            ).wall_hours
            * 60
        )
        for share in (0.0, 1.0)
    ]
    steps = steps_until(final_stage, settings.train)
    if as_json:
        print_json(
            {
                "set": str(out),
                "inputs": len(inputs),
                "bytes": size,
                "hours": round(hours, 4),
                "steps": [
                    {"step": step, "does": describe_step(step)[0], "leaves": describe_step(step)[1]} for step in steps
                ],
                "curate_minutes": minutes,
            }
        )
        return
    known = "goes on with the set" if (out / "set.json").exists() else "new set"
    typer.echo(f"{len(inputs)} inputs, {size / 1e6:.0f} MB, about {hours:.2g} h of video; {known} {out}", err=err)
    for number, step in enumerate(steps, start=1):
        does, leaves = describe_step(step)
        took = f", {minutes[0]} to {minutes[1]} min on {jobs} cores" if step == "curate" else ""
        typer.echo(f"  {number} {does}{took} → {leaves}", err=err)


def _print_summary(walked: "WorkflowResult", until: FinalStageOption, *, as_json: bool) -> None:
    """The summary of the path, on one screen."""
    from xsheet.cli.audit import show_accepted
    from xsheet.cli.curate import missing_sources_note
    from xsheet.cli.show import console, escape_controls, print_json, print_table
    from xsheet.curate.report.funnel import stage_rows

    if as_json:
        print_json(_json_summary(walked))
        return
    say = console().print
    if walked.curation.removed_sources:
        say(missing_sources_note(walked.curation), style="yellow", markup=False)
    print_table(f"set {walked.set_folder}", ("", "count", "hours"), stage_rows(walked.funnel))
    failed = [source for source in walked.curation.sources if source.status == "failed"]
    if failed:
        named = ", ".join(f"{Path(source.path).name} ({source.reason})" for source in failed[:MAX_FAILED_SHOWN])
        say(
            escape_controls(
                f"failed: {named}"
                + (f" and {len(failed) - MAX_FAILED_SHOWN} more" if failed[MAX_FAILED_SHOWN:] else "")
            ),
            markup=False,
        )
    for name, counts in (
        ("files left out for", walked.funnel.failure_reasons),
        ("candidates dropped for", {cost.reason: cost.as_first_reason.count for cost in walked.funnel.reason_costs}),
        ("actions", {} if walked.annotation is None else walked.annotation.actions),
    ):
        said = ", ".join(f"{what} {count}" for what, count in sorted(counts.items(), key=lambda one: -one[1]) if count)
        if said:
            say(escape_controls(f"{name}: {said}"), markup=False)
    if walked.acceptance is not None:
        for criterion in walked.acceptance.audit.gate.criteria:
            say(str(criterion), markup=False, style=None if criterion.passed else "bold red")
        errors = [one for one in walked.acceptance.audit.checks if one.check.severity == "error" and one.failed]
        for one in sorted(errors, key=lambda one: -one.failed):
            say(f"error  {one.check.id} {one.check.requirement}: {one.failed}", markup=False)
        show_accepted(walked.acceptance)
    if walked.training is not None:
        parts = ", ".join(f"{tally.clips} {name}" for name, tally in walked.training.split.totals.items())
        say(f"clips: {parts}; model: {walked.training.run_folder}", markup=False)
        for ended in walked.training.stages:
            lost = "" if ended.loss is None else f", loss {ended.loss[0]:.3f} → {ended.loss[1]:.3f}"
            held = (
                ""
                if ended.held_out_loss is None
                else f", held out {ended.held_out_loss[0]:.3f} → {ended.held_out_loss[1]:.3f}"
            )
            say(f"{ended.stage}: {ended.steps} steps{lost}{held}", markup=False)
    pages = [page for page in (walked.curation_report, walked.audit_report) if page is not None]
    took = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in walked.seconds.items())
    say(
        f"pages: {', '.join(map(str, pages))}\n{took}\nnext: {_next_command(walked, until)}",
        markup=False,
        soft_wrap=True,
    )


def _json_summary(walked: "WorkflowResult") -> dict[str, object]:
    from dataclasses import asdict

    annotated, accepted, trained = walked.annotation, walked.acceptance, walked.training
    return {
        "set": str(walked.set_folder),
        "page": str(walked.curation_report),
        "counts": walked.curation.counts,
        "no_good": walked.funnel.failure_reasons,
        "dropped_for": {cost.reason: cost.as_first_reason.count for cost in walked.funnel.reason_costs},
        "annotated": annotated
        and {
            "clips": annotated.clips,
            "phases": annotated.phases,
            "actions": dict(annotated.actions),
            "replies": dict(annotated.statuses),
        },
        "audited": accepted
        and {
            "passed": accepted.audit.gate.passed,
            "accepted": accepted.accepted_count,
            "refused": dict(accepted.rejection_counts),
            "layer": accepted.layer and str(accepted.layer),
            "page": str(walked.audit_report),
        },
        "trained": trained
        and {
            "run": str(trained.run_folder),
            "stages": [asdict(stage) for stage in trained.stages],
            "clips": {name: tally.clips for name, tally in trained.split.totals.items()},
        },
        "seconds": {step: round(seconds, 2) for step, seconds in walked.seconds.items()},
    }


def _next_command(walked: "WorkflowResult", until: FinalStageOption) -> str:
    folder = shlex.quote(str(walked.set_folder))
    if not walked.curation.counts["clips"]:
        return f"no clip was kept; see the page, then xsheet curate decide {folder} --set LIMIT=VALUE"
    if until == "curate":
        return f"xsheet annotate run {folder}"
    if until == "annotate":
        return f"xsheet annotate show {folder} CLIP, xsheet audit run {folder}"
    if walked.training is not None:
        run = shlex.quote(str(walked.training.run_folder))
        return f"xsheet train evaluate {run} {folder}, xsheet train sample {run} --help"
    review = f"xsheet audit review {folder} --reviewer YOU"
    return f"{review}, or the same command with --until train" if _has_accepted(walked) else review


def _has_accepted(walked: "WorkflowResult") -> bool:
    return walked.acceptance is not None and walked.acceptance.accepted_count > 0


def _has_failed(walked: "WorkflowResult", until: FinalStageOption) -> bool:
    """Something failed, or a part that was asked for had nothing to go on with."""
    reached = {"curate": True, "annotate": walked.annotation is not None, "audit": _has_accepted(walked),
               "train": walked.training is not None}  # fmt: skip
    unanswered = walked.annotation is not None and walked.annotation.failed > 0
    return bool(walked.curation.failed) or unanswered or not reached[until]
