"""`xsheet models`: list, verify, download and convert model files, each pinned by its hash. `xsheet doctor`: checks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xsheet.cli.options import LOCAL_PATH, AsJson, Models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xsheet.curate.weights import ModelFileState

app = typer.Typer(help="Optional model files, each pinned by its hash.", no_args_is_help=True)

ConvertedNetwork = Literal["syncnet", "light_asd"]
Folder = Annotated[Path, typer.Option("--models", envvar="XSHEET_MODELS", help="Folder of model files.")]


@app.command("list")
def list_(models: Folder = Path("models"), as_json: AsJson = False) -> None:
    """List every supported model: purpose, licence, size and state.

    Example: xsheet models list --models models
    """
    from xsheet.curate.weights import list_models

    _print_states(list_models(models), as_json=as_json)


@app.command()
def verify(models: Folder = Path("models"), as_json: AsJson = False) -> None:
    """Hash every model file; exit 1 when a hash is wrong or missing.

    Example: xsheet models verify --models models
    """
    from xsheet.curate.weights import verify_models

    states = verify_models(models)
    _print_states(states, as_json=as_json)
    raise typer.Exit(1 if any(state.status in ("mismatch", "no_hash") for state in states) else 0)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a known model.")],
    models: Folder = Path("models"),
    sha256: Annotated[str | None, typer.Option("--sha256", help="Expected hash, where xsheet knows none.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Download address (default: the known one).")] = None,
    as_json: AsJson = False,
) -> None:
    """Download one model; the file appears only after its hash was checked.

    Example: xsheet models pull face-landmarker.task --models models
    """
    from xsheet.cli.show import console, print_json
    from xsheet.curate.weights import pull_model

    path = pull_model(name, models, sha256=sha256, url=url)
    if as_json:
        print_json({"model": name, "path": str(path)})
    else:
        console().print(f"{path}: hash verified", markup=False)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The authors' file, a pickle.")],
    out: Annotated[Path, typer.Option("--out", help="The safetensors file to write.", **LOCAL_PATH)],
    network: Annotated[ConvertedNetwork, typer.Option("--network", help="The network of the weights.")] = "syncnet",
    sha256: Annotated[str | None, typer.Option("--sha256", help="Expected hash of FILE.")] = None,
    as_json: AsJson = False,
) -> None:
    """Convert pickled weights of SyncNet or Light-ASD to safetensors; only tensors are read, no code runs.

    Examples: xsheet models convert syncnet_v2.model --out models/syncnet_v2.safetensors

    xsheet models convert light-asd-finetuning-talkset.model --network light_asd --out models/light_asd.safetensors
    """
    from xsheet.cli.show import console, print_json
    from xsheet.curate.sync import light_asd, syncnet

    convert_weights = {"syncnet": syncnet, "light_asd": light_asd}[network].convert_weights
    digest = convert_weights(source, out, sha256=sha256)
    if as_json:
        print_json({"out": str(out), "sha256": digest})
    else:
        console().print(f"{out}: sha256 {digest}", markup=False)


def _print_states(states: "Sequence[ModelFileState]", *, as_json: bool) -> None:
    from dataclasses import asdict

    from xsheet.cli.show import print_json, print_table

    if as_json:
        print_json([asdict(state) for state in states])
        return
    rows = ((s.model.name, s.status, s.model.licence, s.model.size_bytes, s.model.purpose) for s in states)
    print_table("models", ("file", "state", "licence", "bytes", "for"), rows)


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
