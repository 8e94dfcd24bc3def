"""What a run would ask, before it asks: calls, tokens, time. Arithmetic from the clips' table; nothing is loaded."""

from dataclasses import dataclass
from pathlib import Path

from xsheet.annotate.chat import Film
from xsheet.annotate.qwen_folder import QwenFolder
from xsheet.annotate.qwen_tokens import FAMILIES, Family, Pace, Tokens, call_tokens, total
from xsheet.annotate.settings import AnnotateSettings
from xsheet.annotate.vlm import VlmSettings, prompts_of
from xsheet.schemas import tables

REPLY_TOKENS = {"describe": 200, "segment": 900}
"""Assumed of a reply: six phases of about 130 tokens and the base; half of what the limits allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be asked."""

    annotator: str
    clips: int
    hours: float
    samples: int
    tokens: Tokens | None  # None: no model is asked
    gpu_hours: float | None
    family: str | None


def plan(set_folder: Path, settings: AnnotateSettings, *, limit: int | None = None, pace: Pace | None = None) -> Plan:
    """The plan for the clips of a set."""
    rows = tables.read_table(set_folder, tables.CLIPS, ["frames", "width", "height"]).slice(0, limit).to_pylist()
    hours = sum(row["frames"] for row in rows) / 25 / 3600
    if settings.motion is not None:
        return Plan(
            annotator="motion", clips=len(rows), hours=hours, samples=settings.samples, tokens=None, gpu_hours=None,
            family=None,
        )  # fmt: skip
    # Which family a server runs is not known; the tokens of Qwen3-VL are as good a guess as any.
    family = QwenFolder.of(settings.qwen.model).family if settings.qwen is not None else FAMILIES[-1]
    shapes: dict[tuple[int, int, int], int] = {}
    for row in rows:
        shape = (row["frames"], row["width"], row["height"])
        shapes[shape] = shapes.get(shape, 0) + 1
    tokens = Tokens()
    for (frames, width, height), count in shapes.items():
        one = _clip_tokens(frames, (width, height), settings.vlm, family)
        tokens += times(one, count * settings.samples)
    return Plan(
        annotator="qwen" if settings.qwen is not None else "endpoint", clips=len(rows), hours=hours,
        samples=settings.samples, tokens=tokens, gpu_hours=(pace or Pace()).seconds(tokens) / 3600, family=family.name,
    )  # fmt: skip


def times(tokens: Tokens, count: int) -> Tokens:
    """The tokens of `count` equal calls."""
    return Tokens(
        calls=tokens.calls * count, vision=tokens.vision * count, prompt=tokens.prompt * count,
        reply=tokens.reply * count,
    )  # fmt: skip


def plan_rows(planned: Plan) -> list[tuple[str, object]]:
    """Rows of name and value for a terminal or JSON."""
    rows: list[tuple[str, object]] = [
        ("annotator", planned.annotator), ("clips", planned.clips), ("hours", round(planned.hours, 3)),
        ("samples per clip", planned.samples),
    ]  # fmt: skip
    if planned.tokens is None or planned.gpu_hours is None:
        return [*rows, ("calls of a model", 0)]
    return [
        *rows,
        ("calls", planned.tokens.calls),
        ("vision tokens", planned.tokens.vision),
        ("prompt tokens, vision included", planned.tokens.prompt),
        ("reply tokens, assumed", planned.tokens.reply),
        (f"GPU hours if {planned.family} 8B runs as fast as arithmetic says", round(planned.gpu_hours, 2)),
    ]


def _clip_tokens(frames: int, size: tuple[int, int], vlm: VlmSettings, family: Family) -> Tokens:
    calls = []
    for prompt in prompts_of(vlm, grammar=None):
        name = "segment" if prompt.response_schema else "describe"
        calls.append((name, len(prompt.text)))
    return total(
        call_tokens(
            Film(
                media=Path(), frames=frames, fps=vlm.fps, max_frame_pixels=vlm.max_frame_pixels,
                max_clip_pixels=vlm.max_clip_pixels,
            ),
            size=size, family=family, text_chars=chars, reply=REPLY_TOKENS[name],
        )
        for name, chars in calls
    )  # fmt: skip
