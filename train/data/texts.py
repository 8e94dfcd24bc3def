"""What a clip is told: three texts in tokens, each with the phase of every token and the windows of the phases.

    brief    "A woman is speaking."                                         stage 1
    blocks   "{base} Phase-1 [0.0-2.0s]: ... Phase-2 [2.0-4.0s]: ..."       stage 2
    plain    "{base} ... ..."                                               the same without times or phases: ablations

A text that needs more tokens than the model takes is compiled with fewer words, the base block giving way before the
phases, until it fits; every phase keeps its marker, and no text is cut behind its last token.
M tokens, N of them real, K phases, W ids of a token.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xsheet.annotate.text.block_text import brief_caption
from xsheet.annotate.text.mirror import flip_annotation
from xsheet.annotate.text.token_spans import phase_ids
from xsheet.annotate.text.training_text import BlockPolicy, Chars, Compiled, compile_blocks
from xsheet.model.encoders.text import TextEncoder, Tokens
from xsheet.schemas.annotation import MIN_PHASE_US, Annotation, Phase, sorted_phases
from xsheet.schemas.errors import ContractError
from xsheet.schemas.time import US_PER_S, FrameRate, Span

Form = Literal["brief", "plain", "blocks"]

NOBODY_SAID = "A person is speaking."
"""Caption of a clip that the layer does not have: curated clips talk."""
WORD_SHARES = ((1, 1), (0.7, 0.7), (0.5, 0.5), (0.35, 0.35), (0.2, 0.25), (0.1, 0.25), (0.05, 0.25), (0.05, 0.1))
"""Of the words that the policy allows the base block and each phase, tried in turn until the text fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One text in tokens."""

    text: str
    ids_M: Tensor  # int64 (M,) or (M, W), pads included
    phase_N: NDArray[np.int8]  # of the real tokens: 0 or 1..K
    window_K2: NDArray[np.float32]  # [start, end) in frames shown; zeros where there is no phase


def tell(
    annotation: Annotation | None,
    window: Span,
    *,
    forms: tuple[Form, ...],
    encoder: TextEncoder,
    policy: BlockPolicy,
    rate: FrameRate,
) -> Mapping[Form, Told]:
    """The texts of a stretch of a clip; without an annotation only the brief one.

    Raises:
        ContractError: a text that does not fit with the fewest words.
    """
    if annotation is None or annotation.base is None:
        return {"brief": _told(encoder.tokenize(NOBODY_SAID), NOBODY_SAID, phases=policy.max_phases)}
    told: dict[Form, Told] = {}
    if "brief" in forms:
        brief = brief_caption(annotation.base)
        told["brief"] = _told(encoder.tokenize(brief), brief, phases=policy.max_phases)
    here = within(annotation, window)
    if "plain" in forms:
        compiled, tokens = _fitting(here, encoder, policy, form="plain")
        told["plain"] = _told(tokens, plain_text(compiled), phases=policy.max_phases)
    if "blocks" in forms:
        compiled, tokens = _fitting(here, encoder, policy, form="blocks")
        blocks = _told(tokens, compiled.text, phases=policy.max_phases, spans=compiled.spans)
        for row, block in zip(blocks.window_K2, compiled.blocks, strict=False):
            row[:] = [float(rate) * us / US_PER_S for us in (block.start_us, block.end_us)]
        told["blocks"] = blocks
    return told


def plain_text(compiled: Compiled) -> str:
    """The blocks without their markers: what happens, in order, but not when."""
    start, end = compiled.base
    return " ".join([compiled.text[start:end], *(block.text for block in compiled.blocks)])


def mirrored(annotation: Annotation | None) -> Annotation | None:
    """What is said of the mirrored picture."""
    return None if annotation is None else flip_annotation(annotation)


def within(annotation: Annotation, window: Span) -> Annotation:
    """What a stretch of the clip shows, on its own clock: phases cut at its ends, those left too short dropped.

    Gestures that are cut lose their inner parts.
    """
    phases = sorted_phases(cut for phase in annotation.phases if (cut := _cut(phase, window)) is not None)
    return replace(annotation, phases=phases, duration_us=window.duration_us)


def _cut(phase: Phase, window: Span) -> Phase | None:
    start, end = max(phase.start_us, window.start_us), min(phase.end_us, window.end_us)
    if end - start < MIN_PHASE_US:
        return None
    is_whole = (start, end) == (phase.start_us, phase.end_us)
    shift = window.start_us
    parts = (
        tuple(replace(one, start_us=one.start_us - shift, end_us=one.end_us - shift) for one in phase.kinematics)
        if is_whole
        else ()
    )
    return replace(phase, start_us=start - shift, end_us=end - shift, kinematics=parts)


def _fitting(
    annotation: Annotation, encoder: TextEncoder, policy: BlockPolicy, *, form: Form
) -> tuple[Compiled, Tokens]:
    """The text with as many words as the encoder has tokens for."""
    for fewer in _with_fewer_words(policy):
        compiled = compile_blocks(annotation, fewer)
        try:
            return compiled, encoder.tokenize(compiled.text if form == "blocks" else plain_text(compiled))
        except ValueError:
            continue
    raise ContractError(
        where=f"text of {annotation.annotation_id}", expected=f"at most {encoder.tokens} tokens",
        came="more in the fewest words", todo="lower cache.text.blocks.max_phases, or take a model with more tokens",
    )  # fmt: skip


def _with_fewer_words(policy: BlockPolicy) -> Iterator[BlockPolicy]:
    for base, phase in WORD_SHARES:
        words = {
            "base_words": max(5, int(base * policy.base_words)),
            "phase_words": max(3, int(phase * policy.phase_words)),
        }
        yield policy.model_copy(update=words)


def _told(tokens: Tokens, text: str, *, phases: int, spans: tuple[Chars, ...] = ()) -> Told:
    return Told(
        text=text,
        ids_M=tokens.ids_M,
        phase_N=np.array(phase_ids(text, spans, tokens.chars), np.int8),
        window_K2=np.zeros((phases, 2), np.float32),
    )
