"""Run benchmarks and insert their output into docs/, with machine, date and command.

    python benchmarks/bench.py [NAME ...] [--list] [--folder DIR] [--shared DIR]

NAME is a benchmark or a common prefix (`faults` = faults-planted, faults-arms and others); without names all
run, which takes hours. The place of a table is `<!-- bench: NAME -->` ... `<!-- end: NAME -->` in a page. A benchmark
that fails leaves its table unchanged; the exit code is then 1.

Machines differ in speed and load, so seconds come with a yardstick: the CPU time of a fixed computation, measured just
before. Seconds divided by it are comparable between machines; ratios in a table are comparable directly.
"""

import argparse
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Bench:
    """A script with its arguments and its expected minutes on two cores."""

    name: str
    command: str
    minutes: float
    real_clips: bool = False  # needs ../shared, which is not part of the project
    gpu: bool = False  # needs a CUDA device


BENCHES = (
    Bench("puppet", "puppet.py --people 24", 4),
    Bench("cuts-puppet", "cuts.py puppet", 6),
    Bench("cuts-real", "cuts.py real", 5, real_clips=True),
    Bench("cuts-jumps", "cuts.py jumps", 5, real_clips=True),
    Bench("cuts-cost", "cuts.py cost", 5, real_clips=True),
    Bench("faces-puppet", "faces.py puppet", 2),
    Bench("faces-films", "faces.py films", 4),
    Bench("faces-two-heads", "faces.py two-heads", 4),
    Bench("faces-identity", "faces.py identity", 10, real_clips=True),
    Bench("body", "body.py --shared {shared}", 5, real_clips=True),
    Bench("sync", "sync.py --data {shared}/data --cache {folder}/sync", 20, real_clips=True),
    Bench("curate-cost", "curate.py cost --keep {folder}/curate-cost", 15),
    Bench("curate-memory", "curate.py memory", 15),
    Bench("decide", "decide.py", 5),
    Bench("near-copies", "near.py --sources 10000,30000,100000", 4),
    Bench("near-people", "near.py --tracks 3000,10000,30000", 4),
    Bench("motion-puppet", "motion.py puppet --cache {folder}/motion", 8),
    Bench("motion-still", "motion.py still --cache {folder}/motion", 4),
    Bench("motion-real", "labels.py --shared {shared} --cache {folder}/labels", 30, real_clips=True),
    Bench("motion-cost", "motion.py cost --cache {folder}/motion", 1),
    Bench("annotate", "annotate.py", 5),
    Bench("vlm-tokens", "vlm_tokens.py", 2),
    Bench("agreement-jitter", "agreement.py jitter", 2),
    Bench("agreement-intervals", "agreement.py intervals", 5),
    Bench("agreement-speed", "agreement.py speed", 2),
    Bench("faults-planted", "faults.py planted", 1),
    Bench("faults-arms", "faults.py arms --films 24", 4),
    Bench("faults-labels", "faults.py labels --shared {shared} --cache {folder}/labels", 30, real_clips=True),
    Bench("faults-measured", "faults.py measured --films 40 --cache {folder}/faults", 5),
    Bench("faults-motion", "faults.py motion --films 40 --cache {folder}/faults", 5),
    Bench("audit-speed", "audit_speed.py", 6),
    Bench("codec", "codec.py", 10),
    Bench("model-cost", "model_cost.py", 2),
    Bench("learn", "learn.py {folder}/learn", 40),
    Bench("actions", "actions.py {folder}/actions", 120),
    Bench("items", "items.py --items 5000 100000 --folder /dev/shm", 5),
    Bench("driver", "driver.py --items 10000 100000 1000000", 15),
    Bench("prior", "prior.py {folder}/base", 40),
    Bench("windows", "windows.py {folder}/base/run", 15),
    Bench("gpu", "gpu.py {folder}/gpu", 10, gpu=True),
)


def main() -> int:
    """Run the named benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="names, expected minutes, commands; run nothing")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="cache that later runs reuse")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder of the real test clips")
    given = parser.parse_args()
    benches = chosen(given.names)
    print(
        f"{len(benches)} benchmarks, about {sum(one.minutes for one in benches):.0f} minutes on two cores", flush=True
    )
    failed = 0
    for one in benches:
        print(f"{one.name}: {one.minutes:g} min, benchmarks/{one.command}", flush=True)
        if given.list:
            continue
        if one.real_clips and not given.shared.is_dir():
            print(f"  unchanged: no real clips in {given.shared}")
            continue
        if one.gpu and shutil.which("nvidia-smi") is None:
            print("  unchanged: no NVIDIA GPU here")
            continue
        given.folder.mkdir(parents=True, exist_ok=True)
        failed += not run(one, folder=given.folder, shared=given.shared)
    return 1 if failed else 0


def chosen(names: Iterable[str]) -> list[Bench]:
    """The benchmarks whose names begin with one of the names; all if none is given."""
    names = list(names)
    for name in names:
        if not any(one.name.startswith(name) for one in BENCHES):
            raise SystemExit(f"no benchmark {name!r}; one of {', '.join(one.name for one in BENCHES)}")
    return [one for one in BENCHES if not names or one.name.startswith(tuple(names))]


def run(one: Bench, *, folder: Path, shared: Path) -> bool:
    """Run one and replace its table; False if it failed, which keeps the old table."""
    facts, load, unit_s = machine(), os.getloadavg()[0], yardstick_s()
    script, *arguments = one.command.format(folder=folder, shared=shared).split(" ")
    before = cpu_s()
    lines = []
    with subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "benchmarks" / script), *arguments],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as ran:  # fmt: skip
        assert ran.stdout is not None
        for line in ran.stdout:  # shown at once, since some benchmarks take an hour
            print(f"  {line}", end="", flush=True)
            lines.append(line)
    if ran.returncode:
        print(f"  failed with {ran.returncode}; its table is unchanged")
        return False
    call = one.command.format(folder="DIR", shared="../shared")
    origin = (
        f"*{datetime.now(UTC):%Y-%m-%d}, `python benchmarks/{call}`, {cpu_s() - before:.0f} s of CPU; {facts}, "
        f"load {load:.1f} at the start, yardstick {unit_s:.2f} s.*"
    )
    place(one.name, f"{origin}\n\n{''.join(lines).strip()}", docs=ROOT / "docs")
    return True


def place(name: str, text: str, *, docs: Path) -> None:
    """Replace the text between the markers of a benchmark, in the page that has them."""
    between = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- end: {re.escape(name)} -->)", re.DOTALL)
    for page in sorted(docs.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        new, count = between.subn(lambda found: f"{found[1]}{text}\n{found[2]}", old)
        if count:
            page.write_text(new, encoding="utf-8")
            return
    raise SystemExit(
        f"{docs}: no page has the markers of {name!r}; add <!-- bench: {name} --> and <!-- end: {name} -->"
    )


def machine() -> str:
    """Hardware and versions that the numbers depend on, without the machine's name."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    return (
        f"{cpu[1] if cpu else platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"{int(memory[1]) / 2**20 if memory else 0:.0f} GB, Python {platform.python_version()}"
    )


def yardstick_s() -> float:
    """CPU seconds of sorting two million numbers: one thread with memory accesses and branches, like most of xsheet."""
    numbers, spent = np.random.default_rng(0).random(2_000_000), []
    for _ in range(5):
        begun = time.process_time()
        np.sort(numbers, kind="stable")
        spent.append(time.process_time() - begun)
    return statistics.median(spent)


def cpu_s() -> float:
    """CPU seconds of all finished child processes and their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
