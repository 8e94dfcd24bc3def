"""A portrait, audio and a script to a video: `xsheet train sample`.

    sample(run_folder, SampleFiles(portrait=..., audio=..., script=read_script(...), out=...), SampleSettings())

The portrait is cut as training cut its clips and becomes the clean first latent; the video is as long as the longest
clip of the training that the sound fills.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import soxr
import torch
from PIL import Image, ImageOps
from scipy.io import wavfile

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import EncodedClip, write_clip
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, frame_at, frame_start_us, seconds_from_us
from xsheet.train.data.framing import BucketFit, fit_to_bucket
from xsheet.train.data.settings import PictureEncodingSettings
from xsheet.train.data.texts import TokenizedText, tokenize_script
from xsheet.train.loop.step import explain_out_of_memory
from xsheet.train.sample.portrait import PortraitFace, find_face, portrait_identity, static_masks
from xsheet.train.sample.sampler import Pictures, SampleRequest, SampleSettings, TrainedModel, load_trained
from xsheet.train.sample.script import ActionScript

log = logging.getLogger(__name__)

MAX_PIXELS = 100_000_000
"""Of a portrait: a decoder would fill the memory with what a small file claims to be."""
MAX_AUDIO_BYTES = 256 << 20
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_MIN_HEIGHT_PX = 256  # smaller videos are enlarged by a whole factor, so that a player shows something


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFiles:
    """Inputs and output of a sample."""

    portrait: Path  # PNG, JPEG, or a video, of which the first frame is taken
    audio: Path  # WAV, or a video with sound
    script: ActionScript  # see script_sources.read_script
    out: Path  # .mp4


def sample(
    run: Path, files: SampleFiles, settings: SampleSettings, *, stage: str | None = None, device: str = "cpu"
) -> EncodedClip:
    """Sample one video and write it with its audio.

    Raises:
        ConfigError: no finished stage, or a portrait, audio or script that cannot be used.
        MediaError: a video among them is broken.
        RunError: the device has too little memory.
    """
    trained = load_trained(run, stage=stage, device=device)
    picture = trained.settings.cache.picture
    audio = read_audio(files.audio)
    portrait = read_portrait(files.portrait)
    face = find_face(portrait)
    framing = _framing(portrait, face, audio, picture, files)
    frames = framing.bucket.frames
    _warn_if_truncated(audio, frames_us=frame_start_us(frames, picture.rate))
    shorter = (
        "give a shorter sound" if frames > min(picture.frame_counts) else "sample where there is more (--device cpu)"
    )
    with explain_out_of_memory(where=f"sample on {device}", contents=f"{frames} frames", hint=shorter):
        pictures = trained.sample([_sample_request(trained, portrait, face, audio, framing, files)], settings)[0]
    frames_at_25 = -(-len(pictures) * CLIP_RATE.num // picture.fps)
    return write_clip(
        files.out,
        frames=[_upscale(pictures[frame_at(frame_start_us(k, CLIP_RATE), picture.rate)]) for k in range(frames_at_25)],
        sound=_pad_or_trim(audio, frames_at_25 * SAMPLES_PER_FRAME),
    )


def read_portrait(file: Path) -> Rgb:
    """Read an upright picture; ConfigError if it is unreadable or too large."""
    if file.suffix.lower() not in _PICTURE_SUFFIXES:
        with open_media(file, root=file.absolute().parent) as media:
            return np.asarray(next(iter(media.frames())).rgb)
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(
            where=str(file), expected=f"a PNG or JPEG of at most {MAX_PIXELS} pixels", got=_one_line(error),
            hint="give another portrait",
        ) from error  # fmt: skip


def read_audio(file: Path) -> Samples:
    """Read float32 mono at 16 kHz; ConfigError without audio."""
    if file.suffix.lower() != ".wav":
        with open_media(file, root=file.absolute().parent) as media:
            audio = media.sound()
        if audio is None:
            raise _audio_error(file, "a video without sound")
        return audio
    try:
        if file.stat().st_size > MAX_AUDIO_BYTES:
            raise ValueError(f"{file.stat().st_size} bytes")
        rate, samples = wavfile.read(file)
    except (OSError, ValueError) as error:
        raise _audio_error(file, _one_line(error)) from error
    whole = samples.astype(np.float32)
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        whole = (whole - (128 if samples.dtype.kind == "u" else 0)) / (limits.max + 1 if limits.min else 128)
    mono = whole if whole.ndim == 1 else whole.mean(1)
    if not len(mono) or not np.isfinite(mono).all():
        raise _audio_error(file, "no samples, or some that are no numbers")
    return np.asarray(soxr.resample(mono, rate, AUDIO_RATE.num), np.float32)


def _framing(
    portrait: Rgb, face: PortraitFace | None, waveform: Samples, settings: PictureEncodingSettings, files: SampleFiles
) -> BucketFit:
    """Fit the portrait to a bucket as a clip of the audio's length, by its face if one is found."""
    height, width = portrait.shape[:2]
    frames = max(1, len(waveform) // SAMPLES_PER_FRAME)
    clip = Clip(
        clip_id="portrait", source_id="portrait", start_us=0, end_us=frame_start_us(frames, CLIP_RATE),
        media_path="portrait", media_sha256=file_sha256(files.portrait), frames=frames, samples=0, width=width,
        height=height,
    )  # fmt: skip
    framing = fit_to_bucket(clip, settings, face=None if face is None else face.position)
    if not isinstance(framing, BucketFit):
        raise ConfigError(
            where=f"{files.portrait}, {files.audio}", expected="a picture and a sound like those of the training",
            got=f"{framing.reason}: {framing.message}", hint="take a larger portrait or a longer sound",
        )  # fmt: skip
    return framing


def _warn_if_truncated(waveform: Samples, *, frames_us: int) -> None:
    audio_s, video_s = len(waveform) / AUDIO_RATE.num, seconds_from_us(frames_us)
    if audio_s > video_s + 0.5:  # less is the rest to a whole latent frame
        log.warning("of %.1f s of sound the first %.1f s are used, as long as clips of the training", audio_s, video_s)


def _sample_request(
    trained: TrainedModel,
    portrait: Rgb,
    face: PortraitFace | None,
    waveform: Samples,
    bucket_fit: BucketFit,
    files: SampleFiles,
) -> SampleRequest:
    encoders, cached = trained.encoders, trained.settings.cache
    picture, frames = cached.picture, bucket_fit.bucket.frames
    cut = bucket_fit.crop_picture(
        np.asarray(cv2.resize(portrait, bucket_fit.scaled_size, interpolation=cv2.INTER_AREA), np.uint8)
    )
    first = encoders.video.encode(torch.from_numpy(np.ascontiguousarray(cut))[None, None])[0]
    sound = torch.from_numpy(
        _pad_or_trim(waveform, -(-len(waveform) // picture.samples_per_frame) * picture.samples_per_frame)
    )
    audio_TLQ = encoders.audio.encode(sound[None], samples_per_frame=picture.samples_per_frame)[0, :frames]
    length_us = frame_start_us(frames, picture.rate)
    request_text = _tokenize(trained, files.script.annotation(length_us, where="the script"))
    face_FHW, mouth_FHW = static_masks(face, bucket_fit, cell=encoders.video.stride[1:])
    return SampleRequest(
        name="sample",
        first_C1HW=first.cpu(),
        audio_TLQ=audio_TLQ.cpu(),
        text=request_text,
        face_FHW=face_FHW,
        mouth_FHW=mouth_FHW,
        identity_X=None if cached.extra_conditioning is None else portrait_identity(face, cached.extra_conditioning),
    )


def _tokenize(trained: TrainedModel, annotation: Annotation) -> TokenizedText:
    """The text at the times that were asked for; logs it, and what differs from the script."""
    cached = trained.settings.cache
    text, changes = tokenize_script(
        annotation,
        form=trained.settings.stage(trained.stage).dataset.text,
        encoder=trained.encoders.text,
        policy=cached.text.blocks,
        rate=cached.picture.rate,
        max_blocks=trained.model.transformer.model_config.max_phases,
        where="the script",
    )
    log.info("text: %s", text.text)
    for change in changes:
        log.warning("%s", change)
    return text


def _pad_or_trim(waveform: Samples, length: int) -> Samples:
    """Trim, or pad with silence."""
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


def _upscale(rgb: Pictures) -> Pictures:
    times = -(-_MIN_HEIGHT_PX // rgb.shape[0]) if rgb.shape[0] < _MIN_HEIGHT_PX else 1
    size = rgb.shape[1] * times, rgb.shape[0] * times
    return rgb if times == 1 else np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _audio_error(file: Path, got: str) -> ConfigError:
    return ConfigError(where=str(file), expected="a WAV, or a video with sound", got=got, hint="give another sound")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
