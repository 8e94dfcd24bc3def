"""HTTP answers of an OpenAI-compatible server, parsed as untrusted data."""

import email.utils
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from xsheet.annotate.vlm.response import one_line

RETRYABLE_STATUS = frozenset({408, 409, 425, 429})  # and all of 5xx
AUTH_FAILED_STATUS = frozenset({401, 403, 407})  # servers may echo the key, so the body is not shown
_Tokens = Annotated[int | None, Field(ge=0, lt=2**31)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer: text or error. `wait_s` marks an error as retryable after at least that time."""

    text: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None
    wait_s: float | None = None


class _ContentPart(BaseModel):
    type: str
    text: str = ""


class _CompletionMessage(BaseModel):
    content: str | list[_ContentPart] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        """The text, joined where the server sends parts."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if part.type in ("text", "output_text"))
        return self.content or ""


class _CompletionChoice(BaseModel):
    message: _CompletionMessage
    finish_reason: str | None = None


class _CompletionUsage(BaseModel):
    prompt_tokens: _Tokens = None
    completion_tokens: _Tokens = None


class _CompletionBody(BaseModel):
    choices: Annotated[list[_CompletionChoice], Field(min_length=1)]
    usage: _CompletionUsage | None = None


def read_completion(status: int, body: bytes, *, wait_s: float) -> Completion:
    """Parse an HTTP answer as a completion or an error."""
    if status in RETRYABLE_STATUS or status >= 500:
        return Completion(error=f"expected a reply, got status {status}: {_excerpt(body)}", wait_s=wait_s)
    if status in AUTH_FAILED_STATUS:
        return Completion(error=f"expected a reply, got status {status}: the server refuses the key")
    if 300 <= status < 400:
        return Completion(error=f"expected a reply, got status {status}: redirects are not followed")
    if not 200 <= status < 300:
        return Completion(error=f"expected a reply, got status {status}: {_excerpt(body)}")
    try:
        answer = _CompletionBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"]))
        return Completion(error=one_line(f"expected a chat completion, got another body ({at}: {first['msg']})"))
    choice, usage = answer.choices[0], answer.usage or _CompletionUsage()
    refusal = choice.message.refusal
    return Completion(
        text=refusal or choice.message.text,
        finish_reason="refusal" if refusal else choice.finish_reason,
        prompt_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
    )


def retry_after_s(header: str | None, *, now: float) -> float:
    """Seconds of a Retry-After header (number or date); 0 without a valid one."""
    if header is None:
        return 0.0
    try:
        if header.strip().isascii() and header.strip().isdigit():
            return float(header)
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return 0.0


def _excerpt(body: bytes) -> str:
    return one_line(body[:1000].decode("utf-8", errors="replace")) or "empty body"
