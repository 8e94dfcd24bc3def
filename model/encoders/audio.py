"""Audio encoders, features per video frame: the protocol, log-mel bands without weights, wav2vec 2.0.

B batch, n samples, T video frames, L layers, Q numbers per layer.
"""

from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from xsheet.model.encoders.pretrained import check_model_folder, freeze, import_transformers, weights_sha256
from xsheet.schemas.ids import content_key

SAMPLE_RATE_HZ = 16_000


class AudioEncoder(Protocol):
    """Encode 16 kHz mono audio to L x Q features per video frame.

    Encode whole clips and cut frames afterwards: features at the ends have less context.
    """

    @property
    def layers(self) -> int:
        """L: `audio_layers` of the transformer."""
        ...

    @property
    def channels(self) -> int:
        """Q: `audio_channels` of the transformer."""
        ...

    def encode(self, waveform_Bn: Tensor, *, samples_per_frame: int) -> Tensor:
        """float32 in -1..1 -> (B, T, L, Q) float32; 640 samples per frame at 25 fps.

        Raises:
            ValueError: no whole number of frames.
        """
        ...

    def fingerprint(self) -> str:
        """Hex SHA-256 over weights and preprocessing."""
        ...


class LogMelEncoder:
    """Log energy in mel bands, several steps per video frame (four of 10 ms at 25 fps), one layer per step.

    A window of 25 ms, or of two steps if that is longer, is centred on its step. Levels are relative to the loudest
    tenth of the clip, independent of recording level: 1 there, -1 at 60 dB less.
    """

    _WINDOW, _FLOOR_DB, _LOW_HZ, _HIGH_HZ = 400, 60.0, 80.0, 7600.0
    _QUIET_DB = -50.0  # loudest tenth of a whisper; a clip below it is treated as silent

    def __init__(self, *, steps_per_frame: int = 4, bands: int = 20) -> None:
        self.layers = steps_per_frame
        self.channels = bands

    def encode(self, waveform_Bn: Tensor, *, samples_per_frame: int) -> Tensor:
        """As AudioEncoder; ValueError also if a frame does not divide into the steps."""
        frames = _frame_count(waveform_Bn, samples_per_frame)
        step, rest = divmod(samples_per_frame, self.layers)
        if rest:
            raise ValueError(f"expected a multiple of {self.layers} samples per frame, got {samples_per_frame}")
        window = max(self._WINDOW, 2 * step)
        before = (window - step) // 2
        padded = functional.pad(waveform_Bn.float(), (before, window - step - before))
        pieces = padded.unfold(1, window, step) * torch.hann_window(window, device=waveform_Bn.device)
        size = 1 << (window - 1).bit_length()
        power = torch.fft.rfft(pieces, n=size).abs().square() / window
        mel = power @ _mel_filters(self.channels, size, low_hz=self._LOW_HZ, high_hz=self._HIGH_HZ).to(power).T
        loud_db = 10 * mel.clamp(min=1e-11).log10()
        top_db = loud_db.amax(2).quantile(0.9, dim=1).clamp(min=self._QUIET_DB)[:, None, None]
        scaled: Tensor = 1 + (loud_db - top_db).clamp(min=-self._FLOOR_DB) / (self._FLOOR_DB / 2)
        return scaled.reshape(len(waveform_Bn), frames, self.layers, self.channels)

    def fingerprint(self) -> str:
        """As AudioEncoder."""
        scale = [self._WINDOW, self._FLOOR_DB, self._LOW_HZ, self._HIGH_HZ, self._QUIET_DB]
        return content_key("xsheet.model.encoders.audio.LogMelEncoder", 1, self.layers, self.channels, scale)


class Wav2Vec2Encoder:
    """All hidden layers of a wav2vec 2.0 at 50 Hz, interpolated to the video frames.

    MultiTalk interpolates before the layers instead, which runs them at a rate they were not trained for.
    """

    # Padding per side, so that windows of 400 samples at a step of 320 give exactly 50 features per second, each in
    # the middle of its 20 ms.
    _MARGIN, _STEP = 40, 320

    def __init__(self, model: Any, *, normalise: bool) -> None:
        self.model = freeze(model)
        self.normalise = normalise

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype = torch.float32) -> Self:
        """Load a local folder with config, preprocessor and safetensors; ConfigError if it does not exist."""
        here = check_model_folder(
            folder, contents="config.json, preprocessor_config.json and *.safetensors of a wav2vec 2.0"
        )
        library = import_transformers()
        before = library.Wav2Vec2FeatureExtractor.from_pretrained(here, local_files_only=True)
        model = library.Wav2Vec2Model.from_pretrained(here, local_files_only=True, use_safetensors=True, dtype=dtype)
        return cls(model, normalise=bool(before.do_normalize))

    @property
    def layers(self) -> int:
        """12 in the base model, 24 in the large one, without the input of the first layer, as in MultiTalk."""
        return int(self.model.config.num_hidden_layers)

    @property
    def channels(self) -> int:
        """768 in the base model."""
        return int(self.model.config.hidden_size)

    @torch.no_grad()
    def encode(self, waveform_Bn: Tensor, *, samples_per_frame: int) -> Tensor:
        """As AudioEncoder."""
        frames = _frame_count(waveform_Bn, samples_per_frame)
        sound = waveform_Bn.float()
        if self.normalise:  # over each clip, as the model's own preprocessing does
            variance, mean = torch.var_mean(sound, dim=1, keepdim=True, correction=0)
            sound = (sound - mean) / (variance + 1e-7).sqrt()
        lacking = -sound.shape[1] % self._STEP
        padded = functional.pad(sound, (self._MARGIN, self._MARGIN + lacking)).to(self.model.device, self.model.dtype)
        hidden = self.model(padded, output_hidden_states=True).hidden_states[1:]
        features_BLQS = torch.stack(hidden, dim=1).float().mT
        place = (torch.arange(frames) + 0.5) * samples_per_frame / self._STEP - 0.5
        return _interpolate(features_BLQS, place.to(features_BLQS.device)).permute(0, 3, 1, 2)

    def fingerprint(self) -> str:
        """As AudioEncoder."""
        return content_key("xsheet.model.encoders.audio.Wav2Vec2Encoder", 1, self.normalise, weights_sha256(self.model))


def _frame_count(waveform_Bn: Tensor, samples_per_frame: int) -> int:
    frames, rest = divmod(waveform_Bn.shape[1], samples_per_frame)
    if rest or not frames:
        raise ValueError(f"expected whole frames of {samples_per_frame} samples, got {waveform_Bn.shape[1]} samples")
    return frames


def _interpolate(values: Tensor, positions_T: Tensor) -> Tensor:
    """Interpolate the last dimension linearly; the end values are repeated."""
    place = positions_T.clamp(0, values.shape[-1] - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=values.shape[-1] - 1)
    return torch.lerp(values[..., below], values[..., above], place - below)


def _mel_filters(bands: int, fft_size: int, *, low_hz: float, high_hz: float) -> Tensor:
    """Return triangular filters of area 1, equally spaced on the HTK mel scale, (bands, fft_size // 2 + 1)."""
    low, high = (2595 * torch.log10(1 + torch.tensor(hz / 700)) for hz in (low_hz, high_hz))
    edges = 700 * (10 ** (torch.linspace(float(low), float(high), bands + 2) / 2595) - 1)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hz = torch.arange(fft_size // 2 + 1) * SAMPLE_RATE_HZ / fft_size
    triangles = torch.minimum((hz - left) / (middle - left), (right - hz) / (right - middle)).clamp(min=0)
    area = triangles.sum(1, keepdim=True)
    if not area.all():
        raise ValueError(f"expected bands wider than {SAMPLE_RATE_HZ / fft_size:.0f} Hz, got {bands} bands")
    return triangles / area
