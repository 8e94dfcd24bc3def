"""Run an async job in its own thread behind a plain iterator, so that a slow reader stalls no connection."""

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

T = TypeVar("T")
AsyncJob = Callable[[Callable[[T], None]], Coroutine[None, None, None]]


@contextmanager
def run_in_background(job: AsyncJob[T]) -> Iterator[Iterator[T]]:
    """Run `job(put)`; the iterator yields what it puts and raises what it raises.

    Leaving the context early cancels the job and waits for its end.
    """
    running = _BackgroundJob(job)
    running.thread.start()
    try:
        yield running.items()
    finally:
        running.stop()


class _BackgroundJob(Generic[T]):
    def __init__(self, job: AsyncJob[T]) -> None:
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="xsheet-calls", daemon=True)
        self._job = job
        self._put: queue.SimpleQueue[T | _EndOfStream] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._started = threading.Event()

    def items(self) -> Iterator[T]:
        while not isinstance(item := self._put.get(), _EndOfStream):
            yield item
        if item.error is not None:
            raise item.error

    def stop(self) -> None:
        self._started.wait()
        assert self._loop is not None
        assert self._task is not None
        with suppress(RuntimeError):  # the loop is closed when the job is over
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.thread.join()

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._started.set()
        error: BaseException | None = None
        try:
            await self._job(self._put.put)
        except asyncio.CancelledError:
            pass
        except BaseException as raised:  # noqa: BLE001 - carried over to the reader's thread, whatever it is
            error = raised
        finally:
            self._put.put(_EndOfStream(error))


class _EndOfStream:
    """Marks the end of the queue; `error` is the job's exception."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
