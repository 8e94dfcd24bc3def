"""Which item of a run has made no progress for the longest time, read from the files that workers keep.

A worker keeps one small file in its folder below `scratch`, so this works for workers on other machines, too. Whether
an item still goes on is judged here, by the clock of the driver: its file stays the same.
"""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Self

from xsheet.runtime.task import one_line

STAGE_FILE = "stage"
STANDSTILL_S = 30.0  # without progress, until an item is shown
POLL_INTERVAL_S = 5.0
MAX_NAME_CHARS = 60
_STAGE_BYTES = 64
_ITEM_BYTES = 192
_LAYOUT = struct.Struct(f">{_STAGE_BYTES}sQQ{_ITEM_BYTES}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProgress:
    """Content of a worker's file: each report of its task changes it."""

    stage: str
    reports: int  # of this process
    stage_reports: int  # since the stage began: frames, where a loop over frames reports each one
    item: str  # name; empty between items

    def to_bytes(self) -> bytes:
        """As it is kept in the file, always as long."""
        return _LAYOUT.pack(
            _cut(self.stage, _STAGE_BYTES), self.reports, self.stage_reports, _cut(self.item, _ITEM_BYTES)
        )

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """From a file that the worker may be writing; None where there is none yet."""
        try:
            stage, reports, stage_reports, item = _LAYOUT.unpack(file.read_bytes())
        except (OSError, struct.error):
            return None
        return cls(stage=_text(stage), reports=reports, stage_reports=stage_reports, item=_text(item))


class StandstillWatch:
    """Looks at the files of all workers; keeps since when each of them is the same."""

    def __init__(self, scratch: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._scratch = scratch
        self._clock = clock
        self._since_s: dict[Path, tuple[WorkerProgress, float]] = {}

    def look(self) -> str:
        """The item that stands still for the longest time, in words; empty if none does for STANDSTILL_S."""
        now_s, before = self._clock(), self._since_s
        self._since_s = {}
        for file in self._scratch.glob(f"*/{STAGE_FILE}"):
            if (progress := WorkerProgress.read(file)) is not None and progress.item:
                known, since_s = before.get(file, (None, now_s))
                self._since_s[file] = progress, since_s if known == progress else now_s
        progress, since_s = min(self._since_s.values(), key=lambda value: value[1], default=(None, now_s))
        if progress is None or now_s - since_s < STANDSTILL_S:
            return ""
        name = one_line(PurePath(progress.item).name)
        name = name if len(name) <= MAX_NAME_CHARS else name[: MAX_NAME_CHARS - 1] + "…"
        return f"{name} stands at {progress.stage} {progress.stage_reports} for {now_s - since_s:.0f} s"


@contextmanager
def watch_standstills(scratch: Path, show: Callable[[str], None]) -> Iterator[None]:
    """Call `show` every POLL_INTERVAL_S, from a thread, with what `StandstillWatch.look` returns."""
    ended, watch = threading.Event(), StandstillWatch(scratch)

    def poll() -> None:
        while not ended.wait(POLL_INTERVAL_S):
            with suppress(OSError):  # the folder of a worker that ended meanwhile
                show(watch.look())

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        show("")


def _cut(text: str, size: int) -> bytes:
    # The end of a name says more than its start, which a folder may fill.
    return text.encode("utf-8", "replace")[-size:].ljust(size, b"\0")


def _text(data: bytes) -> str:
    return data.rstrip(b"\0 ").decode("utf-8", "replace")
