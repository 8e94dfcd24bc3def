"""A portrait, audio and a script to a video: `xsheet train sample`.

    sample(load_trained(run), SampleFiles(portrait=..., audio=..., script=read_script(...), out=...), SampleSettings())

The portrait is cut as training cut its clips and becomes the clean first latent. A video is as long as its audio, to a
whole latent frame; one that is longer than the training clips is sampled in windows (windows.py).

T frames shown, H x W pixels.
"""

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import soxr
from PIL import Image, ImageOps
from scipy.io import wavfile
from torch import Tensor

from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import EncodedClip, write_clip
from xsheet.model.variants import variant_of
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, frame_at, frame_start_us
from xsheet.train.data.framing import BucketFit, fit_to_bucket
from xsheet.train.data.settings import PictureEncodingSettings
from xsheet.train.loop.step import explain_out_of_memory
from xsheet.train.prior.motion import load_prior
from xsheet.train.sample.driver import motion_of_prior, read_driver
from xsheet.train.sample.long_sample import LongSample, pad_or_trim
from xsheet.train.sample.portrait import PortraitFace, find_face, portrait_identity, static_masks
from xsheet.train.sample.sampler import Pictures, SampleSettings, TrainedModel
from xsheet.train.sample.script import ActionScript

MAX_PIXELS = 100_000_000
"""Maximum pixels of a portrait: a small file can claim a size that fills the memory."""
MAX_AUDIO_BYTES = 256 << 20
MAX_AUDIO_S = 4 * 3600  # as for films
MIN_AUDIO_RATE_HZ, MAX_AUDIO_RATE_HZ = (
    4_000,
    768_000,
)  # telephones have 8 kHz; a rate of 1 Hz would multiply the samples
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_MIN_HEIGHT_PX = 256  # smaller videos are enlarged by a whole factor, so that a player shows something


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFiles:
    """Inputs and output of a sample."""

    portrait: Path  # PNG, JPEG, or a video, of which the first frame is taken
    audio: Path  # WAV, or a video with sound
    script: ActionScript  # see script_sources.read_script
    driver: Path | None = None  # a video whose face moves that of the portrait, for variants that read motion
    prior: Path | None = None  # a motion prior in place of a driver
    out: Path  # .mp4


def sample(
    trained: TrainedModel,
    files: SampleFiles,
    settings: SampleSettings,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> EncodedClip:
    """Sample one video and write it with its audio; `on_progress` is called with the share of steps done.

    Raises:
        ConfigError: a portrait, audio, script or driver that cannot be used.
        MediaError: a video among them is broken.
        RunError: the device has too little memory.
    """
    cached = trained.settings.cache
    picture = cached.picture
    _check_driver(trained, files)
    audio = read_audio(files.audio)
    portrait = read_portrait(files.portrait)
    face = find_face(portrait)
    framing = _framing(portrait, face, audio, picture, files)
    frames = framing.bucket.frames
    shorter = (
        "give shorter audio" if frames > min(picture.frame_counts) else "sample where there is more (--device cpu)"
    )
    extra = cached.extra_conditioning
    identity_X = None if extra is None else portrait_identity(face, extra)
    with explain_out_of_memory(where=f"sample on {trained.device}", contents=f"{frames} frames", hint=shorter):
        shown = LongSample(
            trained=trained,
            first=_first_picture(portrait, framing),
            masks=static_masks(face, framing, cell=trained.encoders.video.stride[1:]),
            frames=frames,
            waveform=audio,
            settings=settings,
            identity_X=identity_X,
            read_motion=_motion_reader(files, audio, picture),
            on_progress=on_progress,
        )
        pictures = trained.enlarge(shown.sample(files.script))
    frames_at_25 = -(-len(pictures) * CLIP_RATE.num // picture.fps)
    return write_clip(
        files.out,
        frames=[_upscale(pictures[frame_at(frame_start_us(k, CLIP_RATE), picture.rate)]) for k in range(frames_at_25)],
        sound=pad_or_trim(audio, frames_at_25 * SAMPLES_PER_FRAME),
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
            hint="choose another portrait",
        ) from error  # fmt: skip


def read_audio(file: Path) -> Samples:
    """Read float32 mono at 16 kHz; ConfigError without audio."""
    if file.suffix.lower() != ".wav":
        with open_media(file, root=file.absolute().parent) as media:
            audio = media.sound()
        if audio is None:
            raise _audio_error(file, "a video without audio")
        return audio
    try:
        if file.stat().st_size > MAX_AUDIO_BYTES:
            raise ValueError(f"{file.stat().st_size} bytes")
        # From memory: scipy allocates what the header claims when it reads a file itself.
        with warnings.catch_warnings(action="ignore", category=wavfile.WavFileWarning):
            rate, samples = wavfile.read(io.BytesIO(file.read_bytes()))
        if not MIN_AUDIO_RATE_HZ <= rate <= MAX_AUDIO_RATE_HZ or len(samples) > rate * MAX_AUDIO_S:
            raise ValueError(f"{len(samples)} samples at {rate} Hz")
    except (
        OSError,
        ValueError,
        ArithmeticError,
        NameError,
        MemoryError,
        struct.error,
    ) as error:  # scipy on a bad header
        raise _audio_error(file, _one_line(error)) from error
    with np.errstate(over="ignore"):  # infinite numbers are refused below
        whole = samples.astype(np.float32)
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        whole = (whole - (128 if samples.dtype.kind == "u" else 0)) / (limits.max + 1 if limits.min else 128)
    mono = whole if whole.ndim == 1 else whole.mean(1)
    if not len(mono) or not np.isfinite(mono).all():
        raise _audio_error(file, "no samples, or samples that are not finite")
    return np.asarray(soxr.resample(mono, rate, AUDIO_RATE.num), np.float32)


def _check_driver(trained: TrainedModel, files: SampleFiles) -> None:
    variant, driver = trained.settings.variant, files.driver or files.prior
    if files.driver is not None and files.prior is not None:
        raise ConfigError(
            where="driver", expected="a video or a prior", got="both", hint="leave out --driver or --prior"
        )
    if driver is not None and not variant_of(variant).reads_motion:
        raise ConfigError(
            where=str(driver), expected="a model that reads the motion of a driver (variant `actalker`)",
            got=f"variant `{'none' if variant is None else variant.name}`", hint="leave out --driver and --prior",
        )  # fmt: skip


def _motion_reader(
    files: SampleFiles, audio: Samples, picture: PictureEncodingSettings
) -> Callable[[int], Tensor] | None:
    if files.driver is not None:
        return partial(read_driver, files.driver, rate=picture.rate)
    if files.prior is not None:
        return partial(motion_of_prior, load_prior(files.prior), files.script, audio, rate=picture.rate)
    return None


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
            where=f"{files.portrait}, {files.audio}", expected="a portrait and audio like those of the training clips",
            got=f"{framing.reason}: {framing.message}", hint="use a larger portrait or longer audio",
        )  # fmt: skip
    return framing


def _first_picture(portrait: Rgb, framing: BucketFit) -> Rgb:
    """The portrait as training cut its clips."""
    scaled = cv2.resize(portrait, framing.scaled_size, interpolation=cv2.INTER_AREA)
    return framing.crop_picture(np.asarray(scaled, np.uint8))


def _upscale(rgb: Pictures) -> Pictures:
    times = -(-_MIN_HEIGHT_PX // rgb.shape[0]) if rgb.shape[0] < _MIN_HEIGHT_PX else 1
    size = rgb.shape[1] * times, rgb.shape[0] * times
    return rgb if times == 1 else np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _audio_error(file: Path, got: str) -> ConfigError:
    return ConfigError(
        where=str(file), expected="a WAV file, or a video with audio", got=got, hint="choose another file"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
