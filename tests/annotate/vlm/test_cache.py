import pytest

from xsheet.annotate.vlm.cache import CachedVlmClient
from xsheet.annotate.vlm.client import SamplingParams, VlmRequest, VlmResponse
from xsheet.schemas.run import ModelInput, Usage

RESPONSE = VlmResponse(
    request_id="t1",
    text='{"<script>": "ü\u2028"}',
    finish_reason="stop",
    model_input=ModelInput(frame_indices=(0, 1), stamps_us=(0, 40_000), width=8, height=8, patches=2),
    usage=Usage(prompt_tokens=3, latency_s=0.5, finish_reason="stop"),
)
TURNS = [
    VlmRequest(
        request_id=f"t{i}", system="", text="", frame_selection=None, schema=None,
        sampling=SamplingParams(temperature=0, top_p=1, max_tokens=9, seed=1),
    )
    for i in range(5)
]  # fmt: skip


class Counting:
    """A chat that counts its calls; after `stop_after` turns it dies, and the turns in `failing` fail."""

    def __init__(self, stop_after=None, failing=(), finish_reason="stop"):
        self.stop_after, self.failing, self.finish_reason, self.asked = stop_after, failing, finish_reason, []

    def __call__(self, turns):
        for i, turn in enumerate(turns):
            if i == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(turn.request_id)
            if turn.request_id in self.failing:
                yield VlmResponse(request_id=turn.request_id, error="busy")
            else:
                yield VlmResponse(request_id=turn.request_id, text="reply", finish_reason=self.finish_reason)


def kept(folder, chat=None):
    return CachedVlmClient(chat or Counting(), folder)


def test_a_stored_response_comes_back_unchanged(tmp_path):
    kept(tmp_path).store(RESPONSE)
    assert kept(tmp_path).find("t1") == RESPONSE


def test_nothing_is_known_of_an_unknown_turn(tmp_path):
    assert kept(tmp_path / "absent").find("t1") is None


def test_a_rerun_asks_only_for_what_is_missing(tmp_path):
    first, second = Counting(stop_after=3), Counting()
    with pytest.raises(KeyboardInterrupt):
        list(kept(tmp_path, first)(TURNS))
    responses = list(kept(tmp_path, second)(TURNS))
    assert (first.asked, second.asked) == (["t0", "t1", "t2"], ["t3", "t4"])
    assert sorted(one.request_id for one in responses) == [turn.request_id for turn in TURNS]


@pytest.mark.parametrize("end", ["stop", "length", "content_filter"])
def test_a_paid_call_is_final_however_it_ended(tmp_path, end):
    chat = Counting(finish_reason=end)
    for _ in range(2):
        list(kept(tmp_path, chat)(TURNS[:1]))
    assert chat.asked == ["t0"]


def test_a_call_that_failed_is_made_again(tmp_path):
    chat = Counting(failing=("t2",))
    for _ in range(2):
        assert sorted(one.request_id for one in kept(tmp_path, chat)(TURNS)) == [turn.request_id for turn in TURNS]
    assert chat.asked == ["t0", "t1", "t2", "t3", "t4", "t2"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-5], lambda b: b.replace(b"stop", b"slop"), lambda _: b"", lambda b: b"x" + b]
)
def test_a_damaged_file_is_as_good_as_not_there(tmp_path, damage):
    kept(tmp_path).store(RESPONSE)
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(damage(path.read_bytes()))
    assert kept(tmp_path).find("t1") is None
    kept(tmp_path).store(RESPONSE)
    assert kept(tmp_path).find("t1") == RESPONSE


def test_a_file_under_the_name_of_another_turn_is_not_taken(tmp_path):
    kept(tmp_path).store(RESPONSE)
    (path,) = tmp_path.rglob("*.json")
    kept(tmp_path).store(VlmResponse(request_id="t2", text="y"))
    (other,) = set(tmp_path.rglob("*.json")) - {path}
    other.write_bytes(path.read_bytes())
    assert kept(tmp_path).find("t2") is None


def test_an_id_cannot_lead_out_of_the_folder(tmp_path):
    kept(tmp_path / "replies").store(VlmResponse(request_id="../../etc/passwd", text="x"))
    assert all((tmp_path / "replies") in path.parents for path in tmp_path.rglob("*.json"))
    assert kept(tmp_path / "replies").find("../../etc/passwd") is not None
