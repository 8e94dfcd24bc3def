"""CPU time per analyser."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import process_time
from typing import Annotated, ClassVar, TypeVar

from pydantic.dataclasses import dataclass

from xsheet.schemas.columns import RECORD, NonNegative, Str

T = TypeVar("T")


@dataclass(config=RECORD, frozen=True, slots=True, kw_only=True)
class CpuUsage:
    """CPU seconds of one analyser over one source. Goes into the manifest, not into a table: it is not reproducible."""

    TAG: ClassVar[str] = "cpu_usage"
    analyser: Annotated[Str, "name of the analyser"]
    cpu_s: Annotated[NonNegative, "user and system time of the process, all threads"]


class CpuProfiler:
    """Sums CPU time per analyser; one measurement costs a microsecond."""

    def __init__(self) -> None:
        self._cpu_s: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, analyser: str) -> Iterator[None]:
        """Add the CPU time of the block to `analyser`, less what nested blocks add to others."""
        started, charged = process_time(), sum(self._cpu_s.values())
        yield
        self._cpu_s[analyser] += process_time() - started - (sum(self._cpu_s.values()) - charged)

    def iterate(self, analyser: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; the time to produce each counts for `analyser`."""
        iterator = iter(items)
        while True:
            with self(analyser):
                item = next(iterator, iterator)
            if item is iterator:
                return
            yield item  # type: ignore[misc]

    def usage(self) -> list[CpuUsage]:
        """CPU time per analyser, sorted by name."""
        return [CpuUsage(analyser=name, cpu_s=round(cpu_s, 4)) for name, cpu_s in sorted(self._cpu_s.items())]
