"""Items of the planted task, and what its runs leave behind."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from xsheet.runtime.executor import Item
from xsheet.runtime.result_store import ResultStore
from xsheet.schemas.ids import content_key

TASKS = Path(__file__).parent / "tasks"


LIMIT_S = 0.7  # of what hangs; only a hang should meet its limit, however busy the machine is


def item(do: str, argument: object = None, *, k: object = 0) -> Item:
    return Item(content_key(do, k), f"{do} {k}", (do, argument))


def started(notes: Path) -> Counter[str]:
    file = notes / "starts"
    return Counter(line.split()[0] for line in file.read_text().splitlines()) if file.exists() else Counter()


def pids(notes: Path, file: str) -> list[int]:
    return [int(line.split()[1]) for line in (notes / file).read_text().splitlines()]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # its parent may not reap it
    except psutil.NoSuchProcess:
        return True


def eventually(condition: Callable[[], bool], *, timeout_s: float = 20) -> bool:
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        if condition():
            return True
        time.sleep(0.02)
    return False


def commit_bytes(out: Path) -> dict[str, bytes]:
    """The stored results by key, without what a log of a failure holds of its process."""
    results = ResultStore(out, "planted")
    return {key: b"\n".join(results.lines(key)) for key in results}


def drive(tmp_path: Path, notes: Path, *, what: str, count: int, argument: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, TASKS / "drive.py", tmp_path / "out", notes, "2", what, str(count), argument]
    return subprocess.Popen(command, stderr=subprocess.PIPE)
