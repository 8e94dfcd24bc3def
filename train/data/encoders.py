"""The three encoders of a run, opened from its settings and held against the size of the model."""

from dataclasses import dataclass
from pathlib import Path

import torch

from xsheet.model.config import ActAvatarConfig, tiny, wan2_2_ti2v_5b
from xsheet.model.encoders.audio import LogMel, SoundEncoder, Wav2Vec2Sound
from xsheet.model.encoders.text import ByteText, TextEncoder, Umt5Text
from xsheet.model.encoders.video import TransformCodec, VideoCodec
from xsheet.schemas.errors import ConfigError
from xsheet.train.data.settings import CacheSettings, EncoderSettings, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """What turns pictures, text and sound into numbers."""

    video: VideoCodec
    text: TextEncoder
    sound: SoundEncoder


def size_of(name: Size) -> ActAvatarConfig:
    """The numbers of a model by its name."""
    return tiny() if name == "tiny" else wan2_2_ti2v_5b()


def open_encoders(settings: CacheSettings, *, device: str = "cpu") -> Encoders:
    """The encoders of a run; weights go to the device, their type is the same on all, so that fingerprints are.

    Raises:
        ConfigError: weights that are missing, or an encoder that the model was not made for.
    """
    asked, size = settings.encoders, size_of(settings.size)
    encoders = Encoders(video=_video(asked, device), text=_text(asked, size, device), sound=_sound(asked, size, device))
    _check_fit(encoders, size)
    _check_sizes(settings, size)
    return encoders


def _video(asked: EncoderSettings, device: str) -> VideoCodec:
    if asked.video == "analytic":
        return TransformCodec()
    folder = _folder(asked.video_weights, "video")
    from xsheet.model.encoders.wan_vae import WanCodec  # noqa: PLC0415  # diffusers takes seconds, in every worker

    codec = WanCodec.load(folder)
    codec.vae.to(device)  # type: ignore[arg-type]  # diffusers wraps it without its types
    return codec


def _text(asked: EncoderSettings, size: ActAvatarConfig, device: str) -> TextEncoder:
    if asked.text == "bytes":
        # Its weights are learned: these serve to tokenize, and the trainer draws its own.
        return ByteText(tokens=size.text_tokens, width=size.text_dim, rng=torch.Generator())
    encoder = Umt5Text.load(_folder(asked.text_weights, "text"), tokens=size.text_tokens)
    encoder.model.to(device)
    return encoder


def _sound(asked: EncoderSettings, size: ActAvatarConfig, device: str) -> SoundEncoder:
    if asked.sound == "mel":
        return LogMel(steps=size.audio_layers, bands=size.audio_channels)
    encoder = Wav2Vec2Sound.load(_folder(asked.sound_weights, "sound"))
    encoder.model.to(device)
    return encoder


def _folder(weights: str | None, part: str) -> Path:
    if weights is None:
        raise ConfigError(
            where=f"cache.encoders.{part}_weights", expected="a folder with the weights", came="nothing",
            todo=f"download them yourself and say --set cache.encoders.{part}_weights=FOLDER",
        )  # fmt: skip
    return Path(weights)


def _check_fit(encoders: Encoders, size: ActAvatarConfig) -> None:
    """The numbers that the model takes are those that the encoders give."""
    pairs = {
        "channels of the video codec": (size.in_channels, encoders.video.channels),
        "stride of the video codec": (size.latent_stride, encoders.video.stride),
        "width of the text encoder": (size.text_dim, encoders.text.width),
        "layers of the sound encoder": (size.audio_layers, encoders.sound.layers),
        "channels of the sound encoder": (size.audio_channels, encoders.sound.channels),
    }
    for what, (expected, came) in pairs.items():
        if expected != came:
            raise ConfigError(
                where=what, expected=f"{expected}, as the model takes", came=str(came),
                todo="choose encoders and model (cache.size) that belong together",
            )  # fmt: skip


def _check_sizes(settings: CacheSettings, size: ActAvatarConfig) -> None:
    """Pictures divide into tokens."""
    token = [stride * patch for stride, patch in zip(size.latent_stride[1:], size.patch_size[1:], strict=True)]
    for height, width in settings.picture.sizes:
        if height % token[0] or width % token[1]:
            raise ConfigError(
                where="cache.picture.sizes", expected=f"multiples of {token[0]} x {token[1]} pixels (height x width)",
                came=f"{height} x {width}", todo="choose the nearest size that is",
            )  # fmt: skip
