"""`xsheet set`: check, compare, merge, summarise, select and pack sets; `xsheet export`: a set for other trainers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from xsheet.cli.options import (
    URL_OF_A_SET,
    AsJson,
    Config,
    DryRun,
    Jobs,
    OutSet,
    Quiet,
    Ray,
    Set,
    SetFolder,
    SetFolders,
    cpu_count,
    local_path,
    path_or_url,
)

if TYPE_CHECKING:
    from xsheet.export.pipeline import ExportPlan, ExportSummary

app = typer.Typer(help="Check, compare, merge, summarise, select and pack sets.", no_args_is_help=True)
MAX_IDS_SHOWN = 10


def export(
    folder: SetFolder,
    out: Annotated[
        Path,
        typer.Option("--out", help="New or empty folder for the export, or its URL.", parser=path_or_url),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="KIND",
            help="folder, hf, webdataset, musubi, diffsynth, ltx, diffusion-pipe, simpletuner, finetrainers or tie.",
        ),
    ],
    layer: Annotated[
        str, typer.Option("--layer", "-l", help="Layer name; add @RUN or @MODEL if several runs wrote it.")
    ] = "accepted",
    captions: Annotated[
        str, typer.Option("--captions", metavar="base|timed|prose", help="Whole clip, with timed phases, or prose.")
    ] = "timed",
    fps: Annotated[
        int | None, typer.Option("--fps", help="Frame rate of the model (default: 25, as in the set).")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", help="Frames per video, cut from the start (default: the whole clip).")
    ] = None,
    splits: Annotated[
        str | None, typer.Option("--splits", metavar="NAME,NAME", help="Splits to export (default: train,val,test).")
    ] = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="Add a mirrored copy of each training clip, captions included.")
    ] = False,
    config: Config = None,
    set_: Set = None,
    jobs: Jobs = None,
    ray: Ray = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the clips of a set with captions for another trainer. The same command continues a stopped export.

    Example: xsheet export my-set --out my-export --to musubi --fps 16 --frames 49
    """
    from xsheet.cli.show import console
    from xsheet.export.pipeline import export_set, plan_export
    from xsheet.export.settings import ExportKind, ExportSettings
    from xsheet.runtime.executor import Execution
    from xsheet.schemas.errors import ConfigError
    from xsheet.schemas.settings import load_settings

    if to not in get_args(ExportKind):
        expected = f"one of {', '.join(get_args(ExportKind))}"
        raise ConfigError(where="--to", expected=expected, got=repr(to), hint="see docs/export.md")
    overrides = [f"kind={to}", f"layer={layer}", f"captions={captions}", f"mirrored={str(mirrored).lower()}"]
    overrides += [f"fps={fps}"] if fps is not None else []
    overrides += [f"frames={frames}"] if frames is not None else []
    overrides += [f"splits=[{splits}]"] if splits is not None else []
    settings = load_settings(ExportSettings, config=config, overrides=[*overrides, *(set_ or ())])
    if dry_run:
        _show_plan(plan_export(folder, settings), out, as_json=as_json)
        return
    execution = Execution(jobs=jobs or cpu_count(), ray=ray)
    summary = export_set(folder, out, settings, execution=execution, shows_progress=not (quiet or as_json))
    if as_json:
        _show_summary_json(summary, out)
        return
    _show_left_out(summary.plan)
    counts = ", ".join(f"{count} {name}" for name, count in summary.plan.counts().items())
    console().print(
        f"{counts}: {summary.plan.hours:.2f} hours, {summary.files} files, {format_size(summary.bytes)} in {out}\n"
        f"next: {summary.next_step}",
        markup=False,
    )


def format_size(size: int) -> str:
    """Bytes in a unit of two to four digits."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007 - the unit that fits
        if value < 1000:
            break
        value /= 1000
    return f"{value:.3g} {unit}"


def _show_plan(plan: "ExportPlan", out: Path, *, as_json: bool) -> None:
    from xsheet.cli.show import console, print_json

    if as_json:
        print_json(_plan_json(plan, out))
        return
    _show_left_out(plan)
    counts = ", ".join(f"{count} {name}" for name, count in plan.counts().items())
    about = "about " if plan.encoded else ""
    console().print(
        f"{counts} from {plan.layer}: {plan.hours:.2f} hours, {about}{format_size(plan.estimated_bytes)}, "
        f"{plan.encoded} videos to encode, {len(plan.samples) - plan.encoded} to copy to {out}; nothing was written",
        markup=False,
    )


def _show_left_out(plan: "ExportPlan") -> None:
    from xsheet.cli.show import print_table

    if plan.left_out:
        print_table("clips left out", ("reason", "clips"), sorted(plan.left_out.items()))


def _plan_json(plan: "ExportPlan", out: Path) -> dict[str, object]:
    return {
        "out": str(out), "layer": plan.layer, "samples": plan.counts(), "left_out": dict(plan.left_out),
        "hours": round(plan.hours, 4), "estimated_bytes": plan.estimated_bytes, "encoded": plan.encoded,
    }  # fmt: skip


def _show_summary_json(summary: "ExportSummary", out: Path) -> None:
    from xsheet.cli.show import print_json

    print_json(
        _plan_json(summary.plan, out)
        | {"files": summary.files, "bytes": summary.bytes, "written": summary.written, "next": summary.next_step}
    )


@app.command()
def diff(
    first: SetFolder,
    second: Annotated[
        Path,
        typer.Argument(metavar="OTHER", help="Folder of the set to compare with, or its URL.", **URL_OF_A_SET),
    ],
    as_json: AsJson = False,
) -> None:
    """Print what differs between two sets: sources, clips, verdicts, splits and layers. Exit 1 when anything does.

    Example: xsheet set diff my-set other-set
    """
    from dataclasses import asdict

    from xsheet.cli.show import print_json, print_table
    from xsheet.sets.diff import diff_sets

    found = diff_sets(first, second)
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        heads = ("", f"only {first}", f"only {second}", "changed", "same")
        rows = [(one.kind, len(one.only_first), len(one.only_second), len(one.changed), one.same) for one in found]
        print_table("differences", heads, rows)
        for one in found:
            named = [(key, "changed") for key in one.changed] + [(key, f"only {first}") for key in one.only_first]
            named += [(key, f"only {second}") for key in one.only_second]
            if named:
                print_table(f"{one.kind}: the first {MAX_IDS_SHOWN}", ("id", ""), named[:MAX_IDS_SHOWN])
    raise typer.Exit(1 if any(one.only_first or one.only_second or one.changed for one in found) else 0)


@app.command()
def merge(
    folders: SetFolders,
    out: OutSet,
    as_json: AsJson = False,
) -> None:
    """Write several sets as one. Splits are not copied, because one person may be in several sets.

    Example: xsheet set merge my-set other-set --out both
    """
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json
    from xsheet.sets.merge import merge_sets

    result = merge_sets(folders, out)
    if as_json:
        print_json({"out": str(out)} | asdict(result))
        return
    console().print(
        f"{result.clips} clips of {result.sources} sources, {result.layers} layers, "
        f"{format_size(result.bytes)} in {out}; "
        f"{result.shared_clips} clips were in more than one set\nnext: xsheet curate split {out}",
        markup=False,
    )


@app.command()
def stats(folder: SetFolder, as_json: AsJson = False) -> None:
    """Print counts, hours by split, speaker and licence, distributions, layers, and what is in more than one split.

    Example: xsheet set stats my-set
    """
    from dataclasses import asdict

    from xsheet.cli.show import print_json, print_table
    from xsheet.sets.stats import set_stats

    found = set_stats(folder)
    if as_json:
        print_json(asdict(found))
        return
    print_table(found.name, ("clips", "sources", "hours"), [(found.clips, found.sources, found.hours)])
    for name, hours in found.groups.items():
        print_table(f"hours by {name}", (name, "hours"), list(hours.items())[:20])
    heads = ("column", "clips", "minimum", "median", "maximum")
    rows = [(one.name, one.clips, one.minimum, one.median, one.maximum) for one in found.distributions]
    print_table("distributions", heads, rows)
    counts = [(name, *values.values()) for name, values in found.layers.items()]
    print_table("layers", ("layer", "annotations", "phases", "action classes"), counts)
    if found.split_leaks:
        leaks = [(one.kind, one.key, ", ".join(one.splits), one.clips) for one in found.split_leaks[:MAX_IDS_SHOWN]]
        print_table(f"{len(found.split_leaks)} in more than one split", ("", "id", "splits", "clips"), leaks)


@app.command()
def subset(
    folder: SetFolder,
    out: OutSet,
    where: Annotated[str, typer.Option("--where", metavar="SQL", help="Condition over the columns of clips.")],
    layer: Annotated[
        str | None, typer.Option("--layer", "-l", help="Layer for the columns `phases` and `actions` of the condition.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write the clips that meet a SQL condition to a new set, with their sources, signals and layers.

    Columns: duration_s, width, split, speaker, licence, sync_confidence, face_height_px, …; `xsheet set stats` lists
    them.

    Example: xsheet set subset my-set --out long-clips --where "duration_s > 4 and has_audio"
    """
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json
    from xsheet.sets.subset import subset as write_subset

    result = write_subset(folder, out, where=where, layer=layer, dry_run=dry_run)
    if as_json:
        print_json({"out": str(out), "written": not dry_run} | asdict(result))
        return
    note = "; nothing was written" if dry_run else f" in {out}"
    console().print(
        f"{result.clips} of {result.of_clips} clips, {result.sources} sources, {format_size(result.bytes)}{note}",
        markup=False,
    )


@app.command()
def pack(
    folder: SetFolder,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.tar", help="Archive to write.", parser=local_path)],
    as_json: AsJson = False,
) -> None:
    """Write a set to one tar file with checksums; the same set gives the same bytes.

    Example: xsheet set pack my-set --out my-set.tar
    """
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json
    from xsheet.sets.pack import pack as write_pack

    result = write_pack(folder, out)
    if as_json:
        print_json({"out": str(out)} | asdict(result))
        return
    console().print(f"{result.files} files, {format_size(result.bytes)} in {out}\nsha256 {result.sha256}", markup=False)


@app.command()
def check(
    folder: SetFolder,
    clean: Annotated[bool, typer.Option("--clean", help="Remove the listed files.")] = False,
    as_json: AsJson = False,
) -> None:
    """List clips, tensors, features and layers that nothing refers to, and temporary files of killed writers.

    Rows are checked by `xsheet schemas check`. Exit 1 when such files are there and `--clean` was not given.

    Example: xsheet set check my-set --clean
    """
    from collections import Counter
    from contextlib import nullcontext
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table
    from xsheet.runtime.lock import write_lock
    from xsheet.runtime.orphans import find_orphans, remove_orphans
    from xsheet.schemas.sets import open_set

    open_set(folder)
    with write_lock(folder) if clean else nullcontext():  # a reader: it may list what a running command has in hand
        orphans = find_orphans(folder)
        if clean:
            remove_orphans(folder, orphans)
    if as_json:
        print_json({"removed": clean, "files": [asdict(orphan) for orphan in orphans]})
    else:
        if orphans:
            print_table(str(folder), ("kind", "file", "bytes"), [(o.kind, o.path, o.size_bytes) for o in orphans])
        counts = ", ".join(f"{count} {kind}" for kind, count in Counter(o.kind for o in orphans).items())
        verb = "removed" if clean else "found"
        console().print(f"{verb}: {counts}" if orphans else "every file is named by a row", markup=False)
    raise typer.Exit(1 if orphans and not clean else 0)
