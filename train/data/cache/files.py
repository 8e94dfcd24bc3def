"""The tensors of a cache: where they lie and what they hold. An entry is safetensors bytes in a segment file.

    SET/cache/clips-<key>/: <clip id>-<hash>
        latent (V, C, F, H, W) and audio (R, T, L, Q) float16; face and mouth (R, F, H, W) uint8, of 255
    SET/cache/texts-<key>/: <annotation id, or clip id>, and null for the null prompt
        <form>.tokens (V, N) or (V, N, W) ids or (V, N, E) float16 vectors; <form>.phases (V, N) int8; <form>.windows
        (V, K, 2) float32
    SET/cache/extra_conditioning-<key>/: <clip id>-<hash>, where a variant asks for it
        identity (X,), intensity (R, 2) and motion (V, T, S) float32: xsheet.train.data.conditioning

R crops, V variants: crop r is variant r, or with mirrored pictures variants 2r and 2r + 1, the second one mirrored.
C latent channels, F latent frames, H x W cells, T frames, L x Q sound features, N tokens of the longest variant, W ids
of a token, E text width, K phases, X numbers of a face, S series.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from xsheet.model.encoders.text import TextEncoder
from xsheet.model.phases import PAD
from xsheet.runtime.segments import MAX_TENSOR_SEGMENT_BYTES, SegmentStore
from xsheet.schemas.clip import Feature
from xsheet.schemas.errors import ContractError
from xsheet.schemas.files import write_bytes
from xsheet.train.data.cache.fingerprint import CacheSpec
from xsheet.train.data.texts import TextForm, TokenizedText


def clip_entry(spec: CacheSpec, clip_id: str, digest: str) -> Path:
    """Entry of a clip's latents, audio and masks, from the set folder; `digest` hashes their sources."""
    return Path("cache") / f"clips-{spec.clips_key[:16]}" / f"{clip_id}-{digest[:16]}"


def text_entry(spec: CacheSpec, feature: Feature) -> Path:
    """Entry of a clip's texts, from the set folder."""
    return Path("cache") / f"texts-{spec.texts_key[:16]}" / (feature.annotation_id or feature.clip_id)


def extra_conditioning_entry(spec: CacheSpec, feature: Feature) -> Path:
    """Entry of a clip's extra conditioning, from the set folder."""
    assert spec.extra_conditioning_key is not None
    return Path("cache") / f"extra_conditioning-{spec.extra_conditioning_key[:16]}" / Path(feature.tensor_entry).name


def null_prompt_entry(spec: CacheSpec) -> Path:
    """Entry of the null prompt, from the set folder."""
    return Path("cache") / f"texts-{spec.texts_key[:16]}" / "null"


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a file, atomically; the same tensors give the same bytes."""
    # Not save_file: its errors hide that the disk is full, which has to end a run.
    write_bytes(path, save_bytes({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}))


def cache_folders(spec: CacheSpec) -> list[Path]:
    """The folders that hold the entries of a spec, from the set folder."""
    keys = {"clips": spec.clips_key, "texts": spec.texts_key, "extra_conditioning": spec.extra_conditioning_key}
    return [Path("cache") / f"{name}-{key[:16]}" for name, key in keys.items() if key is not None]


class TensorStore:
    """The entries of a set's cache."""

    def __init__(self, set_folder: Path) -> None:
        self._set = set_folder
        self._folders: dict[Path, SegmentStore] = {}

    def __contains__(self, entry: Path) -> bool:
        return entry.name in self._folder(entry.parent)

    def save(self, entry: Path, tensors: Mapping[str, Tensor]) -> None:
        """Append tensors; the same tensors give the same bytes."""
        data = save_bytes({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
        self._folder(entry.parent).append(entry.name, data)

    def read(self, entry: Path) -> dict[str, Tensor]:
        """Read all tensors of an entry.

        Raises:
            ContractError: it is not there, or broken.
        """
        folder = self._folder(entry.parent)
        if entry.name not in folder:
            folder.refresh()  # appended since
        data = folder.read(entry.name)
        try:
            if data is not None:
                return load_bytes(data)
            got = "none, or damaged ones"
        except SafetensorError as error:
            got = " ".join(str(error).split())
        raise ContractError(
            where=str(self._set / entry), expected="tensors of the cache", got=got,
            hint="remove the folders cache and .commits/cache of the set and run `xsheet train cache` again",
        )  # fmt: skip

    def compact(self, folders: Iterable[Path]) -> None:
        """Merge small segments of some folders of the cache; for the only writer."""
        for folder in folders:
            self._folder(folder).compact()

    def _folder(self, folder: Path) -> SegmentStore:
        if folder not in self._folders:
            self._folders[folder] = SegmentStore(self._set / folder, max_segment_bytes=MAX_TENSOR_SEGMENT_BYTES)
        return self._folders[folder]


def to_float16(values: Tensor, *, where: str) -> Tensor:
    """Cast to float16; ContractError if a value does not fit."""
    stored = values.half()
    if not stored.isfinite().all():
        raise ContractError(
            where=where, expected="finite features below 65504", got=f"up to {float(values.abs().max())}",
            hint="check the weights of the encoder",
        )  # fmt: skip
    return stored


def masks_to_uint8(masks: Sequence[NDArray[np.float32]]) -> Tensor:
    """Masks in 0..1 as bytes, stacked."""
    return torch.from_numpy(np.rint(255 * np.stack(masks)).astype(np.uint8))


def stack_texts(texts_by_crop: Sequence[Mapping[TextForm, TokenizedText]], encoder: TextEncoder) -> dict[str, Tensor]:
    """Stack the texts of all crops by form, padded to the longest."""
    tensors: dict[str, Tensor] = {}
    for form in texts_by_crop[0]:
        texts = [variant[form] for variant in texts_by_crop]
        most = max(len(one.phase_N) for one in texts)
        phases = [torch.from_numpy(one.phase_N) for one in texts]
        tensors[f"{form}.tokens"] = torch.stack([cached_text(one.ids_M, encoder)[:most] for one in texts])
        tensors[f"{form}.phases"] = torch.nn.utils.rnn.pad_sequence(phases, batch_first=True, padding_value=PAD)
        tensors[f"{form}.windows"] = torch.from_numpy(np.stack([one.window_K2 for one in texts]))
    return tensors


def cached_text(ids_M: Tensor, encoder: TextEncoder) -> Tensor:
    """What the cache keeps of a text: ids for a trainable encoder, else float16 vectors; pads included."""
    return ids_M if encoder.trainable else to_float16(encoder.embed(ids_M[None])[0], where="text vectors").cpu()
