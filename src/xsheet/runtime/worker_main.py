"""Code inside a worker process: open the task, run items, commit their rows, send short responses.

`fork_workers` is the code of the process that forks workers.
"""

import errno
import faulthandler
import fcntl
import gc
import importlib
import os
import pickle
import resource
import select
import signal
import socket
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from xsheet.runtime.fork_server import REPLY
from xsheet.runtime.result_store import ResultStore, output_error
from xsheet.runtime.standstill import STAGE_FILE, WorkerProgress
from xsheet.runtime.task import Execution, Incomplete, Item, Outcome, Rejected, Task, one_line
from xsheet.runtime.worker import LOG_TAIL_BYTES, RESPONSE_ADAPTER, Job, WorkerResponse
from xsheet.schemas.errors import ConfigError, MediaError, RunError
from xsheet.schemas.source import ItemStatus

MAX_OPEN_FILES = 4096
MAX_REQUEST_BYTES = 64 << 10
IDLE_S = 60.0  # without workers, until the fork server ends
FATAL_FIELDS = ("where", "expected", "got", "hint")
_NO_SPACE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_PASSING_ERRNOS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.EMFILE, errno.ENFILE}
    | {errno.ENOMEM, errno.EREMOTEIO, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH}
)
"""Errors of disks and network file systems that may be gone a moment later."""


class _StageFile:
    """The current stage of a task and the number of its reports, kept in a file so that both survive a crash."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._item = ""
        self._reports = self._stage_reports = 0
        self.name = ""
        self._file = os.open(STAGE_FILE, os.O_CREAT | os.O_WRONLY, 0o600)

    def __call__(self, name: str = "") -> None:
        name = name or self._default
        self._reports += 1
        self._stage_reports = self._stage_reports + 1 if name == self.name else 1
        self.name = name
        progress = WorkerProgress(stage=name, reports=self._reports, stage_reports=self._stage_reports, item=self._item)
        os.pwrite(self._file, progress.to_bytes(), 0)

    def set_item(self, name: str) -> None:
        """Begin an item at the default stage; the empty name ends it."""
        self._item, self.name = name, ""
        self()


def fork_workers(control_fd: int, lifeline_fd: int) -> None:
    """Fork a worker for each request, and report exit codes, until the driver closes the socket. Returns in workers."""
    exit_with_driver(lifeline_fd)
    # From 3.12 on Python warns of every other thread. There is one, of jemalloc in pyarrow, which knows forks.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    control = socket.socket(fileno=control_fd)
    workers = 0
    while select.select([control], [], [], None if workers else IDLE_S)[0]:
        message, fds, *_ = socket.recv_fds(control, MAX_REQUEST_BYTES, 3)
        if not message:
            return
        verb, argument, *modules = os.fsdecode(message).split("\0")
        if verb == "fork":
            _preload(modules)
        value = error = 0
        try:
            value = os.fork() if verb == "fork" else os.waitstatus_to_exitcode(os.waitpid(int(argument), 0)[1])
        except OSError as failure:
            error = failure.errno or errno.EAGAIN
        else:
            if verb == "fork" and value == 0:
                control.close()
                os.close(lifeline_fd)
                return _become_worker(argument, fds)
            workers += 1 if verb == "fork" else -1
        if verb == "fork" and value:
            with suppress(OSError):  # the worker does the same, whoever comes first
                os.setpgid(value, value)
        for fd in fds:
            os.close(fd)
        control.send(REPLY.pack(value, error))


def _preload(modules: Sequence[str]) -> None:
    for name in modules:
        if name not in sys.modules:
            with suppress(Exception):  # the worker meets it again and reports it
                importlib.import_module(name)
    gc.freeze()  # a collection in a worker would copy the pages of all these objects


def _become_worker(folder: str, fds: Sequence[int]) -> None:
    os.setpgid(0, 0)
    pipe, lifeline, stderr = fds
    os.dup2(stderr, 1)
    os.dup2(stderr, 2)
    os.close(stderr)
    os.chdir(folder)
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # a module may have asked for it before
    serve(pipe, lifeline)


def serve(pipe_fd: int, lifeline_fd: int) -> None:
    """Run items until the driver closes the pipe. The first message is the Job, each later one an item and its try."""
    exit_with_driver(lifeline_fd)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # background shells ignore it, and children inherit that
    faulthandler.register(
        signal.SIGQUIT, all_threads=True, chain=True
    )  # writes the traceback of a hang, then ends the process
    driver = Connection(pipe_fd)
    job: Job = pickle.loads(driver.recv_bytes())
    _apply_limits(job.execution)
    stage = _StageFile(job.name)
    stage("open")
    results = job.store
    tasks: list[Task] = []

    def open_task() -> WorkerResponse:
        task: Task = pickle.loads(job.task)
        _mirror_stage(task, stage)
        task.open()
        tasks.append(task)
        return WorkerResponse(kind="ready")

    def run_item() -> WorkerResponse:
        item, tries = pickle.loads(message)
        stage.set_item(item.name)
        return WorkerResponse(
            kind="done", outcome=_run_item(tasks[0], item, attempts=tries, stage=stage, store=results)
        )

    driver.send_bytes(RESPONSE_ADAPTER.dump_json(_respond(open_task, job, stage)))
    while tasks:
        try:
            message = driver.recv_bytes()
        except EOFError:
            return
        os.truncate("stderr", 0)  # opened for appending: it now holds only output of this item
        response = _respond(run_item, job, stage)
        stage.set_item("")
        driver.send_bytes(RESPONSE_ADAPTER.dump_json(response))


def _run_item(task: Task, item: Item, *, attempts: int, stage: _StageFile, store: ResultStore) -> Outcome:
    result = task(item)
    key, name = item.key, one_line(item.name)
    if isinstance(result, Rejected | Incomplete):
        words = {w: one_line(getattr(result, w)) for w in ("stage", "reason", "message")}
        status: ItemStatus = "rejected" if isinstance(result, Rejected) else "failed"
        outcome, rows = Outcome(key=key, name=name, status=status, attempts=attempts, **words), result.rows
    else:
        outcome, rows = Outcome(key=key, name=name, status="ok", attempts=attempts), result
    stage("commit")
    store.write(outcome, rows)
    return outcome


def _respond(step: Callable[[], WorkerResponse], job: Job, stage: _StageFile) -> WorkerResponse:
    try:
        return step()
    except (RunError, ConfigError) as error:
        return WorkerResponse(kind="fatal", fatal_error={w: getattr(error, w) for w in FATAL_FIELDS})
    except Exception as error:  # noqa: BLE001  # the only place: no exception may leave a task
        if isinstance(error, OSError) and error.errno in _NO_SPACE_ERRNOS:
            full = output_error(
                Path(error.filename2 or error.filename or job.out), error
            )  # a copy names its target second
            return WorkerResponse(kind="fatal", fatal_error={w: getattr(full, w) for w in FATAL_FIELDS})
        return _failure_response(error, stage.name)


def _failure_response(error: Exception, stage: str) -> WorkerResponse:
    if isinstance(error, MediaError):
        kind: Literal["raised", "unusable"] = "raised" if _may_pass(error.__cause__) else "unusable"
        return WorkerResponse(kind=kind, stage=stage, reason=error.reason, message=one_line(str(error)))
    if isinstance(error, MemoryError):
        traceback.clear_frames(error.__traceback__)  # their locals hold the memory
        reason, message = "out_of_memory", "the worker reached its memory limit"
    else:
        reason, message = "raised", one_line(f"{type(error).__name__}: {error}")
    detail = "".join(traceback.format_exception(error))[-LOG_TAIL_BYTES:]
    detail = detail.encode("utf-8", "backslashreplace").decode()  # a surrogate from a file name is no JSON
    return WorkerResponse(kind="raised", stage=stage, reason=reason, message=message, detail=detail)


def _may_pass(cause: BaseException | None) -> bool:
    return isinstance(cause, OSError) and cause.errno in _PASSING_ERRNOS


def _mirror_stage(task: Task, stage: _StageFile) -> None:
    # A task only writes `self.stage = "decode"`. The assignment is intercepted, so a crash in the next line already has
    # the right stage; a polling thread would miss it.
    kind = type(task)

    def set_attribute(self: Task, name: str, value: object) -> None:
        kind.__setattr__(self, name, value)
        if name == "stage":
            stage(str(value))

    inside = {"__slots__": (), "__module__": kind.__module__, "__setattr__": set_attribute}
    object.__setattr__(task, "__class__", type(kind.__name__, (kind,), inside))


def exit_with_driver(lifeline_fd: int) -> None:
    """Let the kernel kill this process group when the other end of a pipe closes."""
    # The kernel sends SIGKILL to the group when the other end closes, even if no Python thread can run.
    fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline_fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, fcntl.fcntl(lifeline_fd, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline_fd], [], [], 0)[0]:
        sys.exit("the driver ended")


def _apply_limits(execution: Execution) -> None:
    _lower_rlimit(resource.RLIMIT_CORE, 0)
    _lower_rlimit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _lower_rlimit(resource.RLIMIT_DATA, execution.memory_mb << 20)
    Path("/proc/self/oom_score_adj").write_text(
        "1000"
    )  # if the machine runs out of memory, the kernel kills a worker, not the driver


def _lower_rlimit(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
