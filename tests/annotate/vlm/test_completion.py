"""What a chat completion says: text, refusal, cost, and when to try again."""

import json

import pytest

from xsheet.annotate.vlm.completion import read_completion, retry_after_s
from xsheet.annotate.vlm.endpoint import EndpointSettings, token_price
from xsheet.annotate.vlm.response import parse_reply


def test_cost_follows_from_tokens_and_prices():
    priced = EndpointSettings(base_url="http://h/v1", model="m", price_per_1k_prompt=0.5, price_per_1k_output=2.0)
    assert token_price(3000, 500, priced) == 2.5
    assert token_price(3000, 500, EndpointSettings(base_url="http://h/v1", model="m", price_per_1k_prompt=0.5)) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("7", 7),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", 0),
        ("-1", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header, seconds):
    assert retry_after_s(header, now=10.0) == seconds


@pytest.mark.parametrize(
    "body", [b"", b"null", b"{}", b'{"choices": []}', b'{"choices": [{"message": 3}]}', b"\xff\xfe", b"[" * 10_000]
)
def test_another_body_is_an_error(body):
    assert read_completion(200, body, wait_s=0).error.startswith("expected a chat completion")


def test_a_refusal_of_the_model_is_a_refusal():
    body = json.dumps({"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]})
    found = read_completion(200, body.encode(), wait_s=0)
    assert (found.text, found.finish_reason) == ("No.", "refusal")
    assert parse_reply(found.text, finish_reason=found.finish_reason).status == "refused"
