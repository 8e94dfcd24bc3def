"""Types of a run: tasks, items, outcomes of items, and execution settings."""

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
"""Longest message and name in a row; the log in the stored result has the full text."""


class Row(Protocol):
    """Any record of the contract. `TAG` names its kind in the result store and never changes with the class's name."""

    TAG: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work.

    `key` is the identity: lower-case hex hash of the content and of the settings that affect the result. Items of one
    run with the same key are one item: it runs once and counts once. `name` is for people. `payload` is small and
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
    """A valid item that is not selected. Its rows, such as measurements, are kept."""

    stage: str
    reason: str
    message: str
    rows: Sequence[Row] = ()


@dataclass(frozen=True, slots=True)
class Incomplete:
    """An item that failed in part for an external reason, such as an unreachable server.

    Its rows are kept, and it counts as failed: `retry_failed` runs it again.
    """

    stage: str
    reason: str
    message: str
    rows: Sequence[Row] = ()


class Task(Protocol):
    """One step over many items: a picklable instance of a class that workers can import (not of a script's `__main__`).

    It may set `self.stage` to a word while it runs; the outcome of a failure, even of a crash, contains the last one.
    Each assignment counts as progress, so a loop over frames assigns it again with every frame.
    Its class may name modules that its workers need and its driver does not, in WORKER_MODULES; they are imported once
    for all workers.
    All exceptions are caught: RunError ends the run; MediaError marks the input as unusable and is final, unless its
    cause is an error of the disk or the network that may pass; after any other one the item is tried once more in a new
    worker.
    """

    name: str

    def open(self) -> None:
        """Load what all items share, such as models; called once per worker."""
        ...

    def __call__(self, item: Item, /) -> Sequence[Row] | Rejected | Incomplete:
        """The rows of one item, in an order that depends only on the item."""
        ...


@record(config=RECORD, frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one item.

    `reason` of a failure is a MediaReason, or `raised` (any other exception), `exited` (the process exited),
    `crashed` (a signal killed it), `timed_out` (the wall-clock limit), `out_of_memory`.
    """

    key: Annotated[Str, "the item's key"]
    name: Annotated[Str, "the item's name, printable, on one line"]
    status: Annotated[ItemStatus, "result"]
    stage: Annotated[Str | None, "step that rejected or failed it"] = None
    reason: Annotated[Str | None, "one word"] = None
    message: Annotated[Str | None, "one printable line"] = None
    attempts: Annotated[int, Field(ge=1, le=2), "number of tries in the run that committed it"] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a task is executed. Only `threads` can affect results, so it does not depend on `jobs`."""

    jobs: int = 1  # parallel workers
    stall_timeout_s: float = 900.0  # without progress, in one try; an item that goes on may take as long as it needs
    open_timeout_s: float = 600.0  # wall-clock limit of loading models, possibly from a cold disk
    memory_mb: int = 8192  # heap and private mappings of one worker; a GPU runtime may want more
    threads: int = 1  # threads of numeric libraries in a worker: float sums depend on it
    max_items_per_process: int = 200  # items per process; native libraries leak memory
    gpus_per_worker: float = 0.0  # GPUs per worker on Ray; local workers see all
    ray: str | None = None  # None: processes of this machine; 'auto', 'local' or the address of a cluster

    def __post_init__(self) -> None:
        for name in ("jobs", "stall_timeout_s", "open_timeout_s", "memory_mb", "threads", "max_items_per_process"):
            if not (value := getattr(self, name)) > 0:
                hint = "use a larger value, or remove the option"
                raise ConfigError(where=f"execution.{name}", expected="a positive number", got=str(value), hint=hint)


def one_line(text: str) -> str:
    """`text` as one printable line that is equal in every run.

    Control characters, line ends and lone surrogates (file names and tags are untrusted) are escaped, memory addresses
    are hidden, and the line is cut at MAX_TEXT_CHARS.
    """
    text = re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", text[: 4 * MAX_TEXT_CHARS].strip())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"
