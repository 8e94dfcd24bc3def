"""Launch training in this process, or on Ray Train workers that communicate through torch.distributed.

Ray is used from a process of its own (`xsheet.runtime.ray_process`), so that the command and its workers end if the
cluster is lost. Ray only starts and restarts the workers. Progress is stored only in checkpoints of xsheet, because Ray
copies checkpoints file by file and overwrites its record of them in place.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field

from xsheet.runtime.ray_main import HEARTBEAT_FILE, Channel, end_with_heartbeat
from xsheet.runtime.ray_process import ray_process
from xsheet.schemas.errors import ConfigError, RunError, XsheetError
from xsheet.schemas.settings import StrictModel
from xsheet.train.loop.process_group import ProcessGroup, current_process_group

WorkerFn = Callable[[ProcessGroup], None]
"""Function that every worker runs; it is pickled, so its module must be importable."""


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
        ConfigError: no cluster at the address, or more workers than the cores of this machine carry.
        RunError: a worker died otherwise, Ray does not start, or the cluster is lost.
    """
    if workers.count == 0:
        _run_in_process(worker_fn)
        return
    folder.mkdir(parents=True, exist_ok=True)
    program = TrainProgram(worker_fn, workers, folder.resolve())
    with ray_process(program, address=workers.ray_address or "local", folder=folder, shows_logs=True) as process:
        process.wait_for_end()


def _run_in_process(worker_fn: WorkerFn) -> None:
    """Run in this process without torch.distributed; prepare_model keeps the bits of several processes."""
    gpu = torch.cuda.is_available()
    worker_fn(ProcessGroup(device=torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")))


@dataclass(frozen=True, slots=True)
class TrainProgram:
    """Run a function on workers of Ray Train."""

    worker_fn: WorkerFn
    workers: WorkerSettings
    folder: Path

    def __call__(self, channel: Channel) -> None:
        """Run it to its end; raises what a worker raised."""
        from ray import train  # noqa: PLC0415  # seconds and 600 MB, only for those who ask for it
        from ray.train import torch as ray_torch  # noqa: PLC0415

        workers = self.workers
        if workers.ray_address in (None, "local"):
            self._check_cores()
        scaling = train.ScalingConfig(
            num_workers=workers.count,
            use_gpu=workers.use_gpu,
            resources_per_worker={"CPU": workers.cpus_per_worker} | ({"GPU": 1} if workers.use_gpu else {}),
        )
        run = train.RunConfig(
            name="ray",
            storage_path=str(self.folder),
            failure_config=train.FailureConfig(max_failures=workers.max_restarts),
            logging_config=train.LoggingConfig(log_level="CRITICAL"),  # errors end the run with their own message
        )
        backend = ray_torch.TorchConfig(backend="nccl" if workers.use_gpu else "gloo")
        worker = self._worker(Path.cwd())
        trainer = ray_torch.TorchTrainer(worker, scaling_config=scaling, run_config=run, torch_config=backend)
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            raise _worker_error(error, self.folder) from error

    def _worker(self, here: Path) -> Callable[[], None]:
        worker_fn, heartbeat = self.worker_fn, self.folder / HEARTBEAT_FILE

        def worker() -> None:
            from ray.train import torch as ray_torch  # noqa: PLC0415

            end_with_heartbeat(heartbeat)
            if here.is_dir():  # Ray starts its workers elsewhere, and folders of sets and weights may be relative
                os.chdir(here)
            worker_fn(current_process_group(ray_torch.get_device()))

        return worker

    def _check_cores(self) -> None:
        """Ray waits for cores and GPUs that a machine does not have, without an end and without a message."""
        import ray  # noqa: PLC0415

        needed = {"CPU": self.workers.count * self.workers.cpus_per_worker}
        if self.workers.use_gpu:
            needed["GPU"] = self.workers.count
        for kind, count in needed.items():
            if count > (present := ray.cluster_resources().get(kind, 0)):
                raise ConfigError(
                    where="--workers", expected=f"at most {present:g} {kind}s of this machine", got=f"{count:g}",
                    hint="use fewer workers, or a cluster (--ray)",
                )  # fmt: skip


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
