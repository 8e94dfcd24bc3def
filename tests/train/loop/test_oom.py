import pytest
import torch

from xsheet.schemas.errors import RunError
from xsheet.train.loop.step import explain_out_of_memory


def test_running_out_of_memory_says_for_what_and_what_to_lower():
    little = pytest.raises(RunError, match="look: expected memory for 4 samples, got too little; say --no-validation")
    with little, explain_out_of_memory(where="look", contents="4 samples", hint="say --no-validation"):
        torch.empty(2**50)


def test_other_errors_keep_their_words():
    with pytest.raises(RuntimeError, match="shapes"), explain_out_of_memory(where="a", contents="b", hint="c"):
        raise RuntimeError("shapes do not match")
