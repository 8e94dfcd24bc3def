"""The words of a run: what a task is, what it is given, how an item ends, and how the work is carried out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field
from pydantic.dataclasses import dataclass as record

from xsheet.schemas.columns import RECORD, Str
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.source import ItemStatus

MAX_TEXT_CHARS = 500
"""Longest message and name that a row keeps; the log beside the commit has the rest."""


class Row(Protocol):
    """Any record of the contract. `TAG` names its kind in the result store and never changes with the class's name."""

    TAG: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work.

    `key` is the identity: lower-case hex over the content and the settings that decide the result. Items of one run
    that share a key are one item: it is run once and counted once. `name` is for people. `payload` is small and
    picklable: absolute paths and numbers, never pixels (a worker runs in a folder of its own, so relative paths lead
    nowhere).
    """

    key: str
    name: str
    payload: Any = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{8,128}", self.key):
            raise ValueError(f"expected a key of 8 to 128 lower-case hex digits, got {self.key!r}")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An item that is fine but not wanted. Its rows are kept: what was measured stays measured."""

    stage: str
    reason: str
    message: str
    rows: Sequence[Row] = ()


@dataclass(frozen=True, slots=True)
class Incomplete:
    """An item of which a part failed for a reason outside it, such as a server that was away.

    Its rows are kept, and it counts as failed: `retry_failed` runs it again.
    """

    stage: str
    reason: str
    message: str
    rows: Sequence[Row] = ()


class Task(Protocol):
    """One step over many items: a picklable instance of a class that workers can import (not of a script's `__main__`).

    It may set `self.stage` to a word as it goes; an item that fails, even by a crash, names the last one.
    Any exception is contained: MediaError is a fact about the input and final, RunError stops the run, everything else
    is tried once more in a fresh worker.
    """

    name: str

    def open(self) -> None:
        """Load what all items share (models), once per worker."""
        ...

    def __call__(self, item: Item, /) -> Sequence[Row] | Rejected | Incomplete:
        """The rows of one item, in an order that depends on the item alone."""
        ...


@record(config=RECORD, frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one item ended.

    `reason` of a failure is a MediaReason, or `raised` (any other exception), `exited` (the process left),
    `crashed` (a signal killed it), `timed_out` (the wall-clock limit), `out_of_memory`.
    """

    key: Annotated[Str, "the item's key"]
    name: Annotated[Str, "the item's name, printable, on one line"]
    status: Annotated[ItemStatus, "how it ended"]
    stage: Annotated[Str | None, "step that rejected or failed it"] = None
    reason: Annotated[Str | None, "one word"] = None
    message: Annotated[Str | None, "one printable line"] = None
    attempts: Annotated[int, Field(ge=1, le=2), "how often it was started in the run that committed it"] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a task is carried out. Of these only `threads` can touch a result, so it does not follow `jobs`."""

    jobs: int = 1  # workers side by side
    item_timeout_s: float = 900.0  # wall clock of one try
    open_timeout_s: float = 600.0  # wall clock of loading models from a cold disk
    memory_mb: int = 8192  # heap and private mappings of one worker; a GPU runtime may want more
    threads: int = 1  # of numeric libraries inside a worker: float sums depend on it
    max_items_per_process: int = 200  # items; long-lived native libraries leak
    gpus_per_worker: float = 0.0  # that each worker holds on Ray; on this machine workers see all
    ray: str | None = None  # None: processes of this machine; 'auto', 'local' or the address of a cluster

    def __post_init__(self) -> None:
        for name in ("jobs", "item_timeout_s", "open_timeout_s", "memory_mb", "threads", "max_items_per_process"):
            if not (value := getattr(self, name)) > 0:
                todo = "give a larger value, or leave it out"
                raise ConfigError(where=f"execution.{name}", expected="a positive number", got=str(value), hint=todo)


def one_line(text: str) -> str:
    """`text` as one printable line that is the same in every run.

    Control characters, line ends and lone surrogates (file names and tags are chosen by strangers) are escaped, memory
    addresses are hidden, and what passes MAX_TEXT_CHARS is cut.
    """
    text = re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", text[: 4 * MAX_TEXT_CHARS].strip())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"
