"""Estimate of an annotation run before it starts: calls, tokens and GPU time. Loads no model.

Vision tokens are exact; text counts four characters per token; reply length and speed are the assumptions below.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import Field

from xsheet.annotate.settings import AnnotateSettings
from xsheet.annotate.vlm.annotator import VlmSettings
from xsheet.annotate.vlm.client import FrameSelection
from xsheet.annotate.vlm.endpoint import token_price
from xsheet.annotate.vlm.prompts import load_prompt
from xsheet.annotate.vlm.qwen.folder import QwenFolder
from xsheet.annotate.vlm.qwen.tokens import QWEN3, QwenFamily, TokenCounts, call_tokens
from xsheet.schemas import tables, vocab
from xsheet.schemas.clip import Clip
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import CLIP_RATE, frame_start_us, seconds_from_us


class CostAssumptions(StrictModel):
    """Assumed speed of the GPU and length of the replies.

    The speeds are arithmetic for an 8 B model in bfloat16 on one 80 GB A100. Reading: 312 TFLOP/s at 40 %, 16 GFLOP a
    token. Writing: 16 GB of weights a step at 2 TB/s and 60 %, 8 replies at once.
    """

    prompt_tokens_per_s: float = Field(default=7800, gt=0, description="tokens read per second; see above")
    reply_tokens_per_s: float = Field(default=600, gt=0, description="tokens written per second, of all replies")
    base_tokens: int = Field(default=150, ge=0, description="of the base of a reply; own guess")
    phase_tokens: int = Field(default=100, ge=0, description="of a phase: 250 characters of JSON, 2.5 to a token")
    phases_per_s: float = Field(default=0.7, ge=0, description="phases per second of clip; own guess")
    line_tokens: int = Field(default=20, ge=0, description="of a line of pass A: one for each phase, one more")


DEFAULT_ASSUMPTIONS = CostAssumptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """Tokens and GPU time of a run."""

    clips: int
    tokens: TokenCounts
    gpu_seconds: float


def estimate_cost(
    clips: Iterable[Clip],
    settings: VlmSettings,
    *,
    samples: int,
    family: QwenFamily = QWEN3,
    as_images: bool = False,
    assumptions: CostAssumptions = DEFAULT_ASSUMPTIONS,
) -> CostEstimate:
    """Cost of K samples of every clip.

    Args:
        clips: rows of the set; no file is opened.
        settings: frames and prompts.
        samples: replies per clip.
        family: the processor; a server with another model differs.
        as_images: single images, as the endpoint sends them: twice the tokens of a video.
        assumptions: speed and length of replies.

    Raises:
        ValueError: a clip is too short.
    """
    shapes = Counter((clip.frames, (clip.width, clip.height)) for clip in clips)
    calls = _SampleTokens(settings, family, assumptions, as_images=as_images)
    tokens = sum((calls.per_clip(*shape) * (count * samples) for shape, count in shapes.items()), TokenCounts())
    seconds = tokens.prompt / assumptions.prompt_tokens_per_s + tokens.reply / assumptions.reply_tokens_per_s
    return CostEstimate(clips=shapes.total(), tokens=tokens, gpu_seconds=seconds)


class _SampleTokens:
    """Tokens of one sample: pass B, and pass A if enabled."""

    def __init__(
        self, settings: VlmSettings, family: QwenFamily, assumptions: CostAssumptions, *, as_images: bool
    ) -> None:
        self._settings, self._family, self._assumptions = settings, family, assumptions
        self._as_images = as_images
        self._describe_chars = len(load_prompt("describe").text)
        self._segment_chars = len(load_prompt("segment").text) + len(", ".join((*vocab.TRACKS, *vocab.ACTIONS)))

    def per_clip(self, frames: int, size: tuple[int, int]) -> TokenCounts:
        settings, assumptions = self._settings, self._assumptions
        phases = assumptions.phases_per_s * seconds_from_us(frame_start_us(frames, CLIP_RATE))
        notes = min(settings.max_describe_tokens, round(assumptions.line_tokens * (1 + phases)))
        reply = min(settings.max_tokens, round(assumptions.base_tokens + assumptions.phase_tokens * phases))
        segment = self._call(frames, size, chars=self._segment_chars, reply=reply)
        if not settings.describe:
            return segment
        describe = self._call(frames, size, chars=self._describe_chars, reply=notes)
        return describe + segment + TokenCounts(prompt=notes)  # pass B reads the text of pass A

    def _call(self, frames: int, size: tuple[int, int], *, chars: int, reply: int) -> TokenCounts:
        settings = self._settings
        selection = FrameSelection(
            media=Path(),  # nothing is opened
            frames=frames,
            fps=settings.fps,
            max_frame_pixels=settings.max_frame_pixels,
            max_clip_pixels=settings.max_clip_pixels,
        )
        return call_tokens(
            selection, size=size, family=self._family, as_images=self._as_images, text_chars=chars, reply=reply
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationPlan:
    """Plan of a run; `estimate` is None for the motion annotator."""

    annotator: str
    clips: int
    hours: float
    samples: int
    estimate: CostEstimate | None
    family: str | None
    price: float | None = None  # in the currency of the settings

    def rows(self) -> list[tuple[str, object]]:
        """Name and value, for a terminal or JSON."""
        rows: list[tuple[str, object]] = [
            ("annotator", self.annotator),
            ("clips", self.clips),
            ("hours", round(self.hours, 3)),
            ("samples per clip", self.samples),
        ]
        if self.estimate is None:
            return [*rows, ("model calls", 0)]
        tokens = self.estimate.tokens
        price = [] if self.price is None else [("price, in the currency of the settings", round(self.price, 2))]
        return [
            *rows,
            ("calls", tokens.calls),
            ("vision tokens", tokens.vision),
            ("prompt tokens, vision included", tokens.prompt),
            ("reply tokens, assumed", tokens.reply),
            (f"GPU hours of {self.family} 8B, by arithmetic", round(self.estimate.gpu_seconds / 3600, 2)),
            *price,
        ]


def plan_annotation(set_folder: Path, settings: AnnotateSettings, *, limit: int | None = None) -> AnnotationPlan:
    """The plan for the clips of a set.

    Raises:
        ConfigError: the folder holds no model.
    """
    clips = list(islice(tables.iter_records(set_folder, tables.CLIPS), limit))
    hours = seconds_from_us(sum(clip.duration_us for clip in clips)) / 3600
    if not settings.uses_vlm:
        return AnnotationPlan(annotator="motion", clips=len(clips), hours=hours, samples=1, estimate=None, family=None)
    # The family of a server is unknown; Qwen3-VL is the newer one.
    family = QwenFolder.from_path(settings.qwen.model).family if settings.qwen is not None else QWEN3
    estimate = estimate_cost(
        clips, settings.vlm, samples=settings.samples, family=family, as_images=settings.endpoint is not None
    )
    tokens, endpoint = estimate.tokens, settings.endpoint
    return AnnotationPlan(
        annotator="qwen" if settings.qwen is not None else "endpoint",
        clips=len(clips),
        hours=hours,
        samples=settings.samples,
        estimate=estimate,
        family=family.name,
        price=None if endpoint is None else token_price(tokens.prompt, tokens.reply, endpoint),
    )
