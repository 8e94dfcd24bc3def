"""Qwen-Omni's path without its weights: random ones, real processors, on the CPU."""

from dataclasses import replace

import pytest

from xsheet.annotate.settings import AnnotateSettings, open_annotator
from xsheet.annotate.vlm.client import FrameSelection, SamplingParams, VlmRequest
from xsheet.annotate.vlm.qwen.folder import QwenSettings
from xsheet.annotate.vlm.qwen.model import QwenClient
from xsheet.annotate.vlm.response import ResponseDocument, ResponseLimits, response_json_schema
from xsheet.schemas.errors import ConfigError

pytestmark = pytest.mark.slow  # models

SHORT = ResponseLimits(max_phases=1, max_text_chars=12, max_evidence_chars=8, max_base_chars=40, max_label_chars=8)


@pytest.fixture(scope="module")
def client(omni_folder):
    client = QwenClient(QwenSettings(model=omni_folder, dtype="float32", device="cpu"))
    client.open()
    return client


@pytest.fixture(scope="module")
def request_with_sound(sounding_clip):
    selection = FrameSelection(
        media=sounding_clip, frames=75, fps=4, max_frame_pixels=64 * 64, max_clip_pixels=10**6, sound=True
    )
    return VlmRequest(
        request_id="with_sound",
        system="Be exact.",
        text="What is done, and when?",
        frame_selection=selection,
        schema=None,
        sampling=SamplingParams(temperature=0.0, top_p=1.0, max_tokens=8, seed=0),
    )


def test_frames_and_sound_reach_the_model_and_the_record(client, request_with_sound):
    silent = replace(
        request_with_sound,
        request_id="silent",
        frame_selection=replace(request_with_sound.frame_selection, sound=False),
    )
    responses = {one.request_id: one for one in client([request_with_sound, silent])}
    response, silent_response = responses["with_sound"], responses["silent"]
    assert (response.error, silent_response.error) == (None, None)
    assert (response.model_input.audio_us, silent_response.model_input.audio_us) == (3_000_000, None)
    assert response.model_input.frame_indices == silent_response.model_input.frame_indices
    assert len(response.model_input.stamps_us) == 6
    assert (
        response.usage.prompt_tokens > silent_response.usage.prompt_tokens + 30
    )  # some 13 or 25 tokens per second of sound


def test_a_reply_follows_the_schema(client, request_with_sound):
    asked = replace(
        request_with_sound,
        schema=response_json_schema(3.0, limits=SHORT),
        sampling=SamplingParams(temperature=1.0, top_p=1.0, max_tokens=1200, seed=1),
    )
    (response,) = client([asked])
    ResponseDocument.model_validate_json(response.text)


def test_a_model_that_does_not_hear_refuses_sound(qwen_folder, tmp_path):
    settings = AnnotateSettings.model_validate({"qwen": {"model": qwen_folder}, "vlm": {"sound": True}})
    with pytest.raises(ConfigError, match="a model with audio input"):
        open_annotator(settings, cache_folder=tmp_path)
