"""Raw text → wire form, strictly. How the engine stopped is looked at first: a reply cut short is never parsed.

    status      when
    truncated   the engine stopped at its token limit, whatever the text looks like
    refused     the engine's filter or the model itself declined (as the engine says, not as the prose sounds)
    error       the engine gave up on the call
    invalid     empty, no JSON, JSON with a key twice, or not the wire form
    ok          the wire form; what had to be taken off around it is a repair

Nothing inside the JSON is mended here: a closed bracket or a missing number would be our invention.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from xsheet.annotate.vlm.response import ResponseDocument
from xsheet.schemas.annotation import Repair
from xsheet.schemas.vocab import ResponseStatus

STATUS_BY_FINISH_REASON: dict[str, ResponseStatus] = {
    "length": "truncated",
    "max_tokens": "truncated",
    "content_filter": "refused",
    "refusal": "refused",
    "abort": "error",
    "error": "error",
}
MAX_NOTE_CHARS = 300
_THINKING = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
_FENCE = re.compile(r"[^`]*```(?:json|JSON)?\s*\n(?P<inside>[^`]*)\n\s*```[^`]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """A reply in wire form, or why there is none."""

    status: ResponseStatus
    reply: ResponseDocument | None = None
    repairs: tuple[Repair, ...] = ()
    note: str | None = None


def parse_reply(text: str | None, *, finish_reason: str | None) -> ParsedReply:
    """One raw reply as wire form."""
    stopped = STATUS_BY_FINISH_REASON.get(finish_reason or "")
    if stopped is not None:
        return ParsedReply(status=stopped, note=f"the engine stopped with {finish_reason!r}")
    if text is None or not text.strip():
        return ParsedReply(status="invalid", note="expected a JSON object, got an empty reply")
    inside, repairs = _unwrap(text)
    try:
        json.loads(inside, object_pairs_hook=_refuse_duplicate_keys, parse_constant=_refuse_constant)
        reply = ResponseDocument.model_validate_json(inside)
    except ValidationError as error:
        return ParsedReply(status="invalid", note=_first_error(error), repairs=repairs)
    except (ValueError, RecursionError) as error:
        return ParsedReply(status="invalid", note=one_line(f"expected one JSON object, got {error}"), repairs=repairs)
    return ParsedReply(status="ok", reply=reply, repairs=repairs)


def one_line(text: str) -> str:
    """Foreign text for a note: one line, no control characters, not too long."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= MAX_NOTE_CHARS else line[: MAX_NOTE_CHARS - 1] + "…"


def _unwrap(text: str) -> tuple[str, tuple[Repair, ...]]:
    """The JSON without a leading block of thoughts and without one code fence around it."""
    repairs = []
    thoughts = _THINKING.match(text)
    if thoughts:
        repairs.append(_unwrap_repair("thoughts", thoughts.end(), reason="the model thought aloud before its answer"))
        text = text[thoughts.end() :]
    fence = None if text.lstrip().startswith("{") else _FENCE.fullmatch(text)
    if fence:
        around = len(text) - len(fence["inside"])
        repairs.append(_unwrap_repair("fence", around, reason="the model put its answer into a code block"))
        text = fence["inside"]
    return text, tuple(repairs)


def _unwrap_repair(what: str, characters: int, *, reason: str) -> Repair:
    return Repair(op="unwrap", path="", before=f"{what}, {characters} characters", reason=reason)


def _refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The last of two equal keys would win in silence.
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object with a key twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the constant {name}")


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    at = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return one_line(f"{at}: {first['msg']}{more}")
