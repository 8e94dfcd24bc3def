"""An annotator over any vision-language model: describe what is done (pass A), then time it (pass B).

    annotator = VlmAnnotator(QwenClient(...), settings, propose=measured_intervals)
    for reply in annotator(asks): ...

A Chat below it may answer in any order, forget a turn or answer one twice: each ask still has exactly one reply.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeVar

from pydantic import Field

from xsheet.annotate.base import AnnotationRequest, AnnotatorReply
from xsheet.annotate.vlm.client import FrameSelection, SamplingParams, VlmClient, VlmRequest, VlmResponse
from xsheet.annotate.vlm.prompts import load_prompt, quote_untrusted
from xsheet.annotate.vlm.response import (
    STATUS_BY_FINISH_REASON,
    ResponseLimits,
    max_phases_for,
    parse_reply,
    response_json_schema,
)
from xsheet.schemas import run, vocab
from xsheet.schemas.ids import content_key
from xsheet.schemas.run import ModelInput, Usage
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import Span, seconds_from_us

log = logging.getLogger(__name__)
N = TypeVar("N", int, float)

NOMINAL_DURATION_S = (
    10.0  # the clip whose schema a run keeps; another length changes the largest time and the cap of phases only
)


class VlmSettings(StrictModel):
    """What a model is shown and how it answers."""

    fps: float = Field(
        default=8.0, gt=0, le=25, description="pictures per second; at 8 a phase of 0.6 s can be timed (sampling.py)"
    )
    max_frame_pixels: int = Field(
        default=480 * 832, ge=64 * 64, description="cap of a picture; the class of frame size that stage 2 trains on"
    )
    max_clip_pixels: int = Field(
        default=32_000_000, ge=4 * 64 * 64, description="budget of a call; 10 s at 8 fps under the cap, 16 k tokens"
    )
    describe: bool = Field(default=True, description="pass A before pass B; costs a second call per sample")
    response_limits: ResponseLimits = Field(default=ResponseLimits(), description="how much a reply may hold")
    temperature: float = Field(
        default=0.5, ge=0, le=2, description="near-greedy drawing collapses to one cookie-cutter event (Cosmos-Curate)"
    )
    top_p: float = Field(default=0.9, gt=0, le=1, description="same source")
    max_tokens: int = Field(default=4096, ge=64, description="of pass B; twelve phases need about 1 800")
    max_describe_tokens: int = Field(default=512, ge=32, description="of pass A; some 25 lines")
    max_transcript_chars: int = Field(default=2000, ge=0, description="of the transcript; ten seconds hold about 200")


@dataclass(frozen=True, slots=True)
class MotionCandidate:
    """A stretch in which a body part was measured to move."""

    track: vocab.Track
    span: Span

    def __str__(self) -> str:
        return f"{self.track} {seconds_from_us(self.span.start_us):.2f}-{seconds_from_us(self.span.end_us):.2f}"


class VlmAnnotator:
    """Any Chat as an Annotator. `propose` gives the measured candidates of an ask, as a ruler for pass B."""

    def __init__(
        self,
        client: VlmClient,
        settings: VlmSettings,
        *,
        propose_candidates: Callable[[AnnotationRequest], Sequence[MotionCandidate]] | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._propose_candidates = propose_candidates

    def __call__(self, requests: Sequence[AnnotationRequest], /) -> Iterator[AnnotatorReply]:
        """One reply to every ask, as they are ready."""
        described: dict[str, VlmResponse] = {}
        if self._settings.describe:
            for ask, said in self._call_client(requests, self._describe_request):
                if said.text is None or STATUS_BY_FINISH_REASON.get(said.finish_reason or "") in ("refused", "error"):
                    yield _annotator_reply(ask, said, describe_response=None, model_input=self._model_input(ask, said))
                else:
                    described[ask.request_id] = said
        left = [ask for ask in requests if not self._settings.describe or ask.request_id in described]
        for ask, said in self._call_client(left, lambda ask: self._segment_request(ask, described.get(ask.request_id))):
            yield _annotator_reply(
                ask, said, describe_response=described.get(ask.request_id), model_input=self._model_input(ask, said)
            )

    def _call_client(
        self, requests: Sequence[AnnotationRequest], build_request: Callable[[AnnotationRequest], VlmRequest]
    ) -> Iterator[tuple[AnnotationRequest, VlmResponse]]:
        """What the chat says to each ask, matched by id; an ask without an answer has an error."""
        turns = [build_request(ask) for ask in requests]
        waiting = {turn.request_id: ask for turn, ask in zip(turns, requests, strict=True)}
        for said in self._client(turns) if turns else ():
            ask = waiting.pop(said.request_id, None)
            if ask is None:
                log.warning("a reply to no open turn was left out turn=%r", said.request_id[:80])
            else:
                yield ask, said
        for turn_id, ask in waiting.items():
            yield ask, VlmResponse(request_id=turn_id, error="expected a reply to every turn, none came to this one")

    def _describe_request(self, request: AnnotationRequest) -> VlmRequest:
        system, text = load_prompt("describe").render(
            duration_s=_format_seconds(request.clip.duration_us), transcript=self._transcript(request)
        )
        return self._vlm_request(request, "describe", system, text)

    def _segment_request(self, request: AnnotationRequest, description: VlmResponse | None) -> VlmRequest:
        settings, duration_s = self._settings, seconds_from_us(request.clip.duration_us)
        notes = None if description is None or description.text is None else description.text
        system, text = load_prompt("segment").render(
            duration_s=_format_seconds(request.clip.duration_us),
            step_s=f"{1 / settings.fps:.3g}",
            max_phases=max_phases_for(duration_s, limits=settings.response_limits),
            tracks=vocab.TRACKS,
            actions=vocab.ACTIONS,
            candidates=[] if self._propose_candidates is None else list(self._propose_candidates(request)),
            description=None if notes is None else quote_untrusted(notes, max_chars=8 * settings.max_describe_tokens),
            transcript=self._transcript(request),
        )
        return self._vlm_request(request, "segment", system, text)

    def _vlm_request(self, request: AnnotationRequest, name: str, system: str, text: str) -> VlmRequest:
        settings, segmenting = self._settings, name == "segment"
        return VlmRequest(
            request_id=f"{request.request_id}.{name}",
            system=system,
            text=text,
            frame_selection=FrameSelection(
                media=request.media,
                frames=request.clip.frames,
                fps=settings.fps,
                max_frame_pixels=settings.max_frame_pixels,
                max_clip_pixels=settings.max_clip_pixels,
            ),
            schema=response_json_schema(seconds_from_us(request.clip.duration_us), limits=settings.response_limits)
            if segmenting
            else None,
            sampling=SamplingParams(
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_tokens=settings.max_tokens if segmenting else settings.max_describe_tokens,
                seed=request.seed,
            ),
        )

    def _transcript(self, request: AnnotationRequest) -> str | None:
        return (
            None
            if request.transcript is None
            else quote_untrusted(request.transcript, max_chars=self._settings.max_transcript_chars)
        )

    def _model_input(self, request: AnnotationRequest, response: VlmResponse) -> ModelInput | None:
        if response.model_input is None:
            return None
        return replace(
            response.model_input,
            transcript_sha256=None if request.transcript is None else _sha256(request.transcript),
            signals_sha256=None if self._propose_candidates is None else content_key(asdict(request.signals)),
        )


def _annotator_reply(
    request: AnnotationRequest,
    response: VlmResponse,
    *,
    describe_response: VlmResponse | None,
    model_input: ModelInput | None,
) -> AnnotatorReply:
    usage = _total_usage(Usage() if describe_response is None else describe_response.usage or Usage(), response)
    if response.error is not None:
        return AnnotatorReply(
            request_id=request.request_id,
            status="error",
            text=response.text,
            model_input=model_input,
            usage=usage,
            note=response.error,
        )
    parsed = parse_reply(response.text, finish_reason=response.finish_reason)
    return AnnotatorReply(
        request_id=request.request_id,
        status=parsed.status,
        text=response.text,
        model_input=model_input,
        usage=usage,
        note=parsed.note,
    )


def _total_usage(describe_response: Usage, response: VlmResponse) -> Usage:
    """The cost of both passes; the end is that of the last."""
    last = response.usage or Usage()
    return Usage(
        prompt_tokens=_add_optional(describe_response.prompt_tokens, last.prompt_tokens),
        vision_tokens=_add_optional(describe_response.vision_tokens, last.vision_tokens),
        output_tokens=_add_optional(describe_response.output_tokens, last.output_tokens),
        latency_s=_add_optional(describe_response.latency_s, last.latency_s),
        finish_reason=response.finish_reason,
    )


def _add_optional(a: N | None, b: N | None) -> N | None:
    return b if a is None else a if b is None else a + b


def run_prompts(settings: VlmSettings, *, grammar: str | None) -> tuple[run.Prompt, ...]:
    """The prompts of a run, whole, in order of use; the schema is that of a clip of ten seconds."""
    schema = json.dumps(
        response_json_schema(NOMINAL_DURATION_S, limits=settings.response_limits), separators=(",", ":")
    )
    passes: list[tuple[Literal["describe", "segment"], str]] = [("segment", schema)]
    if settings.describe:
        passes.insert(0, ("describe", ""))
    return tuple(
        run.Prompt(
            id=prompt.front_matter.id,
            version=prompt.front_matter.version,
            text=prompt.text,
            sha256=prompt.sha256,
            response_schema=sent,
            response_schema_sha256=_sha256(sent),
            grammar=grammar if sent else None,
        )
        for prompt, sent in ((load_prompt(name), sent) for name, sent in passes)
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _format_seconds(us: int) -> str:
    return f"{seconds_from_us(us):.2f}".rstrip("0").rstrip(".")
