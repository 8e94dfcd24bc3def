"""The `xsheet` command. This module imports nothing heavy: every verb imports its part when it runs."""

import errno
import logging
import sys
from typing import Annotated

import typer

from xsheet import __version__
from xsheet.cli import annotate, audit, curate, demo, doctor, models, run, schemas, train

INTERRUPTED = 130  # what typer exits with after Ctrl-C
_WRITABLE_HINT = "choose a place that can be written, by --out where there is one, or copy the set to one"
_HINTS = {
    errno.ENOSPC: "free space and run the same command again: what is finished is kept",
    errno.EROFS: _WRITABLE_HINT,
    errno.EACCES: _WRITABLE_HINT,
}

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
app.command("run")(run.run)
app.add_typer(curate.app, name="curate")
app.add_typer(annotate.app, name="annotate")
app.add_typer(audit.app, name="audit")
app.add_typer(train.app, name="train")
app.add_typer(models.app, name="models")
app.add_typer(schemas.app, name="schemas")
app.command("doctor")(doctor.doctor)


def _version(requested: bool) -> None:
    if requested:
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
    """Run the command. An error is one line on stderr; `--debug` shows its traceback."""
    # It may stand anywhere: people append it to the command that just failed.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    _log_progress_to_stderr()
    if len(arguments) < len(sys.argv) - 1:
        app(arguments)
    try:
        app(arguments)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _print_message("stopped; the same command goes on where it was", style="yellow")
        raise
    except Exception as error:  # noqa: BLE001 - the border to the user: an error becomes one line
        _print_message(f"error: {_error_message(error)}", style="red")
        from xsheet.schemas.errors import ConfigError

        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _log_progress_to_stderr() -> None:
    """Where there is no terminal to draw a bar on, progress is a line now and then."""
    telling = logging.StreamHandler()
    telling.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("xsheet.runtime.progress")
    ours.addHandler(telling)
    ours.setLevel(logging.INFO)


def _error_message(error: Exception) -> str:
    from xsheet.schemas.errors import XsheetError

    if isinstance(error, XsheetError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error}; {_HINTS[error.errno]}" if error.errno in _HINTS else str(error)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("xsheet"):
        return f"{error.name} is not installed; `xsheet doctor` says what wants it, and how to get it"
    import traceback

    at = traceback.extract_tb(error.__traceback__)[-1]
    name, line = at.filename.rpartition("/")[2], at.lineno
    return f"{type(error).__name__} at {name}:{line}: {error}; a fault of xsheet itself, --debug shows more"


def _print_message(text: str, *, style: str) -> None:
    from xsheet.cli.show import console, escape_controls

    console(err=True).print(escape_controls(text), style=style, markup=False, soft_wrap=True)
