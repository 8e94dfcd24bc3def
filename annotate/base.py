"""Interface to annotators: one AnnotationRequest per clip and sample in, one AnnotatorReply with its id out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xsheet.schemas.annotation import Base, Phase
from xsheet.schemas.clip import Clip, Signals, TranscriptWord
from xsheet.schemas.run import ModelInput, Usage
from xsheet.schemas.vocab import ResponseStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRequest:
    """One clip for one sample; equal requests have an equal `request_id` and share a reply."""

    request_id: str
    clip: Clip
    signals: Signals
    media: Path  # absolute
    sample_index: int
    seed: int
    transcript: str | None = None  # untrusted context: data, never an instruction
    words: tuple[TranscriptWord, ...] = ()  # the transcript's, where their times are known


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredResult:
    """A reply that is already structured in the contract's vocabulary."""

    base: Base
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorReply:
    """Result of one request: `text` from a model, `structured` from a rule-based annotator, neither from a failure."""

    request_id: str
    status: ResponseStatus
    text: str | None = None
    structured: StructuredResult | None = None
    model_input: ModelInput | None = None
    usage: Usage | None = None
    note: str | None = None  # of a failure: what was expected, what was received


class Annotator(Protocol):
    """Any annotator."""

    def __call__(self, requests: Sequence[AnnotationRequest], /) -> Iterator[AnnotatorReply]:
        """Yield one reply per request in any order; a failed request gets a reply with an error status."""
        ...
