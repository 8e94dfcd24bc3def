"""A batch: clips of one bucket as the cache holds them, after crop and mirroring, before noise and dropout.

B clips, C latent channels, F latent frames, H x W latent cells, T = 4 (F - 1) + 1 video frames, M text tokens, W ids of
a token, E text width, L x Q sound features per video frame, K phases, X numbers of a face, S series.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from xsheet.train.data.seeded_random import SampleKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Clips of one bucket on one device.

    σ, noise and dropped conditions are not here: they are functions of (seed, showing) in
    xsheet.train.data.seeded_random, so the same clip in the same epoch gets the same ones in any batch, on any rank and
    after any restart.
    """

    sample_keys: tuple[SampleKey, ...]  # clip and epoch of each row
    latent_BCFHW: Tensor  # clean latent, float32, normalised; latent 0 is the given picture
    text: Tensor  # ids, int64 (B, M) or (B, M, W), of an encoder that is trained along; else vectors (B, M, E)
    phase_BM: Tensor  # int64; phases.PAD, phases.NO_PHASE or 1..K
    audio_BTLQ: Tensor  # float32; nothing dropped
    window_BK2: Tensor  # float32, [start, end) of phase 1..K in video frames; zeros where there is none
    face_BFHW: Tensor  # float32 0..1, share of a latent cell that the face covers; zeros where none was measured
    mouth_BFHW: Tensor  # the same for the mouth
    # Extra conditioning of variants, float32 (xsheet.train.data.conditioning); None where the cache does not keep it.
    identity_BX: Tensor | None = None  # identity vector of the face; zeros = no identity
    intensity_B2: Tensor | None = None  # motion intensity of face and body, 0..1
    motion_BTX: Tensor | None = None  # motion of the face; zeros = no motion

    def __len__(self) -> int:
        return len(self.sample_keys)

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Clip ids, in order."""
        return tuple(sample_key.clip_id for sample_key in self.sample_keys)

    def select(self, part: slice) -> Self:
        """The clips of a slice."""
        return replace(self._map_tensors(lambda tensor: tensor[part]), sample_keys=self.sample_keys[part])

    def to(self, device: torch.device | str) -> Self:
        """The batch on a device; asynchronous from pinned memory."""
        return self._map_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The batch in page-locked memory, from which copies to a GPU are asynchronous."""
        return self._map_tensors(Tensor.pin_memory)

    def _map_tensors(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {k: change(v) if isinstance(v, Tensor) else v for k, v in values.items()}
        return type(self)(**changed)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Concatenate batches of one bucket, in order."""
    values: dict[str, Any] = {field.name: [getattr(batch, field.name) for batch in batches] for field in fields(Batch)}
    sample_keys = tuple(sample_key for keys in values.pop("sample_keys") for sample_key in keys)
    tensors: dict[str, Any] = {name: None if rows[0] is None else torch.cat(rows) for name, rows in values.items()}
    return Batch(sample_keys=sample_keys, **tensors)
