"""CPU time is charged to whoever spent it, once."""

from time import process_time

import pytest

from xsheet.curate.tasks.cpu_usage import CpuProfiler


def burn(cpu_s: float) -> None:
    end = process_time() + cpu_s
    while process_time() < end:
        pass


def test_time_is_charged_by_name():
    meter = CpuProfiler()
    for name in ("faces", "cuts", "faces"):
        with meter(name):
            burn(0.02)
    spent = {row.analyser: row.cpu_s for row in meter.usage()}
    assert spent["faces"] == pytest.approx(2 * spent["cuts"], rel=0.3)


def test_what_is_charged_inside_is_not_charged_outside_too():
    meter = CpuProfiler()
    with meter("write"), meter("body"):
        burn(0.05)
    spent = {row.analyser: row.cpu_s for row in meter.usage()}
    assert spent["write"] < 0.01 < spent["body"]


def test_the_making_of_items_is_charged_and_the_items_come_through():
    def items():
        for k in range(3):
            burn(0.02)
            yield k

    meter = CpuProfiler()
    assert list(meter.iterate("decode", items())) == [0, 1, 2]
    assert meter.usage()[0].cpu_s > 0.05
