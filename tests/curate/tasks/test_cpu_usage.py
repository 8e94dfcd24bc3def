"""CPU time counts once, for the innermost analyser; a fake clock makes it exact."""

import pytest

from xsheet.curate.tasks.cpu_usage import CpuProfiler


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("xsheet.curate.tasks.cpu_usage.process_time", clock)
    return clock


def usage(profiler: CpuProfiler) -> dict[str, float]:
    return {row.analyser: row.cpu_s for row in profiler.usage()}


def test_time_is_summed_per_analyser(clock):
    profiler = CpuProfiler()
    for name in ("faces", "cuts", "faces"):
        with profiler(name):
            clock.seconds += 2
    assert usage(profiler) == {"faces": 4, "cuts": 2}


def test_nested_time_counts_for_the_inner_analyser_only(clock):
    profiler = CpuProfiler()
    with profiler("export"):
        clock.seconds += 1
        with profiler("body"):
            clock.seconds += 5
    assert usage(profiler) == {"body": 5, "export": 1}


def test_iterate_counts_the_production_of_items_and_yields_them(clock):
    def items():
        for k in range(3):
            clock.seconds += 1
            yield k

    profiler = CpuProfiler()
    for _ in profiler.iterate("decode", items()):
        clock.seconds += 10
    assert usage(profiler) == {"decode": 3}
