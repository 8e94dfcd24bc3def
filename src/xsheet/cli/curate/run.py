"""`xsheet curate`: run, import, segment, decide."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.curate.inputs import check_needs_no_decode, preset_settings, with_earlier_sources
from xsheet.cli.curate.show import (
    BYTES_PER_HOUR,
    input_size_bytes,
    show_decision,
    show_estimate,
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
)

if TYPE_CHECKING:
    from xsheet.curate.corpora.importer import CorpusImport

MAX_PROBLEMS_SHOWN = 10

app = typer.Typer()


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

    Exit 1 when a source, a segment or a clip failed; the tables keep the reason of each.

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
        Path | None, typer.Option("--videos", metavar="DIR", help="Folder of the videos (default: the folder of META).")
    ] = None,
    columns: Columns = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write a manifest of the clips of a corpus whose video files exist, and a table of the missing ones.

    Nothing is downloaded. Missing clips are rows of OUT.missing.csv with a reason.

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
    """Compute shots, candidates, sync scores and verdicts again with other settings, and report what changed.

    Nothing is decoded, and the videos are not needed. It reads analysis.shots, analysis.candidates, analysis.sync and
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
    """Decide again with other limits, without decoding. Afterwards, `curate run` writes the newly kept clips.

    Example: xsheet curate decide my-set --preset train --set face.min_height_px=200
    """
    settings = preset_settings(preset, config, set_)
    from xsheet.curate.pipeline import redecide
    from xsheet.schemas.sets import open_set

    open_set(folder)
    show_decision(redecide(folder, settings), as_json=as_json)
