"""Progress of a run: a bar on a terminal, a log line now and then elsewhere."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from xsheet.runtime.task import Outcome

log = logging.getLogger(__name__)


class Progress:
    """Counts outcomes and shows them with rate and remaining time.

    `what` names the work. `console` decides between bar and log lines. `clock` gives seconds, `every_s` spaces the
    lines.
    """

    def __init__(
        self,
        what: str,
        *,
        console: Console | None = None,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._console = console or Console(stderr=True)
        self._every_s = every_s
        self._clock = clock
        self._bar: Bar | None = None

    def begin(self, total: int | None) -> Self:
        """Start over with `total` items, or None where the number is not known."""
        self._total = total
        self._counts: Counter[str] = Counter()
        self._began_s = self._said_s = self._clock()
        if self._console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            bar = Bar(TextColumn("{task.description}"), *columns, *times, console=self._console)
            bar.add_task(self._what, total=total, note="")
            bar.start()
            self._bar = bar
        return self

    def add(self, outcome: Outcome, *, fresh: bool) -> None:
        """One item more; `fresh` is False for an item that an earlier run had finished."""
        self._counts[outcome.status] += 1
        self._counts["kept"] += not fresh
        if self._bar is not None:
            self._bar.update(TaskID(0), advance=1, note=self._note())
        elif self._clock() - self._said_s >= self._every_s:
            self._say()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        else:
            self._say()

    def _say(self) -> None:
        self._said_s = self._clock()
        done, rate_hz = self._done(), self._rate_hz()
        left = "?" if self._total is None or not rate_hz else f"{(self._total - done) / rate_hz:.0f}"
        of = "?" if self._total is None else self._total
        log.info("%s %d of %s, %s, %s s left", self._what, done, of, self._note(), left)

    def _note(self) -> str:
        counts = " ".join(f"{word} {self._counts[word]}" for word in ("ok", "rejected", "failed"))
        kept = f", {self._counts['kept']} from earlier runs" if self._counts["kept"] else ""
        rate_hz = self._rate_hz()
        pace = f"{1 / rate_hz:.0f} s each" if 0 < rate_hz < 0.1 else f"{rate_hz:.1f}/s"
        return f"{counts}{kept}, {pace}"

    def _done(self) -> int:
        return sum(self._counts[word] for word in ("ok", "rejected", "failed"))

    def _rate_hz(self) -> float:
        # Items of earlier runs cost nothing and would flatter the rate.
        spent_s = self._clock() - self._began_s
        return (self._done() - self._counts["kept"]) / spent_s if spent_s > 0 else 0.0
