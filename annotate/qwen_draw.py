"""Tokens drawn by the seed of their row, so that a reply does not depend on what else is in the batch.

`generate` draws all rows from one global stream. Here each row has a stream of its own, one number per token, and
`generate` is left to pick the only token that remains. Axes as in grammar.py: B rows, N tokens so far, V vocabulary.
"""

import random
from collections.abc import Iterable, Sequence

import torch
from transformers import LogitsProcessor

from xsheet.annotate.chat import Draw


class SeededDraw(LogitsProcessor):
    """Leaves one token per row: drawn out of the nucleus at the row's temperature, or the likeliest at 0."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        self._temperatures = [draw.temperature for draw in draws]
        self._top_ps = [draw.top_p for draw in draws]
        self._streams = [random.Random(draw.seed) for draw in draws]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, N) tokens and (B, V) scores of the next one -> (B, V) scores, all but one of a row at minus infinity."""

        def column(values: Iterable[float]) -> torch.Tensor:
            return torch.tensor([*values], dtype=torch.float64, device=scores.device)[:, None]

        temperatures = column(self._temperatures)
        chances = (scores / temperatures.where(temperatures > 0, 1.0)).softmax(-1)
        falling = chances.sort(descending=True).values
        in_nucleus = falling.cumsum(-1) - falling < column(self._top_ps)
        least = falling.gather(1, in_nucleus.sum(-1, keepdim=True) - 1)
        # Summed in the order of the vocabulary, not of the chances: two nearly equal chances that change places by
        # rounding (another batch, another device) then change nothing.
        summed = chances.where(chances >= least, 0.0).cumsum(-1)
        instants = column(stream.random() for stream in self._streams) * summed[:, -1:]
        drawn = torch.searchsorted(summed, instants, right=True).clamp(max=scores.shape[1] - 1)
        chosen = drawn.where(temperatures > 0, scores.argmax(-1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)
