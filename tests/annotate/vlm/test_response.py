import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xsheet.annotate.vlm.response import (
    ResponseBase,
    ResponseDocument,
    ResponseLimits,
    ResponsePhase,
    response_json_schema,
)

llguidance = pytest.importorskip("llguidance")


class Bytes:
    """A tokenizer whose tokens are the bytes."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([i]) for i in range(256)), b"\xff<|end|>")
    special_token_ids = (256,)

    def __call__(self, text):
        return list(text if isinstance(text, bytes) else text.encode())


TOKENIZER = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Bytes()))


def accepts(schema, text):
    grammar = llguidance.LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
    matcher = llguidance.LLMatcher(TOKENIZER, grammar)
    assert not matcher.get_error()
    return matcher.validate_tokens(list(text.encode())) == len(text.encode()) and (
        matcher.consume_tokens(list(text.encode())) and matcher.is_accepting()
    )


def reply(**phase):
    base = ResponseBase(
        text="A woman sits before a plain wall.", subject="a woman", framing="face", scene="a wall", camera="static",
        speaking="speaking", emotion=None,
    )  # fmt: skip
    one = {
        "evidence": "the chin goes down", "track": "head", "side": "none", "start_s": 1.0, "end_s": 2.25,
        "action": "nod", "action_raw": None, "amplitude": 2, "speed": None, "repetitions": 1, "text": "nods once",
    }  # fmt: skip
    return ResponseDocument(base=base, phases=(ResponsePhase(**{**one, **phase}),))


def test_a_reply_is_in_the_grammar():
    assert accepts(response_json_schema(5.04), reply().model_dump_json())


@pytest.mark.parametrize(
    "phase",
    [
        {"end_s": 5.05},
        {"start_s": -1.0},
        {"end_s": 1.234},
        {"track": "tail"},
        {"side": "west"},
        {"action": "fly"},
        {"amplitude": 4},
        {"repetitions": 0},
        {"text": "x" * 201},
        {"text": ""},
    ],
)
def test_what_is_out_of_range_is_not(phase):
    assert not accepts(response_json_schema(5.04), reply(**phase).model_dump_json())


def test_the_number_of_phases_is_capped_by_length_and_by_setting():
    assert response_json_schema(2.0)["properties"]["phases"]["maxItems"] == 4
    assert response_json_schema(60.0)["properties"]["phases"]["maxItems"] == 12
    assert response_json_schema(60.0, limits=ResponseLimits(max_phases=3))["properties"]["phases"]["maxItems"] == 3


def objects(schema):
    if schema.get("type") == "object":
        yield schema
    for inner in [*schema.get("properties", {}).values(), *schema.get("anyOf", []), schema.get("items")]:
        if inner:
            yield from objects(inner)


def test_the_schema_keeps_to_the_strict_mode_of_openai_like_servers():
    schema = response_json_schema(5.0)
    assert schema["type"] == "object"
    for one in objects(schema):
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
    assert not any(word in json.dumps(schema) for word in ("$ref", "default", "oneOf", "allOf"))


def test_schema_and_model_have_the_same_fields_in_the_same_order():
    schema = response_json_schema(5.0)
    assert list(schema["properties"]) == list(ResponseDocument.model_fields)
    assert list(schema["properties"]["base"]["properties"]) == list(ResponseBase.model_fields)
    assert list(schema["properties"]["phases"]["items"]["properties"]) == list(ResponsePhase.model_fields)


@given(st.floats(0.02, 600))
def test_the_largest_time_is_a_whole_step_inside_the_clip(duration_s):
    largest = response_json_schema(duration_s)["properties"]["phases"]["items"]["properties"]["end_s"]["maximum"]
    assert largest <= duration_s + 1e-6
    assert largest > duration_s - 0.011
    assert float(f"{largest:.2f}") == largest
