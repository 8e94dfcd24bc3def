"""Batches for the loop, prepared ahead of it by a thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from xsheet.schemas.errors import ConfigError
from xsheet.train.data.batch import Batch
from xsheet.train.data.dataset import Clips
from xsheet.train.data.order import Order
from xsheet.train.data.seeded_random import Showing
from xsheet.train.loop.loop import Portion
from xsheet.train.loop.process_group import World
from xsheet.train.loop.state import Position


class ClipFeed:
    """One worker's share of every batch: worker r of W gets micro-batches r, W + r, 2W + r ... of it.

    Raises:
        ConfigError: a batch is no whole number of micro-batches for each worker.
    """

    def __init__(self, clips: Clips, order: Order, *, micro_batch: int, ahead: int, world: World) -> None:
        if order.batch % (micro_batch * world.size):
            raise ConfigError(
                where="data.batch", expected=f"a multiple of {micro_batch} clips x {world.size} workers",
                came=str(order.batch), todo="change data.batch, compute.micro_batch or the number of workers",
            )  # fmt: skip
        self._clips, self._order = clips, order
        self._micro, self._ahead, self._world = micro_batch, ahead, world

    def portions(self, start: Position) -> Iterator[Portion]:
        """This worker's shares of one step after another, without end."""
        waiting: deque[tuple[list[Future[Batch]], Position]] = deque()
        pool = ThreadPoolExecutor(1, thread_name_prefix="clips")
        try:
            for showings, after in self._order.batches(start):
                waiting.append(([pool.submit(self._read, micro) for micro in self._mine(showings)], after))
                if len(waiting) > self._ahead:
                    ready, behind = waiting.popleft()
                    yield Portion(micros=tuple(one.result() for one in ready), after=behind)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, showings: tuple[Showing, ...]) -> Batch:
        batch = self._clips.batch(showings)
        return batch.pinned() if self._world.device.type == "cuda" else batch

    def _mine(self, showings: tuple[Showing, ...]) -> list[tuple[Showing, ...]]:
        micros = [showings[k : k + self._micro] for k in range(0, len(showings), self._micro)]
        return micros[self._world.rank :: self._world.size]
