"""`xsheet curate`: raw talking video to measurements, verdicts, canonical clips and signals."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import (
    AsJson,
    Config,
    DryRun,
    Jobs,
    Limit,
    Models,
    Preset,
    Quiet,
    Ray,
    RetryFailed,
    Set,
    SetFolder,
    cpu_count,
)

if TYPE_CHECKING:
    from xsheet.curate.filter.decide import DecisionSummary
    from xsheet.curate.pipeline import CurationResult
    from xsheet.curate.report.funnel import Funnel
    from xsheet.curate.settings import CurateSettings
    from xsheet.schemas.settings import SettingsSection

app = typer.Typer(
    help="Raw talking video to measurements, verdicts, canonical clips and signals.", no_args_is_help=True
)


@app.command("run")
def run_(
    inputs: Annotated[
        list[str], typer.Argument(metavar="SRC...", help="Folders, files, patterns, or a CSV/Parquet with `path`.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the set.")],
    preset: Preset = "keep",
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
    """Measure every source once, decide, and write the clips that are kept. A stopped run goes on where it was.

    Exit 1 when a source or a clip failed; each is a row with its reason.

    Example: xsheet curate run videos/ --out my-set
    """
    settings = preset_settings(preset, config, set_)
    from xsheet.curate.discover import discover

    given = discover(inputs)[:limit]
    if dry_run:
        _show_estimate(
            settings, sum(file_size_bytes(one.path) for one in given) / BYTES_PER_HOUR, jobs or cpu_count(), len(given)
        )
        return
    from xsheet.curate.pipeline import RunContext, curate
    from xsheet.runtime.executor import Execution

    how = Execution(jobs=jobs or cpu_count(), ray=ray)
    where = RunContext(
        set_folder=out, execution=how, models=models, retry_failed=retry_failed, shows_progress=not (quiet or as_json)
    )
    curated = curate(given, settings, where)
    show_run(curated, out, as_json=as_json)
    raise typer.Exit(1 if curated.failed else 0)


@app.command()
def decide(
    folder: SetFolder, preset: Preset = "keep", config: Config = None, set_: Set = None, as_json: AsJson = False
) -> None:
    """Decide again with other limits; nothing is decoded. `curate run` then writes what is newly kept.

    Example: xsheet curate decide my-set --preset train --set face.min_height_px=200
    """
    settings = preset_settings(preset, config, set_)
    from xsheet.curate.pipeline import redecide
    from xsheet.schemas.sets import open_set

    open_set(folder)
    _show_decision(redecide(folder, settings), as_json=as_json)


@app.command()
def sweep(
    folder: SetFolder,
    over: Annotated[str, typer.Option("--over", metavar="LIMIT=FIRST:LAST:STEP", help="The limit and its values.")],
    preset: Preset = "keep",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Hours kept for each value of one limit; nothing is decoded and nothing changes.

    Example: xsheet curate sweep my-set --over sync.lips.min_confidence=2:4:0.5
    """
    settings = preset_settings(preset, config, set_)
    from xsheet.cli.show import print_json, print_table
    from xsheet.curate.filter.sweep import sweep_set
    from xsheet.schemas.sets import open_set

    open_set(folder)
    rows = sweep_set(folder, settings.limits, limit_range=over)
    heads = ("value", "clips kept", "hours kept", "change in hours")
    table = [(row.value, row.kept.clips, row.kept.hours, row.change_us / 3.6e9) for row in rows]
    if as_json:
        print_json([dict(zip(("value", "clips", "hours", "change_hours"), row, strict=True)) for row in table])
    else:
        print_table(over, heads, table)


@app.command()
def report(
    folder: SetFolder,
    out: Annotated[Path | None, typer.Option("--out", help="The page; SET/report.html if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """The funnel in the terminal, and one self-contained HTML page with histograms and contact sheets.

    Example: xsheet curate report my-set
    """
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json
    from xsheet.curate.report.page import write_report
    from xsheet.schemas.sets import open_set

    open_set(folder)
    page = out or folder / "report.html"
    found = write_report(folder, page)
    if as_json:
        print_json(asdict(found))
        return
    _show_funnel(found)
    console().print(f"page: {page}", markup=False)


@app.command()
def inspect(
    folder: SetFolder,
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="Id of a candidate, or how it begins.")],
) -> None:
    """Everything known about one candidate, each measure beside its limit.

    Example: xsheet curate inspect my-set clip_3f2a
    """
    from xsheet.cli.show import console
    from xsheet.curate.report.inspect import inspect_candidate
    from xsheet.curate.report.terminal import render_candidate
    from xsheet.schemas.sets import open_set

    open_set(folder)
    console().print(render_candidate(inspect_candidate(folder, clip)))


@app.command()
def split(
    folder: SetFolder,
    val: Annotated[float, typer.Option("--val", min=0, max=1, help="Share for validation.")] = 0.05,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share for the test.")] = 0.05,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, another split.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Share the clips out so that no person, source or near duplicate is on two sides.

    Example: xsheet curate split my-set --val 0.05 --test 0.05
    """
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.curate.dedup.split import SplitSettings, split_set
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.settings import load_settings

    open_set(folder)
    done = split_set(folder, load_settings(SplitSettings, overrides=[f"val={val}", f"test={test}", f"seed={seed}"]))
    rows = [(name, tally.clips, tally.hours, done.cluster_counts[name]) for name, tally in done.totals.items()]
    if as_json:
        named = [dict(zip(("split", "clips", "hours", "clusters"), row, strict=True)) for row in rows]
        print_json(
            {
                "parts": named,
                "largest_cluster_share": done.largest_cluster_share,
                "identity_by": dict(done.clips_by_identity_method),
            }
        )
        return
    print_table("split", ("", "clips", "hours", "clusters"), rows)
    told = ", ".join(f"{name} ({count} clips)" for name, count in done.clips_by_identity_method.items())
    console().print(
        f"people told apart by {told}; the largest cluster holds {done.largest_cluster_share:.0%}", markup=False
    )


@app.command("selftest-sync")
def selftest_sync_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A talking clip of your own.")],
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Shift the sound of a clip by known amounts and see whether the scorer finds them; exit 1 when it does not.

    Example: xsheet curate selftest-sync talking.mp4
    """
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.curate.sync.selftest import load_speaker, selftest_sync

    sound, track = load_speaker(file, root=file.absolute().parent, models=models)
    found = list(selftest_sync(sound, track))
    hits = sum(row.is_found for row in found)
    rows = [
        (r.applied_shift_frames, r.score.offset_frames, r.score.confidence, r.score.margin, r.is_found) for r in found
    ]
    heads = ("planted", "measured", "confidence", "margin", "found")
    if as_json:
        print_json([dict(zip(heads, row, strict=True)) for row in rows])
    else:
        print_table(f"{file.name}: frames of 40 ms, positive = voice late", heads, rows)
        console().print(f"{hits} of {len(found)} shifts found within a frame")
    raise typer.Exit(0 if hits == len(found) else 1)


@app.command()
def describe(
    hours: Annotated[float, typer.Option("--hours", min=0, help="Hours of video to plan for.")] = 1.0,
    preset: Preset = "keep",
    config: Config = None,
    set_: Set = None,
    jobs: Jobs = None,
) -> None:
    """The steps, the limits, and an estimate of time and disk.

    Example: xsheet curate describe --hours 100 --preset train --jobs 32
    """
    _show_estimate(preset_settings(preset, config, set_), hours, jobs or cpu_count(), None)


def preset_settings(
    preset: str, config: "Path | SettingsSection | None", overrides: list[str] | None
) -> "CurateSettings":
    """Settings of a run from a preset, a file and single values."""
    from importlib.resources import files

    from xsheet.curate.settings import CurateSettings
    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.settings import load_settings

    folder = files("xsheet.curate") / "presets"
    known = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    if preset not in known:
        raise ConfigError(
            where="--preset", expected=f"one of {', '.join(known)}", got=repr(preset), hint="use --config for a file"
        )
    return load_settings(CurateSettings, preset=folder / f"{preset}.yaml", config=config, overrides=overrides or ())


# Of the real test clips, 720p and below: half a gigabyte an hour. An estimate for a dry run, nothing more.
BYTES_PER_HOUR = 500_000_000


def file_size_bytes(path: str) -> int:
    """Size of a file; 0 where there is none to be read."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _show_estimate(settings: "CurateSettings", hours: float, jobs: int, inputs: int | None) -> None:
    from xsheet.cli.show import console, print_table
    from xsheet.curate.report.estimate import MEASURED_COSTS, PLAN_COLUMNS, estimate_run, plan_rows
    from xsheet.schemas.settings import to_yaml

    plan = estimate_run(settings.limits, MEASURED_COSTS, hours=hours, jobs=jobs)
    given = "" if inputs is None else f"{inputs} inputs, "
    print_table(f"{given}about {hours:.2g} hours of video on {jobs} workers", PLAN_COLUMNS, plan_rows(plan))
    console().print(to_yaml(settings.limits), markup=False)


def _show_decision(decision: "DecisionSummary", *, as_json: bool) -> None:
    from xsheet.cli.show import console, print_json, print_table

    parts = ("all", "kept", "newly_kept", "newly_rejected", "new")
    tallies = {name: getattr(decision, name) for name in parts}
    reasons = sorted(decision.reasons.items(), key=lambda item: (-item[1], item[0]))
    if as_json:
        counted = {name: {"clips": tally.clips, "hours": tally.hours} for name, tally in tallies.items()}
        print_json(counted | {"reasons": dict(reasons), "limits_sha256": decision.limits_sha256})
        return
    rows = [(name.replace("_", " "), tally.clips, tally.hours) for name, tally in tallies.items()]
    print_table("candidates", ("", "clips", "hours"), rows)
    if reasons:
        print_table("reasons against (a candidate may have several)", ("reason", "candidates"), reasons)
    else:
        console().print("no reason against any")


def _show_funnel(found: "Funnel") -> None:
    from xsheet.cli.show import print_table
    from xsheet.curate.report.funnel import stage_rows

    print_table("funnel", ("", "count", "hours"), stage_rows(found))
    heads = ("reason", "clips", "hours", "alone: clips", "alone: hours")
    costs = (
        (c.reason, c.in_total.count, c.in_total.hours, c.as_only_reason.count, c.as_only_reason.hours)
        for c in found.reason_costs
    )
    print_table("reasons; alone = what would be kept without this one", heads, costs)


def missing_sources_note(curated: "CurationResult") -> str:
    """What happens to sources that a later run does not name."""
    return (
        f"{curated.removed_sources} sources of an earlier run were not among these inputs and left the tables; name "
        f"them again, "
        "beside the others, and they are back: nothing is measured twice"
    )


def show_run(curated: "CurationResult", out: Path, *, as_json: bool) -> None:
    """The summary of a run, on one screen."""
    from xsheet.cli.show import console, print_json, print_table

    counts = curated.counts
    if as_json:
        print_json({"set": str(out), "counts": counts, "seconds": {k: round(v, 2) for k, v in curated.seconds.items()}})
        return
    not_ok = [s for s in curated.sources if s.status != "ok"]
    if not_ok:
        shown = ((s.path, s.status, s.stage, s.reason, s.message) for s in not_ok[:20])
        print_table("not usable", ("file", "status", "stage", "reason", "message"), shown)
        if len(not_ok) > 20:
            console().print(f"... and {len(not_ok) - 20} more: table sources")
    _show_decision(curated.decision, as_json=False)
    if curated.removed_sources:
        console().print(missing_sources_note(curated), style="yellow", markup=False)
    seconds = ", ".join(f"{step} {s:.0f} s" for step, s in curated.seconds.items() if not step.startswith("cpu."))
    console().print(
        f"{counts['sources']} sources: {counts['sources_ok']} ok, {counts['sources_rejected']} rejected, "
        f"{counts['sources_failed']} failed. {counts['clips']} clips in {out} ({seconds}).\n"
        f"next: xsheet curate report {out}",
        markup=False,
    )
