import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.pages.scales import build_whisker, fit_axis_scale, integer_axis_scale

numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=50)


@given(numbers, st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), max_size=2))
def test_a_scale_contains_every_limit_and_increases(values, limits):
    scale = fit_axis_scale(np.array(values), limits)
    assert scale.low < scale.high
    assert all(scale.low <= limit <= scale.high for limit in limits)
    assert (np.diff(scale.bin_edges()) > 0).all()
    assert all(0 <= scale.fraction(value) <= 1 for value in values)


@given(numbers)
def test_ticks_are_few_and_inside(values):
    scale = fit_axis_scale(np.array(values))
    assert len(scale.ticks()) <= 12
    assert all(0 <= scale.fraction(tick) <= 1 for tick in scale.ticks())


def test_values_over_decades_get_a_logarithmic_scale():
    assert fit_axis_scale(np.geomspace(1, 10_000, 100)).is_log
    assert not fit_axis_scale(np.linspace(50, 100, 100)).is_log


def test_a_count_has_one_bin_per_number():
    scale = integer_axis_scale(np.array([0.0, 1, 2, 2, 5]), [3.0])
    assert len(scale.bin_edges()) - 1 == 6
    assert scale.bin_edges()[0] == -0.5


def test_a_whisker_stays_on_its_line():
    found = build_whisker(1.4, 0.5, 2.0)
    assert found is not None
    assert (found.x, found.low, found.high) == (100.0, 50.0, 100.0)


def test_no_number_has_no_whisker():
    assert build_whisker(None, None, None) is None


@pytest.mark.parametrize("limit", [None, 0.25])
def test_a_limit_is_placed_on_the_range(limit):
    found = build_whisker(0.1, None, None, limit=limit, value_range=(0.0, 0.5))
    assert (found.x, found.low, found.high) == (20.0, 20.0, 20.0)
    assert found.limit == (None if limit is None else 50.0)
