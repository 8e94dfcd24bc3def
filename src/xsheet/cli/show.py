"""How results reach a terminal: tables, JSON, and text that came from outside made harmless."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# C0 and C1 controls and the bidirectional overrides: a file name must not move the cursor or turn the line around.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    """Text from files, tags and models with control characters made visible."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def console(*, err: bool = False) -> Console:
    """The terminal, or what stands for it; colours only where there is one (and NO_COLOR is honoured)."""
    return Console(stderr=err, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout, and nothing else."""
    print(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False))


def print_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; numbers are right-aligned, null is empty, text from outside is escaped."""
    body = [list(row) for row in rows]
    table = Table()
    for i, head in enumerate(headers):
        numeric = all(isinstance(row[i], int | float | None) for row in body) and bool(body)
        table.add_column(escape(head), justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*(_format_cell(value) for value in row))
    console().print(
        escape_controls(title), style="bold", markup=False
    )  # a title of the table would be wrapped to its width
    console().print(table)


def _format_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return escape(escape_controls(str(value)))
