"""The protocol of a model variant, and the plain model as the variant that adds nothing.

A variant replaces the audio path of the transformer. The training loop, the loss and the sampler use only this
protocol; each paper has a module in this folder.

B clips, T video frames, F latent frames, H x W latent cells, X numbers of an identity or of a frame's motion.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np
from torch import Tensor

from xsheet.model.config import ActAvatarConfig

if TYPE_CHECKING:
    from xsheet.model.transformer import ActAvatarTransformer

ConfigAndClass: TypeAlias = "tuple[ActAvatarConfig, type[ActAvatarTransformer]]"
Generators = Callable[[str], Sequence[np.random.Generator]]
"""Purpose -> one generator per clip. The purpose names the stream: another name gives other numbers."""
Draws = Mapping[str, Tensor]
"""Random tensors of a training batch by name, (B, ...); empty in sampling and validation."""

NEUTRAL_INTENSITY = 0.5
"""Motion intensity of the median clip, also of a clip whose motion was not measured."""


class VariantBatch(Protocol):
    """The fields of a batch that a variant reads; None where the cache does not keep a field."""

    @property
    def latent_BCFHW(self) -> Tensor:  # noqa: N802 - tensors carry their shape
        """Clean latents."""
        ...

    @property
    def audio_BTLQ(self) -> Tensor:  # noqa: N802 - tensors carry their shape
        """Audio features."""
        ...

    @property
    def face_BFHW(self) -> Tensor:  # noqa: N802 - tensors carry their shape
        """Share of each latent cell that the face covers."""
        ...

    @property
    def mouth_BFHW(self) -> Tensor:  # noqa: N802 - tensors carry their shape
        """Share of each latent cell that the mouth covers."""
        ...

    @property
    def identity_BX(self) -> Tensor | None:  # noqa: N802 - tensors carry their shape
        """Identity of the face; zeros mean no identity."""
        ...

    @property
    def intensity_B2(self) -> Tensor | None:  # noqa: N802 - tensors carry their shape
        """Motion intensity of face and body, 0..1."""
        ...

    @property
    def motion_BTX(self) -> Tensor | None:  # noqa: N802 - tensors carry their shape
        """Series that drive the face; zeros mean a still face."""
        ...


class Variant(Protocol):
    """A model variant: its transformer, random choices, conditioning and loss weighting."""

    reads_motion: ClassVar[bool]
    """Whether motion of a driver is part of its conditioning."""

    def build_config(self, config: ActAvatarConfig) -> ConfigAndClass:
        """Config and transformer class of the variant at the size of `config`."""
        ...

    def check_cache(self, *, identity_dim: int | None, motion_dim: int) -> None:
        """Raise ValueError unless the cache has the variant's inputs; `identity_dim` None: no extra conditioning."""
        ...

    def draw(self, generators: Generators) -> Draws:
        """Random choices of a training batch, on the CPU."""
        ...

    def conditioning(self, batch: VariantBatch, *, without_identity_B: Tensor, draws: Draws) -> Any:
        """The transformer's `extra_conditioning`; None if it takes none. Missing fields take neutral values."""
        ...

    def clip_loss(self, error_BFHW: Tensor, batch: VariantBatch, draws: Draws) -> Tensor:
        """Loss of each clip, (B,), from the squared error of latent frames from 1 on."""
        ...

    def conditioning_keys(self, transformer: "ActAvatarTransformer") -> frozenset[str]:
        """Keys of the transformer that carry sound and extra conditioning."""
        ...


class PlainVariant:
    """ActAvatar itself: no extra conditioning, the mean error as loss."""

    reads_motion: ClassVar[bool] = False

    def build_config(self, config: ActAvatarConfig) -> ConfigAndClass:
        """The config as it is."""
        from xsheet.model.transformer import ActAvatarTransformer  # noqa: PLC0415 - imports diffusers

        return config, ActAvatarTransformer

    def check_cache(self, *, identity_dim: int | None, motion_dim: int) -> None:
        """Accept any cache."""

    def draw(self, generators: Generators) -> Draws:
        """Nothing."""
        del generators
        return {}

    def conditioning(self, batch: VariantBatch, *, without_identity_B: Tensor, draws: Draws) -> None:
        """None."""

    def clip_loss(self, error_BFHW: Tensor, batch: VariantBatch, draws: Draws) -> Tensor:
        """The mean over all cells, (B,)."""
        del batch, draws
        return error_BFHW.mean((1, 2, 3))

    def conditioning_keys(self, transformer: "ActAvatarTransformer") -> frozenset[str]:
        """The audio path; a table, so that an unknown key is noticed."""
        from xsheet.model.weights import audio_keys  # noqa: PLC0415 - imports diffusers

        return audio_keys(transformer.model_config.num_layers)


def check_identity(name: str, *, identity_width: int, identity_dim: int | None) -> None:
    """Raise ValueError unless the cache keeps identity vectors of the variant's width."""
    if identity_dim is None:
        raise ValueError(f"expected cache.extra_conditioning for the variant {name}, got null; {{}} sets its defaults")
    if identity_width != identity_dim:
        raise ValueError(
            f"expected variant.identity_width {identity_dim}, the identity_dim of cache.extra_conditioning, "
            f"got {identity_width}"
        )


def identity_or_zeros(batch: VariantBatch, *, width: int, without_identity_B: Tensor) -> Tensor:
    """Identity of each clip, (B, X); zeros where the batch has none or `without_identity_B` is set."""
    clips = len(batch.audio_BTLQ)
    identity_BX = batch.latent_BCFHW.new_zeros((clips, width)) if batch.identity_BX is None else batch.identity_BX
    return identity_BX.masked_fill(without_identity_B[:, None], 0)
