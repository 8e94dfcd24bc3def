"""Video, text and audio encoders of a run."""

from dataclasses import dataclass
from pathlib import Path

import torch

from xsheet.model.config import ActAvatarConfig, motion_prior_config, tiny_config, wan2_2_ti2v_5b_config
from xsheet.model.encoders.audio import AudioEncoder, LogMelEncoder, Wav2Vec2Encoder
from xsheet.model.encoders.motion import SPREADS, MotionCodec
from xsheet.model.encoders.text import ByteTextEncoder, TextEncoder, Umt5TextEncoder
from xsheet.model.encoders.video import DctCodec, VideoCodec, WanCodec
from xsheet.schemas.errors import ConfigError
from xsheet.train.data.settings import CacheSettings, EncoderSettings, ModelName


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """The encoders of a run."""

    video: VideoCodec
    text: TextEncoder
    audio: AudioEncoder


def named_config(name: ModelName) -> ActAvatarConfig:
    """Model config by name."""
    match name:
        case "tiny":
            return tiny_config()
        case "motion-prior":
            return motion_prior_config()
        case "wan2.2-ti2v-5b":
            return wan2_2_ti2v_5b_config()


def open_encoders(settings: CacheSettings, *, device: str = "cpu") -> Encoders:
    """Open the encoders of a run. Weights have one dtype on all devices, so that fingerprints agree.

    Raises:
        ConfigError: weights are missing, or an encoder does not match the model.
    """
    requested, size = settings.encoders, named_config(settings.model)
    encoders = Encoders(
        video=_video_codec(requested, device),
        text=_text_encoder(requested, size, device),
        audio=_audio_encoder(requested, size, device),
    )
    _check_encoders_match(encoders, size)
    _check_resolutions(settings, size)
    return encoders


def _video_codec(settings: EncoderSettings, device: str) -> VideoCodec:
    if settings.video == "dct":
        return DctCodec()
    if settings.video == "motion":
        unknown = sorted(settings.motion_spreads.keys() - SPREADS.keys())
        if unknown:
            raise ConfigError(
                where="cache.encoders.motion_spreads", expected=f"series among {', '.join(SPREADS)}", got=unknown[0],
                hint="correct the name",
            )  # fmt: skip
        return MotionCodec({**SPREADS, **settings.motion_spreads})
    folder = _weights_folder(settings.video_weights, "video")
    codec = WanCodec.load(folder)
    codec.vae.to(device)
    return codec


def _text_encoder(settings: EncoderSettings, model_config: ActAvatarConfig, device: str) -> TextEncoder:
    if settings.text == "bytes":
        # Its weights are learned: these serve to tokenize, and the trainer draws its own.
        return ByteTextEncoder(max_tokens=model_config.text_tokens, dim=model_config.text_dim, rng=torch.Generator())
    encoder = Umt5TextEncoder.load(_weights_folder(settings.text_weights, "text"), max_tokens=model_config.text_tokens)
    encoder.model.to(device)
    return encoder


def _audio_encoder(settings: EncoderSettings, model_config: ActAvatarConfig, device: str) -> AudioEncoder:
    if settings.audio == "log_mel":
        return LogMelEncoder(steps_per_frame=model_config.audio_layers, bands=model_config.audio_channels)
    encoder = Wav2Vec2Encoder.load(_weights_folder(settings.audio_weights, "sound"))
    encoder.model.to(device)
    return encoder


def _weights_folder(weights: str | None, part: str) -> Path:
    if weights is None:
        raise ConfigError(
            where=f"cache.encoders.{part}_weights", expected="a folder with the weights", got="nothing",
            hint=f"download them yourself and pass --set cache.encoders.{part}_weights=FOLDER",
        )  # fmt: skip
    return Path(weights)


def _check_encoders_match(encoders: Encoders, model_config: ActAvatarConfig) -> None:
    """Check that the encoders' dimensions are those of the model."""
    pairs = {
        "channels of the video codec": (model_config.in_channels, encoders.video.channels),
        "stride of the video codec": (model_config.latent_stride, encoders.video.stride),
        "width of the text encoder": (model_config.text_dim, encoders.text.dim),
        "layers of the audio encoder": (model_config.audio_layers, encoders.audio.layers),
        "channels of the audio encoder": (model_config.audio_channels, encoders.audio.channels),
    }
    for what, (expected, got) in pairs.items():
        if expected != got:
            raise ConfigError(
                where=what, expected=f"{expected}, as the model takes", got=str(got),
                hint="choose encoders (cache.encoders) and a model (cache.model) that match",
            )  # fmt: skip


def _check_resolutions(settings: CacheSettings, model_config: ActAvatarConfig) -> None:
    """Check that pictures divide into tokens."""
    token = [
        stride * patch
        for stride, patch in zip(model_config.latent_stride[1:], model_config.patch_size[1:], strict=True)
    ]
    for height, width in settings.picture.resolutions:
        if height % token[0] or width % token[1]:
            raise ConfigError(
                where="cache.picture.sizes", expected=f"multiples of {token[0]} x {token[1]} pixels (height x width)",
                got=f"{height} x {width}", hint="choose the nearest size that is",
            )  # fmt: skip
