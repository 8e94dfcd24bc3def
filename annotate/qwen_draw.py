"""Tokens drawn by the seed of their row, so that a reply does not depend on what else is in the batch.

`generate` draws all rows from one global stream. Here each row has a stream of its own, one number per token, and
`generate` is left to pick the only token that remains. Axes as in grammar.py: B rows, N tokens so far, V vocabulary.
"""

import random
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from xsheet.annotate.chat import Draw


class SeededDraw(LogitsProcessor):
    """Leaves one token per row: drawn out of the nucleus at the row's temperature, or the likeliest at 0."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        self._draws = draws
        self._streams = [random.Random(draw.seed) for draw in draws]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, N) tokens and (B, V) scores of the next one -> (B, V) scores, all but one of a row at minus infinity."""
        chosen = torch.stack(
            [
                _draw(row, draw, stream.random())
                for row, draw, stream in zip(scores, self._draws, self._streams, strict=True)
            ]
        )
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


def _draw(scores: torch.Tensor, draw: Draw, instant: float) -> torch.Tensor:
    """The token, a scalar, at `instant` in [0, 1) of the summed chances of (V,) scores."""
    if draw.temperature == 0:
        return scores.argmax()
    # Summed in the order of the vocabulary, not of the chances: two nearly equal chances that change places by rounding
    # (another batch, another device) then change nothing.
    chances = (scores.double() / draw.temperature).softmax(-1)
    falling = chances.sort(descending=True).values
    in_nucleus = falling.cumsum(-1) - falling < draw.top_p
    least = falling[in_nucleus.sum() - 1]
    summed = torch.where(chances >= least, chances, 0).cumsum(-1)
    return torch.searchsorted(summed, instant * summed[-1], right=True).clamp(max=len(scores) - 1)
