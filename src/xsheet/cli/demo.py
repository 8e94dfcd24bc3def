"""`xsheet demo`: the path on a synthetic corpus."""

import typer

app = typer.Typer(help="The whole path on a synthetic talking corpus whose truth is known.")
