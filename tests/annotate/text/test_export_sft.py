import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.base import AnnotationRequest
from xsheet.annotate.formats.base import LossTally
from xsheet.annotate.text.export_sft import SftExport, export_sft, sft_sample
from xsheet.annotate.vlm.annotator import VlmAnnotator, VlmSettings
from xsheet.annotate.vlm.client import VlmRequest, VlmResponse
from xsheet.annotate.vlm.normalise import NormaliseSettings, TimeSnapTargets, normalise
from xsheet.annotate.vlm.response import parse_reply, response_json_schema
from xsheet.demo.film.plan import plan_film
from xsheet.demo.film.truth import truth_rows
from xsheet.schemas.annotation import Annotation, Evidence
from xsheet.schemas.clip import Clip, Signals

EXACT = NormaliseSettings(edge_tolerance_s=0, stamp_tolerance_s=0)


def planted(index: int) -> tuple[Signals, Annotation]:
    _, signals, annotation = truth_rows(plan_film(index, seed=3, kind="talk"), "src_1")
    assert isinstance(signals, Signals)
    assert isinstance(annotation, Annotation)
    return signals, annotation


def clip_of(annotation: Annotation) -> Clip:
    frames = annotation.duration_us // 40_000
    return Clip(
        clip_id=annotation.clip_id, source_id="src_1", start_us=0, end_us=annotation.duration_us,
        media_path=f"media/ab/{annotation.clip_id}.mp4", media_sha256="ab" * 32, frames=frames, samples=frames * 640,
        width=96, height=96,
    )  # fmt: skip


def exported(tmp_path: Path, *layer: Annotation) -> tuple[SftExport, list[dict[str, Any]]]:
    path = tmp_path / "sft.jsonl"
    ended = export_sft(path, layer, {one.clip_id: clip_of(one) for one in layer})
    return ended, [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def answer_of(sample: dict[str, Any]) -> str:
    answer = sample["messages"][-1]["content"]
    assert isinstance(answer, str)
    return answer


def sample(annotation: Annotation) -> dict[str, Any]:
    made = sft_sample(annotation, clip_of(annotation), LossTally())
    assert made is not None
    return made


@pytest.mark.parametrize("index", range(8))
def test_an_answer_is_one_that_the_grammar_lets_a_model_write(index, tiny_tokenizer):
    pytest.importorskip("llguidance")
    from xsheet.annotate.vlm.qwen.decoding import Grammar

    annotation = planted(index)[1]
    grammar = Grammar(tiny_tokenizer, vocab_size=len(tiny_tokenizer), eos_token_ids=(tiny_tokenizer.eos_token_id,))
    matcher = grammar.matcher(response_json_schema(annotation.duration_us / 1e6))
    tokens = tiny_tokenizer.encode(answer_of(sample(annotation)), add_special_tokens=False)
    assert all(matcher.consume_token(token) for token in tokens)
    assert matcher.is_accepting()


@pytest.mark.parametrize("index", range(8))
def test_an_answer_reads_back_to_the_phases_it_was_made_from(index):
    annotation = planted(index)[1]
    reply = parse_reply(answer_of(sample(annotation)), finish_reason="stop").reply
    assert reply is not None
    back = normalise(reply, TimeSnapTargets(duration_us=annotation.duration_us), settings=EXACT)
    read_phases = [(p.track, p.start_us, p.end_us, p.action, p.laterality, p.text) for p in back.phases]
    assert read_phases == [(p.track, p.start_us, p.end_us, p.action, p.laterality, p.text) for p in annotation.phases]


def test_the_question_is_the_one_that_annotating_asks():
    signals, annotation = planted(1)
    turns: list[VlmRequest] = []

    def chat(asked: Sequence[VlmRequest], /) -> Iterator[VlmResponse]:
        turns.extend(asked)
        yield from ()

    ask = AnnotationRequest(
        request_id="a", clip=clip_of(annotation), signals=signals, media=Path("/x.mp4"), sample_index=0, seed=1
    )  # fmt: skip
    list(VlmAnnotator(chat, VlmSettings(describe=False))([ask]))
    system, user, _ = sample(annotation)["messages"]
    assert (system["content"], user["content"][1]["text"]) == (turns[0].system, turns[0].text)


def test_media_are_named_by_their_place_in_the_set():
    annotation = planted(1)[1]
    film = sample(annotation)["messages"][1]["content"][0]
    assert film["video"] == f"media/ab/{annotation.clip_id}.mp4"


def test_one_line_per_sample_in_the_order_of_the_layer(tmp_path):
    layer = [planted(k)[1] for k in (2, 0, 1)]
    ended, samples = exported(tmp_path, *layer)
    assert [one["id"] for one in samples] == [one.annotation_id for one in layer]
    assert (ended.samples, ended.excluded) == (3, 0)


def test_what_the_wire_form_cannot_hold_is_counted(tmp_path):
    annotation = planted(1)[1]
    ended, _ = exported(tmp_path, annotation)
    found = {loss.field: loss.count for loss in ended.losses}
    assert found["phases.kinematics"] == sum(bool(p.kinematics) for p in annotation.phases)
    assert found["phases.evidence.text"] == len(annotation.phases)


def test_a_failed_reply_is_left_out_with_the_reason(tmp_path):
    failed = replace(planted(1)[1], status="refused", base=None, phases=())
    ended, samples = exported(tmp_path, failed)
    assert (samples, ended.excluded) == ([], 1)
    assert ended.losses[0].reason == "the reply is refused"


def test_a_clip_whose_file_has_changed_is_left_out(tmp_path):
    ended, samples = exported(tmp_path, replace(planted(1)[1], media_sha256="cd" * 32))
    assert (samples, ended.losses[0].reason) == ([], "made from another file than the set has now")


def test_more_phases_than_a_reply_may_hold_are_no_sample(tmp_path):
    annotation = planted(0)[1]
    ended = export_sft(
        tmp_path / "sft.jsonl", [annotation], {annotation.clip_id: clip_of(annotation)},
        settings=VlmSettings.model_validate_json('{"response_limits": {"max_phases": 3}}'),
    )  # fmt: skip
    assert ended.losses[0].reason == "more phases than a reply may hold"


def test_a_reported_observation_is_the_evidence():
    annotation = planted(1)[1]
    seen = tuple(replace(p, evidence=Evidence(text="the chin dips")) for p in annotation.phases)
    answer = json.loads(answer_of(sample(replace(annotation, phases=seen))))
    assert {p["evidence"] for p in answer["phases"]} == {"the chin dips"}


@pytest.mark.slow
@given(st.integers(0, 5_000_000), st.text(min_size=20, max_size=400))
def test_times_and_words_keep_to_the_wire_form(shift_us, text):
    annotation = planted(7)[1]
    (one,) = [p for p in annotation.phases if p.track == "gaze"]
    start_us = min(shift_us, annotation.duration_us - 120_000)
    moved = replace(one, start_us=start_us, end_us=annotation.duration_us, kinematics=(), text=text)
    phase = json.loads(answer_of(sample(replace(annotation, phases=(moved,)))))["phases"][0]
    assert phase["start_s"] == round(phase["start_s"], 2)
    assert abs(phase["start_s"] - start_us / 1e6) <= 0.005 + 1e-9
    assert phase["end_s"] <= annotation.duration_us / 1e6
    assert len(phase["text"]) <= 200
