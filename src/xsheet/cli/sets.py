"""`xsheet set`: look after a set."""

from typing import Annotated

import typer

from xsheet.cli.options import AsJson, SetFolder

app = typer.Typer(help="Look after a set: files that no row names.", no_args_is_help=True)


@app.callback()
def set_() -> None:
    """Look after a set: files that no row names."""


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
    from dataclasses import asdict

    from xsheet.cli.show import console, print_json, print_table
    from xsheet.runtime.lock import write_lock
    from xsheet.schemas.orphans import find_orphans, remove_orphans
    from xsheet.schemas.sets import open_set

    open_set(folder)
    with write_lock(folder):
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
