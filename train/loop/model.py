"""What is trained: transformer, trainable text encoder and variant in one module, with one set of keys.

B batch, C latent channels, F latent frames, H x W cells, M text tokens, W ids of a token, E text width.
"""

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from torch import Tensor, nn

from xsheet.model.conditioning import Condition, drop_conditions
from xsheet.model.variants.base import Draws, PlainVariant, Variant
from xsheet.model.weights import backbone_keys, phase_keys
from xsheet.train.data.batch import Batch
from xsheet.train.data.seeded_random import DroppedConditions

if TYPE_CHECKING:
    from xsheet.model.transformer import ActAvatarTransformer

MODEL_PARTS = ("backbone", "audio", "phases", "text")
"""Each parameter belongs to exactly one of them."""


class TrainableTextEncoder(Protocol):
    """The part of a trainable text encoder that a step needs."""

    def embed(self, ids_BM: Tensor) -> Tensor:
        """Ids -> (B, M, E), pads zero."""
        ...


class TrainableModel(nn.Module):
    """Transformer, its variant, text encoder (None where vectors are cached), and "no text" as ids or vectors.

    FSDP gathers the outermost weights when this module is called, so ids become vectors inside the call.
    """

    null_text: Tensor

    def __init__(
        self,
        transformer: "ActAvatarTransformer",
        *,
        text: nn.Module | None,
        null_text: Tensor,
        variant: Variant | None = None,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.variant: Variant = variant or PlainVariant()
        self.text = text
        # It follows from the text encoder, so it must not come back from a checkpoint.
        self.register_buffer("null_text", null_text, persistent=False)

    def forward(
        self,
        x_BCFHW: Tensor,
        timestep_BF: Tensor,
        batch: Batch,
        dropped_conditions: DroppedConditions,
        draws: Draws = MappingProxyType({}),
    ) -> Tensor:
        """The velocity of the batch's clips under the conditions that were not dropped, (B, C, F, H, W).

        `draws` are the variant's random choices in training; without them it uses everything that the batch holds.
        """
        text_B, audio_B = (is_dropped.to(x_BCFHW.device) for is_dropped in dropped_conditions)
        condition = Condition(
            text_BME=self.embed(batch.text),
            phase_BM=batch.phase_BM,
            audio_BTLQ=batch.audio_BTLQ,
            window_BK2=batch.window_BK2,
            extra_conditioning=self.variant.conditioning(batch, without_identity_B=text_B & audio_B, draws=draws),
        )
        kept = drop_conditions(
            condition, text_B=text_B, audio_B=audio_B, null_text_ME=self.embed(self.null_text[None])[0]
        )
        # Not a view: FSDP hangs its backward on the result, and a change in place of a view would lose it.
        return kept.velocity(self.transformer, x_BCFHW, timestep_BF).clone()

    def embed(self, text: Tensor) -> Tensor:
        """Cached vectors unchanged, ids through the encoder; (B, M, E)."""
        if self.text is None:
            return text
        return cast(TrainableTextEncoder, self.text).embed(text)


def part_keys(model: TrainableModel) -> dict[str, frozenset[str]]:
    """Every key of the model by part; ValueError if a key belongs to none or two.

    Names are compared whole: a match of parts of names would take blocks 10 to 19 for block 1.
    """
    blocks = model.transformer.model_config.num_layers
    tables = {
        "backbone": backbone_keys(blocks),
        "audio": model.variant.conditioning_keys(model.transformer),
        "phases": phase_keys(model.transformer.model_config),
    }
    parts = {part: frozenset(f"transformer.{key}" for key in keys) for part, keys in tables.items()}
    parts["text"] = frozenset(f"text.{key}" for key in (model.text.state_dict() if model.text is not None else ()))
    keys = model.state_dict().keys()
    other = set.symmetric_difference(set(keys), set().union(*parts.values()))
    if other or sum(map(len, parts.values())) != len(keys):
        raise ValueError(f"expected each key in exactly one part, got others: {sorted(other)[:5]}")
    return parts
