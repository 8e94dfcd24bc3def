"""Video to latent and back: what a codec must do, and an analytic one without weights.

B batch, T video frames, F = 1 + (T - 1) / 4 latent frames, C latent channels, h x w latent cells, 3 colours.
"""

from typing import Protocol

from torch import Tensor


class VideoCodec(Protocol):
    """Pictures to a latent of unit variance per channel and back. Frame 0 becomes latent 0 alone, then four to one.

    Pictures are uint8 RGB on both sides, so that a range of values cannot be mistaken.
    """

    @property
    def channels(self) -> int:
        """Latent channels: `in_channels` of the transformer."""
        ...

    @property
    def stride(self) -> tuple[int, int, int]:
        """Frames and pixels (height, width) per latent cell: `latent_stride` of the transformer."""
        ...

    def encode(self, rgb_BTHW3: Tensor) -> Tensor:
        """uint8 pictures -> float32 latent (B, C, F, h, w), normalised; the same every time.

        Raises:
            ValueError: frames are not 4k + 1, or the height or width is no multiple of the stride.
        """
        ...

    def decode(self, latent_BCFHW: Tensor) -> Tensor:
        """Normalised latent -> uint8 pictures (B, T, H, W, 3)."""
        ...

    def flipped(self, latent_BCFHW: Tensor) -> Tensor | None:
        """The latent of the mirrored pictures; None where only encoding the mirrored pictures gives it."""
        ...

    def fingerprint(self) -> str:
        """Hex SHA-256 over weights and preprocessing: latents of another fingerprint mean something else."""
        ...
