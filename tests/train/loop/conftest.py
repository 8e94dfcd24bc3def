"""A loop over toy clips; see toy.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Two threads cost tens of milliseconds a call at these sizes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def toy_script() -> Path:
    """The toy as a script, for runs that are killed and for workers."""
    return Path(__file__).parent / "toy.py"
