"""Interface to vision-language models: VlmRequest in, VlmResponse out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xsheet.schemas.run import ModelInput, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSelection:
    """Which frames of a clip a call shows (xsheet.annotate.vlm.frames.frame_indices)."""

    media: Path  # canonical clip, absolute
    frames: int  # of the clip, at 25 fps
    fps: float  # requested frames per second
    max_frame_pixels: int  # maximum of one frame
    max_clip_pixels: int  # maximum of all frames of the call
    sound: bool = False  # the clip's sound goes with the frames


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Sampling of one call."""

    temperature: float  # 0 = greedy
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmRequest:
    """One call: system text, frames, question. Equal requests have an equal `request_id`."""

    request_id: str
    system: str
    text: str  # follows the frames
    frame_selection: FrameSelection | None
    schema: Mapping[str, Any] | None  # JSON schema that the reply must satisfy (compact white space); None = prose
    sampling: SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmResponse:
    """Result of one call. `error` is set without a reply; `text` may be truncated (`finish_reason`)."""

    request_id: str
    text: str | None = None
    finish_reason: str | None = None  # "stop", "length", "content_filter", or the engine's own word
    usage: Usage | None = None
    model_input: ModelInput | None = None
    error: str | None = None  # expected and received; never a key or an address


class VlmClient(Protocol):
    """Any vision-language model."""

    def __call__(self, requests: Sequence[VlmRequest], /) -> Iterator[VlmResponse]:
        """Yield one response per request in any order; a failed call gets a response with `error`."""
        ...
