"""Phase of every token of a training text, for any tokenizer with character offsets.

encoded = tokenizer(compiled.text, return_offsets_mapping=True)      # a fast tokenizer of transformers
ids = token_phase_ids(compiled.text, compiled.spans, encoded["offset_mapping"])
phase_token_spans(ids)                                               # {1: range(...), 2: range(...), ...}
"""

from collections.abc import Sequence
from itertools import pairwise

from xsheet.schemas.errors import ContractError

CharSpan = tuple[int, int]  # half-open


def token_phase_ids(text: str, spans: Sequence[CharSpan], offsets: Sequence[CharSpan]) -> tuple[int, ...]:
    """The phase of every token: 0 for the base block, specials and pads, k for phase k.

    A token belongs to the phase that holds most of its characters, the earlier one at a tie, so a token that swallowed
    the space before a marker is the marker's. A token without characters goes with the character that follows it: a
    pad or special at (0, 0) with the base block, one at the end with none.

    Args:
        text: the text that was tokenized.
        spans: places of base block, phase 1, phase 2, ... in it, in order (Compiled.spans).
        offsets: (start, end) of every token in characters of `text`; (0, 0) for pads and specials.

    Raises:
        ContractError: spans out of order, offsets beyond the text (bytes for characters, or a changed text), or a text
            that was cut: its last phase would be lost in silence.
    """
    if any(a[1] > b[0] for a, b in pairwise(spans)) or (spans and spans[-1][1] > len(text)):
        raise ContractError(
            where="spans of a text", expected=f"spans in order within {len(text)} characters", got=str(list(spans)),
            hint="take text and spans from the same compile_training_text",
        )  # fmt: skip
    reached = max((end for start, end in offsets if end > start), default=0)
    if reached > len(text):
        raise ContractError(
            where="offsets of tokens", expected=f"at most {len(text)} characters", got=str(reached),
            hint="turn offsets in bytes into characters with byte_to_char_offsets, and tokenize the text unchanged",
        )  # fmt: skip
    if spans and reached < len(text[: spans[-1][1]].rstrip()):
        raise ContractError(
            where="offsets of tokens", expected=f"tokens of all {spans[-1][1]} characters", got=f"the first {reached}",
            hint="allow more tokens, or compile with fewer words (BlockPolicy)",
        )  # fmt: skip
    return tuple(_phase_of_token(start, end, spans) for start, end in offsets)


def _phase_of_token(start: int, end: int, spans: Sequence[CharSpan]) -> int:
    shared = [min(max(end, start + 1), b) - max(start, a) for a, b in spans]
    most = max(shared, default=0)
    return shared.index(most) if most > 0 else 0


def phase_token_spans(token_phases: Sequence[int]) -> dict[int, range]:
    """Tokens of every phase as one range; without phase 0, whose tokens may be scattered.

    Raises:
        ContractError: tokens of a phase are not contiguous.
    """
    spans: dict[int, range] = {}
    for index, phase in enumerate(token_phases):
        if phase == 0:
            continue
        span = spans.get(phase, range(index, index))
        if span.stop != index:
            raise ContractError(
                where=f"tokens of phase {phase}", expected=f"the next one at {span.stop}", got=f"one at {index}",
                hint="pass the phase ids of one text, in the order of its tokens",
            )  # fmt: skip
        spans[phase] = range(span.start, index + 1)
    return spans


def byte_to_char_offsets(text: str, byte_offsets: Sequence[CharSpan]) -> tuple[CharSpan, ...]:
    """Character offsets from UTF-8 byte offsets; a part of a character maps to the whole character.

    Raises:
        ContractError: an offset beyond the text.
    """
    # Character of every byte, and one past the end.
    chars = [k for k, char in enumerate(text) for _ in char.encode()] + [len(text)]
    invalid = [span for span in byte_offsets if not 0 <= span[0] <= span[1] < len(chars)]
    if invalid:
        raise ContractError(
            where="offsets of tokens", expected=f"at most {len(chars) - 1} bytes", got=str(invalid[0]),
            hint="tokenize the text unchanged",
        )  # fmt: skip
    return tuple((chars[a], chars[b - 1] + 1) if b > a else (chars[a], chars[a]) for a, b in byte_offsets)
