"""`xsheet doctor`: check libraries, devices, models and disk."""

from pathlib import Path
from typing import Annotated

import typer

from xsheet.cli.options import AsJson, Models


def doctor(
    folder: Annotated[Path | None, typer.Argument(metavar="[SET]", help="A set to check as well.")] = None,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Check versions, devices, models and disk. Problems come first, each with its fix.

    Exit 1 when something that xsheet needs is broken.

    Examples: xsheet doctor

    xsheet doctor my-set --models models --json
    """
    from dataclasses import asdict

    from xsheet.cli.show import console, escape_controls, print_json
    from xsheet.doctor import diagnose

    diagnoses = diagnose(folder, models=models)
    broken = [one for one in diagnoses if one.state == "broken"]
    if as_json:
        print_json({"ok": not broken, "diagnoses": [asdict(one) for one in diagnoses]})
        raise typer.Exit(1 if broken else 0)
    warned = [one for one in diagnoses if one.state == "warning"]
    for one, style in [(one, "bold red") for one in broken] + [(one, "yellow") for one in warned]:
        console().print(
            escape_controls(f"{one.state}: {one.name}: {one.detail}\n  {one.hint}"), style=style, markup=False
        )
    for one in diagnoses:
        if one.state in ("ok", "absent") and one.section != "versions":
            hint = f" ({one.hint})" if one.hint else ""
            console().print(escape_controls(f"{one.section:10}{one.name}: {one.detail}{hint}"), markup=False)
    versions = ", ".join(
        f"{one.name} {one.detail}" for one in diagnoses if one.section == "versions" and one.state == "ok"
    )
    last = f"{len(broken)} broken, {len(warned)} warnings" if broken or warned else "no problems"
    console().print(f"{'versions':10}{versions}\n{last}", markup=False)
    raise typer.Exit(1 if broken else 0)
