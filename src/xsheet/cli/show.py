"""Print results: tables, JSON, and untrusted text with its control characters escaped."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# C0 and C1 controls and bidirectional overrides: a file name must not move the cursor or reverse the line.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_ID = re.compile("[a-z]+_[0-9a-f]{20}")


def escape_controls(text: str) -> str:
    """Escape the control characters of text from files, tags and models."""
    return _CONTROLS.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


def console(*, err: bool = False) -> Console:
    """Console for stdout or stderr; colours only on a terminal and without NO_COLOR."""
    return Console(stderr=err, highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False))


def print_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: numbers right-aligned, null empty, text escaped, ids on one line so that they can be copied."""
    body = [list(row) for row in rows]
    table = Table()
    for i, head in enumerate(headers):
        numeric = all(isinstance(row[i], int | float | None) for row in body) and bool(body)
        ids = any(_ID.fullmatch(str(row[i])) for row in body)
        table.add_column(escape(head), justify="right" if numeric else "left", overflow="fold", no_wrap=ids)
    for row in body:
        table.add_row(*(_format_cell(value) for value in row))
    # Printed apart: rich wraps a table's own title to the width of the table.
    console().print(escape_controls(title), style="bold", markup=False)
    console().print(table)


def _format_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return escape(escape_controls(str(value)))


def format_size(size: int) -> str:
    """Bytes in a unit of two to four digits."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007 - the unit that fits
        if value < 1000:
            break
        value /= 1000
    return f"{value:.3g} {unit}"
