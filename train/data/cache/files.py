"""The files of a cache: where they lie, what they hold, and how one showing is read from them.

    SET/cache/clips-<key>/ab/<clip id>-<hash>.safetensors
        latent (V, C, F, H, W) and audio (R, T, L, Q) float16; face and mouth (R, F, H, W) uint8, of 255
    SET/cache/texts-<key>/ab/<annotation id, or clip id>.safetensors, and null.safetensors for the null prompt
        <form>.tokens (V, N) or (V, N, W) ids or (V, N, E) float16 vectors; <form>.phases (V, N) int8; <form>.windows
        (V, K, 2) float32
    SET/cache/extra_conditioning-<key>/ab/<clip id>-<hash>.safetensors, where a variant asks for it
        identity (X,), intensity (R, 2) and motion (V, T, S) float32: xsheet.train.data.conditioning

R crops, V variants: crop r is variant r, or with mirrored pictures variants 2r and 2r + 1, the second one mirrored.
C latent channels, F latent frames, H x W cells, T frames, L x Q sound features, N tokens of the longest variant, W ids
of a token, E text width, K phases, X numbers of a face, S series.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as save_bytes
from torch import Tensor

from xsheet.model.encoders.text import TextEncoder
from xsheet.model.phases import PAD
from xsheet.schemas.clip import Feature
from xsheet.schemas.errors import ContractError
from xsheet.schemas.tables import write_bytes
from xsheet.train.data.cache.fingerprint import CacheSpec
from xsheet.train.data.texts import TextForm, TokenizedText


def clip_path(spec: CacheSpec, clip_id: str, digest: str) -> Path:
    """Path of a clip's latents, audio and masks, from the set folder; `digest` hashes their sources."""
    return _tensor_path(f"clips-{spec.clips_key[:16]}", f"{clip_id}-{digest[:16]}")


def text_path(spec: CacheSpec, feature: Feature) -> Path:
    """Path of a clip's texts, from the set folder."""
    return _tensor_path(f"texts-{spec.texts_key[:16]}", feature.annotation_id or feature.clip_id)


def extra_conditioning_path(spec: CacheSpec, feature: Feature) -> Path:
    """Path of a clip's extra conditioning, from the set folder."""
    assert spec.extra_conditioning_key is not None
    return _tensor_path(f"extra_conditioning-{spec.extra_conditioning_key[:16]}", Path(feature.tensor_file).stem)


def null_prompt_path(spec: CacheSpec) -> Path:
    """Path of the null prompt, from the set folder."""
    return Path("cache") / f"texts-{spec.texts_key[:16]}" / "null.safetensors"


def _tensor_path(folder: str, name: str) -> Path:
    # 256 folders, as those of the clips themselves: no file system likes a million files in one.
    return Path("cache") / folder / hashlib.sha256(name.encode()).hexdigest()[:2] / f"{name}.safetensors"


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a file, atomically; the same tensors give the same bytes."""
    # Not save_file: its errors hide that the disk is full, which has to end a run.
    write_bytes(path, save_bytes({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file.

    Raises:
        ContractError: it is not there, or broken.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ContractError(
            where=str(path), expected="tensors of the cache", got=" ".join(str(error).split()),
            hint="remove the folders cache and .commits/cache of the set and run `xsheet train cache` again",
        ) from error  # fmt: skip


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
