"""SyncNet (Chung & Zisserman, 2016) on frames in memory: network and sound features.

The network and the MFCC come from the package syncnet-python (extra `syncnet`); its file handling and detector are not
used. Weights are safetensors with a pinned hash; `convert_weights` makes them offline from the authors' pickle.

Axes: T frames at 25 fps. A window is 5 frames of the mouth or 20 steps of 10 ms of sound, indexed by its first frame.
Positive offsets mean a late voice, as everywhere in xsheet; SyncNet's own code has the opposite sign.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.sync.network_weights import convert_pickle, load_tensors, read_weights, wrong_weights_error
from xsheet.curate.weights import find_model
from xsheet.schemas.errors import RunError, install_extra
from xsheet.schemas.settings import StrictModel
from xsheet.schemas.time import AUDIO_RATE

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

ORIGINAL_WEIGHTS = "syncnet_v2.model"
WINDOW_FRAMES = 5
_HOP_SAMPLES = 160  # 10 ms, four steps per frame
_AUDIO_WINDOW_HOPS = 20
_FFT_SAMPLES = 400  # 25 ms, the window of one step
_BLOCK_WINDOWS = 64  # windows of sound per batch


class SyncNetNetworkSettings(StrictModel):
    """What of SyncNet runs in the decode. A change measures again."""

    max_lag_frames: int = Field(
        default=21, ge=1, le=75, description="frames of 40 ms compared to each side; covers the search and the shift"
    )
    crop_scale: float = Field(default=0.4, ge=0, le=2, description="margin around the face; as in the original")
    batch_size: int = Field(default=8, ge=1, le=256, description="mouth windows per batch")
    device: str = Field(default="cpu", description="torch device, e.g. cpu or cuda")


DEFAULT_SETTINGS = SyncNetNetworkSettings()


class SyncNet:
    """The SyncNet network with its weights."""

    def __init__(
        self, weights: Path, *, sha256: str | None = None, settings: SyncNetNetworkSettings = DEFAULT_SETTINGS
    ) -> None:
        self._path = weights
        self._sha256 = sha256
        self.settings = settings
        self._net: Any = None
        self.name = ""

    def open(self) -> None:
        """Verify and load the weights.

        Raises:
            ConfigError: weights or their hash missing, another hash, or unexpected tensors.
            RunError: the extra is not installed.
        """
        raw, digest = read_weights(self._path, sha256=self._sha256)
        self._net = _build_network(load_tensors(raw, where=self._path, network="SyncNet"), where=self._path).to(
            self.settings.device
        )
        self.name = f"syncnet_v2@{digest[:8]}"

    def embed_mouths(self, crops: NDArray[np.uint8]) -> "torch.Tensor":
        """(N, 1024) embeddings of the mouth windows of (N + 4, 224, 224, 3) RGB crops, one crop per frame."""
        import torch  # noqa: PLC0415 - heavy, and optional

        bgr = torch.from_numpy(np.ascontiguousarray(crops[..., ::-1])).to(self.settings.device, torch.float32)
        windows = bgr.unfold(0, WINDOW_FRAMES, 1).permute(0, 3, 4, 1, 2)  # (N, 3, 5, 224, 224)
        with torch.inference_mode():
            embeddings: torch.Tensor = self._net.forward_lip(windows)
        return embeddings

    def embed_audio(self, sound: Samples, first: int, last: int) -> "torch.Tensor":
        """(last - first, 1024) embeddings of the sound windows of frames `first` to `last` (exclusive)."""
        import torch  # noqa: PLC0415 - heavy, and optional

        steps = torch.from_numpy(mfcc(sound, 4 * first, 4 * (last - 1) + _AUDIO_WINDOW_HOPS)).to(
            self.settings.device, torch.float32
        )
        windows = steps.unfold(0, _AUDIO_WINDOW_HOPS, 4)[:, None]  # (N, 1, 13, 20)
        with torch.inference_mode():
            embeddings: torch.Tensor = self._net.forward_aud(windows)
        return embeddings


class VoiceFeatures:
    """Embeddings of the sound, computed on demand in blocks; queries must advance in time."""

    def __init__(self, net: SyncNet, sound: Samples) -> None:
        self._net = net
        self._sound = sound
        self._blocks: dict[int, torch.Tensor] = {}
        # As in the original: a window needs all its steps, without the last step of the sound.
        self.windows = max(0, len(sound) // SAMPLES_PER_FRAME - WINDOW_FRAMES)

    def distances(self, mouth_embeddings: "torch.Tensor", first: int, *, max_lag_frames: int) -> Floats:
        """(N, 2 max_lag_frames + 1) distances of mouth windows from frame `first` to the sound windows around them.

        Beyond the sound a zero embedding is used, as in the original.
        """
        import torch  # noqa: PLC0415 - heavy, and optional

        embeddings = self._embeddings_around(
            first - max_lag_frames, first + len(mouth_embeddings) + max_lag_frames, like=mouth_embeddings
        )
        pairs = embeddings.unfold(0, 2 * max_lag_frames + 1, 1).transpose(1, 2)  # (N, O, 1024)
        return np.asarray(
            torch.nn.functional.pairwise_distance(mouth_embeddings[:, None], pairs).cpu().numpy(), np.float32
        )

    def _embeddings_around(self, start: int, stop: int, *, like: "torch.Tensor") -> "torch.Tensor":
        embeddings = like.new_zeros((stop - start, like.shape[1]))
        for block in range(max(0, start) // _BLOCK_WINDOWS, -(-min(stop, self.windows) // _BLOCK_WINDOWS)):
            first, last = block * _BLOCK_WINDOWS, min((block + 1) * _BLOCK_WINDOWS, self.windows)
            if block not in self._blocks:
                self._blocks[block] = self._net.embed_audio(self._sound, first, last)
            low, high = max(first, start), min(last, stop)
            embeddings[low - start : high - start] = self._blocks[block][low - first : high - first]
        for old in [b for b in self._blocks if (b + 1) * _BLOCK_WINDOWS <= start]:
            del self._blocks[old]
        return embeddings


def mfcc(sound: Samples, first: int, last: int) -> Floats:
    """(last - first, 13) MFCC of 10 ms steps `first` to `last` (exclusive), as computed over the whole 16-bit sound."""
    from python_speech_features import mfcc as coefficients  # noqa: PLC0415 - comes with the extra

    before = min(first, 1)  # pre-emphasis looks one sample back, so one step more is taken and dropped
    samples = sound[(first - before) * _HOP_SAMPLES : (last - 1) * _HOP_SAMPLES + _FFT_SAMPLES]
    pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
    return np.asarray(coefficients(pcm, AUDIO_RATE.num)[before : last - first + before], np.float32)


def convert_weights(source: Path, out: Path, *, sha256: str | None = None) -> str:
    """Convert the authors' pickle to safetensors; return the hash, which is also stored beside the file.

    Args:
        source: the original syncnet_v2.model. Only tensors are loaded; no code in it runs.
        out: output file.
        sha256: expected hash of `source`; None is that of the published file.

    Raises:
        ConfigError: another hash, not a pickle of tensors, or unexpected tensors.
        RunError: the extra is not installed.
    """

    def check(state: Any) -> None:
        _build_network(state, where=source)

    expected = sha256 or find_model(ORIGINAL_WEIGHTS).sha256 or ""
    return convert_pickle(source, out, network="SyncNet", sha256=expected, check=check)


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
        raise wrong_weights_error(where, got=str(error).splitlines()[0], network="SyncNet") from error
    return net.eval()
