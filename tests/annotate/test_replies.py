from pathlib import Path

import pytest

from xsheet.annotate.ask import Ask, Reply
from xsheet.annotate.chat import Draw, Said, Turn
from xsheet.annotate.replies import ReplyStore, TurnStore
from xsheet.schemas.annotation import Seen, Usage
from xsheet.schemas.clip import Clip, Signals

REPLY = Reply(
    ask_id="a1",
    status="ok",
    text='{"<script>": "ü\u2028"}',
    seen=Seen(frame_indices=(0, 1), stamps_us=(0, 40_000), width=8, height=8, patches=2),
    usage=Usage(prompt_tokens=3, latency_s=0.5, finish_reason="stop"),
)


def ask(name):
    clip = Clip(
        clip_id="clip", source_id="src", start_us=0, end_us=3_000_000, media_path="media/clip.mp4",
        media_sha256="0" * 64, frames=75, samples=48_000, width=64, height=64,
    )  # fmt: skip
    signals = Signals(clip_id="clip", frames=75, extractor="none")
    return Ask(ask_id=name, clip=clip, signals=signals, media=Path("clip.mp4"), sample_index=0, seed=7)


class Counting:
    """An annotator that counts its calls; `stop_after` replies it dies."""

    def __init__(self, status="ok", stop_after=None):
        self.status, self.stop_after, self.asked = status, stop_after, []

    def __call__(self, asks):
        for i, one in enumerate(asks):
            if i == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(one.ask_id)
            yield Reply(ask_id=one.ask_id, status=self.status, text="x" if self.status != "error" else None)


def test_a_reply_comes_back_as_it_was(tmp_path):
    ReplyStore(tmp_path).keep(REPLY)
    assert ReplyStore(tmp_path).find("a1") == REPLY


def test_an_unknown_ask_has_no_reply(tmp_path):
    assert ReplyStore(tmp_path / "absent").find("a1") is None


def test_a_rerun_asks_only_for_what_is_missing(tmp_path):
    asks = [ask(f"a{i}") for i in range(5)]
    first, second = Counting(stop_after=3), Counting()
    with pytest.raises(KeyboardInterrupt):
        list(ReplyStore(tmp_path).ask(first, asks))
    replies = list(ReplyStore(tmp_path).ask(second, asks))
    assert (first.asked, second.asked) == (["a0", "a1", "a2"], ["a3", "a4"])
    assert sorted(reply.ask_id for reply in replies) == ["a0", "a1", "a2", "a3", "a4"]


@pytest.mark.parametrize(("status", "calls"), [("truncated", 1), ("invalid", 1), ("refused", 1), ("error", 2)])
def test_paid_replies_are_final_and_errors_are_asked_again(tmp_path, status, calls):
    annotator = Counting(status=status)
    for _ in range(2):
        list(ReplyStore(tmp_path).ask(annotator, [ask("a1")]))
    assert len(annotator.asked) == calls


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-5], lambda b: b.replace(b"ok", b"no"), lambda _: b"", lambda b: b"x" + b]
)
def test_a_damaged_file_is_as_good_as_not_there(tmp_path, damage):
    store = ReplyStore(tmp_path)
    store.keep(REPLY)
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(damage(path.read_bytes()))
    assert store.find("a1") is None
    store.keep(REPLY)
    assert store.find("a1") == REPLY


def test_a_file_under_the_name_of_another_ask_is_not_taken(tmp_path):
    store = ReplyStore(tmp_path)
    store.keep(REPLY)
    (path,) = tmp_path.rglob("*.json")
    store.keep(Reply(ask_id="a2", status="ok", text="y"))
    (other,) = set(tmp_path.rglob("*.json")) - {path}
    other.write_bytes(path.read_bytes())
    assert store.find("a2") is None


def test_an_id_cannot_lead_out_of_the_folder(tmp_path):
    store = ReplyStore(tmp_path / "replies")
    store.keep(Reply(ask_id="../../etc/passwd", status="ok", text="x"))
    assert all((tmp_path / "replies") in path.parents for path in tmp_path.rglob("*.json"))
    assert store.find("../../etc/passwd") is not None


def test_a_chat_remembers_turns_but_not_errors(tmp_path):
    asked = []

    def chat(turns):
        for turn in turns:
            asked.append(turn.turn_id)
            failed = turn.turn_id == "t2"
            yield Said(turn_id=turn.turn_id, text=None if failed else "said", error="busy" if failed else None)

    draw = Draw(temperature=0, top_p=1, max_tokens=9, seed=1)
    turns = [Turn(turn_id=f"t{i}", system="", text="", film=None, schema=None, draw=draw) for i in range(3)]
    for _ in range(2):
        said = list(TurnStore(chat, tmp_path)(turns))
        assert sorted(one.turn_id for one in said) == ["t0", "t1", "t2"]
    assert asked == ["t0", "t1", "t2", "t2"]
