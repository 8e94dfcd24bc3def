"""Many short films on a machine whose workers, disk and reads fail: each item ends once, tables as without faults."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from xsheet.runtime.result_store import ResultStore
from xsheet.schemas import tables
from xsheet.schemas.ids import file_sha256

FAULTS = Path(__file__).parent / "runtime/tasks/faults.py"
FILMS = int(os.environ.get("XSHEET_SOAK_FILMS", "2000"))
FEW = pytest.param(6, 0.4, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])
MANY = pytest.param(FILMS, 0.01, marks=[pytest.mark.nightly, pytest.mark.timeout(6 * 3600)])
CHEAP = (
    "--preset", "curate=all", "--set=curate.export.pose=null", "--set=curate.analysis.candidates.min_frames=10",
    "--set=curate.analysis.faces.detection_interval_frames=50",
)  # fmt: skip
STEPS = ("probe", "analysis", "segment", "export", "annotate")
MAX_RUNS = 100  # a full disk ends a run, and the same command goes on
MAX_GROWTH_MB = 40


class Machine:
    """Runs the whole path over films until it comes to its end."""

    def __init__(self, films: Path, out: Path, *, rate: float) -> None:
        self.films, self.out, self.rate = films, out, rate
        self.notes = out.with_name(f"{out.name}-notes")
        self.notes.mkdir()
        self.runs = 0

    def run(self) -> subprocess.CompletedProcess[str]:
        """One command, with faults of its own."""
        self.runs += 1
        settings = ("--out", self.out, "--until", "audit", "--jobs", 2, "--json", "-q", "--retry-failed", *CHEAP)
        command = [sys.executable, FAULTS, self.runs, self.rate, self.notes, "run", self.films, *settings]
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)

    def run_and_repair(self) -> dict[str, Any]:
        """Results of one command, or none where it did not end; a part of a table is damaged after it.

        What the command's sentence asks for is done: free the disk, which was full for a moment, or remove a part.
        """
        ran = self.run()
        assert "bug in xsheet" not in ran.stderr, ran.stderr[-2000:]
        if ran.stdout:
            return results(ran.stdout)
        if damaged := re.search(r"(/\S+\.parquet): expected .*; remove it", ran.stderr):
            Path(damaged[1]).unlink()
        else:
            assert "No space left on device" in ran.stderr, ran.stderr[-2000:]
        self.truncate_a_part()
        return {}

    def truncate_a_part(self) -> None:
        """As a crash of the machine may leave a table: half of a part, a different table after each run."""
        parts = sorted(self.out.glob("*/part-*"))
        if parts:
            part = parts[self.runs % len(parts)]
            os.truncate(part, part.stat().st_size // 2)

    @property
    def faults(self) -> Counter[str]:
        file = self.notes / "faults"
        lines = file.read_text().splitlines() if file.exists() else []
        return Counter(line.split("\t")[1] for line in lines)

    def memory_mb(self, step: str) -> list[int]:
        """Of the driver, after each item of a step."""
        lines = (self.notes / "memory").read_text().splitlines()
        return [int(line.split("\t")[1]) for line in lines if line.startswith(f"{step}\t")]


def results(summary: str) -> dict[str, Any]:
    """What a run counts, but for what it did itself."""
    found = json.loads(summary)
    return {**found["counts"], "analysed": None, "annotated": found["annotated"]}


def written(folder: Path) -> dict[str, str]:
    """Hashes of tables and clips."""
    paths = [*folder.glob("*/part-*"), *folder.glob("media/*/*.mp4")]
    return {str(path.relative_to(folder)): file_sha256(path) for path in paths}


@pytest.mark.parametrize(("films", "rate"), [FEW, MANY])
def test_faults_lose_nothing_and_repeat_nothing(short_films, tmp_path, films, rate):
    short_films(tmp_path / "films", films, frames=13)
    calm = Machine(tmp_path / "films", tmp_path / "calm", rate=0)
    expected = calm.run_and_repair()
    assert expected["clips"] == films
    machine = Machine(tmp_path / "films", tmp_path / "set", rate=rate)
    while machine.run_and_repair() != expected:
        assert machine.runs < MAX_RUNS
    print(machine.runs, "runs", dict(machine.faults))  # noqa: T201  # the figures of docs/trust.md
    assert written(machine.out) == written(calm.out)
    assert tables.read_table(machine.out, tables.SOURCES).num_rows == films
    for step in STEPS:
        assert sorted(ResultStore(machine.out, step)) == sorted(ResultStore(calm.out, step))
        memory_mb = calm.memory_mb(step)
        print(step, memory_mb[:: max(1, len(memory_mb) // 10)])  # noqa: T201  # the figures of docs/trust.md
        assert max(memory_mb) - memory_mb[len(memory_mb) // 10] < MAX_GROWTH_MB
    assert machine.faults.total() >= 3
