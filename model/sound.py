"""Sound to features per video frame.

B batch, n samples, T video frames, L layers, Q numbers per layer.
"""

from typing import Protocol

from torch import Tensor


class SoundEncoder(Protocol):
    """16 kHz mono sound to L x Q numbers for every video frame.

    Encode whole clips and cut frames afterwards: at the ends of what is encoded the features know less.
    """

    @property
    def layers(self) -> int:
        """L: `audio_layers` of the transformer."""
        ...

    @property
    def channels(self) -> int:
        """Q: `audio_channels` of the transformer."""
        ...

    def encode(self, sound_Bn: Tensor, *, samples_per_frame: int) -> Tensor:
        """float32 in -1..1 -> (B, T, L, Q) float32; 640 samples per frame at 25 fps.

        Raises:
            ValueError: no whole number of frames.
        """
        ...

    def fingerprint(self) -> str:
        """Hex SHA-256 over weights and preprocessing."""
        ...
