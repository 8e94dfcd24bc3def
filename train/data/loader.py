"""Batches of one worker, prefetched in a thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from xsheet.schemas.errors import ConfigError
from xsheet.train.data.batch import Batch
from xsheet.train.data.dataset import CachedClipDataset
from xsheet.train.data.order import BucketBatchSampler
from xsheet.train.data.seeded_random import SampleKey
from xsheet.train.loop.loop import StepShare
from xsheet.train.loop.process_group import ProcessGroup
from xsheet.train.loop.state import DataPosition


class ClipLoader:
    """One worker's micro-batches of every step: worker r of W gets micro-batches r, W + r, 2W + r ...

    Raises:
        ConfigError: a batch is no whole number of micro-batches for each worker.
    """

    def __init__(
        self,
        dataset: CachedClipDataset,
        sampler: BucketBatchSampler,
        *,
        micro_batch_size: int,
        prefetch: int,
        process_group: ProcessGroup,
    ) -> None:
        if sampler.batch_size % (micro_batch_size * process_group.size):
            raise ConfigError(
                where="loader.batch_size",
                expected=f"a multiple of {micro_batch_size} clips x {process_group.size} workers",
                got=str(sampler.batch_size),
                hint="change loader.batch_size, compute.micro_batch_size or the number of workers",
            )
        self._dataset, self._sampler = dataset, sampler
        self._micro_batch_size, self._prefetch, self._process_group = micro_batch_size, prefetch, process_group

    def step_shares(self, start: DataPosition) -> Iterator[StepShare]:
        """This worker's share of every step, endlessly."""
        waiting: deque[tuple[list[Future[Batch]], DataPosition]] = deque()
        pool = ThreadPoolExecutor(1, thread_name_prefix="clips")
        try:
            for sample_keys, after in self._sampler.batches(start):
                waiting.append(
                    ([pool.submit(self._read, micro) for micro in self._own_micro_batches(sample_keys)], after)
                )
                if len(waiting) > self._prefetch:
                    ready, behind = waiting.popleft()
                    yield StepShare(micro_batches=tuple(one.result() for one in ready), next_position=behind)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, sample_keys: tuple[SampleKey, ...]) -> Batch:
        batch = self._dataset.batch(sample_keys)
        return batch.pin_memory() if self._process_group.device.type == "cuda" else batch

    def _own_micro_batches(self, sample_keys: tuple[SampleKey, ...]) -> list[tuple[SampleKey, ...]]:
        micros = [
            sample_keys[k : k + self._micro_batch_size] for k in range(0, len(sample_keys), self._micro_batch_size)
        ]
        return micros[self._process_group.rank :: self._process_group.size]
