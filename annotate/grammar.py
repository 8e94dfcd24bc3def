"""Replies that follow a JSON schema: of every next token only those are left that keep the reply inside it.

    grammar = Grammar(tokenizer, vocabulary=model.config.get_text_config().vocab_size, ends=(eos_id,))
    mask = GrammarMask([grammar.matcher(schema), None], ends=(eos_id,))   # one row each; None = free prose
    model.generate(..., logits_processor=[mask])

Axes: B rows, N tokens so far, V vocabulary (as wide as the model's output, which is more than the tokenizer's).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from xsheet.schemas.errors import ConfigError

# Without white space there is nothing that a model could go on writing for ever between two legal characters.
_COMPACT = {"x-guidance": {"whitespace_flexible": False}}


class Grammar:
    """Schemas made into matchers for one tokenizer. Costs about a second once, some ms per schema."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, vocabulary: int, ends: Sequence[int]) -> None:
        self._tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(ends))

    def matcher(self, schema: Mapping[str, Any]) -> llguidance.LLMatcher:
        """A matcher at the start of a reply.

        Raises:
            ConfigError: the schema says something that no grammar can hold.
        """
        compiled = llguidance.LLMatcher.grammar_from_json_schema(json.dumps({**schema, **_COMPACT}))
        matcher = llguidance.LLMatcher(self._tokens, compiled, log_level=0)
        if matcher.is_error():
            raise ConfigError(
                where="schema of a reply",
                expected="a JSON schema that llguidance can follow",
                came=" ".join(matcher.get_error().split()),
                todo="take the keyword out of the schema",
            )
        return matcher


class GrammarMask(LogitsProcessor):
    """Takes the tokens that the grammar of a row forbids out of its scores; a row that has ended is left alone."""

    def __init__(self, matchers: Sequence[llguidance.LLMatcher | None], *, ends: Sequence[int]) -> None:
        self._matchers = list(matchers)
        self._ends = frozenset(ends)
        self._prompt: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, N) tokens and (B, V) scores of the next one -> (B, V) scores."""
        if self._prompt is None:
            self._prompt = input_ids.shape[1]
        latest = input_ids[:, -1].tolist() if input_ids.shape[1] > self._prompt else [None] * len(input_ids)
        masked = scores.clone()
        for row, (matcher, token) in enumerate(zip(self._matchers, latest, strict=True)):
            if matcher is None or token in self._ends:
                self._matchers[row] = None
                continue
            if token is not None and not matcher.consume_token(token):
                raise RuntimeError(f"the grammar refuses token {token} that it allowed: {matcher.get_error()}")
            # One bit per token; a reply that is whole may only end.
            bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            allowed = np.unpackbits(bits, count=scores.shape[1], bitorder="little")
            masked[row].masked_fill_(torch.from_numpy(allowed).to(scores.device) == 0, -torch.inf)
        return masked
