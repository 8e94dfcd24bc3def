"""Code of the Ray driver process: join the cluster and run a program there, such as a task over many items.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from xsheet.runtime.ray_cluster import quiet_environment, start_or_join
from xsheet.runtime.task import Outcome
from xsheet.runtime.worker import Job, Worker
from xsheet.runtime.worker_main import FATAL_FIELDS, exit_with_driver
from xsheet.schemas.errors import RunError, XsheetError
from xsheet.schemas.files import decode_json

MAX_BLOCK_ITEMS = 256
FIRST_BLOCKS = 512  # of one item each, which suits items of uneven duration; later blocks are larger
HEARTBEAT_INTERVAL_S = 2.0
DRIVER_LOST_S = 30.0  # without a heartbeat, until a worker takes the driver for dead
HEARTBEAT_FILE = "heartbeat"  # in a folder that all machines see


class RayProgram(Protocol):
    """What the Ray driver process runs; it is pickled to it."""

    def __call__(self, channel: "Channel", /) -> None:
        """Run on the cluster that the process has joined."""
        ...


class Channel:
    """The pipe to the process that started this one. It carries JSON objects with a `kind` there, and bytes back."""

    def __init__(self, pipe_fd: int) -> None:
        self._pipe = Connection(pipe_fd)

    def respond(self, kind: str, **fields: Any) -> None:
        """Send one message."""
        self._pipe.send_bytes(json.dumps({"kind": kind, **fields}).encode())

    def receive(self) -> bytes:
        """The next message."""
        return self._pipe.recv_bytes()


def serve(pipe_fd: int, lifeline_fd: int) -> None:
    """Run one program.

    It receives the address of the cluster with `shows_logs` as JSON, and the pickled program. It sends `imported`,
    `found` (the head at an address), `joined`, what the program sends, and `end`; or the error that ended it.
    """
    exit_with_driver(lifeline_fd)
    channel = Channel(pipe_fd)
    cluster = decode_json(channel.receive())
    try:
        quiet_environment()
        import ray  # noqa: PLC0415  # takes seconds and 600 MB

        channel.respond("imported")
        logs = (
            {"runtime_env": {"worker_process_setup_hook": f"{__name__}.quieten_ray"}} if cluster["shows_logs"] else {}
        )
        start_or_join(
            ray, cluster["address"], on_answer=lambda head: channel.respond("found", head=head),
            log_to_driver=cluster["shows_logs"], **logs,
        )  # fmt: skip
        channel.respond("joined", head=ray.get_runtime_context().gcs_address)
        program: RayProgram = pickle.loads(channel.receive())
        program(channel)
        channel.respond("end")
    except XsheetError as error:
        channel.respond("error", type=type(error).__name__, state=error.__dict__)
    except Exception as error:  # noqa: BLE001  # what Ray raises has no common base
        channel.respond("ray_error", message=f"{type(error).__name__}: {error}")
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()


def quieten_ray() -> None:
    """Show only the log lines of xsheet in a worker of Ray."""
    for name in ("ray", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("xsheet").setLevel(logging.INFO)


def end_with_heartbeat(heartbeat: Path, stop: Callable[[], None] = lambda: None) -> None:
    """End this worker when the driver's heartbeat stops or its file is gone: without the head, Ray does not.

    It watches from a thread of its own and calls `stop` first.
    """

    def watch() -> None:
        last, since_s = b"", time.monotonic()
        while time.monotonic() - since_s < DRIVER_LOST_S:
            time.sleep(HEARTBEAT_INTERVAL_S)
            try:
                beat = heartbeat.read_bytes()
            except FileNotFoundError:
                break
            except OSError:  # a network file system may answer again
                continue
            if beat and beat != last:
                last, since_s = beat, time.monotonic()
        stop()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True, slots=True)
class TaskProgram:
    """Run a task over items with Ray Data.

    After each `more` that it sends, it receives a window of pickled items and an empty message. An empty window ends
    it. It sends `outcome`s.
    """

    job: Job

    def __call__(self, channel: Channel) -> None:
        """Run window after window."""
        import ray.data  # noqa: PLC0415

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        channel.respond("more")
        while window := _receive_blocks(ray, channel):
            for row in _run(ray, self.job, *window):
                if row["fatal_error"]:
                    raise RunError(**decode_json(row["fatal_error"]))
                channel.respond("outcome", outcome=row["outcome"])
            channel.respond("more")


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


def _receive_blocks(ray: Any, channel: Channel) -> tuple[list[Any], int] | None:
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

    while item := channel.receive():
        waiting.append(item)
        count += 1
        if len(waiting) >= min(MAX_BLOCK_ITEMS, 1 + count // FIRST_BLOCKS):
            put()
    if waiting:
        put()
    return (blocks[::-1], count) if count else None


class RayWorker:
    """A Ray actor that holds a worker: a task cannot end the actor, and both executors run the same code."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)
        end_with_heartbeat(job.store.scratch / HEARTBEAT_FILE, self._worker.stop)

    def __call__(self, row: dict[str, bytes]) -> dict[str, str]:
        """The outcome of an item, or the error that ends the run, as JSON."""
        try:
            outcome = self._worker.run(pickle.loads(row["item"]))
        except RunError as error:
            return {"outcome": "", "fatal_error": json.dumps({word: getattr(error, word) for word in FATAL_FIELDS})}
        return {"outcome": TypeAdapter(Outcome).dump_json(outcome).decode(), "fatal_error": ""}
