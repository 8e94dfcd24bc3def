"""xsheet on a machine that fails now and then: faults.py SEED RATE NOTES ARGUMENTS OF xsheet...

Each item of each step draws its fault from (seed, step, key, try), whatever the order of the items. A worker is killed
at its start, at a report of progress, or after it stored its result; the disk of the results is full for a moment, with
half a record written; one operation on a video fails. NOTES/faults gets a line for each fault, NOTES/memory one for
each item: its step, and the memory of the driver in MB when it ended.
"""

import errno
import hashlib
import os
import random
import signal
import sys
from io import FileIO
from pathlib import Path
from typing import Any

from xsheet.curate.media import safety
from xsheet.runtime import fork_server, segments, worker, worker_main

KINDS = ("killed at the start", "killed in the middle", "killed at the end", "disk full", "read fails")
WEIGHTS = (3, 3, 3, 1, 3)  # a full disk ends the command


def plant(seed: str, rate: float, notes: str) -> None:
    """Let this worker's items meet faults; `rate` is the chance of one, for each step and try of an item."""
    run_item = worker_main._run_item

    def with_faults(task: Any, item: Any, *, attempts: int, stage: Any, store: Any) -> Any:
        drawn = hashlib.sha256(f"{seed} {task.name} {item.key} {attempts}".encode()).digest()
        chance = random.Random(drawn)
        kind = chance.choices(KINDS, WEIGHTS)[0] if chance.random() < rate else None

        def strike() -> None:
            with (Path(notes) / "faults").open("a") as file:
                file.write(f"{task.name}\t{kind}\t{item.key}\n")

        def kill() -> None:
            strike()
            os.kill(os.getpid(), signal.SIGKILL)

        if kind == "killed at the start":
            kill()
        _Stage.kill, _Stage.left = kill, chance.randrange(12) if kind == "killed in the middle" else -1
        _Film.strike, _Film.left = strike, chance.randrange(4) if kind == "read fails" else -1
        _Segment.strike, _Segment.is_full = strike, kind == "disk full"
        outcome = run_item(task, item, attempts=attempts, stage=stage, store=store)
        if kind == "killed at the end":
            kill()
        return outcome

    worker_main._run_item = with_faults
    worker_main._StageFile = _Stage
    safety.FileIO = _Film
    segments.FileIO = _Segment


class _Stage(worker_main._StageFile):
    kill: Any = None
    left = -1

    def __call__(self, name: str = "") -> None:
        super().__call__(name)
        if _Stage.left == 0:
            _Stage.kill()
        _Stage.left -= 1


class _Film(FileIO):
    strike: Any = None
    left = -1

    def _fail_once(self) -> None:
        fails, _Film.left = _Film.left == 0, _Film.left - 1
        if fails:
            _Film.strike()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def read(self, size: int | None = -1, /) -> bytes | None:
        self._fail_once()
        return super().read(size)

    def readinto(self, buffer: Any, /) -> int | None:
        self._fail_once()
        return super().readinto(buffer)


class _Segment(FileIO):
    strike: Any = None
    is_full = False

    def write(self, data: Any, /) -> int | None:
        if not _Segment.is_full:
            return super().write(data)
        _Segment.is_full = False
        super().write(memoryview(data)[: len(data) // 2])
        _Segment.strike()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def main() -> None:
    seed, rate, notes = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import faults; "
    plant_here = f"faults.plant({seed!r}, {rate}, {str(notes)!r}); "  # in the server, so in all that it forks
    fork_server._SERVER_CODE = code + plant_here + fork_server._SERVER_CODE
    _note_memory(notes / "memory")
    sys.argv[1:] = sys.argv[4:]
    from xsheet.cli import main as xsheet

    xsheet()


def _note_memory(file: Path) -> None:
    run, page = worker.Worker.run, os.sysconf("SC_PAGE_SIZE")

    def run_and_note(self: worker.Worker, item: Any) -> Any:
        outcome = run(self, item)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        with file.open("a") as out:
            out.write(f"{self._job.name}\t{pages * page >> 20}\n")
        return outcome

    worker.Worker.run = run_and_note


if __name__ == "__main__":
    main()
