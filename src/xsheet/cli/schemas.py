"""`xsheet schemas`: the data contract."""

from typing import Annotated

import typer

from xsheet.cli.options import AsJson, DryRun, SetFolder

app = typer.Typer(help="Show the data contract, check a set against it, upgrade an older set.", no_args_is_help=True)


@app.command()
def show(
    table: Annotated[
        str | None, typer.Argument(metavar="[TABLE]", help="One table (default: a summary of all).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the tables of the contract, or every field of one table.

    Example: xsheet schemas show annotations
    """
    from xsheet.cli.show import print_json, print_table
    from xsheet.schemas.columns import columns, iter_fields, short_type
    from xsheet.schemas.tables import TABLES, find_table, schema_dict

    if table is not None:
        found = find_table(table)
        if as_json:
            print_json(schema_dict(found))
            return
        title = "{} v{}.{}".format(found.name, *found.version)
        fields = (
            (path, short_type(c.arrow_type), "yes" if c.nullable else "", c.description)
            for path, c in iter_fields(found.record)
        )
        print_table(title, ("field", "type", "null", "meaning"), fields)
        return
    if as_json:
        print_json([schema_dict(t) for t in TABLES])
        return
    heads = ("table", "version", "record", "fields", "one row")
    rows = (
        (t.name, "{}.{}".format(*t.version), t.record.__name__, len(columns(t.record)), _summary_line(t.record))
        for t in TABLES
    )
    print_table("the data contract", heads, rows)


def _summary_line(record: type) -> str:
    """The first sentence of the docstring."""
    return (record.__doc__ or "").split(". ")[0].split("\n")[0].strip().rstrip(".")


@app.command()
def check(
    folder: SetFolder,
    hash_media: Annotated[bool, typer.Option("--hash-media", help="Also hash every clip.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every row, version, reference and file of a set; exit 1 when something is wrong.

    Example: xsheet schemas check my-set --hash-media
    """
    from dataclasses import asdict

    from xsheet.cli.show import console, escape_controls, print_json, print_table
    from xsheet.schemas.sets import check_set

    report = check_set(folder, media=hash_media)
    if as_json:
        print_json(asdict(report))
    else:
        print_table(str(folder), ("table", "rows"), report.rows.items())
        for violation in report.violations:
            console().print(f"{violation.table}: {escape_controls(violation.message)}", style="red", markup=False)
        console().print(f"{len(report.violations)} problems" if report.violations else "no problems")
    raise typer.Exit(1 if report.violations else 0)


@app.command()
def upgrade(
    folder: SetFolder,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Upgrade every table of a set to the current version; each file is replaced atomically.

    Example: xsheet schemas upgrade my-set --dry-run
    """
    from contextlib import nullcontext

    from xsheet.cli.show import console, print_json
    from xsheet.runtime.lock import write_lock
    from xsheet.schemas.sets import open_set
    from xsheet.schemas.tables import TABLES, file_version, part_files, upgrade_file

    open_set(folder)
    changed = total = 0
    with nullcontext() if dry_run else write_lock(folder):
        for table in TABLES:
            for path in part_files(folder, table):
                total += 1
                older = file_version(path, table) != table.version
                changed += older if dry_run else upgrade_file(path, table)
    if as_json:
        print_json({"files": total, "upgraded": changed, "dry_run": dry_run})
        return
    console().print(f"{changed} of {total} files {'would be' if dry_run else 'were'} upgraded")
