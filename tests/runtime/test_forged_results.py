"""A stored result that somebody forged, with a checksum that fits, runs nothing and ends in a sentence."""

import os
import pickle

import pytest

from xsheet.runtime.result_store import ResultStore
from xsheet.runtime.segments import SegmentStore
from xsheet.runtime.task import Outcome
from xsheet.schemas.errors import RunError
from xsheet.schemas.source import Shot, Timeline

KEY = "ab" * 8
OK = b'{"key":"abababababababab","name":"film","status":"ok"}\n'


class Payload:
    """Leaves a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def forged(tmp_path):
    """The store with a record of any bytes."""

    def forge(body: bytes) -> ResultStore:
        SegmentStore(ResultStore(tmp_path, "planted").folder).append(KEY, body)
        return ResultStore(tmp_path, "planted")

    return forge


def test_a_pickle_in_place_of_a_result_is_no_result(forged, tmp_path):
    store = forged(pickle.dumps(Payload(tmp_path / "ran")))
    assert store.find(KEY) is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", [b"", b"3", b"[" * 100_000, b'{"py/object/apply":"os.mkdir"}', b'{"key":"other"}'])
def test_json_that_is_no_outcome_is_no_result(forged, text):
    assert forged(text + b"\n").find(KEY) is None


@pytest.mark.parametrize(
    "row", [b"{}", b'{"shot_id":"../x"}', b"[" * 100_000, b'{"shot_id":"s","source_id":"s","start_us":1e999}']
)
def test_a_forged_row_ends_in_a_sentence_that_says_what_to_remove(forged, row):
    store = forged(OK + b'{"shot":' + row + b"}\n")
    assert isinstance(store.find(KEY), Outcome)
    assert list(store.rows(KEY, Timeline)) == []
    with pytest.raises(RunError, match=r"remove .*planted and run again"):
        list(store.rows(KEY, Shot))
    with pytest.raises(RunError):
        store.rows_by_kind(KEY, Shot)
