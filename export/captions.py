"""Captions of a clip: the base text, the base text with timed phases, or prose; and the events in it.

    base    "A woman speaks to the camera."
    timed   "A woman speaks to the camera. Phase-1 [0.0-2.0s]: raises the left arm. Phase-2 [2.0-4.0s]: nods."
    prose   "A woman speaks to the camera. First, the woman raises the left arm. Then, the woman nods."

A caption is one line: several readers take one caption per line.
"""

from dataclasses import dataclass

from xsheet.annotate.text.training_text import BlockPolicy, TrainingText, compile_training_text
from xsheet.export.settings import CaptionForm
from xsheet.schemas.annotation import Annotation


@dataclass(frozen=True, slots=True)
class CaptionEvent:
    """One timed block; times in µs from the first frame of the video."""

    start_us: int
    end_us: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCaption:
    """The texts of one sample."""

    text: str  # in the form that was asked for
    base: str
    events: tuple[CaptionEvent, ...]


def clip_caption(annotation: Annotation, form: CaptionForm, policy: BlockPolicy) -> ClipCaption:
    """The caption of an annotation that has a base block.

    Raises:
        ContractError: no base block, or more phases than a training text may hold.
    """
    compiled = compile_training_text(annotation, policy)
    base = compiled.text[slice(*compiled.base_span)]
    events = tuple(CaptionEvent(block.start_us, block.end_us, block.text) for block in compiled.blocks)
    texts: dict[CaptionForm, str] = {"base": base, "timed": compiled.text, "prose": _prose(base, compiled)}
    return ClipCaption(text=texts[form], base=base, events=events)


def _prose(base: str, compiled: TrainingText) -> str:
    """Sentences in order of time; the noun is that of the short caption, so it contains no identity."""
    noun = compiled.short_caption.split()[1]
    links = ["First", *["Then"] * len(compiled.blocks)]
    sentences = (
        f"{link}, the {noun} {block.text[:1].lower()}{block.text[1:]}"
        for link, block in zip(links, compiled.blocks, strict=False)
    )
    return " ".join([base, *sentences])
