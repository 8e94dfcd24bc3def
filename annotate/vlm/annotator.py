"""An annotator over any vision-language model: describe the actions (pass A), then time them (pass B).

    annotator = VlmAnnotator(QwenClient(...), settings, propose_candidates=motion_candidates)
    for reply in annotator(requests): ...

The client may respond in any order, omit a request or respond twice: each request still gets exactly one reply.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeVar

from pydantic import Field

from xsheet.annotate.base import AnnotationRequest, AnnotatorReply
from xsheet.annotate.text.wording import format_seconds
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

NOMINAL_DURATION_S = 10.0  # clip length of the schema in the run record; others differ in times and phase limit only


class VlmSettings(StrictModel):
    """Frames, prompts and sampling of a vision-language model."""

    fps: float = Field(default=8.0, gt=0, le=25, description="frames per second; 8 suffices to time a phase of 0.6 s")
    max_frame_pixels: int = Field(
        default=480 * 832, ge=64 * 64, description="maximum pixels of a frame; the size that stage 2 trains on"
    )
    max_clip_pixels: int = Field(
        default=32_000_000, ge=4 * 64 * 64, description="maximum pixels of a call; 10 s at 8 fps, 16 k tokens"
    )
    sound: bool = Field(
        default=False, description="give the model the audio as well; for models with audio input, such as Qwen-Omni"
    )
    describe: bool = Field(default=True, description="pass A before pass B; costs a second call per sample")
    response_limits: ResponseLimits = Field(default=ResponseLimits(), description="limits of a reply")
    temperature: float = Field(
        default=0.5, ge=0, le=2, description="near-greedy sampling repeats one event (Cosmos-Curate)"
    )
    top_p: float = Field(default=0.9, gt=0, le=1, description="same source")
    max_tokens: int = Field(default=4096, ge=64, description="of pass B; twelve phases need about 1 800")
    max_describe_tokens: int = Field(default=512, ge=32, description="of pass A; some 25 lines")
    max_transcript_chars: int = Field(default=2000, ge=0, description="of the transcript; ten seconds hold about 200")


@dataclass(frozen=True, slots=True)
class MotionCandidate:
    """A span with measured motion of a track."""

    track: vocab.Track
    span: Span

    def __str__(self) -> str:
        return f"{self.track} {seconds_from_us(self.span.start_us):.2f}-{seconds_from_us(self.span.end_us):.2f}"


class VlmAnnotator:
    """Any VlmClient as an Annotator. `propose_candidates` gives the spans with measured motion for pass B."""

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
        """Yield one reply per request, as they finish."""
        descriptions: dict[str, VlmResponse] = {}
        if self._settings.describe:
            for request, response in self._call_client(requests, self._describe_request):
                if response.text is None or STATUS_BY_FINISH_REASON.get(response.finish_reason or "") in (
                    "refused",
                    "error",
                ):
                    yield _annotator_reply(
                        request, response, describe_response=None, model_input=self._model_input(request, response)
                    )
                else:
                    descriptions[request.request_id] = response
        remaining = [
            request for request in requests if not self._settings.describe or request.request_id in descriptions
        ]
        for request, response in self._call_client(
            remaining, lambda request: self._segment_request(request, descriptions.get(request.request_id))
        ):
            yield _annotator_reply(
                request,
                response,
                describe_response=descriptions.get(request.request_id),
                model_input=self._model_input(request, response),
            )

    def _call_client(
        self, requests: Sequence[AnnotationRequest], build_request: Callable[[AnnotationRequest], VlmRequest]
    ) -> Iterator[tuple[AnnotationRequest, VlmResponse]]:
        """Responses of the client matched to requests by id; a request without a response gets an error."""
        vlm_requests = [build_request(request) for request in requests]
        pending = {vlm_request.request_id: request for vlm_request, request in zip(vlm_requests, requests, strict=True)}
        for response in self._client(vlm_requests) if vlm_requests else ():
            request = pending.pop(response.request_id, None)
            if request is None:
                log.warning("dropped a response to an unknown request id=%r", response.request_id[:80])
            else:
                yield request, response
        for request_id, request in pending.items():
            yield (
                request,
                VlmResponse(request_id=request_id, error="expected a response to every request, got none to this one"),
            )

    def _describe_request(self, request: AnnotationRequest) -> VlmRequest:
        system, text = load_prompt("describe").render(
            duration_s=format_seconds(request.clip.duration_us),
            transcript=self._transcript(request),
            has_sound=self._has_sound(request),
        )
        return self._vlm_request(request, "describe", system, text)

    def _segment_request(self, request: AnnotationRequest, description: VlmResponse | None) -> VlmRequest:
        settings, duration_s = self._settings, seconds_from_us(request.clip.duration_us)
        notes = None if description is None or description.text is None else description.text
        system, text = load_prompt("segment").render(
            duration_s=format_seconds(request.clip.duration_us),
            step_s=f"{1 / settings.fps:.3g}",
            max_phases=max_phases_for(duration_s, limits=settings.response_limits),
            tracks=vocab.TRACKS,
            actions=vocab.ACTIONS,
            candidates=[] if self._propose_candidates is None else list(self._propose_candidates(request)),
            description=None if notes is None else quote_untrusted(notes, max_chars=8 * settings.max_describe_tokens),
            transcript=self._transcript(request, timed=True),
            has_word_times=bool(request.words),
            has_sound=self._has_sound(request),
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
                sound=self._has_sound(request),
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

    def _has_sound(self, request: AnnotationRequest) -> bool:
        return self._settings.sound and request.clip.samples > 0

    def _transcript(self, request: AnnotationRequest, *, timed: bool = False) -> str | None:
        if request.transcript is None:
            return None
        text = request.transcript
        if timed and request.words:
            text = " ".join(
                f"{word.text} ({format_seconds(word.start_us)}-{format_seconds(word.end_us)})" for word in request.words
            )
        return quote_untrusted(text, max_chars=self._settings.max_transcript_chars)

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
    """Usage of both passes; the finish reason of the last."""
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
    """The prompts of a run in order of use; the schema is for a clip of NOMINAL_DURATION_S."""
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
            response_schema=schema,
            response_schema_sha256=_sha256(schema),
            grammar=grammar if schema else None,
        )
        for prompt, schema in ((load_prompt(name), schema) for name, schema in passes)
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
