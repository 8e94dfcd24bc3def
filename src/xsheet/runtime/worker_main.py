"""Inside a worker's process: open the task, run items, commit their rows, answer in a few words."""

import errno
import faulthandler
import fcntl
import os
import pickle
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from xsheet.runtime.result_store import Commits, cannot_write
from xsheet.runtime.task import Execution, Item, Outcome, Rejected, Task, Unfinished, one_line
from xsheet.runtime.worker import LOG_TAIL_BYTES, REPLY, Job, Reply
from xsheet.schemas.errors import ConfigError, MediaError, RunError
from xsheet.schemas.source import Status

MAX_OPEN_FILES = 4096
STAGE_BYTES = 64
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class _Stage:
    """The step a task is in, kept in a file, so that it outlives a crash."""

    def __init__(self, default: str) -> None:
        self._default = default
        self._file = os.open("stage", os.O_CREAT | os.O_WRONLY, 0o600)

    def __call__(self, name: str = "") -> None:
        self.name = name or self._default
        os.pwrite(self._file, self.name.encode("utf-8", "replace")[:STAGE_BYTES].ljust(STAGE_BYTES, b"\0"), 0)


def serve(pipe_fd: int, lifeline_fd: int) -> None:
    """Run items until the driver hangs up. The first message is the Job, each later one an item and its try."""
    _die_with_the_driver(lifeline_fd)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell in the background has it ignored, and children inherit that
    faulthandler.register(signal.SIGQUIT, all_threads=True, chain=True)  # says where it hangs, then dies
    driver = Connection(pipe_fd)
    job: Job = pickle.loads(driver.recv_bytes())
    _limit(job.how)
    stage = _Stage(job.name)
    stage("open")
    tasks: list[Task] = []

    def open_task() -> Reply:
        task: Task = pickle.loads(job.task)
        _watch(task, stage)
        task.open()
        tasks.append(task)
        return Reply(kind="ready")

    def run_item() -> Reply:
        item, tries = pickle.loads(message)
        return Reply(kind="done", outcome=_run(tasks[0], item, tries=tries, stage=stage, commits=job.commits))

    driver.send_bytes(REPLY.dump_json(_guarded(open_task, job, stage)))
    while tasks:
        try:
            message = driver.recv_bytes()
        except EOFError:
            return
        os.truncate("stderr", 0)  # opened for appending: what follows belongs to this item, and the file stays small
        stage()
        driver.send_bytes(REPLY.dump_json(_guarded(run_item, job, stage)))


def _run(task: Task, item: Item, *, tries: int, stage: _Stage, commits: Commits) -> Outcome:
    result = task(item)
    key, name = item.key, one_line(item.name)
    if isinstance(result, Rejected | Unfinished):
        words = {w: one_line(getattr(result, w)) for w in ("stage", "reason", "message")}
        status: Status = "rejected" if isinstance(result, Rejected) else "failed"
        outcome, rows = Outcome(key=key, name=name, status=status, tries=tries, **words), result.rows
    else:
        outcome, rows = Outcome(key=key, name=name, status="ok", tries=tries), result
    stage("commit")
    commits.write(outcome, rows)
    return outcome


def _guarded(step: Callable[[], Reply], job: Job, stage: _Stage) -> Reply:
    try:
        return step()
    except (RunError, ConfigError) as error:
        return Reply(kind="stop", stop={w: getattr(error, w) for w in ("where", "expected", "came", "todo")})
    except Exception as error:  # noqa: BLE001  # the one place: no exception leaves a task, whatever raised it
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            full = cannot_write(Path(error.filename or job.out), error)
            return Reply(kind="stop", stop={w: getattr(full, w) for w in ("where", "expected", "came", "todo")})
        return _failure(error, stage.name)


def _failure(error: Exception, stage: str) -> Reply:
    if isinstance(error, MediaError):
        return Reply(kind="unusable", stage=stage, reason=error.reason, message=one_line(str(error)))
    if isinstance(error, MemoryError):
        traceback.clear_frames(error.__traceback__)  # their locals hold the memory
        reason, message = "out_of_memory", "the worker reached its memory limit"
    else:
        reason, message = "raised", one_line(f"{type(error).__name__}: {error}")
    detail = "".join(traceback.format_exception(error))[-LOG_TAIL_BYTES:]
    detail = detail.encode("utf-8", "backslashreplace").decode()  # a surrogate from a file name is no JSON
    return Reply(kind="raised", stage=stage, reason=reason, message=message, detail=detail)


def _watch(task: Task, stage: _Stage) -> None:
    # A plain `self.stage = "decode"` is all that a task writes; the set is seen as it happens, so a crash in the next
    # line has the right stage, which a thread that looks now and then would miss.
    kind = type(task)

    def set_attribute(self: Task, name: str, value: object) -> None:
        kind.__setattr__(self, name, value)
        if name == "stage":
            stage(str(value))

    inside = {"__slots__": (), "__module__": kind.__module__, "__setattr__": set_attribute}
    object.__setattr__(task, "__class__", type(kind.__name__, (kind,), inside))


def _die_with_the_driver(lifeline_fd: int) -> None:
    # The kernel sends SIGKILL to the group when the other end closes; no thread of ours has to be able to run.
    fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline_fd, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, fcntl.fcntl(lifeline_fd, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline_fd], [], [], 0)[0]:
        sys.exit("the driver is gone")


def _limit(how: Execution) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _lower(resource.RLIMIT_DATA, how.memory_mb << 20)
    Path("/proc/self/oom_score_adj").write_text("1000")  # when the machine runs out, it is not the driver that dies


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
