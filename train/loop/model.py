"""What is trained: the transformer and, where it is learned along, the text encoder. One module, so one set of keys.

B batch, C latent channels, F latent frames, H x W cells, M text tokens, W ids of a token, E text width.
"""

from typing import Protocol, cast

from torch import Tensor, nn

from xsheet.model.conditioning import Condition, drop_conditions
from xsheet.model.transformer import ActAvatarTransformer
from xsheet.model.weights import PHASE_KEYS, audio_keys, backbone_keys, conditioning_keys
from xsheet.train.data.batch import Batch
from xsheet.train.data.seeded_random import DroppedConditions
from xsheet.train.variants import variant_conditioning

MODEL_PARTS = ("base", "audio", "phases", "text")
"""Each parameter belongs to exactly one of them."""


class TrainableTextEncoder(Protocol):
    """A text encoder that learns: the part of model.text.TextEncoder that a step needs."""

    def embed(self, ids_BM: Tensor) -> Tensor:
        """Ids -> (B, M, E), pads zero."""
        ...


class TrainableModel(nn.Module):
    """Transformer, text encoder (None where vectors are cached), and what "no text" is: ids or vectors of "".

    FSDP gathers the outermost weights when this module is called, so ids become vectors inside the call.
    """

    null_text: Tensor

    def __init__(self, transformer: ActAvatarTransformer, *, text: nn.Module | None, null_text: Tensor) -> None:
        super().__init__()
        self.transformer = transformer
        self.text = text
        # It follows from the text encoder, so it must not come back from a checkpoint.
        self.register_buffer("null_text", null_text, persistent=False)

    def forward(
        self,
        x_BCFHW: Tensor,
        timestep_BF: Tensor,
        batch: Batch,
        dropped_conditions: DroppedConditions,
        gates_B2: Tensor | None = None,
    ) -> Tensor:
        """The velocity of the batch's clips under what is left of their conditions, (B, C, F, H, W).

        Gates are ACTalker's alone: see variants.py.
        """
        text_B, audio_B = (is_dropped.to(x_BCFHW.device) for is_dropped in dropped_conditions)
        given = Condition(
            text_BME=self.embed(batch.text),
            phase_BM=batch.phase_BM,
            audio_BTLQ=batch.audio_BTLQ,
            window_BK2=batch.window_BK2,
            extra_conditioning=variant_conditioning(
                self.transformer, batch, without_identity_B=text_B & audio_B, gates_B2=gates_B2
            ),
        )
        kept = drop_conditions(given, text_B=text_B, audio_B=audio_B, null_text_ME=self.embed(self.null_text[None])[0])
        # Not a view: FSDP hangs its backward on the result, and a change in place of a view would lose it.
        return kept.velocity(self.transformer, x_BCFHW, timestep_BF).clone()

    def embed(self, text: Tensor) -> Tensor:
        """Cached vectors as they are, ids through the encoder; (B, M, E)."""
        if self.text is None:
            return text
        return cast(TrainableTextEncoder, self.text).embed(text)


def part_keys(model: TrainableModel) -> dict[str, frozenset[str]]:
    """Every key of the learner by part; ValueError if a key belongs to none or to two, as after a change of the model.

    Names are compared whole: a match of parts of names would take blocks 10 to 19 for block 1.
    """
    blocks = model.transformer.model_config.num_layers
    is_plain = type(model.transformer) is ActAvatarTransformer
    audio = (
        audio_keys(blocks) if is_plain else conditioning_keys(model.transformer)
    )  # of a variant: all that is its own
    tables = {"base": backbone_keys(blocks), "audio": audio, "phases": PHASE_KEYS}
    parts = {part: frozenset(f"transformer.{key}" for key in keys) for part, keys in tables.items()}
    parts["text"] = frozenset(f"text.{key}" for key in (model.text.state_dict() if model.text is not None else ()))
    keys = model.state_dict().keys()
    other = set.symmetric_difference(set(keys), set().union(*parts.values()))
    if other or sum(map(len, parts.values())) != len(keys):
        raise ValueError(f"expected each key in exactly one part, got others: {sorted(other)[:5]}")
    return parts
