"""`xsheet set`: check, compare, merge, summarise, select and pack sets."""

from pathlib import Path
from typing import Annotated

import typer

from xsheet.cli.options import (
    URL_OF_A_SET,
    AsJson,
    DryRun,
    OutSet,
    SetFolder,
    SetFolders,
    local_path,
)

app = typer.Typer(help="Check, compare, merge, summarise, select and pack sets.", no_args_is_help=True)
MAX_IDS_SHOWN = 10


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

    from xsheet.cli.show import console, format_size, print_json
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

    from xsheet.cli.show import console, format_size, print_json
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

    from xsheet.cli.show import console, format_size, print_json
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
