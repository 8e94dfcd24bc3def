"""A worker: one forked process that runs items of a task, and the handle that outlives it.

The process is a group of its own with limits on memory and time. When it crashes, hangs or runs out of memory, the
whole group is killed and the next item gets a new process. Its responses are JSON, never pickles, because the driver
does not trust a process that decodes untrusted files. `xsheet.runtime.worker_main` is the code inside the process.
"""

import multiprocessing
import os
import pickle
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as record

from xsheet.runtime.fork_server import ForkServer, fork_server
from xsheet.runtime.result_store import ResultStore, output_error
from xsheet.runtime.standstill import STAGE_FILE, WorkerProgress
from xsheet.runtime.task import Execution, Item, Outcome, Task, one_line
from xsheet.schemas.columns import RECORD
from xsheet.schemas.errors import RunError

MAX_RESPONSE_BYTES = 1 << 20
LOG_TAIL_BYTES = 16 << 10
PROGRESS_INTERVAL_S = 5.0  # seconds between two readings of a task's progress
DISK_PROBE_BYTES = 256 << 10  # bytes a disk must accept after an item failed, to count as not full
STACK_DUMP_S = 2.0  # seconds for a hung process to write its traceback
EXIT_TIMEOUT_S = 15.0  # seconds for a process that closed its pipe to exit with its code; slow on a busy machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything a worker needs, on this machine or another."""

    task: bytes  # pickled, since only the worker loads it
    name: str
    out: Path
    execution: Execution
    path: tuple[str, ...]  # sys.path of the driver
    modules: tuple[str, ...]  # imported once for all workers
    writer: str | None = None  # of the worker and its processes: they append to the same segments

    @classmethod
    def of(cls, task: Task, *, out: Path, execution: Execution) -> "Job":
        """The job of a task; RunError if workers cannot import its class."""
        if type(task).__module__ == "__main__":
            hint = f"move {type(task).__name__} into a module and import it"
            raise RunError(
                where=f"task {task.name}", expected="an importable class", got="a class of __main__", hint=hint
            )
        return cls(
            task=pickle.dumps(task),
            name=task.name,
            out=out.resolve(),
            execution=execution,
            path=import_path(),
            modules=_modules(task),
        )

    @property
    def store(self) -> ResultStore:
        """Store for the results of its items."""
        return ResultStore(self.out, self.name, writer=self.writer)


def _modules(task: Task) -> tuple[str, ...]:
    # Code of others is imported by each worker: whoever edits it in a notebook runs what is on disk.
    module = type(task).__module__
    ours = module if module.startswith("xsheet.") else "xsheet.runtime.executor"
    return (ours, *getattr(task, "WORKER_MODULES", ()))


def import_path() -> tuple[str, ...]:
    """Where this process finds modules, for a process in another folder."""
    return tuple(entry or str(Path.cwd()) for entry in sys.path)


@record(config=RECORD, frozen=True, slots=True, kw_only=True)
class WorkerResponse:
    """Response of the process: `unusable` is final, `raised` is tried a second time, `fatal` ends the run."""

    kind: Literal["ready", "done", "unusable", "raised", "fatal"]
    outcome: Outcome | None = None  # of `done`; already committed
    fatal_error: dict[str, str] | None = None  # the arguments of the RunError
    stage: str = ""
    reason: str = ""
    message: str = ""
    detail: Annotated[str, "for the log"] = ""


RESPONSE_ADAPTER = TypeAdapter(WorkerResponse)


class Worker:
    """Runs one item after the other. Another thread may call `stop` at any time."""

    def __init__(self, job: Job) -> None:
        self._job = replace(job, writer=uuid4().hex[:12])
        self._results = self._job.store
        self._forks = fork_server(job.path, threads=job.execution.threads)
        self._process: _Process | None = None
        self._items_run = 0
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, item: Item) -> Outcome:
        """The outcome of an item, committed.

        Raises:
            RunError: the task does not open, the output cannot be written, or the task raised it.
            InterruptedError: the worker was stopped.
        """
        for tries in (1, 2):
            process, mark = self._open_process(), self._results.mark()
            reply = process.request(pickle.dumps((item, tries)), timeout_s=self._job.execution.stall_timeout_s)
            self._items_run += 1
            if self._stopped:
                raise InterruptedError("the worker was stopped")
            if reply.fatal_error is not None:
                raise RunError(**reply.fatal_error)
            if reply.kind == "done" and reply.outcome is not None:
                return reply.outcome
            if reply.kind == "unusable":
                break
            self._check_disk()
            self._discard()
            if (done := self._results.find_since(mark, item.key)) and done.status != "failed":
                return done  # it died after the commit, before its response
        return self._commit_failure(item, reply, tries)

    def stop(self) -> None:
        """Kill the process and start no other; `run` then raises InterruptedError."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process; call it only while `run` is not running."""
        self._discard()

    def _open_process(self) -> "_Process":
        if self._process is not None and self._items_run < self._job.execution.max_items_per_process:
            return self._process
        for _ in (1, 2):  # a machine under load gets a second chance
            self._discard()
            process = self._start()
            reply = process.request(pickle.dumps(self._job), timeout_s=self._job.execution.open_timeout_s)
            if reply.kind == "ready":
                return process
            if reply.fatal_error is not None:
                raise RunError(**reply.fatal_error)
            self._check_disk()
        self._discard()
        hint = f"make the task start on this machine; the end of its log: {reply.detail.strip()[-400:]!r}"
        got = f"{reply.reason} at {reply.stage}: {reply.message}"
        raise RunError(where=f"task {self._job.name}", expected="a worker that opens", got=got, hint=hint)

    def _check_disk(self) -> None:
        """Raise RunError if the disk is full: a library may hide that error, and the worker's log is on that disk."""
        try:
            with tempfile.TemporaryFile(dir=self._results.scratch) as file:
                file.write(bytes(DISK_PROBE_BYTES))
                file.flush()
        except OSError as error:
            raise output_error(self._job.out, error) from error

    def _start(self) -> "_Process":
        if self._stopped:
            raise InterruptedError("the worker was stopped")
        try:
            process = _Process(self._job, self._forks, is_stopped=lambda: self._stopped)
        except InterruptedError:
            raise
        except OSError as error:
            self._check_disk()
            hint = "check memory and the limit on processes"
            where = f"task {self._job.name}"
            raise RunError(where=where, expected="a process that starts", got=str(error), hint=hint) from error
        with self._lock:
            self._process, self._items_run = process, 0
            if self._stopped:
                process.kill()
                raise InterruptedError("the worker was stopped")
        return process

    def _discard(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def _commit_failure(self, item: Item, response: WorkerResponse, tries: int) -> Outcome:
        outcome = Outcome(
            key=item.key,
            name=one_line(item.name),
            status="failed",
            stage=one_line(response.stage),
            reason=response.reason,
            message=one_line(response.message),
            attempts=tries,
        )
        self._results.write(outcome, detail=response.detail)
        return outcome


class _Process:
    """The forked process with its process group and folder."""

    def __init__(self, job: Job, forks: ForkServer, *, is_stopped: Callable[[], bool]) -> None:
        self._name = job.name
        self._forks = forks
        self._exit_code: int | None = None
        self._folder = Path(tempfile.mkdtemp(dir=job.store.scratch))
        self._kill_lock = threading.Lock()
        self._pipe, theirs = multiprocessing.Pipe()
        # Nothing is ever written to the lifeline. Its write end closes when the driver dies, and the kernel then kills
        # the group. PR_SET_PDEATHSIG would miss grandchildren, and fire when the fork server ends.
        held, self._lifeline = os.pipe()
        try:
            with (self._folder / "stderr").open("ab") as stderr:
                self._pid = forks.fork(
                    modules=job.modules,
                    folder=self._folder,
                    fds=(theirs.fileno(), held, stderr.fileno()),
                    timeout_s=job.execution.open_timeout_s,
                    is_stopped=is_stopped,
                )
        except OSError:
            self._pipe.close()
            os.close(self._lifeline)
            rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
            os.close(held)
        self._exit = os.pidfd_open(self._pid)

    def request(self, message: bytes, *, timeout_s: float) -> WorkerResponse:
        """Send a request and wait; the response also reports a process that died or stalled past the limit."""
        with suppress(OSError):  # it may be dead already, which is detected below
            self._pipe.send_bytes(message)
        # A grandchild can keep the pipe open, so the pipe alone does not show that the process ended.
        seen, since_s = self._progress(), time.monotonic()
        while not (ready := wait([self._pipe, self._exit], min(timeout_s / 4, PROGRESS_INTERVAL_S))):
            if (now := self._progress()) != seen:
                seen, since_s = now, time.monotonic()
            elif time.monotonic() - since_s >= timeout_s:
                break
        if self._pipe in ready:
            with suppress(EOFError, OSError, ValueError):
                return RESPONSE_ADAPTER.validate_json(self._pipe.recv_bytes(MAX_RESPONSE_BYTES))
        return self._on_exit() if ready else self._on_timeout(timeout_s)

    def close(self) -> None:
        """Kill the group and remove the folder."""
        self.kill()
        self._pipe.close()
        os.close(self._lifeline)
        os.close(self._exit)
        rmtree(self._folder, ignore_errors=True)

    def kill(self) -> int:
        """Kill the group; the exit code of the process."""
        # Kill the group first and reap the leader last, so that its id cannot be reused in between.
        with self._kill_lock:
            if self._exit_code is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
                wait([self._exit])
                self._exit_code = self._forks.reap(self._pid)
            return self._exit_code

    def _on_timeout(self, timeout_s: float) -> WorkerResponse:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._exit, signal.SIGQUIT)
        wait([self._exit], STACK_DUMP_S)
        return self._error_response("timed_out", f"no progress for {timeout_s:g} s")

    def _on_exit(self) -> WorkerResponse:
        wait([self._exit], EXIT_TIMEOUT_S)
        code = self.kill()
        if code >= 0:
            return self._error_response("exited", f"the worker exited with exit code {code}")
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        hint = "; the system may be out of memory" if -code == signal.SIGKILL else ""
        frames = re.findall(r'File "(?:.*/)?(.+)", line (\d+) in (\S+)', self._log())[:3]
        return self._error_response(
            "crashed", f"{name}{hint}" + "".join(f" < {f} ({file}:{n})" for file, n, f in frames)
        )

    def _error_response(self, reason: str, message: str) -> WorkerResponse:
        progress = self._progress()
        stage = "start" if progress is None else progress.stage or self._name
        reply = WorkerResponse(kind="raised", stage=stage, reason=reason, message=message)
        return replace(reply, detail=self._log())

    def _progress(self) -> WorkerProgress | None:
        return WorkerProgress.read(self._folder / STAGE_FILE)

    def _log(self) -> str:
        with (self._folder / "stderr").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
