"""Texts of a crop: a brief caption, plain actions, or timed blocks, as tokens with phase and window.

    brief    "A woman is speaking."                                         stage 1
    blocks   "{base} Phase-1 [0.0-2.0s]: ... Phase-2 [2.0-4.0s]: ..."       stage 2
    plain    "{base} ... ..."                                               the same without times or phases: ablations

A text that needs more tokens than the model takes is compiled with fewer words until it fits, shortening the base block
before the phases; every phase keeps its marker, and no text is truncated at its last token.
M tokens, N of them real, K phases, W ids of a token.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xsheet.annotate.text.block_text import short_caption
from xsheet.annotate.text.mirror import mirror_annotation
from xsheet.annotate.text.requested_text import compile_requested_text
from xsheet.annotate.text.token_spans import CharSpan, token_phase_ids
from xsheet.annotate.text.training_text import BlockPolicy, TrainingText, clip_annotation, compile_training_text
from xsheet.model.encoders.text import TextEncoder, TextTokens
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.errors import ContractError
from xsheet.schemas.time import US_PER_S, FrameRate, Span

TextForm = Literal["brief", "plain", "blocks"]

DEFAULT_CAPTION = "A person is speaking."
"""Caption of a clip that the layer does not have: curated clips talk."""
WORD_BUDGET_FRACTIONS = (
    (1, 1),
    (0.7, 0.7),
    (0.5, 0.5),
    (0.35, 0.35),
    (0.2, 0.25),
    (0.1, 0.25),
    (0.05, 0.25),
    (0.05, 0.1),
)
"""Shares of the policy's word limits for the base block and each phase, tried in turn until the text fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """A text in tokens, with the phase of each token and the window of each phase."""

    text: str
    ids_M: Tensor  # int64 (M,) or (M, W), pads included
    phase_N: NDArray[np.int8]  # of the real tokens: 0 or 1..K
    window_K2: NDArray[np.float32]  # [start, end) in frames shown; zeros where there is no phase


def tokenize_texts(
    annotation: Annotation | None,
    window: Span,
    *,
    forms: tuple[TextForm, ...],
    encoder: TextEncoder,
    policy: BlockPolicy,
    rate: FrameRate,
) -> Mapping[TextForm, TokenizedText]:
    """Tokenize the texts of a span of a clip; without an annotation only the brief one.

    Raises:
        ContractError: a text that does not fit with the fewest words.
    """
    if annotation is None or annotation.base is None:
        return {"brief": _tokenized(encoder.tokenize(DEFAULT_CAPTION), DEFAULT_CAPTION, phases=policy.max_blocks)}
    tokenized: dict[TextForm, TokenizedText] = {}
    if "brief" in forms:
        brief = short_caption(annotation.base)
        tokenized["brief"] = _tokenized(encoder.tokenize(brief), brief, phases=policy.max_blocks)
    here = clip_annotation(annotation, window)
    if "plain" in forms:
        compiled, tokens = _longest_fitting_text(here, encoder, policy, form="plain", compiler=compile_training_text)
        tokenized["plain"] = _tokenized(tokens, plain_text(compiled), phases=policy.max_blocks)
    if "blocks" in forms:
        compiled, tokens = _longest_fitting_text(here, encoder, policy, form="blocks", compiler=compile_training_text)
        tokenized["blocks"] = _tokenized_blocks(tokens, compiled, phases=policy.max_blocks, rate=rate)
    return tokenized


def tokenize_script(
    annotation: Annotation,
    *,
    form: TextForm,
    encoder: TextEncoder,
    policy: BlockPolicy,
    rate: FrameRate,
    max_blocks: int,
    where: str,
) -> tuple[TokenizedText, tuple[str, ...]]:
    """Tokenize a script at exactly its times, and list the differences between the script and the text.

    Args:
        annotation: the script; it has a base block.
        form: of the stage that samples.
        encoder: of the model.
        policy: wording, as in training.
        rate: of the sampled frames.
        max_blocks: rows of the model's phase table.
        where: location for errors.

    Raises:
        ConfigError: more than `max_blocks` intervals with different actions.
        ContractError: a text that does not fit with the fewest words.
    """
    if form == "brief":
        assert annotation.base is not None
        brief = short_caption(annotation.base)
        unread = ("the stage reads a caption alone: no action of the script is conditioned on",)
        return _tokenized(encoder.tokenize(brief), brief, phases=max_blocks), unread if annotation.phases else ()

    def compiler(annotation: Annotation, policy: BlockPolicy) -> TrainingText:
        return compile_requested_text(annotation, policy, max_blocks=max_blocks, where=where)

    compiled, tokens = _longest_fitting_text(annotation, encoder, policy, form=form, compiler=compiler)
    changes = [
        f"{part} is shortened to fit {encoder.max_tokens} tokens" for part in _truncated_parts(compiled, annotation)
    ]
    if len(compiled.blocks) > policy.max_blocks:
        changes.append(f"{len(compiled.blocks)} timed blocks, where training showed at most {policy.max_blocks}")
    if form == "plain":
        changes += ["the stage reads actions without times"] * bool(annotation.phases)
        return _tokenized(tokens, plain_text(compiled), phases=max_blocks), tuple(changes)
    return _tokenized_blocks(tokens, compiled, phases=max_blocks, rate=rate), tuple(changes)


def _truncated_parts(compiled: TrainingText, annotation: Annotation) -> Iterator[str]:
    texts = {phase.phase_id: phase.text for phase in annotation.phases}
    for part in compiled.truncated:
        yield "the base text" if part == "base" else f"the text of {texts[part]!r}"


def plain_text(compiled: TrainingText) -> str:
    """The blocks without their markers: actions in order, without times."""
    start, end = compiled.base_span
    return " ".join([compiled.text[start:end], *(block.text for block in compiled.blocks)])


def mirrored_or_none(annotation: Annotation | None) -> Annotation | None:
    """The annotation of the mirrored picture."""
    return None if annotation is None else mirror_annotation(annotation)


def _longest_fitting_text(
    annotation: Annotation,
    encoder: TextEncoder,
    policy: BlockPolicy,
    *,
    form: TextForm,
    compiler: Callable[[Annotation, BlockPolicy], TrainingText],
) -> tuple[TrainingText, TextTokens]:
    """The text with as many words as fit the encoder's tokens."""
    for fewer in _shrinking_policies(policy):
        compiled = compiler(annotation, fewer)
        try:
            return compiled, encoder.tokenize(compiled.text if form == "blocks" else plain_text(compiled))
        except ValueError:
            continue
    raise ContractError(
        where=f"text of {annotation.annotation_id}", expected=f"at most {encoder.max_tokens} tokens",
        got="more with the shortest wording",
        hint="lower cache.text.blocks.max_blocks, or use a model with more text tokens",
    )  # fmt: skip


def _shrinking_policies(policy: BlockPolicy) -> Iterator[BlockPolicy]:
    for base, phase in WORD_BUDGET_FRACTIONS:
        words = {
            "max_base_words": max(5, int(base * policy.max_base_words)),
            "max_block_words": max(3, int(phase * policy.max_block_words)),
        }
        yield policy.model_copy(update=words)


def _tokenized_blocks(tokens: TextTokens, compiled: TrainingText, *, phases: int, rate: FrameRate) -> TokenizedText:
    """The timed text with the window of each block in frames shown."""
    blocks = _tokenized(tokens, compiled.text, phases=phases, spans=compiled.spans)
    for row, block in zip(blocks.window_K2, compiled.blocks, strict=False):
        row[:] = [float(rate) * us / US_PER_S for us in (block.start_us, block.end_us)]
    return blocks


def _tokenized(tokens: TextTokens, text: str, *, phases: int, spans: tuple[CharSpan, ...] = ()) -> TokenizedText:
    return TokenizedText(
        text=text,
        ids_M=tokens.ids_M,
        phase_N=np.array(token_phase_ids(text, spans, tokens.char_spans), np.int8),
        window_K2=np.zeros((phases, 2), np.float32),
    )
