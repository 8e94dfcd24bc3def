"""γ: seeded, 1 for the same, near its published example; without the library an error that says what to do."""

import importlib.util

import numpy as np
import pytest

from xsheet.audit.agreement import gamma as module
from xsheet.audit.agreement.gamma import gamma
from xsheet.audit.agreement.phase_arrays import Units
from xsheet.schemas.errors import ConfigError

PRESENT = importlib.util.find_spec("pygamma_agreement") is not None
needs_library = pytest.mark.skipif(
    not PRESENT, reason='pygamma-agreement is not installed: pip install "xsheet[gamma]"'
)


def observer(*segments):
    """(class, start, end) in seconds."""
    value, start, end = np.array(segments).T
    zeros = np.zeros(len(value), np.int64)
    return Units(
        np.array(["c"]), np.zeros(1, np.int64), np.array([60_000_000]), zeros, zeros, value,
        start * 1_000_000, end * 1_000_000, np.full(len(value), np.nan),
    )  # fmt: skip


@pytest.fixture
def three():
    """Alex, Paul and Suzan, the example of pygamma-agreement, which states a γ of .44 to .47."""
    return (
        observer((1, 2, 9), (2, 11, 17), (5, 24, 30), (6, 32, 36), (6, 36, 44), (7, 44, 60)),
        observer((1, 2, 9), (3, 11, 17), (5, 19, 25), (6, 32, 44)),
        observer((1, 2, 9), (4, 11, 17), (5, 21, 27), (6, 32, 36), (6, 36, 40), (6, 40, 44)),
    )


@pytest.mark.skipif(PRESENT, reason="pygamma-agreement is installed")
def test_without_the_library_the_error_says_what_to_install(units):
    a = units(("head", "nod", 0, 1))
    with pytest.raises(ConfigError, match=r"xsheet\[gamma\]"):
        gamma([a, a], seed=0)


def test_the_global_stream_is_left_as_it_was():
    before = np.random.get_state()[1].tolist()
    with module._seeded(1):
        np.random.random(100)
    assert np.random.get_state()[1].tolist() == before


@needs_library
def test_nothing_is_written_to_standard_output(three, capfd):
    gamma(three, seed=0, resamples=10)
    assert capfd.readouterr() == ("", "")


@needs_library
def test_gamma_of_the_published_example(three):
    assert 0.43 <= gamma(three, seed=1, resamples=10).value <= 0.48


@needs_library
def test_identical_observers_have_gamma_one(units):
    a = units(("head", "nod", 0, 1), ("gaze", "look_away", 0.5, 2), ("head", "tilt_head", 3, 4))
    assert gamma([a, a], seed=0, resamples=10).value == pytest.approx(1)


@needs_library
def test_the_seed_decides(three):
    assert gamma(three, seed=3, resamples=10) == gamma(three, seed=3, resamples=10)


@needs_library
def test_an_observer_that_saw_nothing_is_at_chance(units):
    assert gamma([units(("head", "nod", 0, 1)), units()], seed=0, resamples=10).value == 0
