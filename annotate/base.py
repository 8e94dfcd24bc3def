"""The border to whoever annotates: clips go out as asks, what comes back are replies that name their ask."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xsheet.schemas.annotation import Base, Phase
from xsheet.schemas.clip import Clip, Signals
from xsheet.schemas.run import ModelInput, Usage
from xsheet.schemas.vocab import ResponseStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptWord:
    """One word of the transcript, in µs of the clip, half-open."""

    text: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRequest:
    """One clip for one sample. Whatever decides the reply is in `request_id`, so an equal ask is never paid twice."""

    request_id: str
    clip: Clip
    signals: Signals
    media: Path  # absolute
    sample_index: int
    seed: int
    transcript: str | None = None  # context only; written by someone else, hence data and never an instruction
    words: tuple[TranscriptWord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredResult:
    """What an annotator says in the contract's own words, without a detour over text."""

    base: Base
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorReply:
    """How one ask ended. A model answers with `text`, an annotator of our own with `stated`; a failure has neither."""

    request_id: str
    status: ResponseStatus
    text: str | None = None
    structured: StructuredResult | None = None
    model_input: ModelInput | None = None
    usage: Usage | None = None
    note: str | None = None  # of a failure: what was expected, what came


class Annotator(Protocol):
    """Clips in, replies out."""

    def __call__(self, requests: Sequence[AnnotationRequest], /) -> Iterator[AnnotatorReply]:
        """One reply to every ask, as they are ready, in any order; an ask that failed has its reply too."""
        ...
