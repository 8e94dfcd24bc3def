"""The `xsheet` command: one module per group of verbs. Heavy imports are inside the verbs.

options   options that several verbs share
show      tables and JSON for the terminal
run       xsheet run: all parts over a folder of videos
curate/   xsheet curate
annotate  xsheet annotate
audit     xsheet audit: run, explain, accept, agree
review    xsheet audit: sample, review, apply, export, import
train     xsheet train: cache, run
trained   xsheet train: sample, evaluate, export
models    xsheet models
schemas   xsheet schemas
export    xsheet export
sets      xsheet set
demo      xsheet demo
doctor    xsheet doctor
"""

import errno
import logging
import sys
from typing import Annotated

import typer

from xsheet import __version__
from xsheet.cli import annotate, audit, curate, demo, export, models, run, schemas, sets, train

INTERRUPTED = 130  # exit code of typer after Ctrl-C
_WRITABLE_HINT = "choose a writable folder (--out), or copy the set to one"
_HINTS = {
    errno.ENOSPC: "free disk space and run the same command again; finished work is kept",
    errno.EROFS: _WRITABLE_HINT,
    errno.EACCES: _WRITABLE_HINT,
}

app = typer.Typer(
    name="xsheet",
    help=(
        "Turn raw talking video into curated clips, phase-timed actions checked against measured motion, "
        "and a talking avatar trained on them."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 success, 1 a failure or a gate that did not pass, 2 wrong usage or settings.",
)
app.add_typer(demo.app, name="demo")
app.command("run")(run.run)
app.add_typer(curate.app, name="curate")
app.add_typer(annotate.app, name="annotate")
app.add_typer(audit.app, name="audit")
app.add_typer(train.app, name="train")
app.command("export")(export.export)
app.add_typer(models.app, name="models")
app.add_typer(schemas.app, name="schemas")
app.add_typer(sets.app, name="set")
app.command("doctor")(models.doctor)


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
    """Options before the verb."""


def main() -> None:
    """Run the command. An error is one line on stderr; `--debug` shows its traceback."""
    # Accepted at any position: users append it to the command that just failed.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    _log_progress_to_stderr()
    if len(arguments) < len(sys.argv) - 1:
        app(arguments)
    try:
        app(arguments)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            _print_message("stopped; run the same command again to continue", style="yellow")
        raise
    except Exception as error:  # noqa: BLE001 - every error becomes one line for the user
        _print_message(f"error: {_error_message(error)}", style="red")
        from xsheet.schemas.errors import ConfigError

        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _log_progress_to_stderr() -> None:
    """Without a terminal for a progress bar, log a line at intervals."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("xsheet.runtime.progress")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _error_message(error: Exception) -> str:
    from xsheet.schemas.errors import XsheetError

    if isinstance(error, XsheetError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error}; {_HINTS[error.errno]}" if error.errno in _HINTS else str(error)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("xsheet"):
        return f"{error.name} is not installed; run `xsheet doctor` for the command that installs it"
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    name, line = frame.filename.rpartition("/")[2], frame.lineno
    where = f"{type(error).__name__} at {name}:{line}"
    return f"{where}: {error}; this is a bug in xsheet; rerun with --debug for the traceback"


def _print_message(text: str, *, style: str) -> None:
    from xsheet.cli.show import console, escape_controls

    console(err=True).print(escape_controls(text), style=style, markup=False, soft_wrap=True)
