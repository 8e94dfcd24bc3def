"""Progress of a run: a bar on a terminal, log lines at intervals elsewhere."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from xsheet.runtime.task import Outcome

log = logging.getLogger(__name__)
Element = TypeVar("Element")


class Progress:
    """Counts outcomes and shows them with rate and remaining time.

    `description` names the work. `console` decides between bar and log lines. `clock` returns seconds; `interval_s` is
    the time between log lines.
    """

    def __init__(
        self,
        description: str,
        *,
        console: Console | None = None,
        interval_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._description = description
        self._console = console or Console(stderr=True)
        self._interval_s = interval_s
        self._clock = clock
        self._bar: RichProgress | None = None
        self._standstill = ""

    def start(self, total: int | None) -> Self:
        """Start with `total` items, or None if the number is unknown."""
        self._total = total
        self._result_counts: Counter[str] = Counter()
        self._started_s = self._last_line_s = self._clock()
        if self._console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}", markup=False))
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            bar = RichProgress(TextColumn("{task.description}"), *columns, *times, console=self._console)
            bar.add_task(self._description, total=total, note="")
            bar.start()
            self._bar = bar
        return self

    def add(self, outcome: Outcome, *, new_this_run: bool) -> None:
        """Count one item; `new_this_run` is False for an item of an earlier run."""
        self._result_counts[outcome.status] += 1
        self._result_counts["kept"] += not new_this_run
        if self._bar is not None:
            self._bar.update(TaskID(0), advance=1, note=self._note())
        elif self._clock() - self._last_line_s >= self._interval_s:
            self._log_line()

    def over(self, items: Iterable[Element], *, total: int | None) -> Iterator[Element]:
        """Yield the items of a loop of this process; each counts when the next one is asked for."""
        with self.start(total):
            for item in items:
                yield item
                self.add(Outcome(key="", name="", status="ok"), new_this_run=True)

    def show_standstill(self, text: str) -> None:
        """Show the item that makes no progress, or with an empty text that there is none; any thread may call it."""
        self._standstill = text
        if self._bar is not None:
            self._bar.update(TaskID(0), note=self._note())
        elif text and self._clock() - self._last_line_s >= self._interval_s:
            self._log_line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        else:
            self._log_line()

    def _log_line(self) -> None:
        self._last_line_s = self._clock()
        done, rate_hz = self._count_done(), self._rate_hz()
        left = "?" if self._total is None or not rate_hz else f"{(self._total - done) / rate_hz:.0f}"
        of = "?" if self._total is None else self._total
        log.info("%s %d of %s, %s, %s s left", self._description, done, of, self._note(), left)

    def _note(self) -> str:
        counts = " ".join(f"{word} {self._result_counts[word]}" for word in ("ok", "rejected", "failed"))
        kept = f", {self._result_counts['kept']} from earlier runs" if self._result_counts["kept"] else ""
        rate_hz = self._rate_hz()
        pace = f"{1 / rate_hz:.0f} s each" if 0 < rate_hz < 0.1 else f"{rate_hz:.1f}/s"
        stuck = f", {self._standstill}" if self._standstill else ""
        return f"{counts}{kept}, {pace}{stuck}"

    def _count_done(self) -> int:
        return sum(self._result_counts[word] for word in ("ok", "rejected", "failed"))

    def _rate_hz(self) -> float:
        # Items of earlier runs take no time and would raise the rate.
        spent_s = self._clock() - self._started_s
        return (self._count_done() - self._result_counts["kept"]) / spent_s if spent_s > 0 else 0.0
