"""Text encoders: the protocol, UMT5, and a trainable byte-level word encoder.

B batch, M text tokens (a fixed length, pads included), W bytes of a token, E text width.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from xsheet.model.encoders.pretrained import check_model_folder, freeze, import_transformers, weights_sha256
from xsheet.schemas.ids import content_key

CharSpan = tuple[int, int]
"""Half-open, in characters of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTokens:
    """One text as tokens, padded to the encoder's length."""

    ids_M: Tensor
    """int64, (M,) or (M, W)."""
    char_spans: tuple[CharSpan, ...]
    """Span of every token except pads, in order; the end token is at (n, n) of n characters."""


class TextEncoder(Protocol):
    """Text to vectors: frozen (vectors are cached) or trained with the model (ids are cached)."""

    @property
    def max_tokens(self) -> int:
        """M: `text_tokens` of the transformer."""
        ...

    @property
    def dim(self) -> int:
        """E: `text_dim` of the transformer."""
        ...

    @property
    def trainable(self) -> bool:
        """Whether it is an nn.Module trained with the transformer."""
        ...

    def tokenize(self, text: str) -> TextTokens:
        """Tokenize a text and append an end token; "" is the null prompt.

        Raises:
            ValueError: the text needs more than M tokens; truncating it would lose the last phase silently.
        """
        ...

    def embed(self, ids_BM: Tensor) -> Tensor:
        """Stacked ids -> (B, M, E) float32; pads are zero vectors, as in Wan."""
        ...

    def fingerprint(self) -> str:
        """Hex SHA-256 over tokenisation and frozen weights."""
        ...


class Umt5TextEncoder:
    """A UMT5 encoder as in Wan: last layer, zeros after the end token."""

    trainable = False

    def __init__(self, model: Any, tokenizer: Any, *, max_tokens: int = 512) -> None:
        self.model = freeze(model)
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    @classmethod
    def load(cls, folder: Path, *, max_tokens: int = 512, dtype: torch.dtype = torch.bfloat16) -> Self:
        """Load `text_encoder` and `tokenizer` from a local diffusers folder; ConfigError if it does not exist."""
        library = import_transformers()
        weights = check_model_folder(
            folder / "text_encoder", contents="config.json and *.safetensors of a UMT5 encoder"
        )
        words = check_model_folder(folder / "tokenizer", contents="tokenizer.json of UMT5")
        model = library.UMT5EncoderModel.from_pretrained(
            weights, local_files_only=True, use_safetensors=True, dtype=dtype
        )
        return cls(model, library.AutoTokenizer.from_pretrained(words, local_files_only=True), max_tokens=max_tokens)

    @property
    def dim(self) -> int:
        """4096 in UMT5-XXL."""
        return int(self.model.config.d_model)

    def tokenize(self, text: str) -> TextTokens:
        """As TextEncoder."""
        encoded = self.tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        special = encoded["special_tokens_mask"]
        chars = tuple(
            (len(text), len(text)) if extra else tuple(place)
            for place, extra in zip(encoded["offset_mapping"], special, strict=True)
        )
        return TextTokens(
            ids_M=_pad(encoded["input_ids"], self.max_tokens, pad=self.tokenizer.pad_token_id), char_spans=chars
        )

    @torch.no_grad()
    def embed(self, ids_BM: Tensor) -> Tensor:
        """As TextEncoder."""
        ids = ids_BM.to(self.model.device)
        is_token = ids != self.tokenizer.pad_token_id
        vectors_BME = self.model(ids, attention_mask=is_token.long()).last_hidden_state
        without_pads: Tensor = vectors_BME.float() * is_token[:, :, None]
        return without_pads

    def fingerprint(self) -> str:
        """As TextEncoder."""
        rules = self.tokenizer.backend_tokenizer.to_str()
        return content_key(
            "xsheet.model.encoders.text.Umt5TextEncoder", 1, self.max_tokens, rules, weights_sha256(self.model)
        )


class ByteTextEncoder(nn.Module):
    """Embed words from their UTF-8 bytes, then two convolutions over five words; trained with the transformer.

    A token is a word, a number with decimals or a run of punctuation; tokens longer than `_BYTES` bytes are split.
    Alternatives (a token per byte, no convolutions, attention between words) took more steps or time to learn which
    action happens when (docs/log/train.md#text).
    """

    trainable = True
    _BYTES = 12
    _END = 257  # bytes are 1..256, 0 is padding
    _BYTE_WIDTH = 32
    _WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d]+|[^\w\s]+")

    def __init__(self, *, max_tokens: int, dim: int, rng: Generator) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        self.dim = dim
        self.bytes = nn.Embedding(self._END + 1, self._BYTE_WIDTH, padding_idx=0)
        self.to_word = nn.Linear(self._BYTES * self._BYTE_WIDTH, dim)
        self.convolutions = nn.ModuleList(nn.Conv1d(dim, dim, kernel_size=5, padding=2) for _ in range(2))
        self.positions = nn.Parameter(torch.empty(max_tokens, dim))
        self._init_weights(rng)

    def tokenize(self, text: str) -> TextTokens:
        """As TextEncoder; ids are (M, W)."""
        ids: list[list[int]] = []
        chars: list[CharSpan] = []
        for word in self._WORD.finditer(text):
            for start, end in self._pieces(word):
                spelt = [1 + byte for byte in _utf8(text[start:end])]
                ids.append(spelt + [0] * (self._BYTES - len(spelt)))
                chars.append((start, end))
        ids.append([self._END] + [0] * (self._BYTES - 1))
        chars.append((len(text), len(text)))
        return TextTokens(ids_M=_pad(ids, self.max_tokens, pad=[0] * self._BYTES), char_spans=tuple(chars))

    def embed(self, ids_BM: Tensor) -> Tensor:
        """As TextEncoder; with gradients."""
        embedded: Tensor = self(ids_BM)
        return embedded

    def forward(self, ids_BMW: Tensor) -> Tensor:
        """(B, M, W) -> (B, M, E)."""
        is_token_BM1 = ids_BMW[:, :, :1] > 0
        x_BME: Tensor = self.to_word(self.bytes(ids_BMW).flatten(2)) * is_token_BM1
        for convolution in self.convolutions:
            x_BME = (x_BME + functional.gelu(convolution(x_BME.mT).mT)) * is_token_BM1
        return (x_BME + self.positions) * is_token_BM1

    def _pieces(self, word: re.Match[str]) -> Iterator[CharSpan]:
        """Split a word between characters into pieces of at most `_BYTES` bytes."""
        start, size = word.start(), 0
        for place, char in enumerate(word[0], start=word.start()):
            if size + len(_utf8(char)) > self._BYTES:
                yield start, place
                start, size = place, 0
            size += len(_utf8(char))
        yield start, word.end()

    @torch.no_grad()
    def _init_weights(self, rng: Generator) -> None:
        """Initialise weights; small position vectors, so that a word is embedded alike at every position."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(module.weight, generator=rng)
                nn.init.zeros_(module.get_parameter("bias"))
        nn.init.normal_(self.bytes.weight, generator=rng)
        self.bytes.weight[0] = 0
        nn.init.normal_(self.positions, std=0.02, generator=rng)

    def fingerprint(self) -> str:
        """As TextEncoder."""
        return content_key(
            "xsheet.model.encoders.text.ByteTextEncoder", 1, self.max_tokens, self._BYTES, self._WORD.pattern
        )


def _utf8(text: str) -> bytes:
    """Encode as UTF-8; an unpaired surrogate becomes a question mark."""
    return text.encode(errors="replace")


def _pad(ids: list[Any], length: int, *, pad: Any) -> Tensor:
    if len(ids) > length:
        raise ValueError(f"expected at most {length} tokens, got {len(ids)}; raise max_tokens or shorten the text")
    return torch.tensor(ids + [pad] * (length - len(ids)))
