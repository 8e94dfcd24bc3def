"""A portrait, audio and a script to a video: `xsheet train sample`.

    sample(load_trained(run), SampleFiles(portrait=..., audio=..., script=read_script(...), out=...), SampleSettings())

The portrait is cut as training cut its clips and becomes the clean first latent. A video is as long as its audio, to a
whole latent frame; one that is longer than the training clips is sampled in windows (windows.py).

T frames shown, H x W pixels.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import soxr
import torch
from PIL import Image, ImageOps
from scipy.io import wavfile
from torch import Tensor

from xsheet.annotate.text.training_text import clip_annotation
from xsheet.curate.media.audio import SAMPLES_PER_FRAME, Samples
from xsheet.curate.media.image import Rgb
from xsheet.curate.media.reader import open_media
from xsheet.curate.media.writer import EncodedClip, write_clip
from xsheet.model.config import FRAMES_PER_LATENT
from xsheet.model.flow import History
from xsheet.model.variants import variant_of
from xsheet.schemas.annotation import Annotation
from xsheet.schemas.clip import Clip
from xsheet.schemas.errors import ConfigError
from xsheet.schemas.ids import file_sha256
from xsheet.schemas.time import AUDIO_RATE, CLIP_RATE, US_PER_S, Span, frame_at, frame_start_us
from xsheet.train.data.framing import BucketFit, fit_to_bucket
from xsheet.train.data.settings import PictureEncodingSettings
from xsheet.train.data.texts import TokenizedText, tokenize_script
from xsheet.train.loop.step import explain_out_of_memory
from xsheet.train.sample.driver import read_driver
from xsheet.train.sample.portrait import PortraitFace, find_face, portrait_identity, static_masks
from xsheet.train.sample.sampler import Pictures, SampleRequest, SampleSettings, TrainedModel
from xsheet.train.sample.script import ActionScript
from xsheet.train.sample.windows import append_window, plan_windows

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
    driver: Path | None = None  # a video whose face moves that of the portrait, for variants that read motion
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
    picture = trained.settings.cache.picture
    _check_driver(trained, files)
    audio = read_audio(files.audio)
    portrait = read_portrait(files.portrait)
    face = find_face(portrait)
    framing = _framing(portrait, face, audio, picture, files)
    frames = framing.bucket.frames
    shorter = (
        "give shorter audio" if frames > min(picture.frame_counts) else "sample where there is more (--device cpu)"
    )
    with explain_out_of_memory(where=f"sample on {trained.device}", contents=f"{frames} frames", hint=shorter):
        shot = _Shot(
            trained=trained, portrait=portrait, face=face, framing=framing, waveform=audio, driver=files.driver,
            settings=settings, on_progress=on_progress,
        )  # fmt: skip
        pictures = shot.sample(files.script)
    frames_at_25 = -(-len(pictures) * CLIP_RATE.num // picture.fps)
    return write_clip(
        files.out,
        frames=[_upscale(pictures[frame_at(frame_start_us(k, CLIP_RATE), picture.rate)]) for k in range(frames_at_25)],
        sound=_pad_or_trim(audio, frames_at_25 * SAMPLES_PER_FRAME),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shot:
    """What every window of a video shares."""

    trained: TrainedModel
    portrait: Rgb
    face: PortraitFace | None
    framing: BucketFit
    waveform: Samples
    driver: Path | None
    settings: SampleSettings
    on_progress: Callable[[float], None] | None

    def sample(self, script: ActionScript) -> Pictures:
        """Pictures of the whole audio as people see them, (T, H, W, 3)."""
        rate, frames, window = self._picture.rate, self.framing.bucket.frames, self.settings.window
        audio_frames = len(self.waveform) // self._picture.samples_per_frame
        total = max(frames, 1 + (audio_frames - 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT)
        length_us = max(frame_start_us(total, rate), len(self.waveform) * US_PER_S // AUDIO_RATE.num)
        annotation = script.annotation(length_us, where="the script")
        actions = [(p.start_us * rate.num / US_PER_S, p.end_us * rate.num / US_PER_S) for p in annotation.phases]
        starts = plan_windows(total, frames=frames, overlap=window.overlap, actions=actions) if total > frames else (0,)
        texts = self._texts(annotation, starts)
        motion_TX = None if self.driver is None else read_driver(self.driver, frames=starts[-1] + frames, rate=rate)
        reference = self._first_picture()
        latents = self._window(reference, texts[0], 0, motion_TX, history=None, place=(0, len(starts)))
        video = self.trained.decode(latents[0])
        began_s = time.monotonic()
        for k, (before, start) in enumerate(pairwise(starts), start=1):
            kept = 1 + (start - before) // FRAMES_PER_LATENT
            history = History(latent_BCKHW=latents[:, :, kept : kept + window.overlap], sigma=window.history_sigma)
            first = reference if window.reference == "portrait" else video[start]
            latents = self._window(first, texts[k], start, motion_TX, history=history, place=(k, len(starts)))
            video = append_window(video, self.trained.decode(latents[0]), start=start, overlap=window.overlap)
            left_s = (time.monotonic() - began_s) / k * (len(starts) - 1 - k)
            log.info("window %d of %d, %s left", k + 1, len(starts), timedelta(seconds=round(left_s)))
        return self.trained.enlarge(video[:total])

    @property
    def _picture(self) -> PictureEncodingSettings:
        return self.trained.settings.cache.picture

    def _texts(self, annotation: Annotation, starts: Sequence[int]) -> list[TokenizedText]:
        """Text of each window; logs them, and once what differs from the script."""
        cached, texts, changes = self.trained.settings.cache, list[TokenizedText](), dict[str, None]()
        for start in starts:
            end_us = frame_start_us(start + self.framing.bucket.frames, self._picture.rate)
            text, changed = tokenize_script(
                clip_annotation(annotation, Span(frame_start_us(start, self._picture.rate), end_us)),
                form=self.trained.settings.stage(self.trained.stage).dataset.text,
                encoder=self.trained.encoders.text,
                policy=cached.text.blocks,
                rate=self._picture.rate,
                max_blocks=self.trained.model.transformer.model_config.max_phases,
                where="the script",
            )
            log.info("text: %s", text.text)
            texts.append(text)
            changes |= dict.fromkeys(changed)
        for change in changes:
            log.warning("%s", change)
        return texts

    def _window(
        self,
        first: Rgb,
        text: TokenizedText,
        start: int,
        motion_TX: Tensor | None,
        *,
        history: History | None,
        place: tuple[int, int],
    ) -> Tensor:
        """Latents of one window, (1, C, F, H, W); `place` is its number, from 0, and the number of windows."""
        k, count = place

        def on_step(step: int) -> None:
            if self.on_progress is not None:
                self.on_progress((k + step / self.settings.steps) / count)

        request = self._request(first, text, start, name=f"sample-{k}" if k else "sample")
        if motion_TX is not None:
            request = replace(request, motion_TX=motion_TX[start : start + self.framing.bucket.frames])
        return self.trained.sample_latents([request], self.settings, history=history, on_step=on_step)

    def _first_picture(self) -> Rgb:
        """The portrait as training cut its clips."""
        scaled = cv2.resize(self.portrait, self.framing.scaled_size, interpolation=cv2.INTER_AREA)
        return self.framing.crop_picture(np.asarray(scaled, np.uint8))

    def _request(self, first: Rgb, text: TokenizedText, start: int, *, name: str) -> SampleRequest:
        encoders, cached, frames = self.trained.encoders, self.trained.settings.cache, self.framing.bucket.frames
        per_frame = self._picture.samples_per_frame
        waveform = _pad_or_trim(self.waveform[start * per_frame :], frames * per_frame)
        audio_TLQ = encoders.audio.encode(torch.from_numpy(waveform)[None], samples_per_frame=per_frame)[0, :frames]
        latent = encoders.video.encode(torch.from_numpy(np.ascontiguousarray(first))[None, None])[0]
        face_FHW, mouth_FHW = static_masks(self.face, self.framing, cell=encoders.video.stride[1:])
        return SampleRequest(
            name=name,
            first_C1HW=latent.cpu(),
            audio_TLQ=audio_TLQ.cpu(),
            text=text,
            face_FHW=face_FHW,
            mouth_FHW=mouth_FHW,
            identity_X=None
            if cached.extra_conditioning is None
            else portrait_identity(self.face, cached.extra_conditioning),
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


def _check_driver(trained: TrainedModel, files: SampleFiles) -> None:
    variant = trained.settings.variant
    if files.driver is not None and not variant_of(variant).reads_motion:
        raise ConfigError(
            where=str(files.driver), expected="a model that reads the motion of a driver (variant `actalker`)",
            got=f"variant `{'none' if variant is None else variant.name}`", hint="leave out --driver",
        )  # fmt: skip


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
