"""Cost of an annotation run from stored signals to three layers: speed as a multiple of real time, and memory.

    python benchmarks/annotate.py [--clips 1000 10000]

Prints a Markdown table for docs/log/. The signals are planted and repeated under new ids; the motion annotator needs no
pictures. Peak memory is that of the driver and of the largest worker, measured in a separate process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from xsheet.annotate.pipeline import annotate
from xsheet.annotate.settings import AnnotateSettings
from xsheet.demo.film import truth
from xsheet.demo.film.plan import plan_film
from xsheet.runtime.executor import Execution
from xsheet.runtime.fork_server import end_fork_servers
from xsheet.schemas import tables
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.ids import content_key
from xsheet.schemas.sets import create_set

STORIES = 40
SETTINGS = AnnotateSettings.model_validate({"motion": {}, "samples": 1, "clips_per_batch": 64})


def make_set(folder: Path, clips: int) -> float:
    """Write a set with a number of clips; return their total seconds."""
    create_set(folder, "many")
    planted = [
        row
        for index in range(STORIES)
        for row in truth.truth_rows(plan_film(index, seed=3, kind="talk"), f"src_{index}")
        if isinstance(row, Signals)
    ]

    def signals() -> Iterator[Signals]:
        for k in range(clips):
            yield replace(planted[k % len(planted)], clip_id=f"clip_{content_key(k)[:20]}")

    tables.write_table(folder, tables.SIGNALS, signals())
    tables.write_table(folder, tables.CLIPS, (clip_of(row) for row in signals()))
    return sum(row.frames for row in signals()) / 25


def clip_of(row: Signals) -> Clip:
    """The clip of the signals."""
    return Clip(
        clip_id=row.clip_id, source_id="src", start_us=0, end_us=40_000 * row.frames,
        media_path=f"media/{row.clip_id}.mp4", media_sha256=content_key(row.clip_id), frames=row.frames,
        samples=640 * row.frames, width=384, height=384,
    )  # fmt: skip


def measure(clips: int) -> None:
    """Run once with one worker and print a row."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = make_set(Path(folder) / "set", clips)
        command = [sys.executable, __file__, "--run", str(Path(folder) / "set")]
        summary = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
    print(f"| {clips} | {seconds / 3600:.2f} | {seconds / summary['cpu_s']:.0f} | {seconds / summary['wall_s']:.0f} "
          f"| {summary['driver_mb']:.0f} | {summary['worker_mb']:.0f} |", flush=True)  # fmt: skip


def run(folder: Path) -> None:
    """Annotate in this process; print time and memory as JSON."""
    begin = time.perf_counter()
    annotate(folder, SETTINGS, execution=Execution(jobs=1), show_progress=False)
    wall_s = time.perf_counter() - begin
    end_fork_servers()
    here, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss is inherited from the parent
    print(json.dumps({
        "wall_s": wall_s,
        "cpu_s": here.ru_utime + here.ru_stime + below.ru_utime + below.ru_stime,
        "driver_mb": int(status.partition("VmHWM:")[2].split()[0]) / 1024,
        "worker_mb": below.ru_maxrss / 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run is not None:
        run(given.run)
    else:
        print("| clips | hours | × real time, CPU | and wall | driver, MB | worker, MB |\n|---|---|---|---|---|---|")
        for clips in given.clips:
            measure(clips)
