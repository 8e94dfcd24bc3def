"""Run one task over many items in processes of this machine or with Ray Data, with byte-identical results.

    committed = run_task(Probe(limits), items, out=out, execution=Execution(jobs=2), progress=Progress("probe"))
    write_table(..., committed.rows(SourceVideo))

An item is committed when it ends, as ok, rejected or failed. A rerun skips committed items.
"""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue

from xsheet.runtime.lock import write_lock
from xsheet.runtime.progress import Progress
from xsheet.runtime.ray_process import run_on_ray
from xsheet.runtime.result_store import KeySet, RunResults
from xsheet.runtime.standstill import watch_standstills
from xsheet.runtime.task import Execution, Incomplete, Item, Outcome, Rejected, Row, Task
from xsheet.runtime.worker import Job, Worker
from xsheet.schemas.source import ItemStatus

__all__ = [
    "Execution",
    "Incomplete",
    "Item",
    "Outcome",
    "Progress",
    "Rejected",
    "Row",
    "RunResults",
    "Task",
    "run_task",
]

log = logging.getLogger(__name__)

Executor = Callable[[Job, Iterable[Item]], Generator[Outcome, None, None]]


def run_task(
    task: Task,
    items: Iterable[Item],
    *,
    out: Path,
    execution: Execution,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> RunResults:
    """Run `task` over `items` and return their commits, those of earlier runs included.

    `items` may be an iterator; items are not kept in memory. `retry_failed` runs failed items again.

    Raises:
        RunError: the run cannot go on (output in use or not writable, task does not open); finished items are kept.
        KeyboardInterrupt: after the workers are killed; finished items are kept.
    """
    job = Job.of(task, out=out, execution=execution)
    commits = job.store
    keys = KeySet()
    counts: Counter[ItemStatus] = Counter()

    def count(outcome: Outcome, *, new_this_run: bool) -> None:
        counts[outcome.status] += 1
        if progress is not None:
            progress.add(outcome, new_this_run=new_this_run)

    def unfinished() -> Iterator[Item]:
        for item in items:
            if not keys.add(item.key):
                continue
            done = commits.find(item.key)
            if done is None or (retry_failed and done.status == "failed"):
                yield item
            else:
                count(done, new_this_run=False)

    execute: Executor = _run_locally if execution.ray is None else run_on_ray
    total = len(items) if isinstance(items, Sized) else None
    with ExitStack() as run:
        run.enter_context(write_lock(job.out))
        run.enter_context(commits.open_for_writing())
        if progress is not None:
            run.enter_context(progress.start(total))
            run.enter_context(watch_standstills(commits.scratch, progress.show_standstill))
        for outcome in run.enter_context(closing(execute(job, unfinished()))):
            count(outcome, new_this_run=True)
            keys.set_new(outcome.key)
            if outcome.status == "failed":
                log.info("failed name=%s stage=%s reason=%s", outcome.name, outcome.stage, outcome.reason)
    return RunResults(commits, keys, counts)


def _run_locally(job: Job, items: Iterable[Item]) -> Generator[Outcome, None, None]:
    workers = [Worker(job) for _ in range(job.execution.jobs)]
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def run_one(item: Item) -> Outcome:
        worker = free.get()
        try:
            return worker.run(item)
        finally:
            free.put(worker)

    pool = ThreadPoolExecutor(job.execution.jobs)
    running: set[Future[Outcome]] = set()
    try:
        for item in items:
            running.add(pool.submit(run_one, item))
            if (
                len(running) > 2 * job.execution.jobs
            ):  # one running and one waiting per worker; later items are not read yet
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ended)
    finally:
        for worker in workers:
            worker.stop()
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()
