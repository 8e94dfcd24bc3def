"""Response schema: the JSON document that a model writes (times in float seconds), its JSON schema, and its parser.

Fields follow the order of decisions: evidence, track, side, times, class, text. A grammar enforces vocabulary, ranges
and lengths; `normalise` enforces start < end and phases of one track that do not overlap.

    status      when
    truncated   the engine stopped at its token limit; the text is never parsed
    refused     the engine's filter or the model declined, according to the finish reason
    error       the engine aborted the call
    invalid     empty, no JSON, a duplicate key, or not the response schema
    ok          the response schema; unwrapping it is a repair

`json_document` describes what may surround the document and which fields are repaired.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xsheet.annotate.vlm.json_document import extract_object, mend_fields
from xsheet.schemas import vocab
from xsheet.schemas.annotation import Repair
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.vocab import ResponseStatus

TIME_STEP_S = 0.01  # two decimals: finer than a frame, and bounded in length
MIN_PHASE_SPACING_S = 0.5  # at most one phase per half second; more is filler


class ResponseLimits(StrictModel):
    """Limits of a reply: guards against endless output, about twice what good replies need."""

    max_phases: int = Field(default=12, ge=0, le=64, description="phases of a clip, however long")
    max_text_chars: int = Field(default=200, ge=8, le=400, description="words of a phase; the contract allows 400")
    max_evidence_chars: int = Field(default=160, ge=8, le=400, description="visible evidence of a phase")
    max_base_chars: int = Field(default=500, ge=40, le=600, description="description of the clip; contract: 600")
    max_label_chars: int = Field(default=80, ge=8, le=200, description="subject, scene, mood, own word for a class")


DEFAULT_LIMITS = ResponseLimits()


class _ResponseModel(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class ResponseBase(_ResponseModel):
    """Base of a reply."""

    text: str
    subject: str
    framing: vocab.Framing
    scene: str
    camera: vocab.Camera
    speaking: vocab.Speaking
    emotion: str | None


class ResponsePhase(_ResponseModel):
    """One timed action. Vocabulary fields are plain strings: an endpoint may ignore the schema; normalise maps them."""

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
    """A reply."""

    base: ResponseBase
    phases: tuple[ResponsePhase, ...]


def response_json_schema(duration_s: float, *, limits: ResponseLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """JSON schema of a reply for one clip.

    It uses only what llguidance, xgrammar and the strict mode of OpenAI-compatible servers share: every property is
    required, nothing else is allowed, absence is null, the root is an object.

    Args:
        duration_s: length of the clip, > 0; the maximum of every time.
        limits: limits of the reply.
    """
    # `multipleOf` bounds the digits: without it a model may write 1.2000000 up to the token limit.
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
        text=_text(limits.max_text_chars, min_length=1),
    )
    base = _object(
        text=_text(limits.max_base_chars, min_length=4),
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
    """Maximum number of phases for a clip of this length."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedReply:
    """A parsed reply, or the reason why there is none."""

    status: ResponseStatus
    reply: ResponseDocument | None = None
    repairs: tuple[Repair, ...] = ()
    note: str | None = None


def parse_reply(text: str | None, *, finish_reason: str | None) -> ParsedReply:
    """Parse a raw reply."""
    status = STATUS_BY_FINISH_REASON.get(finish_reason or "")
    if status is not None:
        return ParsedReply(status=status, note=f"the engine stopped with {finish_reason!r}")
    if text is None or not text.strip():
        return ParsedReply(status="invalid", note="expected a JSON object, got an empty reply")
    repairs: tuple[Repair, ...] = ()
    try:
        document, repairs = _read_document(text)
        reply = ResponseDocument.model_validate_json(json.dumps(document))
    except ValidationError as error:
        return ParsedReply(status="invalid", note=_first_error(error), repairs=repairs)
    except (ValueError, RecursionError) as error:
        return ParsedReply(status="invalid", note=one_line(f"expected one JSON object, got {error}"), repairs=repairs)
    return ParsedReply(status="ok", reply=reply, repairs=repairs)


def _read_document(text: str) -> tuple[dict[str, Any], tuple[Repair, ...]]:
    """The object of a reply with the keys of the schema, and the repairs that this took."""
    document, repairs = extract_object(text)
    document, more = mend_fields(document, path="", known=ResponseDocument.model_fields, nullable=())
    repairs += more
    base, phases = document.get("base"), document.get("phases")
    if isinstance(base, dict):
        document["base"], more = mend_fields(
            base, path="base", known=ResponseBase.model_fields, nullable=_nullable(ResponseBase)
        )
        repairs += more
    if isinstance(phases, list):
        mended = []
        for k, phase in enumerate(phases):
            if isinstance(phase, dict):
                known, nullable = ResponsePhase.model_fields, _nullable(ResponsePhase)
                phase, more = mend_fields(phase, path=f"phases/{k}", known=known, nullable=nullable)  # noqa: PLW2901
                repairs += more
            mended.append(phase)
        document["phases"] = mended
    return document, tuple(repairs)


def _nullable(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(name for name, field in model.model_fields.items() if type(None) in get_args(field.annotation))


def one_line(text: str) -> str:
    """Untrusted text on one line of printable characters, truncated to MAX_NOTE_CHARS."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return line if len(line) <= MAX_NOTE_CHARS else line[: MAX_NOTE_CHARS - 1] + "…"


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    location = ".".join(str(part) for part in first["loc"])
    others = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return one_line(f"{location}: {first['msg']}{others}")
