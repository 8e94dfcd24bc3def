"""A portrait, a sound and a sheet of phases to a video: `xsheet train sample`.

    sample(run_folder, SampleFiles(portrait=..., sound=..., sheet=..., out=...), SampleSettings())

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
from xsheet.curate.media.writer import ClipFile, write_clip
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, Span, frame_at, frame_start_us, seconds_from_us
from xsheet.train.data.framing import Framing, frame
from xsheet.train.data.settings import PictureSettings
from xsheet.train.data.texts import tell
from xsheet.train.loop.step import needing_memory
from xsheet.train.sample.portrait import PortraitFace, find_face, staying_masks, whose
from xsheet.train.sample.sampler import Pictures, SampleSettings, Trained, Wish, open_trained
from xsheet.train.sample.script import Sheet, read_sheet
from xsheet.train.settings import StageName

log = logging.getLogger(__name__)

MAX_PIXELS = 100_000_000
"""Of a portrait: a decoder would fill the memory with what a small file claims to be."""
MAX_SOUND_BYTES = 256 << 20
_PICTURES = (".png", ".jpg", ".jpeg")
_LEAST_PX = 256  # smaller videos are enlarged by a whole factor, so that a player shows something


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFiles:
    """What a sample is made from, and where it goes."""

    portrait: Path  # PNG, JPEG, or a video, of which the first frame is taken
    sound: Path  # WAV, or a video with sound
    sheet: Path | Annotation  # YAML or JSON of a Sheet; or what a layer says of a clip
    out: Path  # .mp4


def sample(
    run: Path, files: SampleFiles, settings: SampleSettings, *, stage: StageName = "stage2", device: str = "cpu"
) -> ClipFile:
    """Draw one video with its sound.

    Raises:
        ConfigError: no finished stage, a portrait, sound or sheet that cannot be used.
        MediaError: a video among them is broken.
        RunError: the device has too little memory.
    """
    trained = open_trained(run, stage=stage, device=device)
    shown = trained.settings.cache.picture
    heard = read_sound(files.sound)
    portrait = read_portrait(files.portrait)
    face = find_face(portrait)
    framing = _framing(portrait, face, heard, shown, files)
    frames = framing.bucket.frames
    _tell_what_is_cut(heard, frames_us=frame_start_us(frames, shown.rate))
    shorter = "give a shorter sound" if frames > min(shown.frames) else "sample where there is more (--device cpu)"
    with needing_memory(where=f"sample on {device}", holds=f"{frames} frames", todo=shorter):
        pictures = trained.draw([_wish(trained, portrait, face, heard, framing, files)], settings)[0]
    frames_at_25 = -(-len(pictures) * CLIP_RATE.num // shown.fps)
    return write_clip(
        files.out,
        frames=[_enlarged(pictures[frame_at(frame_start_us(k, CLIP_RATE), shown.rate)]) for k in range(frames_at_25)],
        sound=_fitted(heard, frames_at_25 * SAMPLES_PER_FRAME),
    )


def read_portrait(file: Path) -> Rgb:
    """A picture, upright; ConfigError if it is none, or too large."""
    if file.suffix.lower() not in _PICTURES:
        with open_media(file, root=file.absolute().parent) as media:
            return np.asarray(next(iter(media.frames())).rgb)
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(
            where=str(file), expected=f"a PNG or JPEG of at most {MAX_PIXELS} pixels", came=_one_line(error),
            todo="give another portrait",
        ) from error  # fmt: skip


def read_sound(file: Path) -> Samples:
    """float32 mono at 16 kHz; ConfigError if there is none."""
    if file.suffix.lower() != ".wav":
        with open_media(file, root=file.absolute().parent) as media:
            heard = media.sound()
        if heard is None:
            raise _no_sound(file, "a video without sound")
        return heard
    try:
        if file.stat().st_size > MAX_SOUND_BYTES:
            raise ValueError(f"{file.stat().st_size} bytes")
        rate, samples = wavfile.read(file)
    except (OSError, ValueError) as error:
        raise _no_sound(file, _one_line(error)) from error
    whole = samples.astype(np.float32)
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        whole = (whole - (128 if samples.dtype.kind == "u" else 0)) / (limits.max + 1 if limits.min else 128)
    mono = whole if whole.ndim == 1 else whole.mean(1)
    if not len(mono) or not np.isfinite(mono).all():
        raise _no_sound(file, "no samples, or some that are no numbers")
    return np.asarray(soxr.resample(mono, rate, AUDIO_RATE.num), np.float32)


def _framing(
    portrait: Rgb, face: PortraitFace | None, heard: Samples, shown: PictureSettings, files: SampleFiles
) -> Framing:
    """The portrait as a clip of the sound's length would be framed, by its face where one is found."""
    height, width = portrait.shape[:2]
    frames = max(1, len(heard) // SAMPLES_PER_FRAME)
    clip = Clip(
        clip_id="portrait", source_id="portrait", start_us=0, end_us=frame_start_us(frames, CLIP_RATE),
        media_path="portrait", media_sha256=file_sha256(files.portrait), frames=frames, samples=0, width=width,
        height=height,
    )  # fmt: skip
    framing = frame(clip, shown, face=None if face is None else face.at)
    if not isinstance(framing, Framing):
        raise ConfigError(
            where=f"{files.portrait}, {files.sound}", expected="a picture and a sound like those of the training",
            came=f"{framing.reason}: {framing.message}", todo="take a larger portrait or a longer sound",
        )  # fmt: skip
    return framing


def _tell_what_is_cut(heard: Samples, *, frames_us: int) -> None:
    heard_s, shown_s = len(heard) / AUDIO_RATE.num, seconds_from_us(frames_us)
    if heard_s > shown_s + 0.5:  # less is the rest to a whole latent frame
        log.warning("of %.1f s of sound the first %.1f s are used, as long as clips of the training", heard_s, shown_s)


def _wish(
    trained: Trained, portrait: Rgb, face: PortraitFace | None, heard: Samples, framing: Framing, files: SampleFiles
) -> Wish:
    encoders, cached = trained.encoders, trained.settings.cache
    shown, frames = cached.picture, framing.bucket.frames
    cut = framing.cut(np.asarray(cv2.resize(portrait, framing.scaled, interpolation=cv2.INTER_AREA), np.uint8))
    first = encoders.video.encode(torch.from_numpy(np.ascontiguousarray(cut))[None, None])[0]
    sound = torch.from_numpy(_fitted(heard, -(-len(heard) // shown.samples_per_frame) * shown.samples_per_frame))
    audio_TLQ = encoders.sound.encode(sound[None], samples_per_frame=shown.samples_per_frame)[0, :frames]
    length_us = frame_start_us(frames, shown.rate)
    said = _said(files.sheet, length_us)
    form = trained.settings.stage(trained.stage).shown.text
    told = tell(
        said, Span(0, length_us), forms=(form,), encoder=encoders.text, policy=cached.text.blocks, rate=shown.rate
    )[form]
    log.info("told: %s", told.text)
    face_FHW, mouth_FHW = staying_masks(face, framing, cell=encoders.video.stride[1:])
    return Wish(
        name="sample",
        first_C1HW=first.cpu(),
        audio_TLQ=audio_TLQ.cpu(),
        told=told,
        face_FHW=face_FHW,
        mouth_FHW=mouth_FHW,
        identity_X=None if cached.control is None else whose(face, cached.control),
    )


def _said(sheet: Path | Annotation, length_us: int) -> Annotation:
    if isinstance(sheet, Annotation):
        return sheet
    written: Sheet = read_sheet(sheet)
    return written.annotation(length_us, where=str(sheet))


def _fitted(sound: Samples, samples: int) -> Samples:
    """Cut, or silence behind it."""
    return np.pad(sound[:samples], (0, max(0, samples - len(sound))))


def _enlarged(rgb: Pictures) -> Pictures:
    times = -(-_LEAST_PX // rgb.shape[0]) if rgb.shape[0] < _LEAST_PX else 1
    size = rgb.shape[1] * times, rgb.shape[0] * times
    return rgb if times == 1 else np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _no_sound(file: Path, came: str) -> ConfigError:
    return ConfigError(where=str(file), expected="a WAV, or a video with sound", came=came, todo="give another sound")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
