"""The wire form: what a model writes, small and in float seconds, and the JSON schema that holds it to that.

Fields stand in the order in which they are to be decided: what was seen, which part, whose side, when, which class, in
which words. A grammar enforces words, ranges and lengths; that a phase starts before it ends and that phases of one
track do not overlap no grammar can say (parse and normalise do).
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xsheet.schemas import vocab
from xsheet.schemas.annotation import Repair
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.vocab import ResponseStatus

TIME_STEP_S = 0.01  # times have two decimals: finer than a frame, and a number cannot grow digits without end
MIN_PHASE_SPACING_S = 0.5  # at most one phase per half second ; what models say beyond that is filler


class ResponseLimits(StrictModel):
    """How much a reply may hold. Lengths are guards against endless output, about twice what good replies need."""

    max_phases: int = Field(default=12, ge=0, le=64, description="phases of a clip, however long")
    max_text_chars: int = Field(default=200, ge=8, le=400, description="words of a phase; the contract allows 400")
    max_evidence_chars: int = Field(default=160, ge=8, le=400, description="what was seen of a phase")
    max_base_chars: int = Field(default=500, ge=40, le=600, description="description of the clip; contract: 600")
    max_label_chars: int = Field(default=80, ge=8, le=200, description="subject, scene, mood, own word for a class")


DEFAULT_LIMITS = ResponseLimits()


class _ResponseModel(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class ResponseBase(_ResponseModel):
    """What holds for the whole clip."""

    text: str
    subject: str
    framing: vocab.Framing
    scene: str
    camera: vocab.Camera
    speaking: vocab.Speaking
    emotion: str | None


class ResponsePhase(_ResponseModel):
    """One timed action. Words are open here: an endpoint may ignore the schema, and normalise knows what to do then."""

    evidence: str
    track: str
    side: str
    start_s: float
    end_s: float
    action: str
    action_raw: str | None
    amplitude: int | None
    speed: int | None
    repetitions: int | None
    text: str


class ResponseDocument(_ResponseModel):
    """A whole reply."""

    base: ResponseBase
    phases: tuple[ResponsePhase, ...]


def response_json_schema(duration_s: float, *, limits: ResponseLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """JSON schema of a reply about one clip.

    It uses only what llguidance, xgrammar and the strict mode of OpenAI-compatible servers share: every property is
    required, nothing else is allowed, absence is null, the root is an object.

    Args:
        duration_s: length of the clip, > 0; no time may lie beyond it.
        limits: how much the reply may hold.
    """
    # `multipleOf` also bounds the digits: without it a model may write 1.2000000 to the last token.
    last_s = math.floor(round(duration_s / TIME_STEP_S, 6)) * TIME_STEP_S
    instant = {"type": "number", "minimum": 0, "maximum": round(last_s, 2), "multipleOf": TIME_STEP_S}
    phase = _object(
        evidence=_text(limits.max_evidence_chars, min_length=3),
        track=_one_of(vocab.Track),
        side=_one_of(vocab.Laterality),
        start_s=instant,
        end_s=instant,
        action=_one_of(vocab.Action),
        action_raw=_or_null(_text(limits.max_label_chars)),
        amplitude=_or_null({"type": "integer", "minimum": 0, "maximum": 3}),
        speed=_or_null({"type": "integer", "minimum": 0, "maximum": 3}),
        repetitions=_or_null({"type": "integer", "minimum": 1, "maximum": 99}),
        text=_text(limits.max_text_chars, min_length=3),
    )
    base = _object(
        text=_text(limits.max_base_chars, min_length=20),
        subject=_text(limits.max_label_chars),
        framing=_one_of(vocab.Framing),
        scene=_text(limits.max_label_chars),
        camera=_one_of(vocab.Camera),
        speaking=_one_of(vocab.Speaking),
        emotion=_or_null(_text(limits.max_label_chars)),
    )
    return _object(
        base=base, phases={"type": "array", "maxItems": max_phases_for(duration_s, limits=limits), "items": phase}
    )


def max_phases_for(duration_s: float, *, limits: ResponseLimits) -> int:
    """Most phases that a reply about a clip of this length may hold."""
    return min(limits.max_phases, math.ceil(duration_s / MIN_PHASE_SPACING_S))


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _text(max_length: int, *, min_length: int = 1) -> dict[str, Any]:
    return {"type": "string", "minLength": min_length, "maxLength": max_length}


def _one_of(literal: Any) -> dict[str, Any]:
    return {"type": "string", "enum": list(get_args(literal))}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


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
