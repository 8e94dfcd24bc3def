"""What a request to an endpoint holds: frames, sound, response schema and key."""

import io
import logging
import wave
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from endpoint_server import (
    FRAMES,
    KEY,
    settings,
    turn,
)

from xsheet.annotate.vlm.client import FrameSelection
from xsheet.annotate.vlm.endpoint import EndpointClient, EndpointSettings, request_body
from xsheet.annotate.vlm.frames import fit_size
from xsheet.schemas.errors import ConfigError


def test_each_picture_stands_behind_its_time(server, film):
    (response,) = EndpointClient(settings(server))([turn("good", film=film)])
    (body,) = server.bodies
    *pictures, question = body["messages"][1]["content"]
    assert [part["type"] for part in pictures] == ["text", "image_url"] * 6
    assert pictures[0]["text"] == "[0.00 s]"
    assert pictures[-2]["text"] == "[2.96 s]"
    assert question == {"type": "text", "text": "behave-good"}
    assert (response.model_input.stamps_us[0], response.model_input.stamps_us[-1]) == (0, 2_960_000)
    assert response.model_input.width * response.model_input.height <= 1_000  # a sixth of the clip's budget


@pytest.mark.parametrize(
    ("wanted", "present"),
    [("json_schema", "response_format"), ("structured_outputs", "structured_outputs"), ("none", None)],
)
def test_the_schema_is_sent_as_the_server_wants_it(wanted, present):
    how = EndpointSettings(base_url="http://localhost/v1", model="m", response_format=wanted)
    body = request_body(turn("good"), None, settings=how)
    assert {"response_format", "structured_outputs"} & set(body) == ({present} if present else set())


def test_the_same_shape_within_the_budget():
    assert fit_size(1280, 720, max_pixels=480 * 832) == (842, 472)
    assert fit_size(64, 48, max_pixels=10**6) == (64, 48)


def test_the_sound_of_a_clip_goes_as_a_wav_part_before_the_question():
    sound = np.linspace(-1, 1, 16_000, dtype=np.float32)
    settings = EndpointSettings(base_url="http://localhost/v1", model="omni")
    *_, part, question = request_body(turn("good"), None, sound, settings=settings)["messages"][1]["content"]
    assert (part["type"], question["type"]) == ("input_audio", "text")
    with wave.open(io.BytesIO(b64decode(part["input_audio"]["data"]))) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getnframes()) == (16_000, 1, 16_000)
        samples = np.frombuffer(wav.readframes(16_000), "<i2")
    np.testing.assert_allclose(samples / 32767, sound, atol=1e-4)


def test_the_length_of_the_sound_is_recorded(server, sounding_clip):
    selection = FrameSelection(
        media=sounding_clip, frames=FRAMES, fps=4, max_frame_pixels=10**6, max_clip_pixels=10**8, sound=True
    )
    client = EndpointClient(EndpointSettings(base_url=server.url, model="omni", retries=0))
    (response,) = client([replace(turn("good"), frame_selection=selection)])
    assert (response.error, response.model_input.audio_us) == (None, 3_000_000)
    assert "input_audio" in [part["type"] for part in server.bodies[-1]["messages"][1]["content"]]


def test_the_key_is_sent_and_stands_nowhere_else(server, key, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    chat = EndpointClient(settings(server, api_key_env=key))
    responses = list(chat([turn("good"), turn("denied"), turn("echo"), turn("dead")]))
    assert "bad request with Bearer ***" in {one.request_id: one.error for one in responses}["echo"]
    everything = repr((responses, vars(chat), chat, caplog.records, [r.__dict__ for r in caplog.records])) + caplog.text
    assert KEY not in everything


def test_a_missing_key_is_reported_before_any_call(server, monkeypatch):
    monkeypatch.delenv("TEST_ENDPOINT_KEY", raising=False)
    with pytest.raises(ConfigError, match="TEST_ENDPOINT_KEY"):
        list(EndpointClient(settings(server, api_key_env="TEST_ENDPOINT_KEY"))([turn("good")]))
    assert not server.asked


@pytest.mark.parametrize("url", ["ftp://host/v1", "http://user:secret@host/v1", "host/v1", "http://host/v1?key=a"])
def test_an_address_with_credentials_or_of_another_scheme_is_refused(url):
    with pytest.raises(ValueError, match="expected"):
        EndpointSettings(base_url=url, model="m")
