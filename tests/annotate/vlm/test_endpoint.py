"""Replies of a server that behaves well and badly: how each ends, and what is requested again."""

import pytest
from endpoint_server import ANSWERS, CLIP_US, FRAMES, INJECTION, NOD, settings, turn

from xsheet.annotate.base import AnnotationRequest
from xsheet.annotate.vlm.annotator import VlmAnnotator, VlmSettings
from xsheet.annotate.vlm.background import run_in_background
from xsheet.annotate.vlm.cache import CachedVlmClient
from xsheet.annotate.vlm.endpoint import EndpointClient, EndpointSettings
from xsheet.annotate.vlm.normalise import TimeSnapTargets, normalise
from xsheet.annotate.vlm.response import parse_reply
from xsheet.schemas.clip import Clip, Signals


def asks(film, *behaviours):
    clip = Clip(
        clip_id="clip", source_id="src", start_us=0, end_us=CLIP_US, media_path="media/clip.mp4",
        media_sha256="0" * 64, frames=FRAMES, samples=48_000, width=64, height=48,
    )  # fmt: skip
    signals = Signals(clip_id="clip", frames=FRAMES, extractor="none")
    return [
        AnnotationRequest(
            request_id=f"ask-{name}",
            clip=clip,
            signals=signals,
            media=film,
            sample_index=0,
            seed=7,
            transcript=f"behave-{name}",
        )
        for name in behaviours
    ]


def annotator(server, kept=None, **more):
    chat = EndpointClient(settings(server, **more))
    return VlmAnnotator(chat if kept is None else CachedVlmClient(chat, kept), VlmSettings(fps=2))


def ended(reply):
    """Status, spans in seconds and repairs of a reply after parsing and normalising."""
    if reply.status != "ok":
        return reply.status, [], []
    parsed = parse_reply(reply.text, finish_reason=reply.usage.finish_reason)
    found = normalise(parsed.reply, TimeSnapTargets(duration_us=CLIP_US))
    spans = [(p.start_us / 1e6, p.end_us / 1e6) for p in found.phases]
    return "ok", spans, [(r.op, r.path) for r in (*parsed.repairs, *found.repairs)]


ENDS = {
    "good": ("ok", [(0.5, 1.5)], []),
    "fenced": ("ok", [(0.5, 1.5)], [("unwrap", "")]),
    "thinking": ("ok", [(0.5, 1.5)], [("unwrap", "")]),
    "truncated": ("truncated", [], []),
    "swapped": ("ok", [(0.5, 1.5)], [("swap", "phases/0/start_s"), ("swap", "phases/0/end_s")]),
    "beyond": ("ok", [(0.5, 1.5), (2.0, 3.0)], [("clip", "phases/1/end_s")]),
    "slabs": ("ok", [(0, 1), (1, 2), (2, 3)], []),
    "empty": ("invalid", [], []),
    "none": ("ok", [], []),
    "prose": ("invalid", [], []),
    "filtered": ("refused", [], []),
    "injection": ("ok", [(0.5, 1.5)], []),
    "busy": ("ok", [(0.5, 1.5)], []),
    "broken": ("ok", [(0.5, 1.5)], []),
    "dead": ("error", [], []),
    "huge": ("error", [], []),
    "html": ("error", [], []),
    "moved": ("error", [], []),
    "denied": ("error", [], []),
}


@pytest.mark.slow
def test_every_behaviour_ends_as_documented_and_none_is_lost(server, film, key):
    chat = annotator(server, api_key_env=key, max_reply_bytes=100_000)
    replies = {reply.request_id[4:]: reply for reply in chat(asks(film, *ENDS))}
    assert {name: ended(reply) for name, reply in replies.items()} == ENDS
    assert all(reply.note for reply in replies.values() if reply.status != "ok")


def test_replies_come_as_they_end_and_are_matched_by_id(server):
    replies = EndpointClient(settings(server))([turn("patient"), turn("swapped"), turn("none")])
    first = [next(replies), next(replies)]
    server.patience.set()
    assert {one.request_id: one.text for one in first} == {"swapped": ANSWERS["swapped"][0], "none": ANSWERS["none"][0]}
    assert [(one.request_id, one.text) for one in replies] == [("patient", NOD)]


@pytest.mark.slow
def test_a_rerun_calls_only_for_what_did_not_finish(server, film, tmp_path):
    every = asks(film, "good", "truncated", "prose", "dead")
    first = list(annotator(server, tmp_path)(every))
    before = server.asked.copy()
    second = list(annotator(server, tmp_path)(every))
    assert {name for name, _ in server.asked - before} == {"dead"}
    assert {r.request_id: (r.status, r.text) for r in first} == {r.request_id: (r.status, r.text) for r in second}


@pytest.mark.slow
def test_a_reader_that_leaves_early_loses_no_finished_reply(server, film, tmp_path):
    every = asks(film, "none", "swapped", "fenced", "good")
    replies = annotator(server, tmp_path, concurrency=1)(every)
    kept = next(replies)
    replies.close()
    before = server.asked.copy()
    again = {reply.request_id: reply for reply in annotator(server, tmp_path)(every)}
    assert again[kept.request_id] == kept
    assert server.asked[kept.request_id[4:], True] == before[kept.request_id[4:], True]
    assert len(again) == 4


@pytest.mark.slow
def test_an_injected_instruction_stays_text(server, film):
    (reply,) = annotator(server)(asks(film, "injection"))
    found = normalise(parse_reply(reply.text, finish_reason="stop").reply, TimeSnapTargets(duration_us=CLIP_US))
    assert found.phases[0].text == INJECTION


@pytest.mark.slow
def test_a_slow_server_is_asked_again(server):
    (response,) = EndpointClient(settings(server, timeout_s=0.5))([turn("slow")])
    assert response.text == NOD
    assert server.asked["slow", True] >= 2


def test_tries_end_and_the_turn_says_why(server):
    (response,) = EndpointClient(settings(server))([turn("dead")])
    assert server.asked["dead", True] == 3
    assert response.error == "expected a reply, got status 500: out of memory"


def test_a_server_that_is_not_there_is_an_error_without_its_address(server):
    gone = EndpointSettings(base_url="http://127.0.0.1:9/v1", model="m", retries=0)
    (response,) = EndpointClient(gone)([turn("good")])
    assert response.error == "expected an answer in 180 s, got ConnectError"


def test_no_more_calls_at_a_time_than_set(server):
    turns = [turn("good") for _ in range(8)]
    assert len(list(EndpointClient(settings(server, concurrency=2))(turns))) == 8
    assert server.most_in_flight <= 2


def test_a_clip_that_cannot_be_read_is_an_error_of_its_own_turn(server, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    responses = EndpointClient(settings(server))([turn("good", film=tmp_path / "clip.mp4"), turn("none")])
    errors = {one.request_id: one.error for one in responses}
    assert errors["none"] is None
    assert errors["good"].startswith("clip.mp4 cannot be decoded: expected ")
    assert str(tmp_path) not in errors["good"]


def test_what_goes_wrong_in_the_background_is_raised_to_the_reader():
    async def job(put):
        put(1)
        raise KeyError("ours")

    came = []
    with pytest.raises(KeyError, match="ours"), run_in_background(job) as items:
        for item in items:
            came.append(item)
    assert came == [1]
