"""A VlmClient over any OpenAI-compatible server: vLLM, SGLang, Ray Serve LLM, or a paid one.

Calls run concurrently and are yielded as they finish. Retryable errors (timeouts, 408, 429, 5xx) are retried with full
jitter, not before the server's Retry-After; any other error belongs to its request. Redirects are not followed. The key
is read from the environment at call time, is never stored, logged or shown, and is redacted from answers.
"""

import asyncio
import logging
import os
import random
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import Field, field_validator

from xsheet.annotate.vlm.background import run_in_background
from xsheet.annotate.vlm.client import VlmRequest, VlmResponse
from xsheet.annotate.vlm.completion import Completion, read_completion, retry_after_s
from xsheet.annotate.vlm.frames import JpegFrames, encode_jpeg_frames
from xsheet.annotate.vlm.response import one_line
from xsheet.annotate.vlm.sound import encode_wav, read_sound, sound_length_us
from xsheet.curate.media.audio import Samples
from xsheet.schemas.errors import ConfigError, MediaError
from xsheet.schemas.run import ModelInput, Usage
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import seconds_from_us

log = logging.getLogger(__name__)

MIN_SECRET_CHARS = 8


class EndpointSettings(StrictModel):
    """Which server, and how to call it."""

    base_url: str = Field(description="address up to and including /v1; no credentials in it")
    model: str = Field(min_length=1, description="name of the model as the server lists it")
    api_key_env: str | None = Field(default=None, description="environment variable that holds the key; null = no key")
    response_format: Literal["json_schema", "structured_outputs", "none"] = Field(
        default="json_schema",
        description="how the schema is sent: as OpenAI does, as vLLM does since 0.12, or not at all",
    )
    concurrency: int = Field(default=8, ge=1, le=1024, description="concurrent calls; servers batch some 8-64")
    timeout_s: float = Field(default=180, gt=0, le=3600, description="of one attempt; 4 096 tokens at 30/s")
    retries: int = Field(default=5, ge=0, le=20, description="further attempts of one call")
    backoff_s: float = Field(default=1, ge=0, le=60, description="bound of the first wait; doubles with every attempt")
    max_wait_s: float = Field(default=60, ge=0, le=3600, description="bound of any wait, also of Retry-After")
    max_reply_bytes: int = Field(default=1_000_000, ge=1024, description="of an answer; 4 096 tokens are some 20 kB")
    jpeg_quality: int = Field(default=90, ge=50, le=100, description="of the frames; below, fingers blur")
    price_per_1k_prompt: float | None = Field(default=None, ge=0, description="any currency; for --dry-run")
    price_per_1k_output: float | None = Field(default=None, ge=0, description="in the same currency")

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("expected http(s)://host[:port]/path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("expected no credentials in the address: they would be stored; use api_key_env")
        return url.rstrip("/")


class EndpointClient:
    """A VlmClient over HTTP. Holds settings only; every call opens its own connections."""

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings

    def __call__(self, requests: Sequence[VlmRequest], /) -> Iterator[VlmResponse]:
        """Yield one response per request, as they finish.

        Raises:
            ConfigError: the environment variable of the key is not set.
        """
        key = _key(self._settings)
        with run_in_background(partial(self._complete_all, requests, key)) as replies:
            yield from replies

    async def _complete_all(
        self, requests: Sequence[VlmRequest], key: str | None, put: Callable[[VlmResponse], None]
    ) -> None:
        pending = iter(requests)
        limits = httpx.Limits(max_connections=self._settings.concurrency)
        async with httpx.AsyncClient(headers=_headers(key), limits=limits, follow_redirects=False) as client:

            async def work() -> None:
                for request in pending:
                    put(await self._complete(request, client, key))

            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self._settings.concurrency, len(requests))):
                    workers.create_task(work())

    async def _complete(self, request: VlmRequest, client: httpx.AsyncClient, key: str | None) -> VlmResponse:
        """One request: encode frames, call, retry."""
        try:
            # Decoding takes a second of CPU; a thread keeps the other calls running.
            frames = None if request.frame_selection is None else await asyncio.to_thread(
                encode_jpeg_frames, request.frame_selection, quality=self._settings.jpeg_quality
            )  # fmt: skip
            selection = request.frame_selection
            sound = None if selection is None or not selection.sound else await asyncio.to_thread(read_sound, selection)
        except (MediaError, ValueError) as error:
            return VlmResponse(request_id=request.request_id, error=_frame_error(request, error))
        body = request_body(request, frames, sound, settings=self._settings)
        started_s, rng = time.monotonic(), random.Random(request.request_id)
        completion = await self._attempt(client, body, key)
        for attempt in range(self._settings.retries):
            if completion.wait_s is None:
                break
            wait_s = self._wait_s(completion.wait_s, attempt, rng)
            log.info(
                "retry request=%s attempt=%d wait_s=%.2f: %s", request.request_id, attempt + 1, wait_s, completion.error
            )
            await asyncio.sleep(wait_s)
            completion = await self._attempt(client, body, key)
        model_input = None if frames is None else _model_input(frames, sound)
        return _response(request, completion, model_input, seconds=time.monotonic() - started_s)

    def _wait_s(self, retry_after_s: float, attempt: int, rng: random.Random) -> float:
        """Full jitter spreads the retries; at least the server's Retry-After."""
        bound_s = min(self._settings.max_wait_s, self._settings.backoff_s * 2**attempt)
        return min(max(rng.uniform(0, bound_s), retry_after_s), self._settings.max_wait_s)

    async def _attempt(self, client: httpx.AsyncClient, body: Mapping[str, Any], key: str | None) -> Completion:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._post(client, body, key)
        except (TimeoutError, httpx.RequestError) as error:
            # The error text may contain the address; its class name suffices.
            message = f"expected an answer in {self._settings.timeout_s:g} s, got {type(error).__name__}"
            return Completion(error=message, wait_s=0)

    async def _post(self, client: httpx.AsyncClient, body: Mapping[str, Any], key: str | None) -> Completion:
        url = self._settings.base_url + "/chat/completions"
        received = bytearray()
        async with client.stream("POST", url, json=body, timeout=self._settings.timeout_s) as response:
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > self._settings.max_reply_bytes:
                    return Completion(error=f"expected at most {self._settings.max_reply_bytes} bytes, got more")
        wait_s = retry_after_s(response.headers.get("retry-after"), now=time.time())
        return read_completion(response.status_code, _redact_key(key, bytes(received)), wait_s=wait_s)


def request_body(
    request: VlmRequest, frames: JpegFrames | None, sound: Samples | None = None, *, settings: EndpointSettings
) -> dict[str, Any]:
    """A request as the body of a chat completion: each frame follows its time, then the sound, last the question."""
    content: list[dict[str, Any]] = []
    if frames is not None:
        for jpeg, us in zip(frames.jpegs, frames.stamps_us, strict=True):
            content.append({"type": "text", "text": f"[{seconds_from_us(us):.2f} s]"})
            url = "data:image/jpeg;base64," + b64encode(jpeg).decode()
            content.append({"type": "image_url", "image_url": {"url": url}})
    if sound is not None:
        wav = b64encode(encode_wav(sound)).decode()
        content.append({"type": "input_audio", "input_audio": {"data": wav, "format": "wav"}})
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [
            {"role": "system", "content": request.system},
            {"role": "user", "content": [*content, {"type": "text", "text": request.text}]},
        ],
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "max_tokens": request.sampling.max_tokens,
        "seed": request.sampling.seed,
    }
    if request.schema is not None and settings.response_format == "json_schema":
        json_schema = {"name": "annotation", "strict": True, "schema": dict(request.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
    if request.schema is not None and settings.response_format == "structured_outputs":
        # Legal white space can run to the token limit (vllm#38696).
        body["structured_outputs"] = {"json": dict(request.schema), "disable_any_whitespace": True}
    return body


def token_price(prompt_tokens: int, output_tokens: int, settings: EndpointSettings) -> float | None:
    """Price in the currency of the settings; None without both prices."""
    if settings.price_per_1k_prompt is None or settings.price_per_1k_output is None:
        return None
    return (prompt_tokens * settings.price_per_1k_prompt + output_tokens * settings.price_per_1k_output) / 1000


def _response(
    request: VlmRequest, completion: Completion, model_input: ModelInput | None, *, seconds: float
) -> VlmResponse:
    usage = Usage(
        prompt_tokens=completion.prompt_tokens,
        output_tokens=completion.output_tokens,
        latency_s=seconds,
        finish_reason=completion.finish_reason,
    )
    return VlmResponse(
        request_id=request.request_id,
        text=completion.text,
        finish_reason=completion.finish_reason,
        usage=usage,
        model_input=model_input,
        error=completion.error,
    )


def _frame_error(request: VlmRequest, error: MediaError | ValueError) -> str:
    # Without the folder: it is local to this machine.
    reason = f"expected {error.expected}, got {error.got}" if isinstance(error, MediaError) else str(error)
    return one_line(
        f"{request.frame_selection.media.name if request.frame_selection else 'the clip'} cannot be decoded: {reason}"
    )


def _model_input(frames: JpegFrames, sound: Samples | None) -> ModelInput:
    # The number of patches is known to the server only.
    return ModelInput(
        frame_indices=frames.indices, stamps_us=frames.stamps_us, width=frames.width, height=frames.height,
        patches=None, audio_us=None if sound is None else sound_length_us(sound),
    )  # fmt: skip


def _headers(key: str | None) -> dict[str, str]:
    # Compressed answers could exceed the byte limit when decompressed.
    headers = {"accept-encoding": "identity"}
    return headers if key is None else {**headers, "authorization": f"Bearer {key}"}


def _key(settings: EndpointSettings) -> str | None:
    if settings.api_key_env is None:
        return None
    key = os.environ.get(settings.api_key_env, "").strip()
    if not key:
        raise ConfigError(
            where=f"environment variable {settings.api_key_env}", expected="the key of the endpoint", got="nothing",
            hint="export it, or set api_key_env to null for a server without a key",
        )  # fmt: skip
    return key


def _redact_key(key: str | None, body: bytes) -> bytes:
    # Servers echo a wrong key. A placeholder such as "EMPTY" is no secret and may be a word of the reply.
    return body if key is None or len(key) < MIN_SECRET_CHARS else body.replace(key.encode(), b"***")
