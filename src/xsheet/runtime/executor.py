"""Run one task over many items in processes of this machine or with Ray Data, with byte-identical results.

    committed = run_task(Probe(limits), items, out=out, execution=Execution(jobs=2), progress=Progress("probe"))
    write_table(..., committed.rows(SourceVideo))

An item is committed when it ends, as ok, rejected or failed. A rerun skips committed items.
"""

import ipaddress
import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from pydantic import TypeAdapter

from xsheet.runtime.lock import write_lock
from xsheet.runtime.progress import Progress
from xsheet.runtime.result_store import RunResults
from xsheet.runtime.task import Execution, Incomplete, Item, Outcome, Rejected, Row, Task
from xsheet.runtime.worker import Job, Worker
from xsheet.schemas.errors import ConfigError, RunError
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

MAX_RAY_BLOCKS = (
    4096  # blocks of a Ray dataset: one item per block suits items of uneven duration, up to this number of blocks
)
OBJECT_STORE_BYTES = 256 << 20  # rows are small; Ray's default is a third of the memory
CONNECT_TIMEOUT_S = 5.0

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

    `items` may be an iterator; about 200 bytes per item are kept. `retry_failed` runs failed items again.

    Raises:
        RunError: the run cannot go on (output in use or not writable, task does not open); finished items are kept.
        KeyboardInterrupt: after the workers are killed; finished items are kept.
    """
    job = Job.of(task, out=out, execution=execution)
    commits = job.store
    keys: set[str] = set()
    new_keys: list[str] = []
    counts: Counter[ItemStatus] = Counter()

    def count(outcome: Outcome, *, new_this_run: bool) -> None:
        counts[outcome.status] += 1
        if progress is not None:
            progress.add(outcome, new_this_run=new_this_run)

    def todo() -> Iterator[Item]:
        for item in items:
            if item.key in keys:
                continue
            keys.add(item.key)
            done = commits.find(item.key)
            if done is None or (retry_failed and done.status == "failed"):
                yield item
            else:
                count(done, new_this_run=False)

    execute: Executor = _run_locally if execution.ray is None else _run_on_ray
    total = len(items) if isinstance(items, Sized) else None
    shown = progress.start(total) if progress is not None else nullcontext()
    with write_lock(job.out), commits.open_for_writing(), shown, closing(execute(job, todo())) as outcomes:
        for outcome in outcomes:
            count(outcome, new_this_run=True)
            new_keys.append(outcome.key)
            if outcome.status == "failed":
                log.info("failed name=%s stage=%s reason=%s", outcome.name, outcome.stage, outcome.reason)
    return RunResults(commits, keys, counts, new_this_run=new_keys)


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


def _run_on_ray(job: Job, items: Iterable[Item]) -> Generator[Outcome, None, None]:
    rows = [{"item": pickle.dumps(item)} for item in items]
    if not rows:
        return
    workers = min(job.execution.jobs, len(rows))  # Ray Data warns of more
    with _ray_cluster(str(job.execution.ray)) as ray:
        # A share of a core each, so that Ray can place all workers and keeps some capacity for itself.
        cpus = min(1.0, ray.cluster_resources().get("CPU", 1.0) / (2 * workers))
        dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_RAY_BLOCKS)).map(
            _RayWorker,
            fn_constructor_args=(job,),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=cpus,
            num_gpus=job.execution.gpus_per_worker or None,
        )
        outcome = TypeAdapter(Outcome)
        # Prefetching would delay an outcome until the next one.
        batches = dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
        with closing(iter(batches)) as batches:
            for row in (row for batch in batches for row in batch.to_pylist()):
                if row["fatal_error"]:
                    raise pickle.loads(row["fatal_error"])
                yield outcome.validate_json(row["outcome"])


class _RayWorker:
    """A Ray actor that holds a worker: a task cannot end the actor, and both executors run the same code."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            outcome = self._worker.run(pickle.loads(row["item"]))
        except RunError as error:
            return {"outcome": b"", "fatal_error": pickle.dumps(error)}
        return {"outcome": TypeAdapter(Outcome).dump_json(outcome), "fatal_error": b""}


@contextmanager
def _ray_cluster(address: str) -> Iterator[Any]:
    # No usage reports, and no Ray progress bars over ours.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray.data  # noqa: PLC0415  # takes seconds and 600 MB, so only with --ray

    ours = not ray.is_initialized()
    if ours:
        _start_or_join(ray, address)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _start_or_join(ray: Any, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address not in ("auto", "local"):
        _check_reachable(ray, address)
        ray.init(address=address, **quiet)
        return
    if address == "auto":
        with suppress(ConnectionError):
            ray.init(address="auto", **quiet)
            return
    ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)


def _check_reachable(ray: Any, address: str) -> None:
    # Ray tries a wrong address for more than five minutes.
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
        if ipaddress.ip_address(socket.gethostbyname(host)).is_loopback:
            # Ray replaces a loopback address by that of this machine, where the cluster may not listen.
            host = ray.util.get_node_ip_address()
            socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        expected, todo = "'auto', 'local' or the host:port of a cluster", "start the cluster, or use --ray local"
        raise ConfigError(where="--ray", expected=expected, got=f"{address} ({error})", hint=todo) from error
