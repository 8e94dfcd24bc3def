"""`xsheet curate`: measure videos, decide, write clips; report, split, estimate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.curate_show import (
    BYTES_PER_HOUR,
    candidate_json,
    input_size_bytes,
    show_decision,
    show_estimate,
    show_funnel,
    show_run,
    show_segment_changes,
)
from xsheet.cli.options import (
    LOCAL_PATH,
    AsJson,
    Columns,
    Config,
    CuratePreset,
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
    Set,
    SetFolder,
    StallTimeout,
    cpu_count,
    find_preset,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xsheet.curate.corpora.importer import CorpusImport
    from xsheet.curate.discover import InputFile
    from xsheet.curate.settings import CurateSettings
    from xsheet.schemas.settings import SettingsSection

MAX_PROBLEMS_SHOWN = 10

app = typer.Typer(
    help="Turn talking video into measurements, verdicts, canonical clips and signals.", no_args_is_help=True
)


@app.command("run")
def run_(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="VIDEOS...", help="Folders, files, glob patterns, or a manifest with a `path` column."),
    ],
    out: OutSet,
    preset: CuratePreset = "keep",
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
    """Measure every source once, decide, and write the kept clips. The same command continues a stopped run.

    Exit 1 when a source or a clip failed; each is a row with its reason.

    Example: xsheet curate run videos/ --out my-set
    """
    settings = preset_settings(preset, config, set_)
    from xsheet.curate.discover import discover
    from xsheet.curate.manifest import parse_column_map

    files = discover(inputs, roots=root or (), columns=parse_column_map(columns or ""))[:limit]
    if not dry_run:
        files = with_earlier_sources(files, out, keeps_earlier=add)
    if dry_run:
        hours = sum(map(input_size_bytes, files)) / BYTES_PER_HOUR
        show_estimate(settings, hours, jobs or cpu_count(), inputs=len(files), as_json=as_json)
        return
    from xsheet.curate.pipeline import RunContext, curate
    from xsheet.runtime.executor import Execution

    execution = Execution(jobs=jobs or cpu_count(), ray=ray, stall_timeout_s=stall_timeout_s)
    context = RunContext(
        set_folder=out, execution=execution, models=models,
        retry_failed=retry_failed, shows_progress=not (quiet or as_json),
    )  # fmt: skip
    curated = curate(files, settings, context)
    show_run(curated, out, as_json=as_json)
    raise typer.Exit(1 if curated.failed else 0)


@app.command("import")
def import_(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="hdtf, celebv-hq, talkvid, voxceleb2, speakervid-5m, talkverse, vip-200k, openhumanvid, video-folder.",
        ),
    ],
    meta: Annotated[Path, typer.Argument(metavar="META", help="Metadata of the corpus as published: file or folder.")],
    out: Annotated[Path, typer.Option("--out", help="Manifest to write: .parquet, .csv or .jsonl.", **LOCAL_PATH)],
    videos: Annotated[
        Path | None, typer.Option("--videos", metavar="DIR", help="Folder of the videos (default: that of META).")
    ] = None,
    columns: Columns = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write a manifest of the clips of a corpus whose videos are there, and a table of those that are not.

    Nothing is downloaded. Clips that are missing are rows of OUT.missing.csv with a reason.

    Example: xsheet curate import talkvid talkvid.json --videos videos/ --out talkvid.parquet
    """
    from xsheet.curate.corpora.importer import check_manifest_path, import_corpus, write_import
    from xsheet.curate.corpora.kinds import parse_kind
    from xsheet.curate.manifest import parse_column_map

    parsed = parse_kind(kind)
    check_manifest_path(out)
    folder = videos or (meta if meta.is_dir() else meta.parent)
    found = import_corpus(parsed, meta, folder, parse_column_map(columns or ""))
    missing = None if dry_run else write_import(found, out)
    _show_import(found, None if dry_run else out, missing, as_json=as_json)


def _show_import(found: "CorpusImport", out: Path | None, missing: Path | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table

    counts = found.counts
    if as_json:
        files = {"manifest": out and str(out), "missing": missing and str(missing)}
        print_json({"kind": found.kind} | files | {"counts": counts, "rows": [asdict(one) for one in found.problems]})
        return
    rows = ((one.where, one.name, one.reason, one.message) for one in found.problems[:MAX_PROBLEMS_SHOWN])
    if found.problems:
        print_table("clips that are not in the manifest", ("where", "clip", "reason", "message"), rows)
    if len(found.problems) > MAX_PROBLEMS_SHOWN:
        console().print(f"... and {len(found.problems) - MAX_PROBLEMS_SHOWN} more")
    print_table(found.kind, ("", "clips"), [(name.replace("_", " "), count) for name, count in counts.items()])
    if out is None:
        console().print("nothing was written")
    else:
        console().print(
            f"missing clips: {missing}\nnext: xsheet curate run {out} --out my-set", markup=False, soft_wrap=True
        )


@app.command()
def segment(
    folder: SetFolder,
    preset: CuratePreset = "keep",
    config: Config = None,
    set_: Set = None,
    jobs: Jobs = None,
    ray: Ray = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make shots, candidates, sync scores and verdicts again with other settings, and report what changed.

    Nothing is decoded; the videos need not be there. It reads analysis.shots, analysis.candidates, analysis.sync and
    the limits. `curate run` with the same settings then writes the missing clips.

    Example: xsheet curate segment my-set --set analysis.candidates.max_frames=200
    """
    settings = preset_settings(preset, config, set_)
    from xsheet.curate.pipeline import RunContext
    from xsheet.curate.resegment import resegment
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.sets import open_set

    check_needs_no_decode(set_ or ())
    open_set(folder)
    execution = Execution(jobs=jobs or cpu_count(), ray=ray)
    context = RunContext(set_folder=folder, execution=execution, shows_progress=not (quiet or as_json))
    show_segment_changes(resegment(folder, settings, context), as_json=as_json)


@app.command()
def decide(
    folder: SetFolder, preset: CuratePreset = "keep", config: Config = None, set_: Set = None, as_json: AsJson = False
) -> None:
    """Decide again with other limits, without decoding. `curate run` then writes the newly kept clips.

    Example: xsheet curate decide my-set --preset train --set face.min_height_px=200
    """
    settings = preset_settings(preset, config, set_)
    from xsheet.curate.pipeline import redecide
    from xsheet.schemas.sets import open_set

    open_set(folder)
    show_decision(redecide(folder, settings), as_json=as_json)


@app.command()
def sweep(
    folder: SetFolder,
    over: Annotated[
        str, typer.Option("--over", metavar="LIMIT=FIRST:LAST:STEP", help="Limit to vary, and its values.")
    ],
    preset: CuratePreset = "keep",
    config: Config = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Print the hours kept for each value of one limit. The set does not change.

    Example: xsheet curate sweep my-set --over sync.lip_audio.min_confidence=2:4:0.5
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
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file to write (default: SET/report.html).", **LOCAL_PATH)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the funnel, and write a self-contained HTML page with histograms and contact sheets.

    Example: xsheet curate report my-set
    """
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json
    from xsheet.curate.report.page import write_report
    from xsheet.schemas.sets import open_set

    open_set(folder)
    page = out or folder / "report.html"
    funnel = write_report(folder, page)
    if as_json:
        print_json(asdict(funnel) | {"page": str(page)})
        return
    show_funnel(funnel)
    console().print(f"page: {page}", markup=False)


@app.command()
def inspect(
    folder: SetFolder,
    clip: Annotated[
        str,
        typer.Argument(
            metavar="CLIP", help="Clip id, its first characters, or the file name of a source with one candidate."
        ),
    ],
    video: Annotated[
        Path | None,
        typer.Option("--video", help="Also write the clip as MP4 with boxes, mesh, track ids, curves and phases."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="LAYER[@RUN]", help="Layer whose phases the video shows; default: the last."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print every measurement of one candidate with its limit.

    Examples: xsheet curate inspect my-set clip_3f2a
              xsheet curate inspect my-set talk.mp4 --video talk-inspected.mp4
    """
    from xsheet.cli.show import console, print_json
    from xsheet.curate.report.inspect import inspect_candidate
    from xsheet.curate.report.terminal import render_candidate
    from xsheet.schemas.sets import open_set

    open_set(folder)
    details = inspect_candidate(folder, clip)
    if as_json:
        print_json(candidate_json(details))
    else:
        console().print(render_candidate(details))
    if video is not None:
        from xsheet.curate.report.inspection_video import write_inspection_video
        from xsheet.schemas.layers import find_layer

        shown = None if layer is None else find_layer(folder, layer)
        write_inspection_video(folder, details, video, layer=shown)


@app.command()
def split(
    folder: SetFolder,
    val: Annotated[float, typer.Option("--val", min=0, max=1, help="Share of the validation split.")] = 0.05,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share of the test split.")] = 0.05,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the assignment.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Split the clips so that no person, source or near duplicate is in two splits.

    Example: xsheet curate split my-set --val 0.05 --test 0.05
    """
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.curate.dedup.split import SplitSettings, split_set
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.settings import load_settings

    open_set(folder)
    summary = split_set(folder, load_settings(SplitSettings, overrides=[f"val={val}", f"test={test}", f"seed={seed}"]))
    rows = [(name, tally.clips, tally.hours, summary.cluster_counts[name]) for name, tally in summary.totals.items()]
    if as_json:
        named = [dict(zip(("split", "clips", "hours", "clusters"), row, strict=True)) for row in rows]
        print_json(
            {
                "splits": named,
                "largest_cluster_share": summary.largest_cluster_share,
                "identity_by": dict(summary.clips_by_identity_method),
            }
        )
        return
    print_table("split", ("", "clips", "hours", "clusters"), rows)
    methods = ", ".join(f"{name} ({count} clips)" for name, count in summary.clips_by_identity_method.items())
    console().print(
        f"people distinguished by {methods}; the largest cluster holds {summary.largest_cluster_share:.0%}",
        markup=False,
    )


@app.command("selftest-sync")
def selftest_sync_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A video of one talking person.")],
    preset: CuratePreset = "keep",
    config: Config = None,
    set_: Set = None,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Shift the audio of a video by known amounts and check that the scorer finds them; exit 1 when it does not.

    It tests the scorer that analysis.sync chooses.

    Examples: xsheet curate selftest-sync talking.mp4
              xsheet curate selftest-sync talking.mp4 --set analysis.sync.name=syncnet --models models
    """
    from xsheet.cli.show import console, print_json, print_table
    from xsheet.curate.sync.selftest import load_speaker, selftest_sync

    settings = preset_settings(preset, config, set_).analysis
    speaker = load_speaker(
        file, root=file.absolute().parent, models=models, long_side_px=settings.long_side_px, sync=settings.sync
    )
    tests = selftest_sync(speaker, sync=settings.sync, audio_settings=settings.sound)
    hits = sum(row.is_found for row in tests)
    rows = [
        (r.applied_shift_frames, r.score.offset_frames, r.score.confidence, r.score.margin, r.is_found) for r in tests
    ]
    heads = ("applied", "measured", "confidence", "margin", "found")
    if as_json:
        print_json([dict(zip(heads, row, strict=True)) | {"scorer": tests[0].score.scorer} for row in rows])
    else:
        title = f"{file.name}, {tests[0].score.scorer}: frames of 40 ms, positive = audio late"
        print_table(title, heads, rows)
        console().print(f"{hits} of {len(tests)} shifts found within a frame")
    raise typer.Exit(0 if hits == len(tests) else 1)


@app.command()
def estimate(
    hours: Annotated[float, typer.Option("--hours", min=0, help="Hours of source video.")] = 1.0,
    preset: CuratePreset = "keep",
    config: Config = None,
    set_: Set = None,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """Print the steps, the limits, and an estimate of time and disk.

    Example: xsheet curate estimate --hours 100 --preset train --jobs 32
    """
    show_estimate(preset_settings(preset, config, set_), hours, jobs or cpu_count(), inputs=None, as_json=as_json)


def with_earlier_sources(files: "list[InputFile]", out: Path, *, keeps_earlier: bool | None) -> "list[InputFile]":
    """The inputs of a run: the named files, and those of earlier runs over the set if they are kept.

    Args:
        files: the files that this command names.
        out: folder of the set; may not exist yet.
        keeps_earlier: whether to keep sources that are not named; None asks on a terminal.

    Raises:
        ConfigError: sources would leave the set and nobody decided, or a source to keep is not found.
    """
    import sys

    from xsheet.cli.show import escape_controls
    from xsheet.curate.discover import inputs_of_set
    from xsheet.curate.paths import resolve_path
    from xsheet.schemas.errors import ConfigError

    named = {resolve_path(file.path) for file in files}
    earlier = [file for file in inputs_of_set(out) if resolve_path(file.path) not in named]
    if not earlier or keeps_earlier is False:
        return files
    names = ", ".join(file.name for file in earlier[:3]) + (", …" if len(earlier) > 3 else "")
    if keeps_earlier is None:
        if not sys.stdin.isatty():
            raise ConfigError(
                where=str(out), expected="all sources of the set among the inputs",
                got=f"a set with {len(earlier)} others: {names}",
                hint="--add keeps them, --replace removes them from the tables",
            )  # fmt: skip
        question = f"{len(earlier)} sources of {out} are not among these inputs ({names}). Keep them?"
        if not typer.confirm(escape_controls(question), default=True):
            return files
    missing = [file.name for file in earlier if not (file.remote if file.is_remote else Path(file.path).exists())]
    if missing:
        raise ConfigError(
            where=str(out), expected="the files of all sources that stay",
            got=f"no {missing[0]} ({len(missing)} missing)",
            hint="run from the folder of the first run, restore the files, or use --replace",
        )  # fmt: skip
    return sorted([*files, *earlier], key=lambda file: file.path)


def preset_settings(
    preset: str, config: "Path | SettingsSection | None", overrides: list[str] | None
) -> "CurateSettings":
    """Settings of a run from a preset, a file and overrides."""
    from xsheet.curate.settings import CurateSettings
    from xsheet.schemas.settings import load_settings

    file = find_preset("xsheet.curate", preset)
    return load_settings(CurateSettings, preset=file, config=config, overrides=overrides or ())


def check_needs_no_decode(overrides: "Sequence[str]") -> None:
    """Refuse a setting that `curate segment` would not read.

    Raises:
        ConfigError: a setting of the decode or of the export.
    """
    from xsheet.curate.settings import DecodeSettings
    from xsheet.schemas.errors import ConfigError

    for text in overrides:
        section, *rest = text.partition("=")[0].split(".")
        if section == "export" or (section == "analysis" and rest and rest[0] in DecodeSettings.model_fields):
            raise ConfigError(
                where=f"--set {text}",
                expected="a limit, or a setting of analysis.shots, analysis.candidates or analysis.sync",
                got="a setting of the decode or of the export", hint="use `xsheet curate run`, which reads it",
            )  # fmt: skip
