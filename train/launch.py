"""Launch training in this process, or on Ray Train workers that communicate through torch.distributed.

Ray only starts and restarts the workers. Progress is stored only in checkpoints of xsheet, because Ray copies
checkpoints file by file and overwrites its record of them in place.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import Field

from xsheet.runtime.ray_cluster import quiet_environment, start_or_join
from xsheet.schemas.errors import RunError, XsheetError
from xsheet.schemas.settings import StrictModel
from xsheet.train.loop.process_group import ProcessGroup, current_process_group

WorkerFn = Callable[[ProcessGroup], None]
"""Function that every worker runs; it is pickled."""


class WorkerSettings(StrictModel):
    """Number and kind of processes. For 0 and powers of two the results are bit-identical (gradients.py)."""

    count: int = Field(
        default=0, ge=0, description="number of workers; 0 = train in this process, on its GPU if it has one"
    )
    use_gpu: bool = Field(
        default=False, description="one GPU per worker; without it, workers compute on CPUs through gloo"
    )
    cpus_per_worker: float = Field(default=1, gt=0, description="CPU cores per worker that Ray reserves")
    ray_address: str | None = Field(default=None, description="address of a Ray cluster; null = one on this machine")
    max_restarts: int = Field(
        default=0, ge=0, description="maximum restarts of all workers from the last checkpoint, after one has died"
    )


def launch(worker_fn: WorkerFn, *, workers: WorkerSettings, folder: Path) -> None:
    """Run `worker_fn` in this process or on workers; Ray keeps its records in `folder`/ray.

    Raises:
        XsheetError: what a worker raised.
        RunError: a worker died otherwise.
    """
    if workers.count == 0:
        _run_in_process(worker_fn)
    else:
        _run_on_ray(worker_fn, workers, folder)


def _run_in_process(worker_fn: WorkerFn) -> None:
    """Run in this process without torch.distributed; prepare_model keeps the bits of several processes."""
    gpu = torch.cuda.is_available()
    worker_fn(ProcessGroup(device=torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")))


def _run_on_ray(worker_fn: WorkerFn, workers: WorkerSettings, folder: Path) -> None:
    with _ray_cluster(workers.ray_address):
        from ray import train  # noqa: PLC0415  # seconds and 600 MB, only for those who ask for it
        from ray.train import torch as ray_torch  # noqa: PLC0415

        here = Path.cwd()

        def worker() -> None:
            if here.is_dir():  # Ray starts its workers elsewhere, and folders of sets and weights may be relative
                os.chdir(here)
            worker_fn(current_process_group(ray_torch.get_device()))

        scaling = train.ScalingConfig(
            num_workers=workers.count,
            use_gpu=workers.use_gpu,
            resources_per_worker={"CPU": workers.cpus_per_worker} | ({"GPU": 1} if workers.use_gpu else {}),
        )
        run = train.RunConfig(
            name="ray",
            storage_path=str(folder.resolve()),
            failure_config=train.FailureConfig(max_failures=workers.max_restarts),
        )
        backend = ray_torch.TorchConfig(backend="nccl" if workers.use_gpu else "gloo")
        trainer = ray_torch.TorchTrainer(worker, scaling_config=scaling, run_config=run, torch_config=backend)
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            raise _worker_error(error, folder) from error


@contextmanager
def _ray_cluster(address: str | None) -> Iterator[None]:
    # Of the output of workers, only log lines of xsheet and errors are shown.
    quiet_environment()
    import ray  # noqa: PLC0415

    def hush() -> None:
        for name in ("ray", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        logging.getLogger("xsheet").setLevel(logging.INFO)

    started_here = not ray.is_initialized()
    if started_here:
        start_or_join(ray, address or "local", runtime_env={"worker_process_setup_hook": hush})
    try:
        yield
    finally:
        if started_here:
            ray.shutdown()


def _worker_error(error: Exception, folder: Path) -> XsheetError:
    """The XsheetError that a worker raised; the errors of other workers follow from it."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, XsheetError):
                return cause
            cause = cause.__cause__
    lines = str(next(iter(failures.values()), error)).strip().splitlines() or ["nothing"]
    return RunError(
        where=str(folder), expected="workers that finish", got=lines[-1][:300],
        hint="see the workers' log, then run again: training resumes from the last checkpoint",
    )  # fmt: skip
