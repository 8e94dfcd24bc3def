"""The `xsheet` command. This module imports nothing heavy: every verb imports its part when it runs."""

import sys
from typing import Annotated

import typer

from xsheet import __version__
from xsheet.cli import demo, schemas

app = typer.Typer(
    name="xsheet",
    help=(
        "Raw talking video to curated clips, phase-timed actions checked against measured motion, "
        "and a talking avatar trained on them."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 fine, 1 something failed or a gate did not pass, 2 bad usage or settings.",
)
app.add_typer(demo.app, name="demo")
app.add_typer(schemas.app, name="schemas")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"xsheet {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that go before the verb."""


def main() -> None:
    """Run the command; an error is one line on stderr unless --debug stands anywhere among the arguments."""
    # --debug may stand anywhere: people append it to the command that just failed.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    if len(arguments) < len(sys.argv) - 1:
        app(arguments)
    else:
        sys.exit(_guarded(arguments))


def _guarded(arguments: list[str]) -> int:
    try:
        app(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        typer.secho("stopped; the same command goes on where it was", err=True, fg="yellow")
        return 130
    except Exception as error:  # noqa: BLE001 - the border to the user: errors of ours become one line
        return _explain(error)
    return 0


def _explain(error: Exception) -> int:
    from xsheet.cli.show import plain
    from xsheet.schemas.errors import ConfigError, XsheetError

    if not isinstance(error, (XsheetError, OSError)):
        raise error
    typer.secho(f"error: {plain(str(error))}", err=True, fg="red")
    return 2 if isinstance(error, ConfigError) else 1
