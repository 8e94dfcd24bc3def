"""`xsheet models`: model files beside the bundled ones, each pinned by its hash."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xsheet.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xsheet.curate.weights import ModelFileState

app = typer.Typer(help="Model files beside the bundled ones, each pinned by its hash.", no_args_is_help=True)

Folder = Annotated[
    Path, typer.Option("--models", envvar="XSHEET_MODELS", help="Folder of model files; also XSHEET_MODELS.")
]


@app.command("list")
def list_(models: Folder = Path("models"), as_json: AsJson = False) -> None:
    """Every model a part can use: what for, licence, size, and whether it is there.

    Example: xsheet models list --models models
    """
    from xsheet.curate.weights import list_models

    _print_states(list_models(models), as_json=as_json)


@app.command()
def verify(models: Folder = Path("models"), as_json: AsJson = False) -> None:
    """Hash every model that is there; exit 1 when one is not what it should be.

    Example: xsheet models verify --models models
    """
    from xsheet.curate.weights import verify_models as verify_

    states = verify_(models)
    _print_states(states, as_json=as_json)
    raise typer.Exit(1 if any(state.status in ("wrong", "unpinned") for state in states) else 0)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a known model.")],
    models: Folder = Path("models"),
    sha256: Annotated[str | None, typer.Option("--sha256", help="What the file must hash to, where unknown.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="Another address than the known one.")] = None,
) -> None:
    """Fetch one model; it appears under its name only after its hash was checked. Nothing else is ever fetched.

    Example: xsheet models pull face-landmarker.task --models models
    """
    from xsheet.cli.show import console
    from xsheet.curate.weights import pull_model as pull_

    path = pull_(name, models, sha256=sha256, url=url)
    console().print(f"{path}: there, and its hash is right", markup=False)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The original syncnet_v2.model, a pickle.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The safetensors file to write.")],
    sha256: Annotated[str | None, typer.Option("--sha256", help="What FILE must hash to.")] = None,
) -> None:
    """Turn SyncNet's pickled weights into safetensors, offline; only tensors are read, no code is run.

    Example: xsheet models convert syncnet_v2.model models/syncnet_v2.safetensors
    """
    from xsheet.cli.show import console
    from xsheet.curate.sync.syncnet import convert_weights as convert_

    digest = convert_(source, out, sha256=sha256)
    console().print(f"{out}: sha256 {digest}", markup=False)


def _print_states(states: "Sequence[ModelFileState]", *, as_json: bool) -> None:
    from dataclasses import asdict

    from xsheet.cli.show import print_json, print_table

    if as_json:
        print_json([asdict(state) for state in states])
        return
    rows = ((s.model.name, s.status, s.model.licence, s.model.size_bytes, s.model.purpose) for s in states)
    print_table("models", ("file", "state", "licence", "bytes", "for"), rows)
