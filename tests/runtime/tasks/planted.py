"""A task that does what its item says, well or badly. Workers import it by name, so its folder is put on sys.path."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from xsheet.runtime import result_store
from xsheet.runtime.executor import Incomplete, Item, Rejected, Row
from xsheet.schemas.errors import MediaError, RunError
from xsheet.schemas.source import CutScore, Shot


def shot(key: str, *, opens_with: str = "start", end_us: int = 40_000) -> Shot:
    return Shot(shot_id=key[:20], source_id="src_0", start_us=0, end_us=end_us, opens_with=opens_with)


class Planted:
    """`payload` is the name of a method and its argument. Every start of an item leaves its key and pid in `notes`."""

    name = "planted"

    def __init__(self, notes: Path, *, opening: str = "fine") -> None:
        self.stage = ""
        self.notes = notes
        self.opening = opening

    def open(self) -> None:
        if self.opening == "raises":
            raise ValueError("no such model")
        if self.opening == "exits":
            os._exit(4)

    def __call__(self, item: Item) -> list[Row] | Rejected | Incomplete:
        do, argument = item.payload
        self.note("starts", item.key)
        self.stage = do
        return getattr(self, do)(item.key, argument)

    def note(self, file: str, text: str) -> None:
        with (self.notes / file).open("a") as notes:
            notes.write(f"{text} {os.getpid()}\n")

    def fine(self, key: str, sleep_s: float) -> list[Row]:
        time.sleep(sleep_s)
        return [shot(key), shot(key, opens_with="cut")]

    def notes_parent(self, key: str, _: object) -> list[Row]:
        with (self.notes / "parents").open("a") as notes:
            notes.write(f"{key} {os.getppid()}\n")
        return [shot(key)]

    def kills_its_parent(self, key: str, _: object) -> list[Row]:
        os.kill(os.getppid(), signal.SIGKILL)
        return [shot(key)]

    def notes_variable(self, key: str, name: str) -> list[Row]:
        self.note("variables", str(os.environ.get(name)))
        return [shot(key)]

    def notes_folders(self, key: str, _: object) -> list[Row]:
        self.note("folders", f"{Path.cwd()} {tempfile.gettempdir()}")
        return [shot(key)]

    def goes_on(self, key: str, seconds: float) -> list[Row]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.05)
            self.stage = "going on"
        return [shot(key)]

    def large(self, key: str, n: int) -> list[Row]:
        return [shot(key, end_us=k + 1) for k in range(n)]

    def reject(self, key: str, _: object) -> Rejected:
        return Rejected("decide", "too_short", "1 s of 3 s", rows=[shot(key)])

    def half(self, key: str, marker: str) -> list[Row] | Incomplete:
        if Path(marker).exists():
            return [shot(key), shot(key, opens_with="cut")]
        return Incomplete("ask", "away", "1 of 2 without a reply", rows=[shot(key)])

    def media(self, key: str, _: object) -> list[Row]:
        raise MediaError(reason="empty", where=key, expected="bytes", got="none", hint="drop it")

    def disk_error(self, key: str, number: int) -> list[Row]:
        error = MediaError(reason="unreadable", where=key, expected="a file", got=os.strerror(number), hint="look")
        raise error from OSError(number, os.strerror(number))

    def stop(self, key: str, _: object) -> list[Row]:
        raise RunError(where="weights", expected="a file", got="none", hint="fetch it")

    def raises(self, key: str, _: object) -> list[Row]:
        raise ValueError(f"bad\n\x1b[31m\udcff {object()}")

    def fails_once(self, key: str, marker: str) -> list[Row]:
        if Path(marker).exists():
            return [shot(key)]
        Path(marker).touch()
        raise ValueError("the first time")

    def fails_until(self, key: str, marker: str) -> list[Row]:
        if not Path(marker).exists():
            raise ValueError("not yet")
        return [shot(key)]

    def exits(self, key: str, code: int) -> list[Row]:
        os._exit(code)

    def fills_the_disk_and_exits(self, key: str, file: str) -> list[Row]:
        with suppress(OSError), Path(file).open("wb", buffering=0) as more:
            while more.write(bytes(4096)):
                pass
        os._exit(1)

    def leaves(self, key: str, code: int) -> list[Row]:
        sys.exit(code)

    def forks_and_exits(self, key: str, code: int) -> list[Row]:
        if os.fork() == 0:
            self.note("grandchildren", key)
            time.sleep(1000)
        while not (self.notes / "grandchildren").exists():
            time.sleep(0.01)
        os._exit(code)

    def hangs(self, key: str, _: object) -> list[Row]:
        time.sleep(1000)
        return []

    def hangs_with_the_gil(self, key: str, _: object) -> list[Row]:
        ctypes.PyDLL(None).sleep(1000)
        return []

    def hangs_with_a_grandchild(self, key: str, _: object) -> list[Row]:
        process = subprocess.Popen(["sleep", "1000"])
        with (self.notes / "grandchildren").open("a") as notes:
            notes.write(f"{key} {process.pid}\n")
        process.wait()
        return []

    def allocates(self, key: str, mb: int) -> list[Row]:
        chunks = [bytearray(16 << 20) for _ in range(mb // 16)]
        return [shot(key, end_us=len(chunks))]

    def segfaults(self, key: str, _: object) -> list[Row]:
        ctypes.string_at(0)
        return []

    def no_record(self, key: str, _: object) -> list[Row]:
        return [lambda: key]  # type: ignore[list-item]

    def huge_row(self, key: str, mb: int) -> list[Row]:
        result_store.MAX_RESULT_BYTES = 1 << 20  # in this worker alone, so that no test needs a gigabyte
        return [replace(shot(key), cut_scores=(CutScore(detector="x" * (mb << 20), score=1.0),))]

    def meets(self, key: str, mine_and_theirs: tuple[str, str]) -> list[Row]:
        mine, theirs = mine_and_theirs
        Path(mine).touch()
        while not Path(theirs).exists():
            time.sleep(0.01)
        return [shot(key)]
