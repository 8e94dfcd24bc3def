"""Text to vectors: what an encoder must do, UMT5, and words read byte by byte that are learned with the model.

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

from xsheet.model.frozen import check_folder, frozen, transformers, weights_sha256
from xsheet.schemas.ids import content_key

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


class Umt5Text:
    """A UMT5 encoder as Wan uses it: its last layer, zeros behind the end token."""

    trained = False

    def __init__(self, model: Any, tokenizer: Any, *, tokens: int = 512) -> None:
        self.model = frozen(model)
        self.tokenizer = tokenizer
        self.tokens = tokens

    @classmethod
    def load(cls, folder: Path, *, tokens: int = 512, dtype: torch.dtype = torch.bfloat16) -> Self:
        """From `text_encoder` and `tokenizer` in a folder of diffusers on the disk; ConfigError if there is none."""
        library = transformers()
        weights = check_folder(folder / "text_encoder", holds="config.json and *.safetensors of a UMT5 encoder")
        words = check_folder(folder / "tokenizer", holds="tokenizer.json of UMT5")
        model = library.UMT5EncoderModel.from_pretrained(
            weights, local_files_only=True, use_safetensors=True, dtype=dtype
        )
        return cls(model, library.AutoTokenizer.from_pretrained(words, local_files_only=True), tokens=tokens)

    @property
    def width(self) -> int:
        """4096 in UMT5-XXL."""
        return int(self.model.config.d_model)

    def tokenize(self, text: str) -> Tokens:
        """As TextEncoder."""
        said = self.tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
        special = said["special_tokens_mask"]
        chars = tuple(
            (len(text), len(text)) if extra else tuple(place)
            for place, extra in zip(said["offset_mapping"], special, strict=True)
        )
        return Tokens(ids_M=_padded(said["input_ids"], self.tokens, pad=self.tokenizer.pad_token_id), chars=chars)

    @torch.no_grad()
    def embed(self, ids_BM: Tensor) -> Tensor:
        """As TextEncoder."""
        ids = ids_BM.to(self.model.device)
        said = ids != self.tokenizer.pad_token_id
        vectors_BME = self.model(ids, attention_mask=said.long()).last_hidden_state
        silent_behind: Tensor = vectors_BME.float() * said[:, :, None]
        return silent_behind

    def fingerprint(self) -> str:
        """As TextEncoder."""
        rules = self.tokenizer.backend_tokenizer.to_str()
        return content_key("xsheet.model.text.Umt5Text", 1, self.tokens, rules, weights_sha256(self.model))


class WordMixing(nn.Module):
    """One layer in which the words of a text look at each other: without it no action knows the times before it."""

    def __init__(self, width: int, *, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_ffn = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ffn = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x_BME: Tensor, said_BM: Tensor) -> Tensor:
        """(B, M, E) -> the same; pads are not looked at."""
        q, k, v = self.to_qkv(self.norm_attention(x_BME)).chunk(3, dim=-1)
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=said_BM[:, None, None])
        x_BME = x_BME + self.to_out(seen.transpose(1, 2).flatten(2))
        mixed: Tensor = x_BME + self.ffn(self.norm_ffn(x_BME))
        return mixed


class ByteText(nn.Module):
    """Words as their UTF-8 bytes, through one linear map per place in the word; learned with the transformer.

    A token is a word, a number with its decimals or a run of marks, at most `_BYTES` long; what is longer is several.
    Tokens of single bytes were tried: four times as many, and they were read later (docs/log.md).
    """

    trained = True
    _BYTES = 12
    _END = 257  # bytes are 1..256, 0 is nothing
    _BYTE_WIDTH = 32
    _WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d]+|[^\w\s]+")

    def __init__(self, *, tokens: int, width: int, layers: int = 1, rng: Generator) -> None:
        super().__init__()
        self.tokens = tokens
        self.width = width
        self.bytes = nn.Embedding(self._END + 1, self._BYTE_WIDTH, padding_idx=0)
        self.to_word = nn.Linear(self._BYTES * self._BYTE_WIDTH, width)
        self.place = nn.Parameter(torch.empty(tokens, width))
        self.mixing = nn.ModuleList(WordMixing(width) for _ in range(layers))
        self._start(rng)

    def tokenize(self, text: str) -> Tokens:
        """As TextEncoder; ids are (M, W)."""
        ids: list[list[int]] = []
        chars: list[Chars] = []
        for word in self._WORD.finditer(text):
            for start, end in self._pieces(word):
                spelt = [1 + byte for byte in _utf8(text[start:end])]
                ids.append(spelt + [0] * (self._BYTES - len(spelt)))
                chars.append((start, end))
        ids.append([self._END] + [0] * (self._BYTES - 1))
        chars.append((len(text), len(text)))
        return Tokens(ids_M=_padded(ids, self.tokens, pad=[0] * self._BYTES), chars=tuple(chars))

    def embed(self, ids_BM: Tensor) -> Tensor:
        """As TextEncoder; with gradients."""
        embedded: Tensor = self(ids_BM)
        return embedded

    def forward(self, ids_BMW: Tensor) -> Tensor:
        """(B, M, W) -> (B, M, E)."""
        said_BM = ids_BMW[:, :, 0] > 0
        x_BME = self.to_word(self.bytes(ids_BMW).flatten(2)) + self.place
        for mixing in self.mixing:
            x_BME = mixing(x_BME, said_BM)
        silent_behind: Tensor = x_BME * said_BM[:, :, None]
        return silent_behind

    def _pieces(self, word: re.Match[str]) -> Iterator[Chars]:
        """Cut between characters into as many bytes as a token holds."""
        start, size = word.start(), 0
        for place, char in enumerate(word[0], start=word.start()):
            if size + len(_utf8(char)) > self._BYTES:
                yield start, place
                start, size = place, 0
            size += len(_utf8(char))
        yield start, word.end()

    @torch.no_grad()
    def _start(self, rng: Generator) -> None:
        """First weights; the place says little at first, so that a word means the same everywhere."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=rng)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.bytes.weight, generator=rng)
        self.bytes.weight[0] = 0
        nn.init.normal_(self.place, std=0.02, generator=rng)

    def fingerprint(self) -> str:
        """As TextEncoder."""
        return content_key("xsheet.model.text.ByteText", 1, self.tokens, self._BYTES, self._WORD.pattern)


def _utf8(text: str) -> bytes:
    """The bytes of a text; half a surrogate pair, which has none, becomes a question mark."""
    return text.encode(errors="replace")


def _padded(ids: list[Any], length: int, *, pad: Any) -> Tensor:
    if len(ids) > length:
        raise ValueError(f"expected at most {length} tokens, got {len(ids)}: allow more, or say it in fewer words")
    return torch.tensor(ids + [pad] * (length - len(ids)))
