"""A fork server: one process that imports what workers need and forks them, so that a worker starts in milliseconds.

It belongs to the driver, serves all its runs and ends with it, or after a minute without workers. It runs no item and
loads no model: forks are safe because no library has started a thread that does work. Each environment and import path
has a server of its own, since libraries read their variables when they are imported.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO

REPLY = struct.Struct("ii")  # process id or exit code, errno
POLL_S = 0.1  # between two looks whether the worker was stopped
IMPORT_LOG_BYTES = 2000

_SERVER_CODE = (
    "import sys; from xsheet.runtime.worker_main import fork_workers; fork_workers(int(sys.argv[1]), int(sys.argv[2]))"
)


def fork_server(path: Sequence[str], *, threads: int) -> "ForkServer":
    """The fork server of this process for its present environment; the server's process starts with the first fork.

    `path` is sys.path of the workers, `threads` those of their numeric libraries.
    """
    count = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    environment = {**os.environ, **count, "PYTHONPATH": os.pathsep.join(path), "PYTHONFAULTHANDLER": "1"}
    return _fork_server(os.getpid(), tuple(sorted(environment.items())))


@lru_cache(maxsize=2)
def _fork_server(_pid: int, environment: tuple[tuple[str, str], ...]) -> "ForkServer":
    return ForkServer(dict(environment))


def end_fork_servers() -> None:
    """End those without workers, so that the system counts the CPU of their workers as that of ended children."""
    _fork_server.cache_clear()


class ForkServer:
    """Starts and ends workers; several threads may use it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._process: _ServerProcess | None = None

    def fork(
        self,
        *,
        modules: Sequence[str],
        folder: Path,
        fds: tuple[int, int, int],
        timeout_s: float,
        is_stopped: Callable[[], bool],
    ) -> int:
        """Fork a worker that leads a process group of its own; returns its process id.

        Args:
            modules: imported by the server before the fork; an error in one of them is left to the worker.
            folder: working directory of the worker, and its folder for temporary files.
            fds: pipe, lifeline and standard error of the worker; the caller closes its copies.
            timeout_s: wall-clock limit of the imports.
            is_stopped: asked while it waits; ends the wait.

        Raises:
            InterruptedError: `is_stopped`.
            OSError: no process can be started, or the imports end or take too long.
        """
        request = "\0".join(["fork", str(folder), *modules])
        while not self._lock.acquire(timeout=POLL_S):
            if is_stopped():
                raise InterruptedError("the worker was stopped")
        try:
            for is_last in (False, True):
                if self._process is None or self._process.exit_code is not None:
                    self._process = _ServerProcess(self._environment)
                try:
                    return self._process.request(request, fds, timeout_s=timeout_s, is_stopped=is_stopped)
                except ConnectionError:  # it may have ended in this moment, because it was idle
                    self._process = None
                    if is_last:
                        raise
            raise AssertionError("unreachable")
        finally:
            self._lock.release()

    def reap(self, pid: int) -> int:
        """The exit code of a worker that has ended or was killed; call it once.

        Until then no other process can get its id. It is that of a kill if the server is gone.
        """
        with self._lock, suppress(OSError):
            if self._process is not None:
                return self._process.request(f"reap\0{pid}")
        return -signal.SIGKILL


class _ServerProcess:
    """The process, its socket, and the log of its imports."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        held, lifeline = os.pipe()  # as in a worker: the kernel kills the server when the driver dies
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVER_CODE, str(theirs.fileno()), str(held)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(), held),
                env=environment,
                start_new_session=True,
            )
        except OSError:
            os.close(lifeline)
            self._socket.close()
            raise
        finally:
            theirs.close()
            os.close(held)
        self._end = weakref.finalize(self, _end, os.getpid(), self._popen, self._socket, self._log, lifeline)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    def request(
        self,
        text: str,
        fds: Sequence[int] = (),
        *,
        timeout_s: float = float("inf"),
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> int:
        """Send a request and wait for the reply."""
        socket.send_fds(self._socket, [os.fsencode(text)], fds)
        until_s = time.monotonic() + timeout_s
        while not wait([self._socket], POLL_S):
            if is_stopped():
                self._end()
                raise InterruptedError("the worker was stopped")
            if time.monotonic() > until_s:
                self._end()
                raise TimeoutError(f"the imports of a worker took more than {timeout_s:g} s")
        reply = self._socket.recv(REPLY.size)
        if not reply:
            code, log = self._popen.wait(), os.fsdecode(self._tail()).strip()
            raise ConnectionResetError(f"the process that forks workers ended with exit code {code}: {log!r}")
        value, error = REPLY.unpack(reply)
        if error:
            raise OSError(error, os.strerror(error))
        return int(value)

    def _tail(self) -> bytes:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - IMPORT_LOG_BYTES))
        return self._log.read()


def _end(owner: int, popen: subprocess.Popen[bytes], control: socket.socket, log: IO[bytes], lifeline: int) -> None:
    if os.getpid() != owner:  # a fork of the driver holds copies
        return
    popen.kill()
    popen.wait()
    control.close()
    log.close()
    os.close(lifeline)
