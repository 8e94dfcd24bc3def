"""A run on Ray ends with a sentence when the cluster does, listens on loopback alone, and leaves no worker behind."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from planted_runs import TASKS, eventually, gone

from xsheet.runtime.executor import Execution, Item, run_task
from xsheet.runtime.ray_cluster import answers_as_grpc
from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.ids import content_key

pytestmark = pytest.mark.timeout(900)  # Ray takes minutes to start on a busy machine

TOY = Path(__file__).parents[1] / "train/loop/toy.py"
CLUSTER = """
import os, time
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
for _ in range(4):  # Ray waits 30 s for its parts, too short on a busy machine
    try:
        ray.init(address="local", include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
        break
    except Exception:
        ray.shutdown()
print(ray.get_runtime_context().gcs_address, flush=True)
time.sleep(900)
"""


@pytest.fixture
def drive(notes: Path, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    drivers: list[subprocess.Popen[bytes]] = []

    def drive(what: str, argument: str, ray: str, *, before: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
        task = [sys.executable, TASKS / "drive.py", tmp_path / "out", notes, "2", what, "2", argument, ray]
        drivers.append(subprocess.Popen([*before, *map(str, task)], stderr=subprocess.PIPE))
        return drivers[-1]

    yield drive
    for driver in drivers:
        driver.kill()
        driver.wait()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[tuple["psutil.Process", str]]:
    """A cluster on this machine, which its own process started: that process, and the address of the head.

    It lets everyone join, unless the test asks for Ray's default, a token.
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "RAY_AUTH_MODE": getattr(request, "param", "disabled"),
            "PYTHONPATH": os.pathsep.join((str(TOY.parent), *sys.path)),  # its workers import what they run
        },
    )  # fmt: skip
    try:
        assert owner.stdout is not None
        address = owner.stdout.readline().decode().strip()
        if not address:
            pytest.skip("Ray did not start: this machine is too busy")
        yield psutil.Process(owner.pid), address
    finally:
        owner.kill()
        owner.communicate()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, notes: Path, tmp_path: Path) -> Callable[..., Any]:
    monkeypatch.syspath_prepend(str(TASKS))

    def run(ray: str, *, opening: str = "fine") -> Any:
        from planted import Planted  # on the path now

        items = [Item(content_key(k), f"item {k}", ("fine", 0)) for k in range(3)]
        return run_task(Planted(notes, opening=opening), items, out=tmp_path / "out", execution=Execution(ray=ray))

    return run


def workers(notes: Path) -> list[int]:
    file = notes / "starts"
    return [int(line.split()[1]) for line in file.read_text().splitlines()] if file.exists() else []


def wait_for_workers(driver: "subprocess.Popen[bytes]", notes: Path) -> None:
    """Until both workers run an item."""
    eventually(lambda: len(workers(notes)) == 2 or driver.poll() is not None, timeout_s=400)
    if driver.poll() is not None:
        pytest.fail(f"the driver ended early: {driver.communicate()[1].decode()}")
    assert len(workers(notes)) == 2


@pytest.mark.nightly
def test_a_head_that_dies_ends_the_run_with_a_sentence_and_without_its_workers(drive, cluster, notes):
    owner, address = cluster
    driver = drive("hangs", "0", address)
    wait_for_workers(driver, notes)
    (head,) = [child for child in owner.children() if child.name() == "gcs_server"]
    head.kill()
    stderr = driver.communicate(timeout=100)[1].decode()
    assert driver.returncode == 1
    assert "RunError" in stderr
    assert "its head" in stderr or "Ray ended the process" in stderr
    assert stderr.count("\n") == 1, stderr
    assert eventually(lambda: all(gone(pid) for pid in workers(notes)), timeout_s=60)


@pytest.fixture
def train(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    trainings: list[subprocess.Popen[bytes]] = []

    def train(ray: str, *, workers: int = 2) -> "subprocess.Popen[bytes]":
        command = [sys.executable, TOY, tmp_path / "run", "--steps", "1000000", "--workers", workers, "--ray", ray]
        trainings.append(subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return trainings[-1]

    yield train
    for training in trainings:
        training.kill()
        training.wait()


@pytest.mark.nightly
def test_a_head_that_dies_ends_a_training_with_a_sentence_and_without_its_workers(train, cluster, tmp_path):
    owner, address = cluster
    training = train(address)
    pids, metrics = [tmp_path / "run" / f"pid-{rank}" for rank in (0, 1)], tmp_path / "run/metrics.jsonl"
    eventually(lambda: metrics.exists() or training.poll() is not None, timeout_s=400)
    assert training.poll() is None, training.communicate()[1].decode()
    if not metrics.exists():
        pytest.skip("Ray did not start its workers: this machine is too busy")
    (head,) = [child for child in owner.children() if child.name() == "gcs_server"]
    head.kill()
    died_s = time.monotonic()
    stderr = training.communicate(timeout=100)[1].decode()
    assert time.monotonic() - died_s < 50, stderr  # Ray itself gives up after 60; some 8 on a quiet machine
    assert training.returncode == 1
    assert stderr.count("\nRunError: --ray") == 1 and "Traceback" not in stderr, stderr
    assert eventually(lambda: all(gone(int(pid.read_text())) for pid in pids), timeout_s=10)


@pytest.mark.nightly
def test_a_training_at_an_address_where_nothing_listens_is_refused(train):
    stderr = train("127.0.0.1:1").communicate(timeout=300)[1].decode()
    assert stderr.count("\n") == 1, stderr
    assert "ConfigError: --ray: expected 'auto', 'local' or the host:port of a cluster" in stderr


@pytest.mark.nightly
def test_more_training_workers_than_cores_are_refused(train):
    stderr = train("local", workers=10_000).communicate(timeout=300)[1].decode()
    assert "--workers: expected at most" in stderr


@pytest.mark.nightly
@pytest.mark.parametrize("cluster", ["token"], indirect=True)
def test_a_cluster_that_wants_a_token_is_named(drive, cluster, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    driver = drive("fine", "0", cluster[1])
    stderr = driver.communicate(timeout=300)[1].decode()
    assert driver.returncode == 1
    assert "RAY_AUTH_MODE=token" in stderr and stderr.count("\n") == 1, stderr


@pytest.mark.nightly
def test_workers_on_ray_end_with_a_killed_driver(drive, cluster, notes):
    driver = drive("hangs", "0", cluster[1])
    wait_for_workers(driver, notes)
    driver.kill()
    assert eventually(lambda: all(gone(pid) for pid in workers(notes)), timeout_s=60)


@pytest.mark.nightly
def test_a_cluster_that_a_run_starts_listens_on_loopback_alone(drive, notes):
    if (
        os.geteuid() != 0
        or subprocess.run(["unshare", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("needs the right to make a network namespace")
    driver = drive("fine", "8", "local", before=("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"))
    found = set[str]()

    def ended() -> bool:
        found.update(listening_addresses(driver.pid))
        return driver.poll() is not None

    assert eventually(ended, timeout_s=400)
    assert driver.returncode == 0, driver.communicate()[1]
    assert len(workers(notes)) == 2
    assert found == {"127.0.0.1"}


def listening_addresses(pid: int) -> set[str]:
    """Local addresses of the TCP sockets that listen in the network namespace of a process."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == "0A":
                address = fields[1].split(":")[0][-8:]  # the last word of an IPv4 address within IPv6
                found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return found


@pytest.mark.nightly
def test_items_come_to_ray_in_windows(run, monkeypatch):
    monkeypatch.setattr("xsheet.runtime.ray_process.WINDOW_ITEMS", 2)
    assert run("local").counts == {"ok": 3}


@pytest.mark.nightly
def test_a_task_that_does_not_open_ends_a_run_on_ray(run):
    with pytest.raises(RunError, match="a worker that opens"):
        run("local", opening="raises")


@pytest.mark.slow
def test_an_address_where_nothing_listens_is_a_wrong_setting(run):
    with pytest.raises(ConfigError, match="--ray local"):
        run("127.0.0.1:1")


@pytest.mark.slow
def test_an_address_where_something_else_listens_is_refused_in_seconds(run):
    with socket.create_server(("0.0.0.0", 0)) as server:
        began_s = time.monotonic()
        with pytest.raises(ConfigError, match="--ray local"):
            run(f"127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began_s < 60  # of which importing Ray takes the most on a busy machine


@pytest.mark.slow
def test_a_head_that_is_gone_before_it_is_joined_ends_the_run(run):
    """It greets once as gRPC does (an empty SETTINGS frame), then nothing listens there; Ray would try for a minute."""

    def greet() -> None:
        with server:
            connection, _ = server.accept()
            with connection:
                connection.sendall(bytes(3) + b"\x04" + bytes(5))

    server = socket.create_server(("0.0.0.0", 0))
    port = server.getsockname()[1]
    threading.Thread(target=greet, daemon=True).start()
    with pytest.raises(RunError, match=r"its head .* has not answered for 4 s"):
        run(f"127.0.0.1:{port}")


def test_a_web_server_is_not_taken_for_the_head_of_a_cluster():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            assert not answers_as_grpc("127.0.0.1", server.server_port)
        finally:
            server.shutdown()


def test_a_port_that_keeps_silent_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(TimeoutError):
        answers_as_grpc("127.0.0.1", server.getsockname()[1], timeout_s=0.1)
