"""The border below a vision-language model: what it is asked in one call, and what it said."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xsheet.schemas.run import ModelInput, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSelection:
    """Which pictures of which clip to show; the frames are those of xsheet.annotate.vlm.frames.frame_indices."""

    media: Path  # canonical clip, absolute
    frames: int  # of the clip, at 25 fps
    fps: float  # pictures per second wanted
    max_frame_pixels: int  # cap of one picture
    max_clip_pixels: int  # budget of all pictures of the call together


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the tokens of one call are drawn."""

    temperature: float  # 0 = greedy
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmRequest:
    """One call: rules, pictures, question. An equal turn has an equal `turn_id`, so it is never paid twice."""

    request_id: str
    system: str
    text: str  # stands behind the pictures
    frame_selection: FrameSelection | None
    schema: Mapping[str, Any] | None  # JSON schema that the reply must satisfy (compact white space); None = prose
    sampling: SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmResponse:
    """How one turn ended. `error` is set when there is no reply at all; `text` may be cut short (`finish_reason`)."""

    request_id: str
    text: str | None = None
    finish_reason: str | None = None  # "stop", "length", "content_filter", or the engine's own word
    usage: Usage | None = None
    model_input: ModelInput | None = None
    error: str | None = None  # what was expected, what came; never a key or an address


class VlmClient(Protocol):
    """Turns in, what was said out."""

    def __call__(self, requests: Sequence[VlmRequest], /) -> Iterator[VlmResponse]:
        """One Said to every turn, as they are ready, in any order; a turn that failed has its Said too."""
        ...
