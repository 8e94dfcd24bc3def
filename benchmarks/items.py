"""Many items that do nothing, with real workers: wall time, CPU, and the files that their results leave.

    python benchmarks/items.py [--items 10000 100000] [--folder DIR]

Every result has 2 KB and is on the disk before its item counts as done, so the wall time holds one sync of DIR's disk
per item and worker; a folder in memory (/dev/shm) leaves the work of xsheet alone. Each row is a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from xsheet.runtime.executor import Execution, Item, Row, run_task
from xsheet.runtime.fork_server import end_fork_servers
from xsheet.schemas.ids import content_key
from xsheet.schemas.source import ManifestColumn, SourceVideo

JOBS = 2
RESULT_BYTES = 2000


class Constant:
    """Task: one row of 2 KB per item."""

    name = "constant"

    def __init__(self) -> None:
        self.stage = ""

    def open(self) -> None:
        """Nothing to load."""

    def __call__(self, item: Item, /) -> Sequence[Row]:
        """The row."""
        text = ManifestColumn(key="text", value="x" * RESULT_BYTES)
        return [SourceVideo(source_id=item.key[:20], path=item.name, status="ok", manifest_columns=(text,))]


def measure(count: int, folder: Path) -> None:
    """Print one row of the table."""
    import items  # noqa: PLC0415 - workers import the task by the name of its module

    with tempfile.TemporaryDirectory(dir=folder) as out:

        def run() -> tuple[float, float]:
            began_s, began_cpu_s = time.monotonic(), cpu_s()
            payload = (Item(content_key(k), f"item {k}", None) for k in range(count))
            # Two hundred items a process would measure the start of processes: films take seconds, these items do not.
            execution = Execution(jobs=JOBS, max_items_per_process=10_000)
            assert len(run_task(items.Constant(), payload, out=Path(out), execution=execution)) == count
            wall_s = time.monotonic() - began_s
            end_fork_servers()
            return wall_s, cpu_s() - began_cpu_s

        wall_s, spent_s = run()
        files = [path for path in Path(out).rglob("*") if path.is_file()]
        size_mb = sum(path.stat().st_size for path in files) / 1e6
        again_s, _ = run()
    print(f"| {count:,} | {wall_s:.0f} | {spent_s:.0f} | {len(files)} | {size_mb:.0f} | {again_s:.1f} |", flush=True)


def cpu_s() -> float:
    """CPU seconds of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--one", action="store_true")
    arguments = parser.parse_args()
    if arguments.one:
        (count,) = arguments.items
        measure(count, arguments.folder)
    else:
        print("| items | wall, s | CPU, s | files | MB | the same command again, s |\n|---:|---:|---:|---:|---:|---:|")
        for count in arguments.items:
            call = [sys.executable, __file__, "--one", "--items", str(count), "--folder", str(arguments.folder)]
            sys.stdout.flush()
            subprocess.run(call, check=True)
