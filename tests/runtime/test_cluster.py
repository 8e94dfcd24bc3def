"""A run on a cluster of three nodes, one of which is killed in the middle while another joins: the same bytes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from xsheet.runtime.result_store import ResultStore
from xsheet.schemas import tables
from xsheet.schemas.ids import file_sha256

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]
XSHEET = (sys.executable, "-c", "from xsheet.cli import main; main()")
FILMS = int(os.environ.get("XSHEET_CLUSTER_FILMS", "12"))
CHEAP = ("--preset=all", "--set=export.pose=null", "--set=analysis.candidates.min_frames=20")
NODE_CPUS = 2
NODES = """
import os, sys
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300"}
from ray.cluster_utils import Cluster
size = {"num_cpus": %d, "object_store_memory": 100 << 20}
cluster = Cluster(initialize_head=True, head_node_args=size | {"include_dashboard": False})
nodes = [cluster.add_node(**size) for _ in range(2)]
cluster.wait_for_nodes()
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "replace a node\\n":
        nodes.pop(0).all_processes["raylet"][0].process.kill()
        nodes.append(cluster.add_node(**size))
        print("replaced", flush=True)
cluster.shutdown()
"""


class Nodes:
    """Three raylets on this machine, which a process of its own started; it ends them when its input ends."""

    def __init__(self) -> None:
        self._owner = subprocess.Popen(
            [sys.executable, "-c", NODES % NODE_CPUS], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        self.address = self._line()

    def replace_one(self) -> None:
        """Kill a node that is not the head, and add another."""
        assert self._owner.stdin is not None
        self._owner.stdin.write("replace a node\n")
        self._owner.stdin.flush()
        assert self._line() == "replaced"

    def close(self) -> None:
        try:
            self._owner.communicate(timeout=120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._owner.pid, signal.SIGKILL)

    def _line(self) -> str:
        assert self._owner.stdout is not None
        return self._owner.stdout.readline().strip()


@pytest.fixture
def films(short_films, tmp_path):
    short_films(tmp_path / "films", FILMS)
    return tmp_path / "films"


@pytest.fixture
def nodes():
    cluster = Nodes()
    if not cluster.address:
        pytest.skip("Ray did not start: this machine is too busy")
    yield cluster
    cluster.close()


def command(films, out, *more):
    return [*XSHEET, "curate", "run", str(films), "--out", str(out), "--json", *CHEAP, *more]


def written(folder: Path) -> dict[str, str]:
    """Hashes of tables and clips."""
    names = [table.name for table in tables.TABLES]
    paths = [*(path for name in names for path in folder.glob(f"{name}/part-*")), *folder.glob("media/*/*.mp4")]
    return {str(path.relative_to(folder)): file_sha256(path) for path in paths}


def analysed(folder: Path) -> int:
    store = ResultStore(folder, "analysis")
    return sum(1 for _ in store._records.records()) if store.folder.exists() else 0


def test_a_node_that_dies_in_the_middle_and_one_that_joins_change_no_byte(films, nodes, tmp_path):
    began_s = time.monotonic()
    here = subprocess.run(command(films, tmp_path / "here", "--jobs", "2"), check=False, capture_output=True)
    here_s = time.monotonic() - began_s
    assert here.returncode in (0, 1), here.stderr[-2000:]
    running = subprocess.Popen(
        command(films, tmp_path / "there", "--jobs", "5", "--ray", nodes.address),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        while analysed(tmp_path / "there") < FILMS / 3:
            assert running.poll() is None, running.communicate()[1][-2000:]
            time.sleep(0.1)
        assert analysed(tmp_path / "there") < FILMS
        nodes.replace_one()
        print(f"a node was killed after {analysed(tmp_path / 'there')} of {FILMS} films")  # noqa: T201  # for docs/log
        stderr = running.communicate(timeout=3000)[1]
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == here.returncode, stderr[-2000:]
    assert written(tmp_path / "there") == written(tmp_path / "here")
    assert tables.read_table(tmp_path / "there", tables.SOURCES).num_rows == FILMS
    assert tables.read_table(tmp_path / "there", tables.CLIPS).num_rows == FILMS
    print(f"{here_s:.0f} s without Ray, {time.monotonic() - began_s - here_s:.0f} s on the cluster")  # noqa: T201
