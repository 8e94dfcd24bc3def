"""Text to tokens with their places in the text, and tokens to vectors.

B batch, M text tokens (a fixed length, pads included), W bytes of a token, E text width.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Chars = tuple[int, int]
"""Half-open, in characters of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One text as tokens, padded to the encoder's length."""

    ids_M: Tensor
    """int64, (M,) or (M, W)."""
    chars: tuple[Chars, ...]
    """Place of every token but the pads, in order; the end token stands at (n, n) of n characters."""


class TextEncoder(Protocol):
    """Text to vectors: frozen (vectors are cached) or trained with the model (ids are cached)."""

    @property
    def tokens(self) -> int:
        """M: `text_tokens` of the transformer."""
        ...

    @property
    def width(self) -> int:
        """E: `text_dim` of the transformer."""
        ...

    @property
    def trained(self) -> bool:
        """Whether it is an nn.Module whose weights are learned with the transformer."""
        ...

    def tokenize(self, text: str) -> Tokens:
        """Tokens of a text and an end token; "" is the null prompt.

        Raises:
            ValueError: the text needs more than M tokens. Nothing is cut: the last phase would be lost in silence.
        """
        ...

    def embed(self, ids_BM: Tensor) -> Tensor:
        """Stacked ids -> (B, M, E) float32; pads are zero vectors, as Wan has them."""
        ...

    def fingerprint(self) -> str:
        """Hex SHA-256 over tokenisation and, where they are frozen, weights."""
        ...
