"""An annotator over any vision-language model: describe what is done (pass A), then time it (pass B).

    annotator = VlmAnnotator(QwenChat(...), settings, propose=measured_intervals)
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

from xsheet.annotate.base import Ask, Reply
from xsheet.annotate.vlm.client import Chat, Draw, Film, Said, Turn
from xsheet.annotate.vlm.parse import STOPPED, parse
from xsheet.annotate.vlm.prompts import load, quoted
from xsheet.annotate.vlm.response import WireLimits, phase_cap, wire_schema
from xsheet.schemas import run, vocab
from xsheet.schemas.annotation import Seen, Usage
from xsheet.schemas.ids import content_key
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import Span, seconds_from_us

log = logging.getLogger(__name__)
N = TypeVar("N", int, float)

NOMINAL_S = (
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
    wire: WireLimits = Field(default=WireLimits(), description="how much a reply may hold")
    temperature: float = Field(
        default=0.5, ge=0, le=2, description="near-greedy drawing collapses to one cookie-cutter event (Cosmos-Curate)"
    )
    top_p: float = Field(default=0.9, gt=0, le=1, description="same source")
    max_tokens: int = Field(default=4096, ge=64, description="of pass B; twelve phases need about 1 800")
    max_describe_tokens: int = Field(default=512, ge=32, description="of pass A; some 25 lines")
    max_transcript_chars: int = Field(default=2000, ge=0, description="of the transcript; ten seconds hold about 200")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stretch in which a body part was measured to move."""

    track: vocab.Track
    span: Span

    def __str__(self) -> str:
        return f"{self.track} {seconds_from_us(self.span.start_us):.2f}-{seconds_from_us(self.span.end_us):.2f}"


class VlmAnnotator:
    """Any Chat as an Annotator. `propose` gives the measured candidates of an ask, as a ruler for pass B."""

    def __init__(
        self, chat: Chat, settings: VlmSettings, *, propose: Callable[[Ask], Sequence[Candidate]] | None = None
    ) -> None:
        self._chat = chat
        self._settings = settings
        self._propose = propose

    def __call__(self, asks: Sequence[Ask], /) -> Iterator[Reply]:
        """One reply to every ask, as they are ready."""
        described: dict[str, Said] = {}
        if self._settings.describe:
            for ask, said in self._say(asks, self._describe):
                if said.text is None or STOPPED.get(said.finish_reason or "") in ("refused", "error"):
                    yield _reply(ask, said, before=None, seen=self._seen(ask, said))
                else:
                    described[ask.ask_id] = said
        left = [ask for ask in asks if not self._settings.describe or ask.ask_id in described]
        for ask, said in self._say(left, lambda ask: self._segment(ask, described.get(ask.ask_id))):
            yield _reply(ask, said, before=described.get(ask.ask_id), seen=self._seen(ask, said))

    def _say(self, asks: Sequence[Ask], turn_of: Callable[[Ask], Turn]) -> Iterator[tuple[Ask, Said]]:
        """What the chat says to each ask, matched by id; an ask without an answer has an error."""
        turns = [turn_of(ask) for ask in asks]
        waiting = {turn.turn_id: ask for turn, ask in zip(turns, asks, strict=True)}
        for said in self._chat(turns) if turns else ():
            ask = waiting.pop(said.turn_id, None)
            if ask is None:
                log.warning("a reply to no open turn was left out turn=%r", said.turn_id[:80])
            else:
                yield ask, said
        for turn_id, ask in waiting.items():
            yield ask, Said(turn_id=turn_id, error="expected a reply to every turn, none came to this one")

    def _describe(self, ask: Ask) -> Turn:
        system, text = load("describe").render(
            duration_s=_seconds(ask.clip.duration_us), transcript=self._transcript(ask)
        )
        return self._turn(ask, "describe", system, text)

    def _segment(self, ask: Ask, described: Said | None) -> Turn:
        settings, duration_s = self._settings, seconds_from_us(ask.clip.duration_us)
        notes = None if described is None or described.text is None else described.text
        system, text = load("segment").render(
            duration_s=_seconds(ask.clip.duration_us),
            step_s=f"{1 / settings.fps:.3g}",
            max_phases=phase_cap(duration_s, limits=settings.wire),
            tracks=vocab.TRACKS,
            actions=vocab.ACTIONS,
            candidates=[] if self._propose is None else list(self._propose(ask)),
            description=None if notes is None else quoted(notes, max_chars=8 * settings.max_describe_tokens),
            transcript=self._transcript(ask),
        )
        return self._turn(ask, "segment", system, text)

    def _turn(self, ask: Ask, name: str, system: str, text: str) -> Turn:
        settings, segmenting = self._settings, name == "segment"
        return Turn(
            turn_id=f"{ask.ask_id}.{name}",
            system=system,
            text=text,
            film=Film(
                media=ask.media,
                frames=ask.clip.frames,
                fps=settings.fps,
                max_frame_pixels=settings.max_frame_pixels,
                max_clip_pixels=settings.max_clip_pixels,
            ),
            schema=wire_schema(seconds_from_us(ask.clip.duration_us), limits=settings.wire) if segmenting else None,
            draw=Draw(
                temperature=settings.temperature,
                top_p=settings.top_p,
                max_tokens=settings.max_tokens if segmenting else settings.max_describe_tokens,
                seed=ask.seed,
            ),
        )

    def _transcript(self, ask: Ask) -> str | None:
        return None if ask.transcript is None else quoted(ask.transcript, max_chars=self._settings.max_transcript_chars)

    def _seen(self, ask: Ask, said: Said) -> Seen | None:
        if said.seen is None:
            return None
        return replace(
            said.seen,
            transcript_sha256=None if ask.transcript is None else _sha256(ask.transcript),
            signals_sha256=None if self._propose is None else content_key(asdict(ask.signals)),
        )


def _reply(ask: Ask, said: Said, *, before: Said | None, seen: Seen | None) -> Reply:
    usage = _sum(Usage() if before is None else before.usage or Usage(), said)
    if said.error is not None:
        return Reply(ask_id=ask.ask_id, status="error", text=said.text, seen=seen, usage=usage, note=said.error)
    parsed = parse(said.text, finish_reason=said.finish_reason)
    return Reply(ask_id=ask.ask_id, status=parsed.status, text=said.text, seen=seen, usage=usage, note=parsed.note)


def _sum(before: Usage, said: Said) -> Usage:
    """The cost of both passes; the end is that of the last."""
    last = said.usage or Usage()
    return Usage(
        prompt_tokens=_plus(before.prompt_tokens, last.prompt_tokens),
        vision_tokens=_plus(before.vision_tokens, last.vision_tokens),
        output_tokens=_plus(before.output_tokens, last.output_tokens),
        latency_s=_plus(before.latency_s, last.latency_s),
        finish_reason=said.finish_reason,
    )


def _plus(a: N | None, b: N | None) -> N | None:
    return b if a is None else a if b is None else a + b


def prompts_of(settings: VlmSettings, *, grammar: str | None) -> tuple[run.Prompt, ...]:
    """The prompts of a run, whole, in order of use; the schema is that of a clip of ten seconds."""
    schema = json.dumps(wire_schema(NOMINAL_S, limits=settings.wire), separators=(",", ":"))
    passes: list[tuple[Literal["describe", "segment"], str]] = [("segment", schema)]
    if settings.describe:
        passes.insert(0, ("describe", ""))
    return tuple(
        run.Prompt(
            id=prompt.about.id,
            version=prompt.about.version,
            text=prompt.text,
            sha256=prompt.sha256,
            response_schema=sent,
            response_schema_sha256=_sha256(sent),
            grammar=grammar if sent else None,
        )
        for prompt, sent in ((load(name), sent) for name, sent in passes)
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _seconds(us: int) -> str:
    return f"{seconds_from_us(us):.2f}".rstrip("0").rstrip(".")
