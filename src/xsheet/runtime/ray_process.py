"""The driver's side of a program on Ray: the process that speaks to Ray, its messages, and the driver's heartbeat."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain, islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from xsheet.runtime.ray_cluster import answers_as_grpc, split_address
from xsheet.runtime.ray_main import HEARTBEAT_FILE, HEARTBEAT_INTERVAL_S, RayProgram, TaskProgram
from xsheet.runtime.task import Item, Outcome
from xsheet.runtime.worker import Job, import_path
from xsheet.schemas.errors import ConfigError, ContractError, MediaError, RunError, XsheetError
from xsheet.schemas.files import decode_json

PROBE_INTERVAL_S = 2.0
HEAD_GONE_S = 4.0  # while nothing listens where the head was, until the run ends
HEAD_SILENT_S = 30.0  # while the head does not answer, which can pass on a busy machine
JOIN_TIMEOUT_S = 240.0  # to join a cluster that answers; two tries of a local start take up to 180 s
WINDOW_ITEMS = 1 << 16
"""Items that Ray holds at a time, about 60 MB. It requests the next window when all have ended, so memory does not grow
with the length of a run; at the end of each window, workers wait for the last items."""
EXIT_TIMEOUT_S = 20.0  # of a process that has nothing left to do

_ERROR_KINDS: dict[str, type[XsheetError]] = {
    kind.__name__: kind for kind in (ConfigError, ContractError, MediaError, RunError)
}
_RAY_CODE = "import sys; from xsheet.runtime.ray_main import serve; serve(int(sys.argv[1]), int(sys.argv[2]))"


def run_on_ray(job: Job, items: Iterable[Item]) -> Generator[Outcome, None, None]:
    """Yield the outcome of each item when it ends; items are read one by one and not kept.

    Raises:
        ConfigError: no cluster at the address.
        RunError: a task raised it, Ray does not start, or the cluster is lost.
    """
    left = iter(items)
    first = next(left, None)
    if first is None:
        return
    with ray_process(TaskProgram(job), address=str(job.execution.ray), folder=job.store.scratch) as process:
        yield from process.outcomes(chain((first,), left))


@contextmanager
def ray_process(program: RayProgram, *, address: str, folder: Path, shows_logs: bool = False) -> Iterator["RayProcess"]:
    """A process that has joined the cluster at an address and runs a program there.

    `folder`, which all machines see, holds the heartbeat of this process while the program runs; its workers end with
    it. `shows_logs` shows log lines of the workers on stderr.

    Raises:
        ConfigError: no cluster at the address.
        RunError: Ray does not start, or the cluster is lost.
    """
    with _heartbeat(folder / HEARTBEAT_FILE), closing(RayProcess(address, shows_logs=shows_logs)) as process:
        process.join_cluster()
        process.send(pickle.dumps(program))
        yield process


class RayProcess:
    """The Ray driver process: a process group that ends with this process."""

    def __init__(self, address: str, *, shows_logs: bool) -> None:
        self._where = f"--ray {address}"
        self._head: tuple[str, int] | None = None
        self._pipe, theirs = multiprocessing.Pipe()
        held, self._lifeline = os.pipe()
        output = sys.__stderr__ if shows_logs else subprocess.DEVNULL
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-c", _RAY_CODE, str(theirs.fileno()), str(held)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), held),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(import_path())},
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(held)
        self._exit = os.pidfd_open(self._popen.pid)
        self.send(json.dumps({"address": address, "shows_logs": shows_logs}).encode())

    def join_cluster(self) -> None:
        """Wait until it has joined; the limit begins when Ray is loaded."""
        self._receive("imported", timeout_s=JOIN_TIMEOUT_S)
        while (message := self._receive("found", "joined", timeout_s=JOIN_TIMEOUT_S))["kind"] == "found":
            self._head = split_address(message["head"])
        self._head = split_address(message["head"])

    def send(self, message: bytes) -> None:
        """Send one message; an empty one ends a window."""
        try:
            self._pipe.send_bytes(message)
        except OSError as error:
            raise self._lost("its process ended") from error

    def outcomes(self, items: Iterator[Item]) -> Iterator[Outcome]:
        """The outcomes of items, which are read a window at a time, until all have ended."""
        adapter = TypeAdapter(Outcome)
        while (message := self._receive("outcome", "more", "end"))["kind"] != "end":
            if message["kind"] == "outcome":
                yield adapter.validate_json(message["outcome"])
                continue
            for item in islice(items, WINDOW_ITEMS):
                self.send(pickle.dumps(item))
            self.send(b"")
        self._wait_for_exit()

    def wait_for_end(self) -> None:
        """Wait until a program without messages of its own has ended; raises what it raised."""
        self._receive("end")
        self._wait_for_exit()

    def close(self) -> None:
        """End the process and, with a cluster that it started, Ray's own processes."""
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._pipe.close()
        os.close(self._lifeline)
        os.close(self._exit)

    def _wait_for_exit(self) -> None:
        self._pipe.close()
        wait([self._exit], EXIT_TIMEOUT_S)

    def _receive(self, *kinds: str, timeout_s: float | None = None) -> dict[str, Any]:
        """The next message, which is of one of these kinds; while none comes, the head of the cluster is watched."""
        began_s = answered_s = time.monotonic()
        while not (ready := wait([self._pipe, self._exit], PROBE_INTERVAL_S)):
            now_s = time.monotonic()
            if timeout_s is not None and now_s - began_s > timeout_s:
                raise self._lost(f"it has not answered for {timeout_s:g} s")
            limit_s = self._head_limit_s()
            if limit_s is None:
                answered_s = now_s
            elif now_s - answered_s > limit_s:
                raise self._lost(f"its head {':'.join(map(str, self._head or ()))} has not answered for {limit_s:g} s")
        try:
            if self._pipe not in ready:
                raise EOFError
            message: dict[str, Any] = decode_json(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._lost("Ray ended the process that was connected to it") from error
        if message["kind"] == "error":
            raise _ERROR_KINDS[message["type"]].from_state(message["state"])
        if message["kind"] in kinds:
            return message
        raise self._lost(" ".join(str(message.get("message", message)).split())[:300])

    def _head_limit_s(self) -> float | None:
        """How long the head may stay as it is now; None where it answers or is not known yet."""
        if self._head is None:
            return None
        with suppress(OSError):
            try:
                return None if answers_as_grpc(*self._head) else HEAD_GONE_S
            except ConnectionRefusedError:
                return HEAD_GONE_S
        return HEAD_SILENT_S

    def _lost(self, why: str) -> RunError:
        hint = "check that the cluster runs, then run again; finished items are kept"
        return RunError(where=self._where, expected="a running Ray cluster", got=why, hint=hint)


@contextmanager
def _heartbeat(path: Path) -> Iterator[None]:
    """Increment a counter in a file while this process lives, because workers on other machines have no pipe to it."""
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(HEARTBEAT_INTERVAL_S):
            count += 1
            with suppress(OSError):  # a full disk ends the run elsewhere, with its sentence
                path.write_text(str(count))

    path.write_text("0")
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        path.unlink(missing_ok=True)  # workers that are left end at once
