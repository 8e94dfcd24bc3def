"""Seeded sampling and grammar as logits processors: a reply does not depend on the rest of its batch.

`generate` samples all rows from one global stream. Here each row has its own stream with one number per token, and
`generate` picks the only token left. Axes: B rows, N tokens so far, V vocabulary.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from xsheet.annotate.vlm.client import SamplingParams
from xsheet.schemas.errors import ConfigError


class SeededSamplingProcessor(LogitsProcessor):  # type: ignore[misc]  # mypy does not read transformers
    """Leaves one token per row: nucleus sampling at the row's temperature, argmax at 0."""

    def __init__(self, sampling_params: Sequence[SamplingParams]) -> None:
        self._temperatures = [params.temperature for params in sampling_params]
        self._top_ps = [params.top_p for params in sampling_params]
        self._streams = [random.Random(params.seed) for params in sampling_params]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, N) tokens and (B, V) scores of the next one -> (B, V) scores, all but one of a row at minus infinity."""

        def column(values: Iterable[float]) -> torch.Tensor:
            return torch.tensor([*values], dtype=torch.float64, device=scores.device)[:, None]

        temperatures = column(self._temperatures)
        probabilities = (scores / temperatures.where(temperatures > 0, 1.0)).softmax(-1)
        sorted_probabilities = probabilities.sort(descending=True).values
        in_nucleus = sorted_probabilities.cumsum(-1) - sorted_probabilities < column(self._top_ps)
        min_probability = sorted_probabilities.gather(1, in_nucleus.sum(-1, keepdim=True) - 1)
        # Cumulated in vocabulary order, not in order of probability: two nearly equal probabilities that swap by
        # rounding (another batch, another device) then change nothing.
        cumulative = probabilities.where(probabilities >= min_probability, 0.0).cumsum(-1)
        thresholds = column(stream.random() for stream in self._streams) * cumulative[:, -1:]
        sampled = torch.searchsorted(cumulative, thresholds, right=True).clamp(max=scores.shape[1] - 1)
        chosen = sampled.where(temperatures > 0, scores.argmax(-1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


# Without white space a model cannot write an endless run between two legal characters.
_COMPACT_JSON = {"x-guidance": {"whitespace_flexible": False}}


class Grammar:
    """Compiles JSON schemas to matchers for one tokenizer; a second once, some ms per schema."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, vocab_size: int, eos_token_ids: Sequence[int]) -> None:
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=list(eos_token_ids))

    def matcher(self, schema: Mapping[str, Any]) -> llguidance.LLMatcher:
        """A new matcher for a schema.

        Raises:
            ConfigError: llguidance does not support the schema.
        """
        compiled = llguidance.LLMatcher.grammar_from_json_schema(json.dumps({**schema, **_COMPACT_JSON}))
        matcher = llguidance.LLMatcher(self._tokenizer, compiled, log_level=0)
        if matcher.is_error():
            raise ConfigError(
                where="schema of a reply",
                expected="a JSON schema that llguidance can follow",
                got=" ".join(matcher.get_error().split()),
                hint="remove the keyword from the schema",
            )
        return matcher


class GrammarLogitsProcessor(LogitsProcessor):  # type: ignore[misc]  # mypy does not read transformers
    """Masks the tokens that the grammar of a row forbids; finished rows are unchanged."""

    def __init__(self, matchers: Sequence[llguidance.LLMatcher | None], *, eos_token_ids: Sequence[int]) -> None:
        self._matchers = list(matchers)
        self._eos_token_ids = frozenset(eos_token_ids)
        self._prompt_length: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, N) tokens and (B, V) scores of the next one -> (B, V) scores."""
        if self._prompt_length is None:
            self._prompt_length = input_ids.shape[1]
        latest = input_ids[:, -1].tolist() if input_ids.shape[1] > self._prompt_length else [None] * len(input_ids)
        masked = scores.clone()
        for row, (matcher, token) in enumerate(zip(self._matchers, latest, strict=True)):
            if matcher is None or token in self._eos_token_ids:
                self._matchers[row] = None
                continue
            if token is not None and not matcher.consume_token(token):
                raise RuntimeError(f"the grammar refuses token {token} that it allowed: {matcher.get_error()}")
            # One bit per token; a complete reply may only end.
            bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            allowed = np.unpackbits(bits, count=scores.shape[1], bitorder="little")
            masked[row].masked_fill_(torch.from_numpy(allowed).to(scores.device) == 0, -torch.inf)
        return masked
