"""Light-ASD (Liao et al., 2023, arXiv 2303.04439): the network that reads from face and sound whether a face speaks.

Written from the paper for the published weights (MIT); they are safetensors with a pinned hash, which `convert_weights`
makes offline from the authors' pickle. The network is functions over its tensors, so that nothing imports torch early.

Axes: B clips, T frames at 25 fps, 4T steps of 10 ms of sound, C channels.
"""

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from xsheet.curate.media.audio import Samples
from xsheet.curate.sync.network_weights import convert_pickle, load_tensors, read_weights, wrong_weights_error
from xsheet.curate.sync.syncnet import mfcc
from xsheet.curate.weights import find_model
from xsheet.schemas.errors import RunError, install_extra
from xsheet.schemas.settings import StrictModel

if TYPE_CHECKING:
    import torch

    Weights = dict[str, torch.Tensor]

Floats = NDArray[np.float32]

ORIGINAL_WEIGHTS = "light-asd-finetuning-talkset.model"
CROP_PX = 112
STEPS_PER_FRAME = 4
_CEPSTRA = 13
_CHANNELS = (1, 32, 64, 128)
_EPSILON = 1e-3  # of the normalisations, as trained
_GREY_MEAN, _GREY_STD = 0.4161, 0.1688  # of the training pictures, 0..1
_TWO_CLASSES = 2  # of the heads: silent, speaking


class LightAsdNetworkSettings(StrictModel):
    """What of Light-ASD runs in the decode. A change measures again."""

    crop_scale: float = Field(default=0.4, ge=0, le=2, description="margin around the face; as in the original")
    clip_frames: int = Field(default=150, ge=25, le=1500, description="frames that the network reads together")
    device: str = Field(default="cpu", description="torch device, e.g. cpu or cuda")

    @property
    def max_lag_frames(self) -> int:
        """0: the network judges the sound as it lies, at no other offset."""
        return 0


DEFAULT_SETTINGS = LightAsdNetworkSettings()


class LightAsd:
    """The network with its weights."""

    def __init__(
        self, weights: Path, *, sha256: str | None = None, settings: LightAsdNetworkSettings = DEFAULT_SETTINGS
    ) -> None:
        self._path = weights
        self._sha256 = sha256
        self.settings = settings
        self._weights: Weights = {}
        self.name = ""

    def open(self) -> None:
        """Verify and load the weights.

        Raises:
            ConfigError: weights or their hash missing, another hash, or unexpected tensors.
            RunError: the extra is not installed.
        """
        try:
            import python_speech_features  # noqa: F401, PLC0415 - heavy, and optional
            import torch  # noqa: F401, PLC0415 - the same
        except ImportError as error:
            hint = install_extra("syncnet")
            raise RunError(where="Light-ASD", expected="the extra `syncnet`", got=str(error), hint=hint) from error
        raw, digest = read_weights(self._path, sha256=self._sha256)
        weights = load_tensors(raw, where=self._path, network="Light-ASD")
        _check_tensors(weights, where=self._path)
        self._weights = {name: tensor.to(self.settings.device) for name, tensor in weights.items()}
        self.name = f"light_asd@{digest[:8]}"

    def speaking_logits(self, crops: NDArray[np.uint8], sound: Samples, first: int) -> Floats:
        """(T,) difference of the scores of speaking and silent: above 0 speaks.

        Args:
            crops: (T, 112, 112) grey faces of frames `first`, `first` + 1, ...
            sound: of the whole source.
            first: index of the first frame.
        """
        import torch  # noqa: PLC0415 - heavy, and optional

        frames, device = len(crops), self.settings.device
        steps = np.zeros((STEPS_PER_FRAME * frames, _CEPSTRA), np.float32)
        found = mfcc(sound, STEPS_PER_FRAME * first, STEPS_PER_FRAME * (first + frames))
        steps[: len(found)] = found[: len(steps)]
        with torch.inference_mode():
            pictures = torch.from_numpy(np.ascontiguousarray(crops)).to(device, torch.float32)[None, None] / 255
            cepstra = torch.from_numpy(steps.T.copy()).to(device)[None, None]
            both = self._encode_faces((pictures - _GREY_MEAN) / _GREY_STD) + self._encode_sound(cepstra)
            scores = torch.nn.functional.linear(
                self._over_time(both), self._weights["lossAV.FC.weight"], self._weights["lossAV.FC.bias"]
            )
        return np.asarray((scores[0, :, 1] - scores[0, :, 0]).cpu().numpy(), np.float32)

    def _encode_faces(self, x: "torch.Tensor") -> "torch.Tensor":
        """(B, T, 128) features of (B, 1, T, 112, 112) faces."""
        from torch.nn.functional import max_pool3d  # noqa: PLC0415 - heavy, and optional

        x = self._block("model.visualEncoder.block1", x, first="s", shrink=2)
        x = max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        x = self._block("model.visualEncoder.block2", x, first="s")
        x = max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        x = self._block("model.visualEncoder.block3", x, first="s")
        return x.amax((3, 4)).transpose(1, 2)

    def _encode_sound(self, x: "torch.Tensor") -> "torch.Tensor":
        """(B, T, 128) features of (B, 1, 13, 4T) steps of sound."""
        from torch.nn.functional import max_pool2d  # noqa: PLC0415 - heavy, and optional

        x = self._block("model.audioEncoder.block1", x, first="m")
        x = max_pool2d(x, (1, 3), (1, 2), (0, 1))
        x = self._block("model.audioEncoder.block2", x, first="m")
        x = max_pool2d(x, (1, 3), (1, 2), (0, 1))
        x = self._block("model.audioEncoder.block3", x, first="m")
        return x.mean(2).transpose(1, 2)

    def _block(self, name: str, x: "torch.Tensor", *, first: str, shrink: int = 1) -> "torch.Tensor":
        """Two paths with kernels of 3 and 5, each within the picture (or the cepstrum) and then in time; added."""
        paths = []
        for size in (3, 5):
            within = self._convolve(f"{name}.{first}_{size}", f"{name}.bn_{first}_{size}", x, shrink=shrink)
            paths.append(self._convolve(f"{name}.t_{size}", f"{name}.bn_t_{size}", within))
        return self._convolve(f"{name}.last", f"{name}.bn_last", paths[0] + paths[1])

    def _convolve(self, name: str, normalisation: str, x: "torch.Tensor", *, shrink: int = 1) -> "torch.Tensor":
        """Convolution without bias that keeps the size (or divides that of the picture), normalised, rectified."""
        from torch.nn import functional as F  # noqa: PLC0415, N812 - heavy, and optional

        kernel = self._weights[f"{name}.weight"]
        padding = tuple(size // 2 for size in kernel.shape[2:])
        if kernel.ndim == 5:  # pictures over time
            x = F.conv3d(x, kernel, stride=(1, shrink, shrink), padding=padding)
        else:
            x = F.conv2d(x, kernel, padding=padding)
        at = {part: self._weights[f"{normalisation}.{part}"] for part in _NORMALISATION}
        return F.relu(F.batch_norm(x, at["running_mean"], at["running_var"], at["weight"], at["bias"], eps=_EPSILON))

    def _over_time(self, x: "torch.Tensor") -> "torch.Tensor":
        """(B, T, 128): gated recurrent units forwards over the frames, then others backwards over what those give."""
        from torch.nn.functional import gelu  # noqa: PLC0415 - heavy, and optional

        x = gelu(self._recur("model.GRU.gru_forward", x))
        return gelu(self._recur("model.GRU.gru_backward", x.flip(1)).flip(1))

    def _recur(self, name: str, x: "torch.Tensor") -> "torch.Tensor":
        import torch  # noqa: PLC0415 - heavy, and optional

        parts = [self._weights[f"{name}.{part}_l0"] for part in _RECURRENT]
        start = x.new_zeros(1, len(x), _CHANNELS[-1])
        output, _ = torch.gru(x, start, parts, True, 1, 0.0, False, False, True)
        return output


_NORMALISATION = ("weight", "bias", "running_mean", "running_var")
_RECURRENT = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the network reads."""
    shapes: dict[str, tuple[int, ...]] = {}
    for encoder, first in (("visualEncoder", "s"), ("audioEncoder", "m")):
        for block, (before, after) in enumerate(pairwise(_CHANNELS), start=1):
            at = f"model.{encoder}.block{block}."
            for part, channels, kernel in _kernels(first, before, after):
                shapes[f"{at}{part}.weight"] = (after, channels, *kernel)
                shapes |= {f"{at}bn_{part}.{one}": (after,) for one in _NORMALISATION}
    wide = _CHANNELS[-1]
    for way in ("forward", "backward"):
        at = f"model.GRU.gru_{way}."
        shapes |= {f"{at}{part}_l0": (3 * wide, wide) if "weight" in part else (3 * wide,) for part in _RECURRENT}
    return shapes | {"lossAV.FC.weight": (_TWO_CLASSES, wide), "lossAV.FC.bias": (_TWO_CLASSES,)}


def _kernels(first: str, before: int, after: int) -> list[tuple[str, int, tuple[int, ...]]]:
    """Part, input channels and kernel of the convolutions of one block."""
    found: list[tuple[str, int, tuple[int, ...]]] = []
    for size in (3, 5):
        within, in_time = ((1, size, size), (size, 1, 1)) if first == "s" else ((size, 1), (1, size))
        found += [(f"{first}_{size}", before, within), (f"t_{size}", after, in_time)]
    return [*found, ("last", after, (1, 1, 1) if first == "s" else (1, 1))]


def convert_weights(source: Path, out: Path, *, sha256: str | None = None) -> str:
    """Convert the authors' pickle to safetensors; return the hash, which is also stored beside the file.

    Args:
        source: the original finetuning_TalkSet.model. Only tensors are loaded; no code in it runs.
        out: output file.
        sha256: expected hash of `source`; None is that of the published file.

    Raises:
        ConfigError: another hash, not a pickle of tensors, or unexpected tensors.
        RunError: the extra is not installed.
    """

    def check(state: Any) -> None:
        _check_tensors(state, where=source)

    expected = sha256 or find_model(ORIGINAL_WEIGHTS).sha256 or ""
    return convert_pickle(source, out, network="Light-ASD", sha256=expected, check=check)


def _check_tensors(state: Any, *, where: Path) -> None:
    """Compare names and shapes; counters and the head of the pictures alone, which training needs, may be there."""
    if not isinstance(state, dict):
        raise wrong_weights_error(where, got=type(state).__name__, network="Light-ASD")
    for name, shape in tensor_shapes().items():
        found = tuple(getattr(state.get(name), "shape", ()))
        if found != shape:
            got = f"{name} of shape {found}" if math.prod(found) > 1 or name in state else f"no {name}"
            raise wrong_weights_error(where, got=got, network="Light-ASD")
