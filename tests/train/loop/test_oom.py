import pytest
import torch

from xsheet.schemas.errors import RunError
from xsheet.train.loop.step import needing_memory


def test_running_out_of_memory_says_for_what_and_what_to_lower():
    little = pytest.raises(RunError, match="look: expected memory for 4 samples, got too little; say --no-watch")
    with little, needing_memory(where="look", holds="4 samples", todo="say --no-watch"):
        torch.empty(2**50)


def test_other_errors_keep_their_words():
    with pytest.raises(RuntimeError, match="shapes"), needing_memory(where="a", holds="b", todo="c"):
        raise RuntimeError("shapes do not match")
