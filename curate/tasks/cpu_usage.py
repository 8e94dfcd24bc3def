"""CPU time by analyser, so that a report can say where it went."""

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
    """CPU seconds of one analyser over one source. It goes into the manifest and no table: no run repeats it."""

    TAG: ClassVar[str] = "cpu_usage"
    analyser: Annotated[Str, "who spent it"]
    cpu_s: Annotated[NonNegative, "user and system time of the process, all threads"]


class CpuProfiler:
    """Adds up CPU time per name; reading the clock twice costs a microsecond."""

    def __init__(self) -> None:
        self._cpu_s: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, analyser: str) -> Iterator[None]:
        """Charge what happens inside to `analyser`, but for what is charged to another meanwhile."""
        begin, charged = process_time(), sum(self._cpu_s.values())
        yield
        self._cpu_s[analyser] += process_time() - begin - (sum(self._cpu_s.values()) - charged)

    def iterate(self, analyser: str, items: Iterable[T]) -> Iterator[T]:
        """The items, charging the making of each to `analyser`."""
        feed = iter(items)
        while True:
            with self(analyser):
                item = next(feed, feed)
            if item is feed:
                return
            yield item  # type: ignore[misc]

    def usage(self) -> list[CpuUsage]:
        """What each spent, by name."""
        return [CpuUsage(analyser=name, cpu_s=round(cpu_s, 4)) for name, cpu_s in sorted(self._cpu_s.items())]
