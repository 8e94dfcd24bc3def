"""`xsheet run`: curate, annotate, audit and train over a folder of videos."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xsheet.cli.options import (
    AsJson,
    Columns,
    DryRun,
    Jobs,
    KeepsEarlier,
    Limit,
    Models,
    OutSet,
    Quiet,
    Ray,
    RetryFailed,
    Roots,
    StallTimeout,
    cpu_count,
    parse_part_presets,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xsheet.curate.discover import InputFile
    from xsheet.workflow import WorkflowResult, WorkflowSettings

Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file with sections curate, annotate, audit, split and train.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PART.KEY=VALUE",
        help="Override one setting, e.g. curate.face.min_height_px=200; may be repeated.",
    ),
]
FinalStageOption = Literal["curate", "annotate", "audit", "train"]
DEFAULT_PRESETS = {"curate": "keep", "annotate": "motion", "audit": "default", "train": "tiny"}


def run(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="VIDEOS...", help="Folders, files, glob patterns, or a manifest with a `path` column."),
    ],
    out: OutSet,
    until: Annotated[
        FinalStageOption, typer.Option("--until", help="Last part to run; training takes hours.")
    ] = "audit",
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset", "-p", metavar="PART=NAME", help="Preset of one part, e.g. annotate=qwen; may be repeated."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Folder of a Qwen-VL model, or its name at the endpoint.")
    ] = None,
    config: Config = None,
    set_: Set = None,
    root: Roots = None,
    columns: Columns = None,
    add: KeepsEarlier = None,
    models: Models = None,
    limit: Limit = None,
    jobs: Jobs = None,
    ray: Ray = None,
    stall_timeout_s: StallTimeout = 900.0,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Curate, annotate and audit a folder of videos; with `--until train` also train a model on the result.

    The same command continues a stopped run. Every part is also a command: `curate`, `annotate`, `audit`, `train`.

    Exit 1 when an item failed, the gate did not pass, or a part had no input. Unusable files are rows of the table
    `sources`, each with its reason.

    Examples: xsheet run videos/ --out my-set

    xsheet run videos/ --out my-set --preset curate=train --until train --set train.seed=1
    """
    from xsheet.curate.discover import discover
    from xsheet.curate.manifest import parse_column_map

    presets = parse_part_presets(preset or (), DEFAULT_PRESETS)
    settings = _workflow_settings(presets, model, until, config=config, overrides=set_ or [])
    files = discover(inputs, roots=root or (), columns=parse_column_map(columns or ""))[:limit]
    if not dry_run:
        from xsheet.cli.curate.inputs import with_earlier_sources

        files = with_earlier_sources(files, out, keeps_earlier=add)
    shows = not (quiet or as_json)
    if dry_run or shows:
        _show_plan(files, settings, out, until, jobs=jobs or cpu_count(), as_json=as_json, err=not dry_run)
    if dry_run:
        return
    from xsheet.cli.annotate import annotator_execution
    from xsheet.cli.show import console
    from xsheet.cli.trained import log_training_to_stderr
    from xsheet.curate.pipeline import RunContext
    from xsheet.runtime.executor import Execution
    from xsheet.workflow import run_workflow, steps_until

    steps = steps_until(until, settings.train)

    def show_step(step: str) -> None:
        if shows:
            text = f"{steps.index(step) + 1}/{len(steps)} {describe_step(step)[0]}"
            console(err=True).print(text, style="bold", markup=False, soft_wrap=True)

    if shows and until == "train":
        log_training_to_stderr()
    execution = Execution(jobs=jobs or cpu_count(), ray=ray, stall_timeout_s=stall_timeout_s)
    context = RunContext(
        set_folder=out, execution=execution, models=models, retry_failed=retry_failed, shows_progress=shows
    )
    result = run_workflow(
        files,
        settings,
        context,
        final_stage=until,
        annotator_execution=annotator_execution(settings.annotate, jobs, ray),
        on_step=show_step,
    )
    _print_summary(result, until, as_json=as_json)
    raise typer.Exit(1 if _has_failed(result, until) else 0)


MAX_FAILED_SHOWN = 5
"""Failed files that a summary names; the table `sources` has all."""
_STEP_DESCRIPTIONS = {
    "curate": ("measure every video, decide, write the kept clips", "clips/, media/"),
    "report": ("report the kept and rejected candidates", "report.html"),
    "annotate": ("annotate every clip with timed actions", "annotations/"),
    "audit": ("check the annotations against the measurements and accept them", "audit.html, layer accepted"),
    "split": ("split the clips by person", "splits/"),
    "cache": ("encode the clips for training", "cache/"),
}


def describe_step(step: str) -> tuple[str, str]:
    """Description of a step and its output inside the set. A step that is not listed is a training stage."""
    return _STEP_DESCRIPTIONS.get(step, (f"train {step}", f"train/{step}/"))


def _workflow_settings(
    presets: dict[str, str],
    model: str | None,
    until: FinalStageOption,
    *,
    config: Path | None,
    overrides: list[str],
) -> "WorkflowSettings":
    """Settings of all parts; training settings only if training runs, because they import torch."""
    from xsheet.cli import annotate, audit, train
    from xsheet.cli.curate.inputs import preset_settings as curate_settings
    from xsheet.curate.dedup.split import SplitSettings
    from xsheet.schemas.settings import load_settings, split_by_section
    from xsheet.workflow import WorkflowSettings

    parts = ("curate", "annotate", "audit", "split", "train")
    sections = split_by_section(parts, config=config, overrides=overrides)
    return WorkflowSettings(
        curate=curate_settings(presets["curate"], *sections["curate"]),
        annotate=annotate.preset_settings(presets["annotate"], model, None, *sections["annotate"]),
        audit=audit.preset_settings(presets["audit"], *sections["audit"]),
        split=load_settings(SplitSettings, config=sections["split"][0], overrides=sections["split"][1]),
        train=train.preset_settings(presets["train"], *sections["train"]) if until == "train" else None,
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
    """Print the plan; on stderr when a result follows on stdout."""
    from dataclasses import replace

    from xsheet.cli.curate.show import BYTES_PER_HOUR, input_size_bytes
    from xsheet.cli.show import print_json
    from xsheet.curate.report.estimate import MEASURED_COSTS, estimate_run
    from xsheet.workflow import steps_until

    total_bytes = sum(map(input_size_bytes, inputs))
    hours = total_bytes / BYTES_PER_HOUR
    # Writing kept clips costs most, and the kept share is unknown: estimate both extremes.
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
                "bytes": total_bytes,
                "hours": round(hours, 4),
                "steps": [
                    {"step": step, "description": describe_step(step)[0], "output": describe_step(step)[1]}
                    for step in steps
                ],
                "curate_minutes": minutes,
            }
        )
        return
    target = "continues set" if (out / "set.json").exists() else "new set"
    typer.echo(
        f"{len(inputs)} inputs, {total_bytes / 1e6:.0f} MB, about {hours:.2g} h of video; {target} {out}", err=err
    )
    for number, step in enumerate(steps, start=1):
        description, output = describe_step(step)
        duration = f", {minutes[0]} to {minutes[1]} min on {jobs} cores" if step == "curate" else ""
        typer.echo(f"  {number} {description}{duration} → {output}", err=err)


def _print_summary(result: "WorkflowResult", until: FinalStageOption, *, as_json: bool) -> None:
    """Print the summary of a run."""
    from xsheet.cli.audit import show_accepted
    from xsheet.cli.curate.show import show_failed_clips
    from xsheet.cli.show import console, escape_controls, print_json, print_table
    from xsheet.curate.report.funnel import stage_rows

    if as_json:
        print_json(_json_summary(result))
        return
    out = console().print
    if result.curation.removed_sources:
        out(f"{result.curation.removed_sources} sources of earlier runs removed from the tables", style="yellow")
    if result.curation.failed_clips:
        show_failed_clips(result.curation)
    print_table(f"set {result.set_folder}", ("", "count", "hours"), stage_rows(result.funnel))
    failed = [source for source in result.curation.sources if source.status == "failed"]
    if failed:
        names = ", ".join(f"{Path(source.path).name} ({source.reason})" for source in failed[:MAX_FAILED_SHOWN])
        out(
            escape_controls(
                f"failed: {names}"
                + (f" and {len(failed) - MAX_FAILED_SHOWN} more" if failed[MAX_FAILED_SHOWN:] else "")
            ),
            markup=False,
        )
    for name, counts in (
        ("files rejected for", result.funnel.failure_reasons),
        ("candidates rejected for", {cost.reason: cost.as_first_reason.count for cost in result.funnel.reason_costs}),
        ("actions", {} if result.annotation is None else result.annotation.actions),
    ):
        text = ", ".join(
            f"{label} {count}" for label, count in sorted(counts.items(), key=lambda one: -one[1]) if count
        )
        if text:
            out(escape_controls(f"{name}: {text}"), markup=False)
    if result.acceptance is not None:
        for criterion in result.acceptance.audit.gate.criteria:
            out(str(criterion), markup=False, style=None if criterion.passed else "bold red")
        errors = [one for one in result.acceptance.audit.checks if one.check.severity == "error" and one.failed]
        for one in sorted(errors, key=lambda one: -one.failed):
            out(f"error  {one.check.id} {one.check.requirement}: {one.failed}", markup=False)
        show_accepted(result.acceptance)
    if result.training is not None:
        splits = ", ".join(f"{tally.clips} {name}" for name, tally in result.training.split.totals.items())
        out(f"clips: {splits}; model: {result.training.run_folder}", markup=False)
        for stage in result.training.stages:
            loss = "" if stage.loss is None else f", loss {stage.loss[0]:.3f} → {stage.loss[1]:.3f}"
            held_out = (
                ""
                if stage.held_out_loss is None
                else f", held-out {stage.held_out_loss[0]:.3f} → {stage.held_out_loss[1]:.3f}"
            )
            out(f"{stage.stage}: {stage.steps} steps{loss}{held_out}", markup=False)
    pages = [page for page in (result.curation_report, result.audit_report) if page is not None]
    durations = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in result.seconds.items())
    out(
        f"pages: {', '.join(map(str, pages))}\n{durations}\nnext: {_next_command(result, until)}",
        markup=False,
        soft_wrap=True,
    )


def _json_summary(result: "WorkflowResult") -> dict[str, object]:
    from dataclasses import asdict

    annotated, accepted, trained = result.annotation, result.acceptance, result.training
    return {
        "set": str(result.set_folder),
        "page": str(result.curation_report),
        "counts": result.curation.counts,
        "rejected_files": result.funnel.failure_reasons,
        "reject_reasons": {cost.reason: cost.as_first_reason.count for cost in result.funnel.reason_costs},
        "annotated": annotated
        and {
            "clips": annotated.clips,
            "phases": annotated.phases,
            "actions": dict(annotated.actions),
            "responses": dict(annotated.statuses),
        },
        "audited": accepted
        and {
            "passed": accepted.audit.gate.passed,
            "accepted": accepted.accepted_count,
            "rejected": dict(accepted.rejection_counts),
            "layer": accepted.layer and str(accepted.layer),
            "page": str(result.audit_report),
        },
        "trained": trained
        and {
            "run": str(trained.run_folder),
            "stages": [asdict(stage) for stage in trained.stages],
            "clips": {name: tally.clips for name, tally in trained.split.totals.items()},
        },
        "seconds": {step: round(seconds, 2) for step, seconds in result.seconds.items()},
    }


def _next_command(result: "WorkflowResult", until: FinalStageOption) -> str:
    folder = shlex.quote(str(result.set_folder))
    if not result.curation.counts["clips"]:
        return f"no clip was kept: see the report, then xsheet curate decide {folder} --set LIMIT=VALUE"
    if until == "curate":
        return f"xsheet annotate run {folder}"
    if until == "annotate":
        return f"xsheet annotate show {folder} CLIP, xsheet audit run {folder}"
    if result.training is not None:
        run = shlex.quote(str(result.training.run_folder))
        return f"xsheet train evaluate {run} {folder}, xsheet train sample {run} --help"
    review = f"xsheet audit review {folder} --reviewer YOU"
    return f"{review}, or repeat this command with --until train" if _has_accepted(result) else review


def _has_accepted(result: "WorkflowResult") -> bool:
    return result.acceptance is not None and result.acceptance.accepted_count > 0


def _has_failed(result: "WorkflowResult", until: FinalStageOption) -> bool:
    """An item failed, or a requested part had no input."""
    reached = {"curate": True, "annotate": result.annotation is not None, "audit": _has_accepted(result),
               "train": result.training is not None}  # fmt: skip
    has_missing_responses = result.annotation is not None and result.annotation.failed > 0
    return bool(result.curation.failed) or has_missing_responses or not reached[until]
