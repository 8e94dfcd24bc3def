"""Code of the Ray driver process: join the cluster, receive items, run them with Ray Data, send outcomes back.

It is a separate process, because Ray exits its driver without an error message when the head of the cluster or the
raylet of this machine dies.
"""

import json
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from xsheet.runtime.ray_cluster import quiet_environment, start_or_join
from xsheet.runtime.task import Outcome
from xsheet.runtime.worker import Job, Worker
from xsheet.runtime.worker_main import FATAL_FIELDS, exit_with_driver
from xsheet.schemas.errors import ConfigError, RunError
from xsheet.schemas.files import decode_json

MAX_BLOCK_ITEMS = 256
FIRST_BLOCKS = 512  # of one item each, which suits items of uneven duration; later blocks are larger
HEARTBEAT_INTERVAL_S = 2.0
DRIVER_LOST_S = 30.0  # without a heartbeat, until a worker takes the driver for dead
HEARTBEAT_FILE = "heartbeat"  # in the scratch folder, which all machines see


def serve(pipe_fd: int, lifeline_fd: int) -> None:
    """Run one job.

    It receives the Job; then, after each `more` that it sends, a window of pickled items and an empty message. An empty
    window ends the job. It sends JSON objects with a `kind`.
    """
    exit_with_driver(lifeline_fd)
    parent = Connection(pipe_fd)

    def respond(kind: str, **fields: Any) -> None:
        parent.send_bytes(json.dumps({"kind": kind, **fields}).encode())

    job: Job = pickle.loads(parent.recv_bytes())
    try:
        quiet_environment()
        import ray.data  # noqa: PLC0415  # takes seconds and 600 MB

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        respond("imported")
        start_or_join(ray, str(job.execution.ray), log_to_driver=False)
        respond("joined", head=ray.get_runtime_context().gcs_address)
        respond("more")
        while window := _receive_blocks(ray, parent):
            for row in _run(ray, job, *window):
                if row["fatal_error"]:
                    raise RunError(**decode_json(row["fatal_error"]))
                respond("outcome", outcome=row["outcome"])
            respond("more")
        respond("end")
    except (ConfigError, RunError) as error:
        kind = "config_error" if isinstance(error, ConfigError) else "run_error"
        respond(kind, error={word: getattr(error, word) for word in FATAL_FIELDS})
    except Exception as error:  # noqa: BLE001  # what Ray raises has no common base
        respond("ray_error", message=f"{type(error).__name__}: {error}")
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def _run(ray: Any, job: Job, blocks: Sequence[Any], count: int) -> Iterator[dict[str, str]]:
    workers = min(job.execution.jobs, count)  # Ray Data warns of more
    # Each worker requests a fraction of a core, so that Ray can place all workers and has capacity left for itself.
    cpus = min(1.0, ray.cluster_resources().get("CPU", 1.0) / (2 * workers))
    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.from_arrow_refs(blocks).map(
        RayWorker,
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=cpus,
        num_gpus=job.execution.gpus_per_worker or None,
    )
    # Prefetching would delay an outcome until the next one.
    batches = dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
    with closing(iter(batches)) as batches:
        for batch in batches:
            yield from batch.to_pylist()


def _receive_blocks(ray: Any, parent: Connection) -> tuple[list[Any], int] | None:
    """Put a window of items into Ray's object store; returns references to the blocks and the number of items, or None.

    Large blocks come first, so that the run ends with blocks of single items and all workers finish at about the same
    time.
    """
    import pyarrow as pa  # noqa: PLC0415  # ray has loaded it

    blocks: list[Any] = []
    waiting: list[bytes] = []
    count = 0
    schema = pa.schema([("item", pa.large_binary())])

    def put() -> None:
        blocks.append(ray.put(pa.table({"item": waiting}, schema=schema)))
        waiting.clear()

    while item := parent.recv_bytes():
        waiting.append(item)
        count += 1
        if len(waiting) >= min(MAX_BLOCK_ITEMS, 1 + count // FIRST_BLOCKS):
            put()
    if waiting:
        put()
    return (blocks[::-1], count) if count else None


class RayWorker:
    """A Ray actor that holds a worker: a task cannot end the actor, and both executors run the same code.

    It ends itself and its worker when the driver's heartbeat stops: without the head of the cluster, Ray does not.
    """

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)
        self._heartbeat = job.store.scratch / HEARTBEAT_FILE
        threading.Thread(target=self._end_with_driver, daemon=True).start()

    def __call__(self, row: dict[str, bytes]) -> dict[str, str]:
        """The outcome of an item, or the error that ends the run, as JSON."""
        try:
            outcome = self._worker.run(pickle.loads(row["item"]))
        except RunError as error:
            return {"outcome": "", "fatal_error": json.dumps({word: getattr(error, word) for word in FATAL_FIELDS})}
        return {"outcome": TypeAdapter(Outcome).dump_json(outcome).decode(), "fatal_error": ""}

    def _end_with_driver(self) -> None:
        seen, since_s = b"", time.monotonic()
        while time.monotonic() - since_s < DRIVER_LOST_S:
            time.sleep(HEARTBEAT_INTERVAL_S)
            if (beat := _read(self._heartbeat)) and beat != seen:
                seen, since_s = beat, time.monotonic()
        self._worker.stop()
        os._exit(1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
