"""SyncNet (Chung & Zisserman, 2016) on pictures in memory: its network, its sound features, its numbers.

The network and the MFCC come from the package syncnet-python (extra `syncnet`); its files, shells and detector do not.
Weights are safetensors with a pinned hash; `convert` makes them from the authors' pickle, offline.

Axes: T frames at 25 fps, O offsets. A window is 5 frames of the mouth or 20 steps of 10 ms of the sound, named by its
first frame. SyncNet's code calls an offset positive when the voice is early; here, as everywhere, positive is late.
"""

import hashlib
import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.sync.lip_audio import PEAK_HALF_WIDTH_FRAMES
from xsheet.curate.weights import find_model
from xsheet.schemas.clip import SyncScore
from xsheet.schemas.errors import ConfigError, RunError, install_extra
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.tables import write_bytes, write_text
from xsheet.schemas.time import AUDIO_RATE

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

ORIGINAL_WEIGHTS = "syncnet_v2.model"
CROP_PX = 224
WINDOW_FRAMES = 5
_HOP_SAMPLES = 160  # samples of 10 ms; four steps to a frame
_AUDIO_WINDOW_HOPS = 20
_FFT_SAMPLES = 400  # of 25 ms, the window of one step
_BLOCK_WINDOWS = 64  # windows of sound embedded at once


class SyncNetSettings(StrictModel):
    """How SyncNet is run."""

    max_offset_frames: int = Field(default=15, ge=1, le=50, description="frames of 40 ms searched; the original's")
    max_sync_shift_frames: int = Field(
        default=6, ge=0, le=25, description="shifts of the sound that can be scored again"
    )
    crop_scale: float = Field(default=0.4, ge=0, le=2, description="room around the face; the original's")
    batch_size: int = Field(default=8, ge=1, le=256, description="windows of the mouth embedded at once")
    device: str = Field(default="cpu", description="of torch, e.g. cpu or cuda")

    @property
    def max_lag_frames(self) -> int:
        """Offsets to each side whose distances are kept."""
        return self.max_offset_frames + self.max_sync_shift_frames


DEFAULT_SETTINGS = SyncNetSettings()


class SyncNet:
    """The network with its weights."""

    def __init__(
        self, weights: Path, *, sha256: str | None = None, settings: SyncNetSettings = DEFAULT_SETTINGS
    ) -> None:
        self._path = weights
        self._sha256 = sha256
        self._device = settings.device
        self._net: Any = None
        self.name = ""

    def open(self) -> None:
        """Check and load the weights.

        Raises:
            ConfigError: no weights, no hash to check them with, another hash, or other tensors than SyncNet's.
            RunError: the extra is not installed.
        """
        from safetensors.torch import load  # noqa: PLC0415 - asks for torch

        raw, digest = _read_verified(self._path, self._sha256 or _stored_hash(self._path))
        self._net = _build_network(load(raw), where=self._path).to(self._device)
        self.name = f"syncnet_v2@{digest[:8]}"

    def embed_mouths(self, crops: NDArray[np.uint8]) -> "torch.Tensor":
        """(N, 1024) embeddings of the windows of (N + 4, 224, 224, 3) crops, RGB, one per frame."""
        import torch  # noqa: PLC0415 - heavy, and optional

        bgr = torch.from_numpy(np.ascontiguousarray(crops[..., ::-1])).to(self._device, torch.float32)
        windows = bgr.unfold(0, WINDOW_FRAMES, 1).permute(0, 3, 4, 1, 2)  # (N, 3, 5, 224, 224)
        with torch.inference_mode():
            found: torch.Tensor = self._net.forward_lip(windows)
        return found

    def embed_audio(self, sound: Samples, first: int, last: int) -> "torch.Tensor":
        """(last - first, 1024) embeddings of the windows of sound from frame `first` to before `last`."""
        import torch  # noqa: PLC0415 - heavy, and optional

        steps = torch.from_numpy(mfcc(sound, 4 * first, 4 * (last - 1) + _AUDIO_WINDOW_HOPS)).to(
            self._device, torch.float32
        )
        windows = steps.unfold(0, _AUDIO_WINDOW_HOPS, 4)[:, None]  # (N, 1, 13, 20)
        with torch.inference_mode():
            found: torch.Tensor = self._net.forward_aud(windows)
        return found


class VoiceFeatures:
    """Embeddings of the sound, made where they are asked for and forgotten behind; asked for in the order of time."""

    def __init__(self, net: SyncNet, sound: Samples) -> None:
        self._net = net
        self._sound = sound
        self._blocks: dict[int, torch.Tensor] = {}
        # As in the original: a window needs all of its steps, and the last step of the sound is not one.
        self.windows = max(0, len(sound) // SAMPLES_PER_FRAME - WINDOW_FRAMES)

    def distances(self, mouth_embeddings: "torch.Tensor", first: int, *, max_lag_frames: int) -> Floats:
        """(N, 2 reach + 1) distances of mouth windows from frame `first` to sound windows around them.

        Where there is no sound, a zero embedding stands for it, as in the original.
        """
        import torch  # noqa: PLC0415 - heavy, and optional

        near = self._embeddings_around(
            first - max_lag_frames, first + len(mouth_embeddings) + max_lag_frames, like=mouth_embeddings
        )
        pairs = near.unfold(0, 2 * max_lag_frames + 1, 1).transpose(1, 2)  # (N, O, 1024)
        return np.asarray(
            torch.nn.functional.pairwise_distance(mouth_embeddings[:, None], pairs).cpu().numpy(), np.float32
        )

    def _embeddings_around(self, start: int, stop: int, *, like: "torch.Tensor") -> "torch.Tensor":
        near = like.new_zeros((stop - start, like.shape[1]))
        for block in range(max(0, start) // _BLOCK_WINDOWS, -(-min(stop, self.windows) // _BLOCK_WINDOWS)):
            first, last = block * _BLOCK_WINDOWS, min((block + 1) * _BLOCK_WINDOWS, self.windows)
            if block not in self._blocks:
                self._blocks[block] = self._net.embed_audio(self._sound, first, last)
            low, high = max(first, start), min(last, stop)
            near[low - start : high - start] = self._blocks[block][low - first : high - first]
        for old in [b for b in self._blocks if (b + 1) * _BLOCK_WINDOWS <= start]:
            del self._blocks[old]
        return near


def mfcc(sound: Samples, first: int, last: int) -> Floats:
    """(last - first, 13) MFCC of the steps of 10 ms from `first` to before `last`, as of the 16-bit whole."""
    from python_speech_features import mfcc as coefficients  # noqa: PLC0415 - comes with the extra

    before = min(first, 1)  # pre-emphasis looks one sample back, so one step more is taken and dropped
    samples = sound[(first - before) * _HOP_SAMPLES : (last - 1) * _HOP_SAMPLES + _FFT_SAMPLES]
    pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
    return np.asarray(coefficients(pcm, AUDIO_RATE.num)[before : last - first + before], np.float32)


def syncnet_score(
    distances: Floats,
    valid: NDArray[np.bool_],
    *,
    scorer: str,
    shift: int = 0,
    settings: SyncNetSettings = DEFAULT_SETTINGS,
) -> SyncScore:
    """The original's numbers: confidence (LSE-C) = median - least mean distance, distance (LSE-D) = the least.

    Args:
        distances: (T, 2 reach + 1) of the windows of a span; NaN where the face was not seen.
        valid: (T,) windows that count.
        scorer: name and version of the network.
        shift: the sound is taken so many frames later; at most `max_sync_shift_frames` either way.
        settings: how SyncNet was run.
    """
    rows = distances[valid & ~np.isnan(distances[:, 0])]
    if not len(rows):
        return SyncScore(scorer=scorer, windows=0, not_measurable="face_hidden")
    middle, most = settings.max_lag_frames + shift, settings.max_offset_frames
    mean = rows[:, middle - most : middle + most + 1].mean(0)
    best = int(mean.argmin())
    away = mean[np.abs(np.arange(len(mean)) - best) > PEAK_HALF_WIDTH_FRAMES]
    return SyncScore(
        scorer=scorer,
        offset_frames=best - most,
        confidence=float(np.median(mean) - mean[best]),
        margin=float(away.min() - mean[best]) if len(away) else None,
        distance=float(mean[best]),
        windows=len(rows),
    )


def convert_weights(source: Path, out: Path, *, sha256: str | None = None) -> str:
    """Make safetensors from the authors' pickle; returns their hash, which is kept beside them too.

    Args:
        source: the original syncnet_v2.model. Only tensors are read from it; no code in it is run.
        out: file to write.
        sha256: what `source` must hash to; that of the published file when None.

    Raises:
        ConfigError: another hash, no such pickle, or other tensors than SyncNet's.
        RunError: the extra is not installed.
    """
    import torch  # noqa: PLC0415 - heavy, and optional
    from safetensors.torch import save  # noqa: PLC0415 - asks for torch

    raw, _ = _read_verified(source, sha256 or find_model(ORIGINAL_WEIGHTS).sha256 or "")
    try:
        state = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise _wrong_weights_error(source, got=str(error).splitlines()[0]) from error
    _build_network(state, where=source)
    made = save({name: tensor.contiguous() for name, tensor in state.items()})
    write_bytes(out, made)
    digest = hashlib.sha256(made).hexdigest()
    write_text(_hash_path(out), f"{digest}  {out.name}\n")
    return digest


def _build_network(state: Any, *, where: Path) -> Any:
    try:
        from syncnet_python.SyncNetModel import S  # noqa: PLC0415 - takes seconds, and is optional
    except ImportError as error:
        raise RunError(
            where="SyncNet", expected="the extra `syncnet`", got=str(error), hint=install_extra("syncnet")
        ) from error
    net = S()
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise _wrong_weights_error(where, got=str(error).splitlines()[0]) from error
    return net.eval()


def _read_verified(path: Path, expected: str) -> tuple[bytes, str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        came = error.strerror or str(error)
        raise ConfigError(where=str(path), expected="weights of SyncNet", got=came, hint="check the path") from error
    digest = hashlib.sha256(raw).hexdigest()
    if digest != expected.lower():
        raise ConfigError(where=str(path), expected=f"SHA-256 {expected}", got=digest, hint="fetch the file again")
    return raw, digest


def _stored_hash(path: Path) -> str:
    side = _hash_path(path)
    if not side.is_file():
        todo = "make the weights with `xsheet models convert`, which keeps their hash"
        raise ConfigError(where=str(side), expected="the SHA-256 of the weights", got="no such file", hint=todo)
    return side.read_text(encoding="ascii", errors="replace").split(" ")[0].strip()


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _wrong_weights_error(path: Path, *, got: str) -> ConfigError:
    todo = "take the authors' syncnet_v2.model"
    return ConfigError(where=str(path), expected="the tensors of SyncNet", got=got, hint=todo)
